"""Write files completely or not at all, and make file names that every file system accepts."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part.

    The content is written to a temporary file in the same folder and flushed to the disk; that file then replaces
    `path` in one step. Its permissions follow the umask; text is UTF-8 with its line ends unchanged.

    Raises
    ------
    OSError
        If the folder cannot be written to or the disk is full; `path` is then unchanged.
    """
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())  # mkstemp sets 0600
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _umask() -> int:
    """Read the process's umask; os.umask returns it only when it sets another, a race with other threads."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022


def file_stem(text: str) -> str:
    """Make a file name of a text: letters, digits and ``._-`` are kept; never hidden, at most 80 characters."""
    return re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII).strip("._")[:80] or "model"


def free_stem(stem: str, taken: set[str]) -> str:
    """Append a number to `stem` if needed, so that it differs from those taken even if case is ignored."""
    lower = {other.lower() for other in taken}
    candidates = (stem if n == 1 else f"{stem}-{n}" for n in range(1, len(taken) + 2))
    return next(candidate for candidate in candidates if candidate.lower() not in lower)
