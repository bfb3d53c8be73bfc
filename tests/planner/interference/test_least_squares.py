"""Test the ridge-shrunk least squares with bounds."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from planner.interference.least_squares import Vector, nonnegative_least_squares


def best_by_trying_all(gram: Vector, moment: Vector, n_free: int) -> Vector:
    """Return the solution with the smallest value among those of all choices of coefficients that are 0."""
    best, least = np.zeros(len(moment)), 0.0
    for choice in product((False, True), repeat=len(moment) - n_free):
        used = np.array([True] * n_free + list(choice))
        found = np.zeros(len(moment))
        found[used] = np.linalg.solve(gram[np.ix_(used, used)], moment[used])
        value = float(found @ gram @ found / 2 - moment @ found)
        if (found[n_free:] >= 0).all() and value < least:
            best, least = found, value
    return best


@pytest.mark.parametrize("seed", range(40))
def test_solution_is_the_best_of_all_choices(seed: int) -> None:
    """No choice of coefficients that are 0 gives a smaller value, from any first choice."""
    random = np.random.default_rng(seed)
    n, n_free = int(random.integers(1, 9)), int(random.integers(0, 3))
    n_free = min(n, n_free)
    factors = random.normal(size=(6, n))
    gram, moment = factors.T @ factors + 0.1 * np.eye(n), factors.T @ random.normal(size=6)
    found = nonnegative_least_squares(gram, moment, n_free)
    assert found == pytest.approx(best_by_trying_all(gram, moment, n_free), abs=1e-7)
    start = random.integers(0, 2, size=n).astype(bool)
    assert nonnegative_least_squares(gram, moment, n_free, start=start) == pytest.approx(found, abs=1e-7)


def test_bound_holds_where_the_plain_solution_is_negative() -> None:
    """x = -1 is best; with x >= 0 it is 0, and the free coefficient takes its own best value."""
    assert nonnegative_least_squares(np.eye(2), np.array([-2.0, -1.0]), 1).tolist() == [-2.0, 0.0]
