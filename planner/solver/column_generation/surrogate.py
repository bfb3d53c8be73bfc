"""Multipliers that make one row of several resources: the surrogate constraint, by which `best_contents` bounds.

Descent on the linear bound of the knapsack with this one row. Any multipliers give a valid bound.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def linear_bound(profit: Any, weight: Any, bound: Any, capacity: float, order: Any) -> float:
    """Dantzig's bound of a knapsack with one row, items taken in `order`."""
    left = capacity
    value = 0.0
    for i in order:
        w = weight[i]
        take = bound[i] * w
        if take <= left:
            left -= take
            value += bound[i] * profit[i]
        else:
            value += profit[i] * (left / w)
            break
    return value


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def surrogate(profit: Any, share: Any, bound: Any) -> Any:
    """Multipliers of the resources (sum 1) whose surrogate constraint bounds best, by pattern search on the simplex."""
    n, m = share.shape
    best_mult = np.full(m, 1.0 / m)
    weight = np.empty(n)
    density = np.empty(n)
    best = np.inf
    for start in range(m + 1):
        mult = np.full(m, 1.0 / m)
        if start < m:
            for r in range(m):
                mult[r] = 0.9 if r == start else 0.1 / max(1, m - 1)
        if m == 1:
            mult[0] = 1.0
        value = surrogate_value(profit, share, bound, mult, weight, density)
        if value < best:
            best = value
            best_mult = mult.copy()
    return improved(best_mult, profit, share, bound, 0.3, 0.01)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def improved(best_mult: Any, profit: Any, share: Any, bound: Any, step: float, least: float) -> Any:
    """Shift the multipliers between resources, by `step` and by less down to `least`, while the bound gets better."""
    n, m = share.shape
    weight = np.empty(n)
    density = np.empty(n)
    best = surrogate_value(profit, share, bound, best_mult, weight, density)
    while step > least and m > 1:
        better = False
        for a in range(m):
            for b in range(m):
                if a == b:
                    continue
                shift = min(step, best_mult[a])
                if shift <= 0.0:
                    continue
                mult = best_mult.copy()
                mult[a] -= shift
                mult[b] += shift
                value = surrogate_value(profit, share, bound, mult, weight, density)
                if value < best * (1 - 1e-9):
                    best = value
                    best_mult = mult
                    better = True
        if not better:
            step *= 0.5
    return best_mult


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def surrogate_value(profit: Any, share: Any, bound: Any, mult: Any, weight: Any, density: Any) -> float:
    n, m = share.shape
    for i in range(n):
        w = 1e-12
        for r in range(m):
            w += mult[r] * share[i, r]
        weight[i] = w
        density[i] = -profit[i] / w
    value: float = linear_bound(profit, weight, bound, 1.0, np.argsort(density))
    return value
