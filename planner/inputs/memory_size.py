"""Memory sizes and shares as people write them: ``309MiB``, ``16GB``, ``80``."""

from __future__ import annotations

import re
from fractions import Fraction

from analyzer.errors import UsageError
from analyzer.formats.units import MIB

_UNITS = {"B": 1} | {
    f"{prefix}{suffix}": base**power
    for power, prefix in enumerate("KMGT", start=1)
    for suffix, base in (("iB", 2**10), ("B", 10**3))
}
_UNIT_OF = {unit.lower(): factor for unit, factor in _UNITS.items()}
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")
_LARGEST = 2**50  # 1 PiB: no device holds more, so a larger figure is a slip


def parse_size(text: str, what: str) -> int:
    """Read a size with its unit, such as ``309MiB`` or ``16GB``, into bytes.

    ``MB`` and ``GB`` are powers of ten, ``MiB`` and ``GiB`` powers of two (IEC 80000-13).

    Parameters
    ----------
    text : str
        A number and a unit; the unit is not optional, because 16 MB and 16 GB differ by a thousand.
    what : str
        The option or key, for the message.

    Raises
    ------
    UsageError
        If the number or the unit is missing, the unit unknown, or the size 0 or above 1 PiB.
    """
    match = _SIZE.fullmatch(text)
    if not match:
        raise UsageError(f"{what} is '{text}', which is not a size; write a number with its unit, such as 16GiB")
    number, unit = match.groups()
    if not unit:
        raise UsageError(f"{what} is '{text}' without a unit; write {number}MiB or {number}GiB")
    if unit.lower() not in _UNIT_OF:
        raise UsageError(f"{what} is '{text}' with the unknown unit '{unit}'; use {', '.join(_UNITS)}")
    size = int(Fraction(number) * _UNIT_OF[unit.lower()])
    if not 0 < size <= _LARGEST:
        raise UsageError(f"{what} is '{text}'; it must be above 0 and at most 1024TiB")
    return size


def format_size(size: int) -> str:
    """Write bytes as MiB, the unit of the tables, with a decimal only where there is one to show."""
    return f"{size / MIB:,.1f}".removesuffix(".0") + " MiB"


def to_mib(size: int) -> float:
    """Turn bytes into MiB, rounded to the byte's order so that files read well (1 byte is 1e-6 MiB)."""
    mib = round(size / MIB, 6)
    return int(mib) if mib == int(mib) else mib
