"""Pricing where best_contents gives up: depth-first search under the tables of a dynamic programme.

For every room left in one or two resources, a table has the most that the items from i on can earn, exactly or on a
grid with loads rounded down; the other resources are charged by Lagrangian multipliers. A table value is an upper
bound in integers, so an exhausted search is a proof. Near the end of column generation, where the profits of many
contents are close to the place's price, the tables prune what a linear bound cannot. The tables know capacities only;
what items tolerate and failed contents are heeded by the search, which also looks into the tables at no more room than
the items taken so far tolerate.
"""

# ruff: noqa: C901  (hot loops, compiled)

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from planner.solver.column_generation.content_search import copies_allowed
from planner.solver.column_generation.surrogate import surrogate

_FINE = 12_000  # cells of the table of two small resources
_COARSE = 40_000  # cells of the table that has a large resource on a grid
_SQUARE = 200  # cells of each dimension of the table of two large resources
_SEARCHED = 3  # resources up to which the multipliers are searched
_TABLES = 700  # items up to which the search has a table for each
_MOST_PAID = 2**61  # what all multipliers may charge for a place: int64 must hold that and the profits added to it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _View:
    """A relaxation to two dimensions: the cells that items take in a table, and the multipliers of other resources."""

    cells: Any  # (n, 2) load of each item in the table
    shape: Any  # (2,) capacity of the place in the table
    multipliers: Any  # (n_resources,) profit charged for a unit of load; 0 for the resources of the table
    resource: Any  # (2,) of each dimension; of a dimension that is not used, 0
    usable: Any  # (2,) load that fills each dimension

    def cells_in(self, room: Any) -> Any:
        """(n, 2) cells that fit into room for loads, (n, n_resources)."""
        return np.minimum(room[:, self.resource] * self.shape // self.usable, self.shape)


def best_contents_by_tables(
    load: Any, capacity: Any, bound: Any, task: Any, most: Any, sharing: Any, profit: Any,
    floor: int, node_limit: int, keep: int, stop: Any,
) -> Any:  # fmt: skip
    """Search the contents of a place whose profit exceeds `floor`; slower than `best_contents`, but it prunes more.

    Parameters and what is returned are those of `planner.solver.column_generation.knapsack.best_contents`; where the
    search gives up at `node_limit`, the upper bound on the profit is that of the tables.
    """
    views = _views(load, capacity, bound, profit, stop)
    root = np.iinfo(np.int64).max
    forced = np.full(len(profit), root)  # upper bound on contents with at least one copy of the item
    for view in views:
        charged = profit - load @ view.multipliers
        table = _table(charged, bound, view.cells, view.shape, stop)
        paid = int(capacity @ view.multipliers)
        root = min(root, int(table[view.shape[0], view.shape[1]]) + paid)
        cells: Any = view.shape
        if len(sharing.reserve):  # beside a copy of an item there is no more than it tolerates
            cells = view.cells_in(capacity - sharing.reserve)
            paid = (capacity - sharing.reserve) @ view.multipliers
        room = np.maximum(cells - view.cells, 0)
        forced = np.minimum(forced, charged + table[room[:, 0], room[:, 1]] + paid)
    alive = np.flatnonzero(forced > floor)
    nothing = np.zeros(0, dtype=np.int64), np.zeros((0, len(profit)), dtype=np.int64)
    if stop[0]:  # the tables are not complete: they bound nothing
        return -1, False, *nothing
    if root <= floor or len(alive) == 0:
        return floor, True, *nothing
    if len(alive) > _TABLES:
        return root, False, *nothing
    order = alive[np.argsort(-forced[alive], kind="stable")]
    one, two = views[0], views[-1]
    best, exhausted, values, found = _search(
        np.ascontiguousarray(load[order]), capacity, bound[order], task[order], most, sharing.of(order), profit[order],
        one.multipliers, np.ascontiguousarray(one.cells[order]), one.shape, one.resource, one.usable,
        np.ascontiguousarray(two.cells[order]), two.shape, two.multipliers, two.resource, two.usable,
        floor, node_limit, keep, stop,
    )  # fmt: skip
    counts = np.zeros((len(found), len(profit)), dtype=np.int64)
    counts[:, order] = found
    return best if exhausted else root, exhausted, values, counts


def _views(load: Any, capacity: Any, bound: Any, profit: Any, stop: Any) -> list[_View]:
    """Two views, with tables of the two smallest resources, and of the smallest and (on a grid) the largest one.

    Of more than three resources, as where utilization is counted by hours, the two dearest at the prices of the linear
    bound have tables, on a grid, and the others keep these prices: to search a multiplier for each would take a table
    for every value of it.
    """
    if load.shape[1] > _SEARCHED:
        prices = _linear_prices(load, capacity, bound, profit)
        first, second = np.argsort(-prices * capacity, kind="stable")[:2].tolist()
        return [
            _view(load, capacity, bound, profit, grid, stop, prices)
            for grid in ([(first, _FINE)], [(first, _SQUARE), (second, _SQUARE)])
        ]
    exact = sorted((max(1, int(capacity[r]) // _unit(load[:, r])), r) for r in range(load.shape[1]))
    small, large = exact[0], exact[-1]
    if len(exact) == 1:
        return [_view(load, capacity, bound, profit, [(small[1], min(small[0], _COARSE))], stop)]
    second = exact[1]
    first = min(small[0], 200)
    fine = [(small[1], first), (second[1], min(second[0], _FINE // (first + 1)))]
    coarse = [(small[1], first), (large[1], min(large[0], _COARSE // (first + 1)))]
    return [_view(load, capacity, bound, profit, grid, stop) for grid in (fine, coarse)]


def _unit(load: Any) -> int:
    return int(np.gcd.reduce(load)) or 1


def _linear_prices(load: Any, capacity: Any, bound: Any, profit: Any) -> Any:
    """(n_resources,) price of a unit of each resource at the linear bound of the surrogate constraint."""
    share = load / np.maximum(capacity, 1)
    multipliers = surrogate(profit.astype(np.float64), share, bound)
    weight = np.maximum(share @ multipliers, 1e-12)
    order = np.argsort(-profit / weight, kind="stable")
    last = min(int(np.searchsorted(np.cumsum((bound * weight)[order]), 1.0)), len(order) - 1)
    return multipliers * (profit[order[last]] / weight[order[last]]) / np.maximum(capacity, 1)


def _view(
    load: Any, capacity: Any, bound: Any, profit: Any, grid: list[tuple[int, int]], stop: Any, prices: Any = None
) -> _View:
    cells = np.zeros((len(profit), 2), dtype=np.int64)
    resource, filled = np.zeros(2, dtype=np.int64), np.ones(2, dtype=np.int64)
    for d, (r, size) in enumerate(grid):
        unit = _unit(load[:, r])
        usable = int(capacity[r]) // unit * unit  # all that such loads can fill; by it, a small resource is exact
        resource[d], filled[d] = r, max(1, usable)
        cells[:, d] = load[:, r] * size // filled[d]
    shape = np.array([*(size for _, size in grid), *[0] * (2 - len(grid))], dtype=np.int64)
    multipliers = np.zeros(load.shape[1], dtype=np.int64)
    rest = [r for r in range(load.shape[1]) if r not in {r for r, _ in grid}]
    if prices is not None:
        most = _MOST_PAID // (len(rest) * np.maximum(np.maximum(capacity, load.max(axis=0)), 1))
        multipliers[rest] = np.minimum(prices, most).astype(np.int64)[rest]
    elif rest and len(profit) * shape.prod() < 2 * _TABLES * _FINE:
        multipliers = _multipliers(load, capacity, bound, profit, cells, shape, rest, stop)
    return _View(cells=cells, shape=shape, multipliers=multipliers, resource=resource, usable=filled)


def _multipliers(
    load: Any, capacity: Any, bound: Any, profit: Any, cells: Any, shape: Any, rest: list[int], stop: Any
) -> Any:
    """Multipliers of the resources without a table: ternary search on each in turn, with a table for every value."""
    multipliers = np.zeros(load.shape[1], dtype=np.int64)
    for r in rest:
        takes = load[:, r] > 0  # items without load in r would make the range of the search far too large
        low, high = 0, int((profit[takes] / load[takes, r]).max(initial=0)) + 1
        high = min(high, _MOST_PAID // (len(rest) * max(1, int(capacity[r]), int(load[:, r].max()))))
        for _ in range(14):
            if high - low < 3:
                break
            third = (high - low) // 3
            values = []
            for m in (low + third, high - third):
                multipliers[r] = m
                table = _table(profit - load @ multipliers, bound, cells, shape, stop)
                values.append(int(table[shape[0], shape[1]]) + int(capacity @ multipliers))
            if values[0] <= values[1]:
                high -= third
            else:
                low += third
        multipliers[r] = low
    return multipliers


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _add(old: Any, new: Any, profit: int, bound: int, a: int, b: int, k: int, m: int) -> None:
    """Put one item with `bound` copies into the table."""
    new[:, :] = old
    if profit <= 0:
        return
    for c in range(1, bound + 1):
        if c * a > k or c * b > m:
            break
        gain = c * profit
        for u in range(c * a, k + 1):
            for v in range(c * b, m + 1):
                value = old[u - c * a, v - c * b] + gain
                if value > new[u, v]:
                    new[u, v] = value


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _table(profit: Any, bound: Any, cells: Any, shape: Any, stop: Any) -> Any:
    """The most that all items can earn, for each room left; not complete once `stop` is set."""
    k, m = shape[0], shape[1]
    old = np.zeros((k + 1, m + 1), dtype=np.int64)
    new = np.zeros((k + 1, m + 1), dtype=np.int64)
    for i in range(len(profit)):
        if stop[0]:
            break
        if profit[i] > 0:
            _add(old, new, profit[i], bound[i], cells[i, 0], cells[i, 1], k, m)
            old, new = new, old
    return old


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _tables(profit: Any, load: Any, bound: Any, multipliers: Any, cells: Any, shape: Any, stop: Any) -> Any:
    """The most that items from i on can earn, for each room left, (n + 1, ., .); not complete once `stop` is set."""
    n = len(profit)
    k, m = shape[0], shape[1]
    tables = np.zeros((n + 1, k + 1, m + 1), dtype=np.int64)
    for i in range(n - 1, -1, -1):
        if stop[0]:
            break
        charged = profit[i]
        for r in range(load.shape[1]):
            charged -= multipliers[r] * load[i, r]
        _add(tables[i + 1], tables[i], charged, bound[i], cells[i, 0], cells[i, 1], k, m)
    return tables


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _bound(
    value: int, table: Any, u: int, v: int, room: Any, kept_free: Any, multipliers: Any, shape: Any, resource: Any,
    usable: Any,
) -> Any:  # fmt: skip
    """Bound the profit by a table where some of the room must stay free."""
    for r in range(len(room)):
        value += multipliers[r] * (room[r] - kept_free[r])
    u = min(u, (room[resource[0]] - kept_free[resource[0]]) * shape[0] // usable[0])
    v = min(v, (room[resource[1]] - kept_free[resource[1]]) * shape[1] // usable[1])
    return value + table[u, v]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _search(
    load: Any, capacity: Any, bound: Any, task: Any, most: Any, sharing: Any, profit: Any,
    multipliers: Any, cells: Any, shape: Any, resource: Any, usable: Any,
    cells2: Any, shape2: Any, multipliers2: Any, resource2: Any, usable2: Any,
    floor: int, node_limit: int, keep: int, stop: Any,
) -> Any:  # fmt: skip
    n, resources = load.shape
    apart, reserve, counted, needed, first = sharing
    tolerant = reserve.shape[0] > 0
    kept_free = np.zeros((n + 1 if tolerant else 1, resources), dtype=np.int64)  # by item, room that must stay free
    parts = np.zeros(len(needed), dtype=np.int64)
    tables = _tables(profit, load, bound, multipliers, cells, shape, stop)
    tables2 = _tables(profit, load, bound, multipliers2, cells2, shape2, stop)
    kept_value = np.full(keep, floor)
    kept = np.zeros((keep, n), dtype=np.int64)
    n_kept = 0
    worst = 0
    threshold = floor
    best = floor
    count = np.zeros(n, dtype=np.int64)
    spare = most.copy()
    room = capacity.copy()
    u, v = shape[0], shape[1]
    u2, v2 = shape2[0], shape2[1]
    value = 0
    i = 0
    nodes = 0
    exhausted = True
    while True:
        while i < n:
            nodes += 1
            if tolerant:
                at_most = _bound(value, tables[i], u, v, room, kept_free[i], multipliers, shape, resource, usable)
                at_most2 = _bound(
                    value, tables2[i], u2, v2, room, kept_free[i], multipliers2, shape2, resource2, usable2
                )
            else:
                at_most = value + tables[i, u, v]
                at_most2 = value + tables2[i, u2, v2]
                for r in range(resources):
                    at_most += multipliers[r] * room[r]
                    at_most2 += multipliers2[r] * room[r]
            if at_most <= threshold or at_most2 <= threshold:
                break
            take = min(bound[i], spare[task[i]])
            if tolerant:
                for r in range(resources):
                    free = room[r] - max(kept_free[i, r], reserve[i, r])
                    if free < 0:
                        take = 0
                    elif load[i, r] > 0:
                        take = min(take, free // load[i, r])
            else:
                for r in range(resources):
                    if load[i, r] > 0:
                        take = min(take, room[r] // load[i, r])
            if take > 0 and apart.shape[0] > 0:
                for j in range(i):
                    if count[j] > 0 and apart[task[i], task[j]]:
                        take = 0
                        break
            if take > 0 and len(needed) > 0:
                take = copies_allowed(i, counted, needed, first, parts, take)
            if take > 0:
                count[i] = take
                value += take * profit[i]
                spare[task[i]] -= take
                u -= take * cells[i, 0]
                v -= take * cells[i, 1]
                u2 -= take * cells2[i, 0]
                v2 -= take * cells2[i, 1]
                for r in range(resources):
                    room[r] -= take * load[i, r]
                for c in range(len(needed)):
                    parts[c] += take * counted[i, c]
            if tolerant:
                for r in range(resources):
                    kept_free[i + 1, r] = max(kept_free[i, r], reserve[i, r]) if take > 0 else kept_free[i, r]
            i += 1
        if i == n and value > threshold:
            slot = worst
            if n_kept < keep:
                slot = n_kept
                n_kept += 1
            kept_value[slot] = value
            kept[slot] = count
            best = max(best, value)
            if n_kept == keep:
                worst = int(np.argmin(kept_value))
                threshold = kept_value[worst]
        if nodes > node_limit or stop[0]:
            exhausted = False
            break
        i -= 1
        while i >= 0 and count[i] == 0:
            i -= 1
        if i < 0:
            break
        count[i] -= 1
        value -= profit[i]
        spare[task[i]] += 1
        u += cells[i, 0]
        v += cells[i, 1]
        u2 += cells2[i, 0]
        v2 += cells2[i, 1]
        for r in range(resources):
            room[r] += load[i, r]
        for c in range(len(needed)):
            parts[c] -= counted[i, c]
        if tolerant and count[i] == 0:
            kept_free[i + 1] = kept_free[i]
        i += 1
    return best, exhausted, kept_value[:n_kept], kept[:n_kept]
