"""Suggest the known name that is nearest to an unknown one, for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from analyzer.formats.units import shortened_list

_LISTED = 12  # most names that are listed when none is near


def suggest(name: str, known: Iterable[str]) -> str:
    """Return the last part of an error message: the known name that was probably meant, else the known names."""
    names = sorted(known)
    folded = {n.casefold(): n for n in reversed(names)}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.5)
    if near:
        return f"did you mean '{folded[near[0]]}'?"
    if not names:
        return "there is none"
    return f"known are {shortened_list(names, _LISTED)}"
