"""Pricing where items tolerate less than the capacity: a search for each item that may be the least tolerant one.

Where the least tolerant item of a content is given (its leader), the place has no more room than that item tolerates,
and it holds only items that tolerate as much: a knapsack that is far smaller than that of all items with the whole
capacity, whose linear bound combines the profit of intolerant items with room that there is not beside them. Leaders
of about the same tolerance share the prices of the resources; most leaders are pruned by one linear bound.

Least tolerant is meant in one resource. In the others, the room that is left is the minimum over the items taken: it
only shrinks as items are added, so what a bound prunes in the depth-first search stays pruned.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from planner.solver.column_generation.content_search import SLACK, search_contents
from planner.solver.column_generation.surrogate import improved, surrogate

_GROUPS = 12  # of leaders, about
_SAMPLE = 150  # items by which the prices of a group are chosen


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def search_by_leaders(
    load: Any, capacity: Any, bound: Any, task: Any, most: Any, sharing: Any, profit: Any,
    floor: int, node_limit: int, stop: Any, kept_value: Any, kept: Any, state: Any,
) -> bool:  # fmt: skip
    """Search the contents whose profit exceeds `floor`; return whether the search was exhausted.

    Where it was not, `state[2]` is an upper bound on the profit: the largest one of the leaders that are left.

    Parameters are those of `planner.solver.column_generation.knapsack.best_contents` and of `search_contents`.
    """
    n, m = load.shape
    apart, reserve, counted, needed, first = sharing
    by_tolerance = np.argsort(-reserve[:, _strictest(reserve, capacity)], kind="mergesort")
    size = max(1, -(-n // _GROUPS))
    n_groups = -(-n // size)
    price = np.zeros((n_groups, m))  # of a unit of load, by group
    order = np.zeros((n_groups, n), dtype=np.int64)  # of the items of this group and later ones, by profit per price
    at_most = np.zeros(n)  # of the contents of each leader
    mult = np.zeros(m)
    for g in range(n_groups):
        later = by_tolerance[g * size :]
        beside = capacity - reserve[by_tolerance[min(n - 1, g * size + size // 2)]]
        mult = _group_multipliers(mult, later, profit, load, bound, beside)
        for r in range(m):
            price[g, r] = mult[r] / beside[r] if beside[r] > 0 else 0.0
        order[g, : len(later)] = later[np.argsort(_density(later, profit, load, price[g]), kind="mergesort")]
    rank = np.empty(n, dtype=np.int64)
    rank[by_tolerance] = np.arange(n)
    for k in range(n):
        leader = by_tolerance[k]
        g = k // size
        at_most[k] = _at_most(leader, order[g, : n - g * size], rank, profit, load, bound, reserve, capacity, price[g])
    for k in np.argsort(-at_most, kind="mergesort"):
        if at_most[k] * (1 + SLACK) + 1e-6 < _threshold(kept_value, state[0], floor) + 1:
            break
        leader = by_tolerance[k]
        g = k // size
        own = _companions(leader, order[g, : n - g * size], rank, load, reserve, capacity)
        rows = load[own]
        weight = np.zeros(len(own))
        for r in range(m):
            weight += price[g, r] * rows[:, r]
        rules = apart, np.maximum(reserve[own] - reserve[leader], 0), counted[own], needed, first
        if not search_contents(
            own, weight, profit[own], bound[own], rows, task[own], most, rules, capacity - reserve[leader], price[g],
            True, floor, node_limit, stop, kept_value, kept, state,
        ):  # fmt: skip
            # No content of this leader, or of one after it, is worth more than this one's bound.
            state[2] = max(state[2], int(at_most[k] * (1 + SLACK)) + 1)
            return False
    return True


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _strictest(reserve: Any, capacity: Any) -> int:
    """Return the resource of which, on average, the largest share of the capacity must stay free."""
    best, found = -1.0, 0
    for r in range(len(capacity)):
        share = reserve[:, r].mean() / capacity[r] if capacity[r] > 0 else 0.0
        if share > best:
            best, found = share, r
    return found


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _threshold(kept_value: Any, n_kept: int, floor: int) -> int:
    """Return the profit that a content must exceed to be kept."""
    if n_kept < len(kept_value):
        return floor
    least: int = kept_value.min()
    return least


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _density(items: Any, profit: Any, load: Any, price: Any) -> Any:
    """(n,) minus the profit of each item per price of its load; minus infinity where that costs nothing."""
    found = np.full(len(items), -np.inf)
    for j in range(len(items)):
        weight = 0.0
        for r in range(len(price)):
            weight += price[r] * load[items[j], r]
        if weight > 0.0:
            found[j] = -profit[items[j]] / weight
    return found


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _group_multipliers(mult: Any, items: Any, profit: Any, load: Any, bound: Any, room: Any) -> Any:
    """Multipliers of the resources for leaders that leave so much room, from those of the group before."""
    m = len(room)
    price = np.zeros(m)
    for r in range(m):
        price[r] = (mult[r] if mult.sum() > 0 else 1.0 / m) / room[r] if room[r] > 0 else 0.0
    best = items[np.argsort(_density(items, profit, load, price), kind="mergesort")[:_SAMPLE]]
    share = np.zeros((len(best), m))
    for r in range(m):
        for j in range(len(best)):
            share[j, r] = load[best[j], r] / room[r] if room[r] > 0 else 0.0
    profits = profit[best].astype(np.float64)
    if mult.sum() > 0:
        return improved(mult, profits, share, bound[best], 0.1, 0.02)
    return surrogate(profits, share, bound[best])


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _joins(j: int, leader: int, rank: Any, load: Any, reserve: Any, capacity: Any) -> bool:
    """Whether an item may be beside a leader: it is no less tolerant, and both tolerate the load of both."""
    if rank[j] <= rank[leader]:
        return False
    for r in range(len(capacity)):
        if load[j, r] + load[leader, r] > capacity[r] - max(reserve[j, r], reserve[leader, r]):
            return False
    return True


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _companions(leader: int, items: Any, rank: Any, load: Any, reserve: Any, capacity: Any) -> Any:
    """The leader, and the items that may be beside it in their order."""
    found = np.empty(len(items) + 1, dtype=np.int64)
    found[0] = leader
    n = 1
    for j in items:
        if _joins(j, leader, rank, load, reserve, capacity):
            found[n] = j
            n += 1
    return found[:n]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _at_most(
    leader: int, items: Any, rank: Any, profit: Any, load: Any, bound: Any, reserve: Any, capacity: Any, price: Any
) -> float:
    """Upper bound on the profit of the contents of a leader: one copy of it, and fractions of the others."""
    left = 0.0
    for r in range(len(capacity)):
        free = capacity[r] - reserve[leader, r] - load[leader, r]
        if free < 0:
            return -1.0
        left += price[r] * free
    value = float(profit[leader])
    for j in items:
        copies = bound[j]
        if j == leader:
            copies -= 1
        elif not _joins(j, leader, rank, load, reserve, capacity):
            continue
        weight = 0.0
        for r in range(len(capacity)):
            weight += price[r] * load[j, r]
        if copies * weight <= left:
            left -= copies * weight
            value += copies * profit[j]
        else:
            value += profit[j] * (left / weight)
            break
    return value
