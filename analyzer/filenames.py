"""Names of models as names of files."""

from __future__ import annotations

import re


def file_stem(text: str) -> str:
    """Make a name fit for a file: letters, digits and ``._-`` stay; never hidden, never over 80 characters."""
    return re.sub(r"[^\w.-]+", "_", text, flags=re.ASCII).strip("._")[:80] or "model"


def free_stem(stem: str, taken: set[str]) -> str:
    """Number `stem` until it differs from those taken, also where a file system ignores case."""
    lower = {other.lower() for other in taken}
    candidates = (stem if n == 1 else f"{stem}-{n}" for n in range(1, len(taken) + 2))
    return next(candidate for candidate in candidates if candidate.lower() not in lower)
