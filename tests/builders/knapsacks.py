"""Build knapsacks for the pricing kernels, and check their results by enumeration; uses no code of the kernels.

A kernel returns an upper limit of the profit, whether its search was exhausted, and contents with their profits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from planner.solver.sharing_rules import SharingRules

Ints = NDArray[np.int64]
Answer = tuple[int, bool, Ints, Ints]

GO_ON = np.zeros(1, dtype=np.int64)  # the flag that stops a search, not set
ENOUGH = 10**6  # a limit of nodes that the search of a tiny knapsack never reaches

_PROFIT = 10**13  # column generation scales the highest price to this integer
_CAPACITIES = (80 * 2**30 + 1, 10**7 + 10, 10**7 - 9)  # memory in bytes, shares in ten-millionths


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Knapsack:
    """A bounded knapsack: one place to fill; arrays have shape (n_items,) unless noted."""

    load: Ints  # (n_items, n_resources)
    capacity: Ints  # (n_resources,)
    bound: Ints
    task: Ints
    most: Ints  # (n_tasks,)
    sharing: SharingRules
    profit: Ints

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of both kernels, in their order and types."""
        return self.load, self.capacity, self.bound, self.task, self.most, self.sharing, self.profit


def knapsack(
    load: Sequence[Sequence[int]],
    capacity: Sequence[int],
    profit: Sequence[int],
    *,
    bound: Sequence[int] | None = None,
    task: Sequence[int] | None = None,
    most: Sequence[int] | None = None,
    apart: Sequence[tuple[int, int]] = (),
    tolerance: Sequence[Sequence[int]] = (),
    failed: Sequence[Mapping[int, int]] = (),
) -> Knapsack:
    """Build a knapsack; by default one copy of each item, a task per item, and all tasks may share the place.

    Parameters
    ----------
    tolerance : for each item, the load of the place in each resource that it tolerates
    failed : contents that failed, as item -> copies
    """
    bound = [1] * len(load) if bound is None else bound
    task = list(range(len(load))) if task is None else task
    n_tasks = max(task) + 1 if most is None else len(most)
    matrix = np.zeros((n_tasks, n_tasks) if apart else (0, 0), dtype=np.bool_)
    for s, t in apart:
        matrix[s, t] = matrix[t, s] = True
    parts = np.zeros((sum(map(len, failed)), len(load)), dtype=np.int64)
    for c, i in enumerate(i for content in failed for i in content):
        parts[c, i] = 1
    return Knapsack(
        load=np.array(load, dtype=np.int64).reshape(len(load), len(capacity)),
        capacity=np.array(capacity, dtype=np.int64),
        bound=np.array(bound, dtype=np.int64),
        task=np.array(task, dtype=np.int64),
        most=np.array([sum(bound)] * n_tasks if most is None else most, dtype=np.int64),
        sharing=SharingRules(
            apart=matrix,
            reserve=np.maximum(np.array(capacity) - np.array(tolerance).reshape(-1, len(capacity)), 0).astype(np.int64),
            counted=np.ascontiguousarray(parts.T),
            needed=np.array([n for content in failed for n in content.values()], dtype=np.int64),
            first=np.cumsum([0, *map(len, failed)]).astype(np.int64),
        ),
        profit=np.array(profit, dtype=np.int64),
    )


def fits(sack: Knapsack, counts: Ints) -> NDArray[np.bool_]:
    """Return for each of k contents (k, n_items) whether it keeps capacities, bounds and the rules on tasks."""
    n_tasks = len(sack.most)
    of_task = np.stack([counts[:, sack.task == t].sum(axis=1) for t in range(n_tasks)], axis=1)
    fit: NDArray[np.bool_] = (
        (counts >= 0).all(axis=1)
        & (counts <= sack.bound).all(axis=1)
        & (counts @ sack.load <= sack.capacity).all(axis=1)
        & (of_task <= sack.most).all(axis=1)
    )
    sharing = sack.sharing
    for s, t in np.argwhere(sharing.apart):
        fit &= (of_task[:, s] == 0) | (of_task[:, t] == 0)
    for i, reserve in enumerate(sharing.reserve):
        fit &= (counts[:, i] == 0) | (counts @ sack.load + reserve <= sack.capacity).all(axis=1)
    for f in range(len(sharing.first) - 1):
        own = slice(sharing.first[f], sharing.first[f + 1])
        fit &= (counts @ sharing.counted[:, own] < sharing.needed[own]).any(axis=1)
    return fit


