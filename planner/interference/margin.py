"""The factor on a predicted slow-down that a new measurement stays below with 90 %.                         [pure]"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

COVERAGE = Fraction(9, 10)  # share of new slow-downs that the margin is for
FEWEST = 9  # ratios that are needed: with 8 the rank below would be the 9th of them


def conformal_margin(ratios: Iterable[float]) -> float | None:
    """Return the ⌈0.9 (n+1)⌉-th smallest of n ratios measured / predicted; None for fewer than 9.

    Split conformal prediction: where the ratios and a new one can be exchanged, the new one is at most this with a
    probability of at least 90 % (Lei, G'Sell, Rinaldo, Tibshirani and Wasserman 2018, Distribution-free predictive
    inference for regression, section 2.2).
    """
    found = sorted(ratios)
    rank = math.ceil(COVERAGE * (len(found) + 1))
    return found[rank - 1] if rank <= len(found) else None
