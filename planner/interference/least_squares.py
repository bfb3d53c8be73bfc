"""Ridge-shrunk least squares in which some coefficients are at least 0.                                      [pure]"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Flags = NDArray[np.bool_]

_TRIES = 3  # steps that may exchange many coefficients without progress, before only one at a time is exchanged
_TOLERANCE = 1e-10


def nonnegative_least_squares(gram: Vector, moment: Vector, n_free: int, *, start: Flags | None = None) -> Vector:
    """Return the x with the smallest x'Gx/2 - b'x of which all but the first coefficients are at least 0.

    Block principal pivoting: all coefficients that are negative, or are 0 with a gradient that would raise them, change
    sides at once; where that makes no progress, only the last one does, which ends for a positive definite matrix
    (Portugal, Júdice and Vicente 1994, A comparison of block pivoting and interior-point algorithms for linear least
    squares problems with nonnegative variables).

    Parameters
    ----------
    gram : array of shape (n, n)
        A'A plus the ridge, which makes it positive definite.
    moment : array of shape (n,)
        A'y.
    n_free : int
        How many of the first coefficients may be negative.
    start : array of shape (n,), optional
        Which coefficients to try first as those that are not 0, such as `x != 0` of a similar problem.
    """
    bounded = np.arange(len(moment)) >= n_free
    used = np.ones(len(moment), dtype=bool) if start is None else start | ~bounded
    scale = _TOLERANCE * max(1.0, float(np.abs(moment).max(initial=0.0)))
    fewest, tries = len(moment) + 1, _TRIES
    while True:
        found = np.zeros(len(moment))
        found[used] = np.linalg.solve(gram[np.ix_(used, used)], moment[used])
        gradient = gram @ found - moment
        wrong = bounded & np.where(used, found < -_TOLERANCE, gradient < -scale)
        count = int(wrong.sum())
        if not count:
            return np.where(bounded, np.maximum(found, 0.0), found)
        if count < fewest:
            fewest, tries = count, _TRIES
        elif tries:
            tries -= 1
        else:
            wrong[: int(np.flatnonzero(wrong)[-1])] = False
        used = used ^ wrong