def contents(sack: Knapsack) -> tuple[Ints, Ints]:
    """Enumerate all allowed contents, also the empty one: profits (k,), best first, and counts (k, n_items)."""
    counts = np.indices(tuple(sack.bound + 1)).reshape(len(sack.bound), -1).T
    counts = counts[fits(sack, counts)]
    profits = counts @ sack.profit
    order = np.argsort(-profits, kind="stable")
    return profits[order], counts[order]


def faults(sack: Knapsack, floor: int, answer: Answer) -> list[str]:
    """List what is wrong with the contents that a kernel returned; valid also for a search that gave up."""
    _, _, profits, counts = answer
    wrong = []
    if not fits(sack, counts).all():
        wrong.append("a content is not allowed")
    if not np.array_equal(counts @ sack.profit, profits):
        wrong.append("a profit is not that of its content")
    if not (profits > floor).all():
        wrong.append("a content is worth no more than the floor")
    if len({tuple(row) for row in counts.tolist()}) < len(counts):
        wrong.append("a content is given twice")
    return wrong


def faults_of_proof(search: Callable[..., Answer], sack: Knapsack, rank: int, offset: int, *keeps: int) -> list[str]:
    """Run exhaustive searches of a tiny knapsack and list what is wrong with their limits and contents.

    Parameters
    ----------
    rank, offset : as in `floor_near`
    keeps : number of contents to ask for, one search each
    """
    profits, _ = contents(sack)
    floor = floor_near(profits, rank, offset)
    best = max(floor, int(profits[0]))
    wrong = []
    for keep in keeps:
        answer = search(*sack.arguments, floor, ENOUGH, keep, GO_ON)
        at_most, exhausted, found, _ = answer
        wrong += faults(sack, floor, answer)
        expected = profits[profits > floor][:keep].tolist()
        if not exhausted:
            wrong.append(f"gave up on {len(profits)} contents")
        if at_most != best:
            wrong.append(f"the limit is {at_most}, the best content above {floor} is worth {best}")
        if sorted(found.tolist(), reverse=True) != expected:
            wrong.append(f"kept {found.tolist()} where the {keep} best above {floor} are {expected}")
    return wrong


def floor_near(profits: Ints, rank: int, offset: int) -> int:
    """Return a floor: the profit of this rank (best first) plus `offset`, at least 0."""
    return max(0, int(profits[min(rank, len(profits) - 1)]) + offset)


def near() -> st.SearchStrategy[tuple[int, int]]:
    """Draw rank and offset of a floor: mostly near the best content, sometimes near the empty one."""
    return st.tuples(st.sampled_from([0, 0, 0, 1, 2, 5, 20, 10**6]), st.integers(-1, 1))


@st.composite
def tiny_knapsacks(draw: st.DrawFn, *, n_resources: int | None = None, ruled: bool = True) -> Knapsack:
    """Draw small numbers, 1 to 3 resources, also zeros and loads with a common divisor, choices and rules."""
    m = draw(_SIZES) if n_resources is None else n_resources
    scales = draw(_SCALES[m])  # (capacity, unit of the loads, remainder of the capacity that they cannot use)
    items = draw(_TINY_ITEMS[m])
    return _knapsack(
        draw,
        [[unit * x for x, (_, unit, _) in zip(load, scales, strict=True)] for load, _ in items],
        [unit * capacity + over % unit for capacity, unit, over in scales],
        bound=[bound for _, bound in items],
        ruled=ruled,
    )


@st.composite
def large_knapsacks(draw: st.DrawFn) -> Knapsack:
    """Draw loads in bytes and ten-millionths, which tables round to a grid, up to 3 copies, choices and rules."""
    m = draw(_SIZES)
    items = draw(_LARGE_ITEMS[m])
    return _knapsack(draw, [load for load, _ in items], _CAPACITIES[:m], bound=[bound for _, bound in items])


