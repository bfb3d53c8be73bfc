"""Test the conversion of figures to the solver's integers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from planner.formulation.integer_units import coarsen, rate_demand, rate_supply, share_capacity, share_load


@given(st.lists(st.integers(1, 99), min_size=1, max_size=8))
def test_whole_percentages_that_sum_to_a_threshold_are_within_it(percents: list[int]) -> None:
    """48 % and 52 % fit within 100 % despite binary rounding; 1 % more does not."""
    loads = sum(share_load(p / 100) for p in percents)
    assert loads <= share_capacity(sum(percents) / 100)
    assert loads > share_capacity((sum(percents) - 1) / 100)


def test_three_rounded_thirds_fit_into_one() -> None:
    """A third may be written as 33.33333333 %; three thirds must fit within 100 %."""
    assert share_load(0.6666666667) + 2 * share_load(0.1666666667) <= share_capacity(1.0)


def test_rate_is_met_by_the_exact_sum_of_its_replicas() -> None:
    """Two replicas of 29.886823824 infer/s serve 59.773647648 infer/s but not 59.78."""
    assert 2 * rate_supply(29.886823824) >= rate_demand(59.773647648)
    assert 2 * rate_supply(29.886823824) < rate_demand(59.78)


@given(
    st.lists(st.lists(st.integers(0, 50), min_size=2, max_size=2), min_size=1, max_size=5),
    st.integers(1, 12),
    st.integers(0, 2000),
    st.data(),
)
def test_coarser_numbers_admit_the_same_contents(
    small: list[list[int]], factor: int, capacity: int, data: st.DataObject
) -> None:
    """After division by the loads' common divisor the same selections fit as before."""
    loads = [[x * factor for x in load] for load in small]
    counts = data.draw(st.lists(st.integers(0, 4), min_size=len(loads), max_size=len(loads)))
    new_loads, ((first, second),) = coarsen(loads, [[capacity, capacity // 2]])
    for r, (before, after) in enumerate(((capacity, first), (capacity // 2, second))):
        fits_before = sum(n * load[r] for n, load in zip(counts, loads, strict=True)) <= before
        fits_after = sum(n * load[r] for n, load in zip(counts, new_loads, strict=True)) <= after
        assert fits_before == fits_after
