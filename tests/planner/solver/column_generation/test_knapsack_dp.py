"""Test the pricing search with tables against brute force, and against the plain search on larger knapsacks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from planner.solver.column_generation.knapsack import best_contents
from planner.solver.column_generation.knapsack_dp import best_contents_by_tables
from tests.builders.knapsacks import (
    ENOUGH,
    GO_ON,
    Knapsack,
    contents,
    examples,
    faults,
    faults_of_proof,
    floor_near,
    full_knapsacks,
    knapsack,
    large_knapsacks,
    near,
    tiny_knapsacks,
)


@given(tiny_knapsacks(), near())
@examples(2000)
def test_exhausted_search_proves_the_best_and_keeps_the_best(sack: Knapsack, about: tuple[int, int]) -> None:
    """The limit is the optimum, or the floor if nothing exceeds it; the contents are the best above the floor."""
    assert faults_of_proof(best_contents_by_tables, sack, *about, 1, 3, 40) == []


@given(full_knapsacks(), near())
@examples(500)
def test_contents_that_differ_by_a_unit_in_ten_trillion_are_distinguished(
    sack: Knapsack, about: tuple[int, int]
) -> None:
    """The tables hold integers, so a content that exceeds the floor by one unit is found."""
    assert faults_of_proof(best_contents_by_tables, sack, *about, 1, 3) == []


@given(large_knapsacks(), near())
@examples(500)
def test_resources_on_a_grid_or_charged_give_the_same_proof(sack: Knapsack, about: tuple[int, int]) -> None:
    """Loads rounded to a grid and multipliers, which replace large tables, only loosen the limit during the search."""
    assert faults_of_proof(best_contents_by_tables, sack, *about, 1, 3) == []


@given(st.one_of(tiny_knapsacks(), full_knapsacks(), large_knapsacks()), near(), st.sampled_from([1, 2, 40]))
@examples(500)
def test_search_that_gives_up_still_proves_a_limit(sack: Knapsack, about: tuple[int, int], keep: int) -> None:
    """At its node limit the search returns a limit at or above the optimum, and allowed contents above the floor."""
    profits, _ = contents(sack)
    floor = floor_near(profits, *about)
    for node_limit in (0, 2, 5, 12, 30):
        answer = best_contents_by_tables(*sack.arguments, floor, node_limit, keep, GO_ON)
        at_most, exhausted, _, _ = answer
        assert faults(sack, floor, answer) == []
        assert at_most == max(floor, profits[0]) if exhausted else at_most >= max(floor, profits[0])


@given(st.integers(1, 2).flatmap(lambda m: tiny_knapsacks(n_resources=m, ruled=False)))
@examples(500)
def test_tables_of_one_or_two_small_resources_are_exact(sack: Knapsack) -> None:
    """Without rules the limit is the optimum with no node searched. Loads with a common divisor that does not
    divide the capacity once lost a cell each: 3 and 6 of 10 became 0 and 1 of 3 cells."""
    filled = sack.load[sack.bound > 0]
    if not (filled <= sack.capacity).all():
        return  # column generation gives items larger than the place no copies
    best = int(contents(sack)[0][0])
    at_most, _, _, _ = best_contents_by_tables(*sack.arguments, max(0, best - 1), 0, 1, GO_ON)
    assert at_most == best


def test_item_that_takes_nothing_of_the_charged_resource_is_found() -> None:
    """Bytes are charged by a multiplier, and one of two models takes none. The search for the multiplier once went up
    to 1e13 a byte, the charge for all 1e10 bytes passed int64, and 0 was called the proven limit instead of 1e13."""
    sack = knapsack([(0, 3, 3), (5 * 10**9, 3, 3)], (10**10, 4, 4), [10**13, 10**13])
    at_most, exhausted, _, counts = best_contents_by_tables(*sack.arguments, 0, ENOUGH, 40, GO_ON)
    assert (at_most, exhausted, sorted(counts.tolist())) == (10**13, True, [[0, 1], [1, 0]])


def test_multiplier_of_a_resource_that_is_hardly_used_stays_in_int64() -> None:
    """A model that takes one of 1e10 bytes is worth 1e13 per byte: the charge for all bytes must stay within int64;
    either model fits, alone."""
    sack = knapsack([(1, 3, 3), (5 * 10**9, 3, 3)], (10**10, 4, 4), [10**13, 10**13])
    at_most, exhausted, _, counts = best_contents_by_tables(*sack.arguments, 0, ENOUGH, 40, GO_ON)
    assert (at_most, exhausted, sorted(counts.tolist())) == (10**13, True, [[0, 1], [1, 0]])


def test_more_items_than_have_tables_are_bounded_at_the_root() -> None:
    """For 701 items of a hundredth of the place, worth 2 each, the root's table gives 200 without a search."""
    sack = knapsack([(1,)] * 701, (100,), [2] * 701)
    at_most, exhausted, kept, counts = best_contents_by_tables(*sack.arguments, 199, ENOUGH, 40, GO_ON)
    assert (at_most, exhausted, len(kept), counts.shape) == (200, False, 0, (0, 701))


def test_search_that_is_stopped_proves_nothing() -> None:
    """A search that is stopped before its tables are complete returns -1 as limit and no content."""
    sack = knapsack([(1,)] * 20, (10,), [2] * 20)
    at_most, exhausted, kept, counts = best_contents_by_tables(
        *sack.arguments, 0, ENOUGH, 40, np.ones(1, dtype=np.int64)
    )
    assert (at_most, exhausted, len(kept), counts.shape) == (-1, False, 0, (0, 20))


@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
@examples(60)
def test_both_kernels_prove_the_same_for_many_items(seed: int, n_resources: int) -> None:
    """Both searches agree on thirty items with up to three copies, which are too many for brute force."""
    random = np.random.default_rng(seed)
    n, capacity = 30, np.array([80 * 2**30, 10**7, 10**7 - 9, *range(10**7, 10**7 + 6)])[:n_resources]
    load = (random.uniform(0.04, 0.5, (n, n_resources)) * capacity).astype(np.int64)
    profit = (1e13 * (load / capacity).mean(axis=1) * random.uniform(0.8, 1.2, n)).astype(np.int64)
    task = [i if i < n - 10 else i - 10 for i in range(n)]
    sack = knapsack(
        load.tolist(), capacity.tolist(), profit.tolist(), bound=random.integers(1, 4, n).tolist(), task=task,
        most=random.integers(1, 4, max(task) + 1).tolist(), apart=[(0, 1), (2, 5), (7, 11)],
    )  # fmt: skip
    plain = best_contents(*sack.arguments, 0, 20 * ENOUGH, 10, GO_ON)
    tabled = best_contents_by_tables(*sack.arguments, 0, 20 * ENOUGH, 10, GO_ON)
    assert (plain[1], tabled[1]) == (True, True)
    assert plain[0] == tabled[0]
    assert sorted(plain[2].tolist()) == sorted(tabled[2].tolist())
    assert faults(sack, 0, plain) == faults(sack, 0, tabled) == []
