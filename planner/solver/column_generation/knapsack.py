"""Pricing, compiled: the most profitable contents of one place, a bounded knapsack with several resources.

Depth-first branch and bound over the items in the order of profit per surrogate weight. The surrogate constraint is a
combination of the resources, with multipliers from a few descent steps on its own linear bound, so that one division
bounds a node. Profits, loads and capacities are integers; the bound is computed in doubles and enlarged by
more than their rounding error before it prunes, so an exhausted search is a proof.

Where items tolerate less than the capacity, the search is by the least tolerant item (`leaders.py`). An item that would
complete a failed content is not taken.

Compiled by numba on first use and kept on disk by it (``cache=True``): import this module only for problems that
are big enough to repay the loading of numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from planner.solver.column_generation.content_search import search_contents
from planner.solver.column_generation.leaders import search_by_leaders
from planner.solver.column_generation.surrogate import surrogate
from planner.solver.greedy_kernel import fill


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def best_contents(
    load: Any,
    capacity: Any,
    bound: Any,
    task: Any,
    most: Any,
    sharing: Any,
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
    sharing : `planner.solver.sharing_rules.SharingRules` of these items
    profit : int64 (n,), positive
    floor : int, only contents of a higher profit are of interest
    node_limit : nodes after which the search gives up
    keep : how many contents to return; with 1 an exhausted search proves the best
    stop : int64 (1,), set to something else than 0 by another thread to make the search give up

    Returns
    -------
    (int, bool, int64 (k,), int64 (k, n))
        A proven upper bound on the profit (at least `floor`; -1 where the search gave up and has none), whether the
        search was exhausted, and the profits and counts of the `keep` best contents found.
    """
    n, m = load.shape
    apart, reserve, counted, needed, first = sharing
    kept_value = np.full(keep, floor)
    kept = np.zeros((keep, n), dtype=np.int64)
    state = np.array([0, 0, floor])
    if reserve.shape[0] > 0:
        exhausted = search_by_leaders(
            load, capacity, bound, task, most, sharing, profit, floor, node_limit, stop, kept_value, kept, state
        )
        return state[2], exhausted, kept_value[: state[0]], kept[: state[0]]
    share = np.empty((n, m))
    for r in range(m):
        for i in range(n):
            share[i, r] = load[i, r] / capacity[r] if capacity[r] > 0 else 0.0
    profits = profit.astype(np.float64)
    mult = surrogate(profits, share, bound)
    weight = np.zeros(n)  # no small constant added: a content that fits must weigh 1 at most, else the bound is too low
    density = np.full(n, -np.inf)
    for i in range(n):
        for r in range(m):
            weight[i] += mult[r] * share[i, r]
        if weight[i] > 0.0:
            density[i] = -profits[i] / weight[i]
    order = np.argsort(density, kind="mergesort")
    part = np.zeros(m)
    for r in range(m):
        part[r] = mult[r] / capacity[r] if capacity[r] > 0 else 0.0
    rules = apart, reserve, counted[order], needed, first
    exhausted = search_contents(
        order, weight[order], profit[order], bound[order], load[order], task[order], most, rules, capacity, part,
        False, floor, node_limit, stop, kept_value, kept, state,
    )  # fmt: skip
    return state[2] if exhausted else -1, exhausted, kept_value[: state[0]], kept[: state[0]]


fast_fill = njit(cache=True, nogil=True)(fill)
