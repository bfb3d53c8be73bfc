"""Find out how a server ended, from its exit status and the last error of its log."""

from __future__ import annotations

import re
import signal
from pathlib import Path


def has_ended(process_id: int | None) -> bool:
    """Return whether a process of this host has ended; a zombie, which nobody has waited for yet, counts as ended."""
    if process_id is None:
        return False
    try:
        # pid (comm) state ...; comm may hold anything, so count from its last parenthesis
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


READ_BYTES = 1 << 18  # of a log's end; models may write any amount into it


def read_end(log: Path, *, since: int = 0) -> str:
    """Return the last `READ_BYTES` of a log, without its first `since` bytes."""
    with log.open("rb") as file:
        file.seek(max(since, file.seek(0, 2) - READ_BYTES))
        return file.read(READ_BYTES).decode(errors="replace")


# glog's line: severity letter, date, time, thread, file and line, then the message
_LOG_LINE = re.compile(r"([EFIW])\d{4} \d{2}:\d{2}:\d{2}\.\d+ +\d+ \S+\] *(.*)")
# errors printed without glog's prefix, by the option parser, the dynamic loader and the Python stub
_PLAIN_ERROR = re.compile(r"error\b|unable to\b|.*(unrecognized option|error while loading|Error: )", re.IGNORECASE)
# Triton and its Python backend on a model that cannot be loaded, with and without glog's quotes
_FAILED_LOAD = (
    "\"failed to load '",
    "failed to load '",
    '"ERROR: Failed to create instance',
    "ERROR: Failed to create instance",
)


def last_error(log: str) -> str | None:
    """Find the last error in Triton's log, in one line; None if it has none.

    A model that failed to load was reported when it did, and the server went on.
    """
    found = None
    for line in log.splitlines():
        match = _LOG_LINE.match(line)
        if match and match[1] in "EF" and not match[2].startswith(_FAILED_LOAD):
            found = match[2]
        elif not match and _PLAIN_ERROR.match(line):
            found = line
    return found.strip().strip('"')[:500] if found else None


def exit_cause(status: int, log: str) -> str:
    """Return in one line how a server ended: its exit status or signal, and the last error of its log."""
    number = status - 128
    if number in {known.value for known in signal.Signals}:
        how = f"tritonserver was ended by {signal.Signals(number).name}"
    else:
        how = f"tritonserver ended with exit status {status}"
    last = last_error(log)
    return f"{how}; the last error of its log: {last}" if last else how