@st.composite
def full_knapsacks(draw: st.DrawFn) -> Knapsack:
    """Draw many copies of up to three items, with profits almost proportional to loads: many contents are near-best."""
    m = draw(st.integers(1, 2))
    capacity = draw(st.tuples(*[st.integers(20, 60)] * m))
    load = draw(st.lists(st.tuples(*[st.integers(0, 6)] * m), min_size=1, max_size=3))
    bound = [min([20, *(c // x for c, x in zip(capacity, row, strict=True) if x)]) for row in load]
    profit = _by_load(load, capacity, draw(_FIVES))
    return knapsack(load, capacity, profit, bound=bound)


_SIZES = st.integers(1, 3)
_FIVES = st.tuples(*[st.integers(-2, 2)] * 5)
_PROFITS = st.one_of(
    st.tuples(*[st.integers(1, 6)] * 5),
    st.tuples(*[st.integers(_PROFIT - 1, _PROFIT + 1)] * 5),
    st.tuples(*[st.integers(1, _PROFIT)] * 5),
)
_SCALES = {
    m: st.tuples(
        *[st.tuples(st.sampled_from([0, 3, 5, 6, 8, 10, 12, 15]), st.sampled_from([1, 1, 2, 3, 7]), st.integers(0, 6))]
        * m
    )
    for m in (1, 2, 3)
}
_TINY_ITEMS = {
    m: st.lists(st.tuples(st.tuples(*[st.integers(0, 6)] * m), st.integers(0, 3)), min_size=1, max_size=5)
    for m in (1, 2, 3)
}
_LARGE_ITEMS = {
    m: st.lists(
        st.tuples(
            st.tuples(*[st.one_of(st.just(0), st.integers(c // 20, c * 7 // 10)) for c in _CAPACITIES[:m]]),
            st.integers(1, 3),
        ),
        min_size=1,
        max_size=5,
    )
    for m in (1, 2, 3)
}
# Tasks of five items, most copies of four tasks, and pairs of tasks apart.
_RULES = st.tuples(
    st.sampled_from([(0, 1, 2, 3, 3), (0, 1, 1, 2, 2), (0, 0, 0, 1, 1), (2, 1, 0, 2, 0), (3, 2, 1, 0, 3)]),
    st.tuples(*[st.sampled_from([0, 1, 1, 2, 3, 9])] * 4),
    st.sampled_from([(), (), ((0, 1),), ((1, 2),), ((0, 2), (1, 3)), ((0, 1), (1, 2), (2, 0)), ((3, 0), (3, 1))]),
)
# Tenths of the capacity that each of five items tolerates, and contents that failed, as (item, copies) pairs.
_SHARING = st.tuples(
    st.one_of(st.just(()), st.tuples(*[st.sampled_from([10, 10, 8, 7, 5, 3, 1])] * 5)),
    st.one_of(
        st.just(()),
        st.lists(
            st.lists(st.tuples(st.integers(0, 4), st.integers(1, 2)), min_size=1, max_size=3), min_size=1, max_size=3
        ),
    ),
)


def _knapsack(
    draw: st.DrawFn,
    load: Sequence[Sequence[int]],
    capacity: Sequence[int],
    *,
    bound: Sequence[int],
    ruled: bool = True,
) -> Knapsack:
    """Complete a knapsack: draw its items' profits and the rules on tasks."""
    n = len(load)
    profit = _by_load(load, capacity, draw(_FIVES)) if draw(st.booleans()) else list(draw(_PROFITS)[:n])
    if not ruled:
        return knapsack(load, capacity, profit, bound=bound)
    task, most, apart = draw(_RULES)
    tolerance, failed = draw(_SHARING)
    return knapsack(
        load,
        capacity,
        profit,
        bound=bound,
        task=task[:n],
        most=most,
        apart=apart,
        tolerance=[[c * tenths // 10 for c in capacity] for tenths in tolerance[:n]],
        failed=[{i % n: copies for i, copies in content} for content in failed],
    )


def _by_load(load: Sequence[Sequence[int]], capacity: Sequence[int], noise: Sequence[int]) -> list[int]:
    """Return profits proportional to loads, up to a unit or two."""
    share = [sum(_PROFIT * x // max(c, 1) for x, c in zip(row, capacity, strict=True)) // len(capacity) for row in load]
    return [max(1, s + d) for s, d in zip(share, noise, strict=False)]


def examples(n: int) -> settings:
    """Run `n` examples without a deadline, because the first call may compile."""
    return settings(max_examples=n, deadline=None, suppress_health_check=[HealthCheck.too_slow])
