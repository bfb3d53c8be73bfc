"""The known name nearest to one that is not known, for messages that show the way out."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_LISTED = 12  # names listed when none is near


def suggest(name: str, known: Iterable[str]) -> str:
    """Say which known name was probably meant, or which there are: the last part of an error message."""
    names = sorted(known)
    folded = {n.casefold(): n for n in reversed(names)}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    if near:
        return f"did you mean '{folded[near[0]]}'?"
    if not names:
        return "there is none"
    rest = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"known are {', '.join(names[:_LISTED])}{rest}"
