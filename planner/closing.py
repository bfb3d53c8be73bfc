"""Exact pricing where the plain search does not end: depth-first search under the tables of a dynamic programme.

One or two resources are kept exactly (or on a grid, loads rounded down) in tables of what the items from i on are
worth with so much room left; the others are charged by a multiplier. A table value is an upper bound in integers, so
an exhausted search is a proof. Near the end of column generation, where many contents are almost worth their price,
the tables prune what a linear bound cannot.
"""

# ruff: noqa: C901  (hot loops, compiled)

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_CELLS = 12_000  # table cells of one item
_TABLES = 500  # items with tables of their own


def closed_contents(
    load: Any, capacity: Any, bound: Any, task: Any, most: Any, apart: Any, profit: Any,
    floor: int, node_limit: int, keep: int,
) -> Any:  # fmt: skip
    """As `planner.knapsack.best_contents`, which see, only slower and harder to beat."""
    grid, sizes = _grid(load, capacity)
    rest = [r for r in range(load.shape[1]) if r not in grid]
    cells = np.zeros((len(profit), 2), dtype=np.int64)
    for d, r in enumerate(grid):
        cells[:, d] = load[:, r] * sizes[d] // max(1, int(capacity[r]))
    shape = np.array([*sizes, *[0] * (2 - len(sizes))], dtype=np.int64)
    multipliers = np.zeros(load.shape[1], dtype=np.int64)
    if rest:
        multipliers = _multipliers(load, capacity, bound, profit, cells, shape, rest)
    charged = profit - load @ multipliers
    paid = int(capacity @ multipliers)
    table = _table(charged, bound, cells, shape)
    fits = (cells[:, 0] <= shape[0]) & (cells[:, 1] <= shape[1])
    forced = charged + table[np.maximum(shape[0] - cells[:, 0], 0), np.maximum(shape[1] - cells[:, 1], 0)] + paid
    alive = np.flatnonzero(fits & (forced > floor))
    if len(alive) == 0:
        return floor, True, np.zeros(0, dtype=np.int64), np.zeros((0, len(profit)), dtype=np.int64)
    root = max(floor, int(table[shape[0], shape[1]]) + paid)
    if len(alive) > _TABLES:
        return root, False, np.zeros(0, dtype=np.int64), np.zeros((0, len(profit)), dtype=np.int64)
    order = alive[np.argsort(-forced[alive], kind="stable")]
    best, exhausted, values, found = _search(
        np.ascontiguousarray(load[order]), capacity, bound[order], task[order], most, apart, profit[order],
        charged[order], multipliers, np.ascontiguousarray(cells[order]), shape, floor, node_limit, keep,
    )  # fmt: skip
    counts = np.zeros((len(found), len(profit)), dtype=np.int64)
    counts[:, order] = found
    return best if exhausted else root, exhausted, values, counts


def _grid(load: Any, capacity: Any) -> tuple[list[int], list[int]]:
    """Resources kept in tables and their grid sizes: those that are exact in few cells first."""
    exact = []
    for r in range(load.shape[1]):
        unit = int(np.gcd.reduce(load[:, r])) or 1
        exact.append((int(capacity[r]) // unit, r))
    exact.sort()
    grid: list[int] = []
    sizes: list[int] = []
    room = _CELLS
    for size, r in exact[:2]:
        if size + 1 <= room:
            grid.append(r)
            sizes.append(size)
            room //= size + 1
    if not grid:
        return [exact[0][1]], [_CELLS - 1]
    return grid, sizes


def _multipliers(load: Any, capacity: Any, bound: Any, profit: Any, cells: Any, shape: Any, rest: list[int]) -> Any:
    """Prices of the resources without a table: golden section on one after the other, each bound a table."""
    multipliers = np.zeros(load.shape[1], dtype=np.int64)
    for r in rest:
        low, high = 0, int((profit / np.maximum(load[:, r], 1)).max()) + 1
        for _ in range(14):
            if high - low < 3:
                break
            third = (high - low) // 3
            values = []
            for m in (low + third, high - third):
                multipliers[r] = m
                table = _table(profit - load @ multipliers, bound, cells, shape)
                values.append(int(table[shape[0], shape[1]]) + int(capacity @ multipliers))
            if values[0] <= values[1]:
                high -= third
            else:
                low += third
        multipliers[r] = low
    return multipliers


@njit(cache=True)  # type: ignore[untyped-decorator]
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


@njit(cache=True)  # type: ignore[untyped-decorator]
def _table(profit: Any, bound: Any, cells: Any, shape: Any) -> Any:
    """What all items are worth at most for each room left."""
    k, m = shape[0], shape[1]
    old = np.zeros((k + 1, m + 1), dtype=np.int64)
    new = np.zeros((k + 1, m + 1), dtype=np.int64)
    for i in range(len(profit)):
        if profit[i] > 0:
            _add(old, new, profit[i], bound[i], cells[i, 0], cells[i, 1], k, m)
            old, new = new, old
    return old


@njit(cache=True)  # type: ignore[untyped-decorator]
def _search(
    load: Any, capacity: Any, bound: Any, task: Any, most: Any, apart: Any, profit: Any, charged: Any,
    multipliers: Any, cells: Any, shape: Any, floor: int, node_limit: int, keep: int,
) -> Any:  # fmt: skip
    n, resources = load.shape
    k, m = shape[0], shape[1]
    tables = np.zeros((n + 1, k + 1, m + 1), dtype=np.int64)
    for i in range(n - 1, -1, -1):
        _add(tables[i + 1], tables[i], charged[i], bound[i], cells[i, 0], cells[i, 1], k, m)
    kept_value = np.full(keep, floor)
    kept = np.zeros((keep, n), dtype=np.int64)
    n_kept = 0
    worst = 0
    threshold = floor
    best = floor
    count = np.zeros(n, dtype=np.int64)
    spare = most.copy()
    room = capacity.copy()
    u, v = k, m
    value = 0
    i = 0
    nodes = 0
    exhausted = True
    while True:
        while i < n:
            nodes += 1
            at_most = value + tables[i, u, v]
            for r in range(resources):
                at_most += multipliers[r] * room[r]
            if at_most <= threshold:
                break
            take = min(bound[i], spare[task[i]])
            for r in range(resources):
                if load[i, r] > 0:
                    take = min(take, room[r] // load[i, r])
            if take > 0 and apart.shape[0] > 0:
                for j in range(i):
                    if count[j] > 0 and apart[task[i], task[j]]:
                        take = 0
                        break
            if take > 0:
                count[i] = take
                value += take * profit[i]
                spare[task[i]] -= take
                u -= take * cells[i, 0]
                v -= take * cells[i, 1]
                for r in range(resources):
                    room[r] -= take * load[i, r]
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
        if nodes > node_limit:
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
        for r in range(resources):
            room[r] += load[i, r]
        i += 1
    return best, exhausted, kept_value[:n_kept], kept[:n_kept]
