"""Test the least weight of whole replicas that serve a task, against enumeration."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from planner.solver.column_generation import cover_kernel
from planner.solver.column_generation.cover_kernel import gains, least_cover

Pairs = list[tuple[int, int]]  # (weight, supply) of the items of one task

PAIRS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 5)), min_size=1, max_size=3)


def ints(values: object) -> NDArray[np.int64]:
    """Return an array as the kernel takes it."""
    return np.array(values, dtype=np.int64)


def order_of(pairs: Pairs) -> NDArray[np.int64]:
    """Return the items by weight per supply."""
    return ints(sorted(range(len(pairs)), key=lambda i: pairs[i][0] / pairs[i][1]))


def enumerated(pairs: Pairs, demand: int, replicas: int) -> int:
    """Return the least weight by trying all numbers of replicas."""
    most = range(max(demand, replicas, 0) + 1)
    return min(
        sum(n * w for n, (w, _) in zip(counts, pairs, strict=True))
        for counts in product(*(most for _ in pairs))
        if sum(n * s for n, (_, s) in zip(counts, pairs, strict=True)) >= demand and sum(counts) >= replicas
    )


@given(PAIRS, st.integers(-2, 8), st.integers(-1, 3))
@settings(deadline=None)
def test_least_weight_is_that_of_enumeration_and_reached(pairs: Pairs, demand: int, replicas: int) -> None:
    """The replicas that are returned serve the demand and weigh what is returned, and no others weigh less."""
    counts = ints([0] * len(pairs))
    weight, supply = ints([w for w, _ in pairs]), ints([s for _, s in pairs])
    least, reached = least_cover(weight, supply, order_of(pairs), demand, replicas, counts)
    assert reached
    assert least == enumerated(pairs, demand, replicas) == int(counts @ weight)
    assert counts @ supply >= demand
    assert counts.sum() >= replicas


def test_search_that_gives_up_returns_a_lower_bound() -> None:
    """Six sizes that differ by a few units, for a demand of thousands of replicas: in fractions 2 weigh 1 unit each."""
    supply = [100_003, 100_019, 100_043, 100_049, 100_057, 100_069]
    pairs = [(2 * s + i % 2, s) for i, s in enumerate(supply)]
    demand = 777_777_777
    counts = ints([0] * 6)
    least, reached = least_cover(ints([w for w, _ in pairs]), ints(supply), order_of(pairs), demand, 0, counts)
    if not reached:
        assert least <= 2 * demand
    assert least >= 2 * demand * 0.999


@given(PAIRS, st.integers(1, 8), st.integers(0, 3))
@settings(deadline=None)
def test_gain_of_a_replica_is_what_it_takes_off_the_least_weight(pairs: Pairs, demand: int, replicas: int) -> None:
    """A replica of an item serves its supply and is one of the replicas asked for."""
    gain = ints([0] * len(pairs))
    weight, supply = ints([w for w, _ in pairs]), ints([s for _, s in pairs])
    first = ints([0, len(pairs)])
    gains(ints([0]), first, weight, supply, order_of(pairs), ints([demand]), ints([replicas]), gain)
    now = enumerated(pairs, demand, replicas)
    assert gain.tolist() == [now - enumerated(pairs, demand - s, replicas - 1) for _, s in pairs]


def test_limit_of_nodes_is_far_above_what_few_replicas_need() -> None:
    """Nine items and a demand of some replicas: the search is exhausted."""
    pairs = [(10 + 3 * i, 4 + i) for i in range(9)]
    counts = ints([0] * 9)
    _, reached = least_cover(ints([w for w, _ in pairs]), ints([s for _, s in pairs]), order_of(pairs), 25, 2, counts)
    assert reached
    assert cover_kernel.NODES >= 1000
