"""Memory sizes as people write them: ``309MiB``, ``16GB``."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from analyzer.formats.option_values import Kind
from analyzer.formats.units import MIB

_UNITS = {"B": 1} | {
    f"{prefix}{suffix}": base**power
    for power, prefix in enumerate("KMGT", start=1)
    for suffix, base in (("iB", 2**10), ("B", 10**3))
}
_UNIT_OF = {unit.lower(): factor for unit, factor in _UNITS.items()}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
_LARGEST = 2**50  # 1 PiB: no device holds more, so a larger figure is a mistake


class MemorySize(Kind):
    """Memory in MiB; text has a unit, as ``309MiB`` or ``16GB``.

    ``MB`` and ``GB`` are powers of ten, ``MiB`` and ``GiB`` powers of two (IEC 80000-13). The unit is not optional,
    because 16 MB and 16 GB differ by a thousand.
    """

    metavar = "SIZE"

    def __init__(self, *, zero: bool = False) -> None:
        self._zero = zero  # whether nothing at all is a size too

    def _in_range(self, mib: float) -> bool:
        return (mib >= 0 if self._zero else mib > 0) and mib <= _LARGEST / MIB

    @property
    def _least(self) -> str:
        return "at least 0" if self._zero else "above 0"

    def parse(self, text: str) -> float:
        """Read a size with its unit."""
        match = _SIZE.fullmatch(text)
        if not match:
            raise ValueError(f"{text!r} is not a size; write a number with its unit, such as 16GiB")
        number, unit = match.groups()
        if not unit:
            raise ValueError(f"{text!r} is without a unit; write {number}MiB or {number}GiB")
        if unit.lower() not in _UNIT_OF:
            raise ValueError(f"{text!r} has the unknown unit '{unit}'; use {', '.join(_UNITS)}")
        size = int(Fraction(number) * _UNIT_OF[unit.lower()])
        if not self._in_range(size / MIB):
            raise ValueError(f"{text!r} is out of range; it must be {self._least} and at most 1024TiB")
        return size / MIB  # exact: a division by a power of two

    def check(self, value: Any) -> float:
        """Return the size."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self._in_range(value):
            raise ValueError(f"{value!r} is not a size; give MiB, {self._least} and at most {_LARGEST // MIB:,}")
        return float(value)


def to_bytes(mib: float | None) -> int | None:
    """Turn MiB into bytes; None stays None."""
    return None if mib is None else round(mib * MIB)


def format_size(size: int) -> str:
    """Write bytes as MiB, the unit of the tables, with a decimal only where there is one to show."""
    return f"{size / MIB:,.1f}".removesuffix(".0") + " MiB"
