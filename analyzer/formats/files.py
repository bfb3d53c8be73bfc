"""Files that we write: whole or not at all, under names that every file system takes."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part.

    The content goes to a temporary file in the same folder, to the disk, and then over `path` in one step.
    The file gets the permissions that the umask gives; text is UTF-8 with its line ends as they are.

    Raises
    ------
    OSError
        If the folder cannot be written to or the disk is full; `path` is then as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_umask())  # mkstemp gives 0600
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _umask() -> int:
    """Read the process's umask; os.umask tells it only by setting it, which would race with other threads."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    return 0o022


def file_stem(text: str) -> str:
    """Make a name fit for a file: letters, digits and ``._-`` stay; never hidden, never over 80 characters."""
    return re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII).strip("._")[:80] or "model"


def free_stem(stem: str, taken: set[str]) -> str:
    """Number `stem` until it differs from those taken, also where a file system ignores case."""
    lower = {other.lower() for other in taken}
    candidates = (stem if n == 1 else f"{stem}-{n}" for n in range(1, len(taken) + 2))
    return next(candidate for candidate in candidates if candidate.lower() not in lower)
