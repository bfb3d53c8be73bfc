"""Run a command to its end and measure its time; at a timeout it is killed with all its children."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_FOLDERS = re.compile(r"(?<![\w.])/(?:[^\s/]+/)+")  # not published: the machine's folders in messages


class PeerError(Exception):
    """A tool that could not be measured; the message is shown in its row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """The time and output of a command that has ended.

    Parameters
    ----------
    wall_s : float
    cpu_s : float
        User and system time of the command and of the children that it waited for.
    output : str
        stdout and stderr together.
    """

    wall_s: float
    cpu_s: float
    output: str


def run(
    command: Sequence[str | Path],
    *,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> CommandResult:
    """Run a command to its end; after `timeout_s` it is killed with all its children.

    Raises
    ------
    PeerError
        If it cannot be started, fails or takes longer than `timeout_s`.
    """
    name = Path(command[0]).name
    with tempfile.TemporaryFile() as log:
        began_s = time.perf_counter()
        try:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
                cwd=directory,
                start_new_session=True,
            )
        except OSError as error:
            raise PeerError(f"{name} cannot be started: {error.strerror}") from None
        try:
            usage = _wait(process, began_s + timeout_s)
        except BaseException:
            _kill_tree(process.pid)
            process.wait()
            raise
        wall_s = time.perf_counter() - began_s
        log.seek(0)
        output = log.read().decode(errors="replace")
    if usage is None:
        raise PeerError(f"{name} took longer than {timeout_s:.0f} s")
    if process.returncode != 0:
        lines = [line for line in output.splitlines() if line.strip()] or ["no output"]
        reason = _FOLDERS.sub("", lines[-1].strip())[:200]
        raise PeerError(f"{name} failed with status {process.returncode}: {reason}")
    return CommandResult(wall_s=wall_s, cpu_s=usage, output=output)


def _wait(process: subprocess.Popen[bytes], deadline_s: float) -> float | None:
    """Wait for a process and return its processor time in seconds; None where it was killed at the deadline."""
    killed = False
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return None if killed else usage.ru_utime + usage.ru_stime
        if time.perf_counter() > deadline_s and not killed:
            _kill_tree(process.pid)
            killed = True
        time.sleep(0.005)


def _kill_tree(pid: int) -> None:
    """Kill a process that we started and all its descendants, also those in other sessions."""
    try:
        root = psutil.Process(pid)
        tree = [*root.children(recursive=True), root]
    except psutil.NoSuchProcess:
        return
    for process in tree:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
