"""Write figures for people: in MiB, ms or %, with three significant digits.

An unmeasured figure (None) becomes the empty string; the caller decides how to show it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

MIB = 1024**2


def number(value: float | None) -> str:
    """Write `value` with three significant digits, and all digits of a larger integer part: 1382, 33.6, 0.0421.

    Measurements are precise to a few per cent, so further digits have no meaning.
    """
    if value is None or not math.isfinite(value):
        return ""
    if value == 0:
        return "0"
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def within_limit(value: float, limit: float) -> bool:
    """Whether a figure is at most a limit, to the six significant digits that files hold: 26 ms are within 26 ms."""
    return value <= limit * (1 + 5e-6)


def mib(value_bytes: float | None) -> str:
    """Write bytes in whole MiB; below 10 MiB with one decimal."""
    if value_bytes is None:
        return ""
    value_mib = value_bytes / MIB
    return f"{value_mib:.1f}" if 0 < value_mib < 10 else f"{value_mib:.0f}"


def percent(fraction: float | None) -> str:
    """Write a fraction of one in whole %; below 10 % with one decimal."""
    if fraction is None:
        return ""
    value_pct = fraction * 100
    return f"{value_pct:.1f}" if 0 < value_pct < 10 else f"{value_pct:.0f}"


def milliseconds(value_s: float | None) -> str:
    """Write seconds in ms with three significant digits."""
    return "" if value_s is None else number(value_s * 1e3)


def whole(value: float | None) -> str:
    """Write a count, without decimals."""
    return "" if value is None else f"{value:.0f}"


def counted(count: int, noun: str) -> str:
    """Write a count with its noun: 1 trial, 3 trials."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def times(figure: float | None, factor: float | None) -> float | None:
    """Multiply a figure; None where it or the factor is not known."""
    return None if figure is None or factor is None else figure * factor


def shortened_list(names: Sequence[str], most: int) -> str:
    """Write names with commas; of more than `most`, the first and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{rest}"


def listed(names: Sequence[str]) -> str:
    """Write names as in a sentence: a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def printable(text: str) -> str:
    """Replace characters that move the cursor, break the line or draw nothing (control characters) by spaces."""
    return "".join(character if character.isprintable() else " " for character in text)


def shortened(text: str, length: int) -> str:
    """Cut the middle out of a text longer than `length` characters, since names differ at both ends."""
    if len(text) <= length:
        return text
    head = math.ceil((length - 1) / 2)
    tail = length - 1 - head
    return f"{text[:head]}…{text[len(text) - tail :]}"
