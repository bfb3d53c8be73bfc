"""From measured figures to solver integers: loads and demands up, capacities and supplies down.            [pure]

Memory is in bytes. A share of one becomes ten-millionths, and a sum may exceed its threshold by a ten-thousandth of a
percentage point: measurements are rounded to few digits, and shares that add up to 100 % must stay within 100 %. A
rate becomes millionths of an inference/s, and a millionth of it may be left unserved, for the same reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_SHARE_UNITS = 10**7
_SHARE_TOLERANCE = 10  # units: 1e-6 of one
_RATE_UNITS = 10**6
_RATE_TOLERANCE = 1e-6  # of the rate
_NOISE = 4  # decimals of a unit that are kept; what is below is rounding error, as in 0.48 * 1e7 = 4800000.000000001


def share_load(share: float) -> int:
    """A replica's share of a resource, rounded up."""
    return math.ceil(round(share * _SHARE_UNITS, _NOISE))


def share_capacity(share: float) -> int:
    """A threshold, rounded down."""
    return math.floor(round(share * _SHARE_UNITS, _NOISE)) + _SHARE_TOLERANCE


def rate_supply(rate: float) -> int:
    """What a replica delivers, rounded down."""
    return math.floor(round(rate * _RATE_UNITS, _NOISE))


def rate_demand(rate: float) -> int:
    """What must be served, rounded up."""
    return math.ceil(round(rate * (1 - _RATE_TOLERANCE) * _RATE_UNITS, _NOISE))


def coarsen(
    loads: Sequence[Sequence[int]], capacities: Sequence[Sequence[int]]
) -> tuple[list[list[int]], list[list[int]]]:
    """Divide every resource by the greatest common divisor of its loads: the same problem in small numbers.

    Sums of loads are multiples of the divisor, so rounding the capacities down to it loses nothing.

    Parameters
    ----------
    loads, capacities : sequences of shape (n, n_resources)
    """
    n_resources = len(capacities[0]) if capacities else 0
    divisors = [math.gcd(*(load[r] for load in loads)) or 1 for r in range(n_resources)]
    return (
        [[x // d for x, d in zip(load, divisors, strict=True)] for load in loads],
        [[c // d for c, d in zip(capacity, divisors, strict=True)] for capacity in capacities],
    )
