"""Test set partitioning and its list of patterns: against brute force, and on instances of Hard28."""

from __future__ import annotations

from dataclasses import replace
from itertools import count, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.packing.instances import counted, hard28
from planner.problem.co_location import AtMost
from planner.problem.plan import Status
from planner.solver.column_generation.close_patterns import close_patterns, contents_above, is_countable, most_profit
from planner.solver.column_generation.generate import generate
from planner.solver.column_generation.master import Master
from planner.solver.column_generation.search import _singles
from planner.solver.column_generation.set_partitioning import Partitioning
from planner.solver.column_model import ColumnModel, Pattern, build
from planner.solver.limits import SearchLimits
from planner.solver.presolve import reduce
from planner.solver.solve import solve
from tests.builders.knapsacks import examples
from tests.builders.problems import whole_gpus

LOADS = st.lists(st.integers(1, 12), min_size=1, max_size=7)


def least_gpus(loads: list[int], room: int) -> int:
    """Return the fewest GPUs by trying every assignment, the first copy on the first GPU and so on."""

    def go_on(i: int, rooms: list[int]) -> int:
        if i == len(loads):
            return len(rooms)
        used = [go_on(i + 1, [*rooms, room - loads[i]])]
        for g, left in enumerate(rooms):
            if loads[i] <= left:
                used.append(go_on(i + 1, [*rooms[:g], left - loads[i], *rooms[g + 1 :]]))
        return min(used)

    return go_on(0, [])


def model_of(room: int, loads: list[int]) -> ColumnModel:
    """Return the column model of copies of models on GPUs with one resource."""
    kinds = sorted(set(loads), reverse=True)
    return build(reduce(counted([room], [[x] for x in kinds], [loads.count(x) for x in kinds])).problem)


def partition(room: int, loads: list[int], *, seconds: float = 20) -> tuple[int, Partitioning] | None:
    """List the patterns and search them; None where they are too many."""
    model = model_of(room, loads)
    close = close_patterns(model, _singles(model), below=None, limits=SearchLimits(seconds=seconds))
    if close is None:
        return None
    search = Partitioning(
        columns=close.patterns, demand=model.demand, gpus=close.gpus, limits=SearchLimits(seconds=seconds)
    )
    search.search()
    return close.gpus, search


@given(LOADS)
@examples(300)
def test_plan_is_found_just_where_there_is_one(loads: list[int]) -> None:
    """With as many GPUs as the LP's value, a plan is found if the optimum is that, else its absence is proven."""
    found = partition(12, loads)
    assert found is not None
    gpus, search = found
    expected = least_gpus(loads, 12)
    assert search.infeasible == (expected > gpus)
    assert (search.counts is not None) == (expected <= gpus)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=6), st.integers(1, 5), st.data())
@examples(300)
def test_claims_about_any_columns_are_those_of_enumeration(demand: list[int], gpus: int, data: st.DataObject) -> None:
    """From any list of columns, a plan is found just where some choice of so many columns serves all exactly.

    Where none does, the search may end without a proof, as these numbers of GPUs are not those of the LP.
    """
    n = len(demand)
    demand = [1 + d % 2 for d in demand]
    column = st.lists(st.integers(0, 1), min_size=n, max_size=n).map(tuple)
    columns = sorted(data.draw(st.sets(column, min_size=1, max_size=6)))
    search = Partitioning(
        columns=[Pattern(0, tuple((i, x) for i, x in enumerate(c) if x)) for c in columns],
        demand=np.array(demand),
        gpus=gpus,
        limits=SearchLimits(seconds=20),
    )
    search.search()
    possible = any(
        sum(counts) <= gpus
        and all(sum(k * c[i] for k, c in zip(counts, columns, strict=True)) == demand[i] for i in range(n))
        for counts in product(range(3), repeat=len(columns))
    )
    assert not (search.infeasible and possible)
    assert (search.counts is not None) == possible


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(-3, 9)), min_size=1, max_size=5), st.data())
@examples(500)
def test_contents_are_all_that_earn_enough(items: list[tuple[int, int, int]], data: st.DataObject) -> None:
    """The list has every content that fits and earns at least the given profit, each once."""
    load, bound, profit = (np.array(column, dtype=np.int64) for column in zip(*items, strict=True))
    room = data.draw(st.integers(0, 20))
    least = data.draw(st.integers(-5, 30))
    number, found = contents_above(load, bound, profit, room, most_profit(load, bound, profit, room), least, 2_000)
    every = [np.array(c) for c in product(*(range(n + 1) for n in bound))]
    expected = {tuple(c.tolist()) for c in every if c @ load <= room and c @ profit >= least}
    assert number == len(expected)
    assert {tuple(row.tolist()) for row in found} == expected


@pytest.mark.parametrize(("number", "source"), [(119, "set partitioning"), (14, "set partitioning"), (13, None)])
def test_hard28_is_proven_in_seconds(number: int, source: str | None) -> None:
    """In 119 and 14 the optimum is one above the LP's bound, so only set partitioning proves it; 13 is at the bound."""
    optimum, loads = hard28()[number]
    plan = solve(counted([1000], [[x] for x in loads], [1] * len(loads)), SearchLimits(seconds=60))
    assert (plan.status, plan.objective) == (Status.OPTIMAL, optimum)
    assert source is None or plan.bound_source == source


def test_search_ends_at_its_limits_without_a_claim() -> None:
    """A search that is stopped after a few LPs has neither found a plan nor proven that there is none."""
    _, loads = hard28()[359]
    model = model_of(1000, loads)
    needs, limits = model.needs(model.demand, model.replicas), SearchLimits(seconds=60)
    master = Master(model, needs, _singles(model))
    generate(model, master, needs, model.demand, model.replicas, limits=limits)
    close = close_patterns(model, master.columns, below=None, limits=limits)
    assert close is not None
    asked = count()
    stopped = SearchLimits(stop=lambda: next(asked) > 20)
    search = Partitioning(columns=close.patterns, demand=model.demand, gpus=close.gpus, limits=stopped)
    search.search()
    assert (search.counts, search.infeasible) == (None, False)
    assert next(asked) < 30


def test_only_counted_models_with_one_resource_are_listed() -> None:
    """Two resources that bind, rules, tolerances, and tables of more than 32 MB are left to the other methods."""
    assert is_countable(build(whole_gpus((10,), [(6,), (4,)])))
    assert not is_countable(build(whole_gpus((10, 10), [(6, 2), (4, 5)])))
    ruled = whole_gpus((10,), [(6,), (4,)])
    assert not is_countable(build(replace(ruled, rules=(AtMost(tasks=(0,), most=1),))))
    assert not is_countable(build(whole_gpus((10**9,), [(6 * 10**8,), (4 * 10**8,)])))
    first = ruled.tasks[0]
    tolerant = replace(first, options=(replace(first.options[0], tolerance=(8,)),))
    assert not is_countable(build(replace(ruled, tasks=(tolerant, *ruled.tasks[1:]))))
