"""Test the plain pricing search against brute force on tiny knapsacks."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from planner.solver.column_generation.knapsack import best_contents
from planner.solver.column_generation.surrogate import linear_bound
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
    assert faults_of_proof(best_contents, sack, *about, 1, 3, 40) == []


@given(full_knapsacks(), near())
@examples(1000)
def test_contents_that_differ_by_a_unit_in_ten_trillion_are_distinguished(
    sack: Knapsack, about: tuple[int, int]
) -> None:
    """Rounding of the linear bound never prunes a content that exceeds the floor by one unit."""
    assert faults_of_proof(best_contents, sack, *about, 1, 3) == []


@given(large_knapsacks(), near())
@examples(1000)
def test_large_capacities_give_the_same_proof(sack: Knapsack, about: tuple[int, int]) -> None:
    """Limit and contents are also right for capacities in bytes and ten-millionths, and for zero loads."""
    assert faults_of_proof(best_contents, sack, *about, 1, 3) == []


@given(st.one_of(tiny_knapsacks(), full_knapsacks()), near(), st.sampled_from([1, 2, 40]))
@examples(1000)
def test_search_that_gives_up_claims_no_limit_below_the_best(sack: Knapsack, about: tuple[int, int], keep: int) -> None:
    """At its node limit the search returns -1 as limit, or where items tolerate less than the capacity a right one.

    The contents found are still allowed and above the floor.
    """
    profits, _ = contents(sack)
    floor = floor_near(profits, *about)
    for node_limit in (0, 2, 5, 12, 30):
        answer = best_contents(*sack.arguments, floor, node_limit, keep, GO_ON)
        at_most, exhausted, _, _ = answer
        assert faults(sack, floor, answer) == []
        best = max(floor, int(profits[0]))
        if exhausted:
            assert at_most == best
        else:
            assert at_most >= best if len(sack.sharing.reserve) else at_most == -1


def test_copies_that_fill_a_place_exactly_are_found() -> None:
    """A hundred copies of a hundredth of the place fit. Every copy once weighed 1e-12 too much, so the bound said that
    not all fit, and a limit of one unit below their profit was called proven."""
    sack = knapsack([(1,)], (100,), [10**11], bound=[100])
    at_most, exhausted, _, counts = best_contents(*sack.arguments, 10**13 - 1, ENOUGH, 1, GO_ON)
    assert (at_most, exhausted, counts.tolist()) == (10**13, True, [[100]])


def test_copies_that_take_nothing_leave_the_place_empty() -> None:
    """A thousand copies without load, worth 1 each, fit beside ten that fill the place. Together the thousand once
    took 1e-9 of it, and 10,000 units of the others' profit were missing from the bound."""
    sack = knapsack([(0,), (1,)], (10,), [1, 10**12], bound=[1000, 10])
    at_most, exhausted, _, counts = best_contents(*sack.arguments, 10**13 + 999, ENOUGH, 1, GO_ON)
    assert (at_most, exhausted, counts.tolist()) == (10**13 + 1000, True, [[1000, 10]])


def test_equal_contents_are_all_kept_or_as_many_as_asked_for() -> None:
    """Two of four items worth 5 fit: above the floor of 5 there are six pairs worth 10, but no single item."""
    sack = knapsack([(1,)] * 4, (2,), [5] * 4)
    for keep, expected in ((40, 6), (4, 4), (1, 1)):
        at_most, exhausted, kept, _ = best_contents(*sack.arguments, 5, ENOUGH, keep, GO_ON)
        assert (at_most, exhausted, kept.tolist()) == (10, True, [10] * expected)


def test_least_tolerant_item_limits_the_place() -> None:
    """Of 10, the first tolerates 5: with it 2 + 3 are worth 5, without it 3 + 3 + 3 are worth 9."""
    sack = knapsack([(2,), (3,)], (10,), [2, 3], bound=[1, 3], tolerance=[(5,), (10,)])
    at_most, exhausted, kept, counts = best_contents(*sack.arguments, 0, ENOUGH, 40, GO_ON)
    assert (at_most, exhausted) == (9, True)
    assert sorted(zip(kept.tolist(), counts.tolist(), strict=True)) == [
        (2, [1, 0]), (3, [0, 1]), (5, [1, 1]), (6, [0, 2]), (9, [0, 3]),
    ]  # fmt: skip


def test_failed_content_is_cut_off_with_its_supersets() -> None:
    """Two of the first beside one of the second failed: no content holds that, or more."""
    sack = knapsack([(1,), (1,)], (10,), [5, 4], bound=[3, 2], failed=[{0: 2, 1: 1}])
    at_most, exhausted, _, counts = best_contents(*sack.arguments, 0, ENOUGH, 40, GO_ON)
    assert (at_most, exhausted) == (15, True)
    assert not any(a >= 2 and b >= 1 for a, b in counts.tolist())


@given(
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=5),
    st.integers(0, 15),
)
@examples(1000)
def test_linear_bound_is_the_optimum_in_fractions(items: list[tuple[int, int, int]], capacity: int) -> None:
    """Dantzig's bound is the least value of the dual, at a price of 0 or at some item's profit per weight; whole
    copies are never worth more."""
    profit, weight, bound = (np.array(column, dtype=np.int64) for column in zip(*items, strict=True))
    prices = [0.0, *(p / w for p, w, _ in items if w)]
    dual = min(capacity * price + sum(b * max(0.0, p - w * price) for p, w, b in items) for price in prices)
    order = np.array(sorted(range(len(items)), key=lambda i: items[i][1] / items[i][0]), dtype=np.int64)
    value = linear_bound(profit.astype(np.float64), weight.astype(np.float64), bound, float(capacity), order)
    assert abs(value - dual) < 1e-9
    sack = knapsack([(w,) for _, w, _ in items], (capacity,), profit.tolist(), bound=bound.tolist())
    assert value > contents(sack)[0][0] - 1e-9


def test_search_that_is_stopped_claims_nothing() -> None:
    """A search that is stopped ends after its first content, with -1 as limit."""
    sack = knapsack([(3,), (4,), (5,)], (10,), [3, 4, 5])
    at_most, exhausted, kept, _ = best_contents(*sack.arguments, 0, ENOUGH, 40, np.ones(1, dtype=np.int64))
    assert (at_most, exhausted, len(kept)) == (-1, False, 1)
