"""Pricing, compiled: the most profitable contents of one place, a bounded knapsack with several resources.

Depth-first branch and bound over the items in the order of profit per surrogate weight. The surrogate constraint is a
combination of the resources, with multipliers from a few descent steps on its own linear bound, so that one division
bounds a node. Profits, loads and capacities are integers; the bound is computed in doubles and enlarged by
more than their rounding error before it prunes, so an exhausted search is a proof.

Compiled by numba on first use and kept on disk by it (``cache=True``): import this module only for problems that
are big enough to repay the loading of numba.
"""

# ruff: noqa: C901  (one hot loop, kept in one function on purpose)

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from planner.solver.greedy_kernel import fill

_SLACK = 1e-11  # relative; the sums below have a few hundred terms, their rounding error is under 1e-13


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
def _surrogate(profit: Any, share: Any, bound: Any) -> Any:
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
        value = _surrogate_value(profit, share, bound, mult, weight, density)
        if value < best:
            best = value
            best_mult = mult.copy()
    step = 0.3
    while step > 0.01 and m > 1:
        improved = False
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
                value = _surrogate_value(profit, share, bound, mult, weight, density)
                if value < best * (1 - 1e-9):
                    best = value
                    best_mult = mult
                    improved = True
        if not improved:
            step *= 0.5
    return best_mult


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _surrogate_value(profit: Any, share: Any, bound: Any, mult: Any, weight: Any, density: Any) -> float:
    n, m = share.shape
    for i in range(n):
        w = 1e-12
        for r in range(m):
            w += mult[r] * share[i, r]
        weight[i] = w
        density[i] = -profit[i] / w
    value: float = linear_bound(profit, weight, bound, 1.0, np.argsort(density))
    return value


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def best_contents(
    load: Any,
    capacity: Any,
    bound: Any,
    task: Any,
    most: Any,
    apart: Any,
    profit: Any,
    floor: int,
    node_limit: int,
    keep: int,
    stop: Any,
) -> Any:
    """Search the contents of a place whose profit exceeds `floor`.

    Parameters
    ----------
    load : int64 (n, m); capacity : int64 (m,); bound : int64 (n,), most copies of each item
    task : int64 (n,); most : int64 (n_tasks,), most copies of a task's items together
    apart : bool (n_tasks, n_tasks), whether two tasks may not share the place; of shape (0, 0) without such rules
    profit : int64 (n,), positive
    floor : int, only contents of a higher profit are of interest
    node_limit : nodes after which the search gives up
    keep : how many contents to return; with 1 an exhausted search proves the best
    stop : int64 (1,), set to something else than 0 by another thread to make the search give up

    Returns
    -------
    (int, bool, int64 (k,), int64 (k, n))
        A proven upper bound on the profit (at least `floor`; -1 where the search gave up), whether the search was
        exhausted, and the profits and counts of the `keep` best contents found.
    """
    n, m = load.shape
    share = np.empty((n, m))
    for r in range(m):
        for i in range(n):
            share[i, r] = load[i, r] / capacity[r] if capacity[r] > 0 else 0.0
    profits = profit.astype(np.float64)
    mult = _surrogate(profits, share, bound)
    weight = np.zeros(n)  # no small constant added: a content that fits must weigh 1 at most, else the bound is too low
    density = np.full(n, -np.inf)
    for i in range(n):
        for r in range(m):
            weight[i] += mult[r] * share[i, r]
        if weight[i] > 0.0:
            density[i] = -profits[i] / weight[i]
    order = np.argsort(density, kind="mergesort")
    w = weight[order]
    p = profits[order]
    whole = profit[order]
    ub = bound[order]
    rows = load[order]

    kept_value = np.full(keep, floor)
    kept = np.zeros((keep, n), dtype=np.int64)
    n_kept = 0
    worst = 0  # index of the least of the kept
    threshold = floor
    best = floor

    chosen = np.empty(n + 1, dtype=np.int64)
    count = np.empty(n + 1, dtype=np.int64)
    task_at = task[order]
    spare = most.copy()
    depth = 0
    room = capacity.copy()
    left = 1.0
    value = 0
    i = 0
    nodes = 0
    exhausted = True
    while True:
        # Go down: take as much as fits of each next item while the bound allows more than the threshold.
        cut = False
        while i < n:
            nodes += 1
            bound_here = float(value)
            rest = left
            j = i
            while j < n:
                need = ub[j] * w[j]
                if need <= rest:
                    rest -= need
                    bound_here += ub[j] * p[j]
                    j += 1
                else:
                    bound_here += p[j] * (rest / w[j])
                    break
            if bound_here * (1 + _SLACK) + 1e-6 < threshold + 1:
                cut = True
                break
            take = min(ub[i], spare[task_at[i]])
            for r in range(m):
                if rows[i, r] > 0:
                    fit = room[r] // rows[i, r]
                    if fit < take:
                        take = fit
            if take > 0 and apart.shape[0] > 0:
                for d in range(depth):
                    if apart[task_at[i], task_at[chosen[d]]]:
                        take = 0
            if take > 0:
                chosen[depth] = i
                count[depth] = take
                depth += 1
                value += take * whole[i]
                left -= take * w[i]
                spare[task_at[i]] -= take
                for r in range(m):
                    room[r] -= take * rows[i, r]
                if left < 0.0:
                    left = 0.0
            i += 1
        if not cut and value > threshold:
            slot = worst
            if n_kept < keep:
                slot = n_kept
                n_kept += 1
            kept_value[slot] = value
            kept[slot, :] = 0
            for d in range(depth):
                kept[slot, order[chosen[d]]] = count[d]
            if value > best:
                best = value
            if n_kept == keep:
                worst = 0
                for s in range(1, keep):
                    if kept_value[s] < kept_value[worst]:
                        worst = s
                threshold = kept_value[worst]
        if nodes > node_limit or stop[0]:
            exhausted = False
            break
        # Go back: one copy fewer of the last item taken.
        if depth == 0:
            break
        d = depth - 1
        i = chosen[d]
        count[d] -= 1
        value -= whole[i]
        spare[task_at[i]] += 1
        for r in range(m):
            room[r] += rows[i, r]
        left = 1.0
        for e in range(depth):
            left -= count[e] * w[chosen[e]]
        if left < 0.0:
            left = 0.0
        if count[d] == 0:
            depth -= 1
        i += 1
    return best if exhausted else -1, exhausted, kept_value[:n_kept], kept[:n_kept]


fast_fill = njit(cache=True, nogil=True)(fill)
