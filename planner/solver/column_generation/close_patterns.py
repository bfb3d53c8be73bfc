"""All patterns of one resource that a plan of so many GPUs may use: those whose reduced cost is within its gap.

Let S be the price of a GPU in integer units, u the duals of the demands (rounded to integers) and P the most that one
pattern earns by them. A plan of K GPUs serves each demand exactly, so its patterns' reduced costs S - u(pattern) add up
to K S - u(demand), and none of them is below S - P. The one of each pattern is then at most K S - u(demand) +
(K - 1) max(0, P - S). All of this is in integers; patterns of a higher reduced cost are in no plan of K GPUs.

Where the LP's value is near K, and its duals are good, these are some hundred patterns: few enough for
`set_partitioning`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit

from planner.solver.column_generation.master import Floats, Master
from planner.solver.column_model import ColumnModel, Ints, Pattern, Row
from planner.solver.limits import SearchLimits

_SCALE = 2**40  # integer units of the price of a GPU
_MOST_PATTERNS = 12_000
_MOST_CELLS = 4_000_000  # of the table, of 8 bytes each
_MOST_STEPS = 300_000_000  # to fill it: about a second
_ROUNDS = 60  # of adding columns to the LP
_ADDED = 1_000  # columns in one round
_IMPROVES = 1e-9  # reduced cost, as a fraction of the price of a GPU, from which a pattern is added to the LP


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClosePatterns:
    """What a plan of at most `gpus` GPUs may use: every pattern within the gap, as (item, count) pairs."""

    gpus: int
    patterns: list[Pattern]


def is_countable(model: ColumnModel) -> bool:
    """Whether copies of models with one resource are placed on one GPU type without limit, and no rule holds."""
    problem = model.problem
    if len(model.items) != 1 or len(problem.gpus) != 1 or problem.rules or problem.has_tolerances or model.grouped:
        return False
    (items,) = model.items.values()
    n = len(items.task)
    whole = items.place in model.direct and problem.gpus[0].limit is None and len(items.capacity) == 1
    plain = n == len(problem.tasks) == len(model.rows) and all(row == Row(task=t) for t, row in enumerate(model.rows))
    same = np.array_equal(items.task, np.arange(n)) and bool((items.supply == 1).all()) and not items.cost.any()
    if not (whole and plain and same):
        return False
    room = int(items.capacity[0])
    copies = np.minimum(model.demand, np.where(items.load[:, 0] > 0, room // np.maximum(items.load[:, 0], 1), room))
    return n * room <= _MOST_CELLS and int(copies.sum()) * room <= _MOST_STEPS


def close_patterns(
    model: ColumnModel, columns: list[Pattern], *, below: int | None, limits: SearchLimits
) -> ClosePatterns | None:
    """Return the patterns of plans of as many GPUs as the LP's value, rounded up; None where they are too many.

    Parameters
    ----------
    model : one for which `is_countable`
    columns : the columns that the LP begins with; they serve everything
    below : GPUs of a known plan; only for fewer are patterns of interest
    """
    (items,) = model.items.values()
    order = np.argsort(-items.load[:, 0], kind="stable")  # the largest first: the search goes wrong late
    load, demand = items.load[order, 0].copy(), np.minimum(model.demand, items.bound)[order]
    room, price = int(items.capacity[0]), model.problem.gpus[0].cost
    master = Master(model, model.needs(model.demand, model.replicas), columns)
    for _ in range(_ROUNDS):
        relaxed = master.relax(limits)
        if relaxed is None or limits.over or relaxed.unserved > 1e-6:
            return None
        duals = _in_units(relaxed.row_duals / price)[order]
        table = most_profit(load, demand, duals, room)
        best = int(table[0, room])
        better = int(_SCALE * (1 + _IMPROVES)) + 1
        if best >= better:
            _, found = contents_above(load, demand, duals, room, table, better, _ADDED)
            if master.add(_patterns(items.place, order, found)):
                continue
        gpus = int(np.ceil(relaxed.value / price - 1e-6))
        if below is not None and gpus >= below:
            return None
        total = sum(int(u) * int(n) for u, n in zip(duals, model.demand[order], strict=True))
        gap = gpus * _SCALE - total + (gpus - 1) * max(0, best - _SCALE)
        number, found = contents_above(load, demand, duals, room, table, _SCALE - gap, _MOST_PATTERNS)
        if number > _MOST_PATTERNS:
            return None
        return ClosePatterns(gpus=gpus, patterns=_patterns(items.place, order, found))
    return None


def _in_units(duals: Floats) -> Ints:
    units: Ints = np.floor(duals * _SCALE).astype(np.int64)
    return units


def _patterns(place: int, order: Ints, counts: Any) -> list[Pattern]:
    return [Pattern(place, tuple(sorted((int(order[j]), int(row[j])) for j in np.flatnonzero(row)))) for row in counts]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def most_profit(load: Any, bound: Any, profit: Any, room: int) -> Any:
    """The most that items from i on can earn in each room: int64 (n + 1, room + 1)."""
    n = len(load)
    table = np.zeros((n + 1, room + 1), dtype=np.int64)
    for i in range(n - 1, -1, -1):
        for c in range(room + 1):
            best = table[i + 1, c]
            for k in range(1, bound[i] + 1):
                if k * load[i] > c:
                    break
                best = max(best, table[i + 1, c - k * load[i]] + k * profit[i])
            table[i, c] = best
    return table


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def contents_above(load: Any, bound: Any, profit: Any, room: int, table: Any, least: int, most: int) -> Any:
    """The contents that earn at least `least`, the empty one included, up to `most` of them.

    `table` is that of `most_profit`; with it, every step of the search leads to some such content. Returned are their
    number, `most` + 1 where there are more, and the counts of each item, int64 (number, n).
    """
    n = len(load)
    found = np.zeros((most, n), dtype=np.int64)
    count = np.full(n + 1, -1, dtype=np.int64)
    left = np.zeros(n + 1, dtype=np.int64)
    value = np.zeros(n + 1, dtype=np.int64)
    left[0] = room
    number = 0
    i = 0
    while i >= 0:
        if i == n:
            if number == most:
                return most + 1, found
            found[number] = count[:n]
            number += 1
            i -= 1
            continue
        count[i] += 1
        rest = left[i] - count[i] * load[i]
        if count[i] > bound[i] or rest < 0:
            count[i] = -1
            i -= 1
            continue
        earned = value[i] + count[i] * profit[i]
        if earned + table[i + 1, rest] >= least:
            left[i + 1] = rest
            value[i + 1] = earned
            i += 1
    return number, found[:number]
