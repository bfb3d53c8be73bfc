"""Test groups of tasks that are together: at size, on three GPU types, on cut GPUs, and in exact numbers of copies."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from itertools import chain

from hypothesis import given

from planner.problem.co_location import Apart, AtMost, Rule, Together
from planner.problem.plan import Cause, GpuGroup, Plan, Replicas, Status, cost_of
from planner.problem.problem import GpuType, Layout, Option, Place, Problem, Task
from planner.problem.verify import violations
from planner.solver.bundles import bundles
from planner.solver.column_model import build
from planner.solver.greedy import pack
from planner.solver.limits import SearchLimits
from planner.solver.presolve import reduce, unplaceable
from planner.solver.search_state import SearchState
from planner.solver.slices import mend, search_slices
from planner.solver.solve import solve
from tests.builders.brute_force import least_cost
from tests.builders.problems import TINY, together_problems, too_many, whole_gpus

PAIR = Together(tasks=(0, 1))


def exact(problem: Problem, *rules: Rule) -> Problem:
    """Return the problem with exact numbers of copies and with these rules."""
    return replace(problem, tasks=tuple(replace(task, exact=True) for task in problem.tasks), rules=rules)


def copies(plan: Plan) -> Counter[int]:
    """Count the replicas of each task."""
    found: Counter[int] = Counter()
    for gpu in plan.gpus:
        for r in chain.from_iterable(gpu.contents):
            found[r.task] += r.count * gpu.count
    return found


def three_types(n_tasks: int) -> Problem:
    """Draw models with three batch sizes on each of three GPU types that differ in size and cost."""
    draw = random.Random(5)
    types = [("T4", 15000, 2), ("A10", 22500, 4), ("A100", 80000, 12)]
    tasks = []
    for i in range(n_tasks):
        memory, busy = draw.randint(500, 9000), draw.randint(5, 60)
        options = tuple(
            Option(place=p, load=(memory * b, busy // (p + 1)), supply=2 * b * (p + 1))
            for p in range(3)
            for b in (1, 2, 3)
        )
        tasks.append(Task(name=f"m{i}", options=options, demand=draw.randint(2, 20)))
    return Problem(
        resources=("memory", "utilization"),
        places=tuple(Place(name=name, capacity=(memory, 100)) for name, memory, _ in types),
        gpus=tuple(
            GpuType(name=name, cost=cost, layouts=(Layout(name="whole", places=(i,)),))
            for i, (name, _, cost) in enumerate(types)
        ),
        tasks=tuple(tasks),
        rules=(PAIR,),
    )


def cut_gpus(n_tasks: int, *rules: Rule) -> Problem:
    """Draw models in one to three copies on GPUs that stay whole, or are cut into two or four slices."""
    draw = random.Random(7)
    sizes = [draw.randint(1, 9) for _ in range(n_tasks)]
    return Problem(
        resources=("memory",),
        places=(Place(name="1", capacity=(40,)), Place(name="1/2", capacity=(20,)), Place(name="1/4", capacity=(10,))),
        gpus=(
            GpuType(
                name="A100",
                layouts=(
                    Layout(name="whole", places=(0,)),
                    Layout(name="halves", places=(1, 1), starts=(0, 4)),
                    Layout(name="mixed", places=(1, 2, 2), starts=(0, 4, 6)),
                    Layout(name="quarters", places=(2, 2, 2, 2), starts=(0, 2, 4, 6)),
                ),
            ),
        ),
        tasks=tuple(
            # A model is slower on a smaller slice: it runs well on the quarter, and needs more on the others.
            Task(
                name=f"m{i}",
                demand=draw.randint(1, 3),
                exact=True,
                options=(
                    Option(place=0, load=(2 * size,)),
                    Option(place=1, load=(size + 4,)),
                    Option(place=2, load=(size,)),
                ),
            )
            for i, size in enumerate(sizes)
        ),
        rules=rules,
    )  # fmt: skip


def test_pair_among_a_hundred_models_is_proven() -> None:
    """One pair that is together among a hundred models: when only the exact search knew it, nothing was found."""
    draw = random.Random(0)
    loads = [(draw.randint(150, 6000), draw.randint(2, 50)) for _ in range(100)]
    problem = exact(whole_gpus((16000, 100), loads, [draw.randint(1, 3) for _ in loads]), PAIR)
    plan = solve(problem, SearchLimits(seconds=30))
    assert plan.objective is not None
    assert plan.lower_bound >= 0.98 * plan.objective
    assert copies(plan) == {t: task.demand for t, task in enumerate(problem.tasks)}


def test_pair_among_five_models_on_three_gpu_types_is_proven() -> None:
    """Five models, two of them together, three GPU types: "no plan was found in the time" it was."""
    plan = solve(three_types(5), SearchLimits(seconds=15))
    assert plan.status is Status.OPTIMAL


def test_pair_on_cut_gpus_is_planned_in_exact_copies() -> None:
    """Thirty models on cut GPUs, two of them together: a good plan, and no copy more than asked for."""
    problem = cut_gpus(30, PAIR)
    plan = solve(problem, SearchLimits(seconds=15))
    assert plan.objective is not None
    assert copies(plan) == {t: task.demand for t, task in enumerate(problem.tasks)}
    assert plan.lower_bound >= plan.objective - 1


def test_spreading_and_apart_on_cut_gpus_are_planned() -> None:
    """Forty models on cut GPUs, each spread and some apart: the plan is at most one above the bound."""
    spread = [AtMost(tasks=(t,), most=1) for t in range(40)]
    problem = cut_gpus(40, *spread, Apart(tasks=(2, 3, 4)))
    plan = solve(problem, SearchLimits(seconds=15))
    assert plan.objective is not None
    assert copies(plan) == {t: task.demand for t, task in enumerate(problem.tasks)}
    assert plan.lower_bound >= plan.objective - 1


def test_exact_copies_that_do_not_fit_together_have_no_plan() -> None:
    """2 x 4 and 1 x 4 of 10: the one copy cannot be with both others, and a second copy of it was not asked for.

    Where copies are not exact, a second one is: 2 GPUs. The third model is not why there is no plan.
    """
    base = whole_gpus((10,), [(4,), (4,), (3,)], [2, 1, 5])
    plan = solve(exact(base, PAIR), SearchLimits(seconds=10))
    assert plan.status is Status.INFEASIBLE
    assert [(u.task, u.cause) for u in plan.unplaced] == [(0, Cause.NO_ROOM), (1, Cause.NO_ROOM)]
    loose = solve(replace(base, tasks=base.tasks[:2], rules=(PAIR,)), SearchLimits(seconds=10))
    assert (loose.status, loose.objective, copies(loose)[1]) == (Status.OPTIMAL, 2, 2)


def test_copies_beyond_the_demand_are_left_out() -> None:
    """3 and 5 copies of 3 and 2 of 10 on three GPUs: 3 + 2 x 2 each would be six; five are placed."""
    problem = exact(whole_gpus((7,), [(3,), (2,)], [3, 5]), PAIR)
    plan = solve(problem, SearchLimits(seconds=10))
    assert (plan.status, plan.objective) == (Status.OPTIMAL, 3)
    assert copies(plan) == {0: 3, 1: 5}


def test_more_copies_than_asked_for_are_found() -> None:
    """A plan with two copies of an exact task of one, which keep a group together, is not right."""
    problem = exact(whole_gpus((10,), [(4,), (4,)], [2, 1]), PAIR)
    both = (Replicas(task=0, option=0), Replicas(task=1, option=0))
    plan = Plan(status=Status.FEASIBLE, gpus=(GpuGroup(gpu=0, layout=0, contents=(both,), count=2),), objective=2)
    assert violations(plan, problem) == ("m1: 2 replicas where 1 were asked for",)


def test_bundles_are_those_that_a_plan_may_have() -> None:
    """2 and 3 copies: all five on a GPU, or one of the first with one or two of the second."""
    problem = exact(whole_gpus((100,), [(4,), (4,)], [2, 3]), PAIR)
    found, complete = bundles(problem, (0, 1), (0,), [2, 3])
    counts = {tuple(n for _, _, _, n in bundle.parts) for bundle in found}
    assert (counts, complete) == ({(1, 1), (1, 2), (2, 3)}, True)


def test_bundles_that_are_too_many_are_sampled() -> None:
    """Two models with 40 options each and 30 replicas have more bundles than are kept: that is said."""
    options = tuple(Option(place=0, load=(1 + i, 41 - i), supply=1 + i % 3) for i in range(40))
    tasks = tuple(Task(name=f"m{i}", options=options, demand=30) for i in range(2))
    problem = replace(whole_gpus((1000, 1000), [(1, 1)]), tasks=tasks, rules=(PAIR,))
    found, complete = bundles(problem, (0, 1), (0,), [30, 30])
    assert not complete
    assert 0 < len(found) <= 3000


def test_slices_are_put_on_gpus_by_the_rules() -> None:
    """Four halves with a and two with b on three GPUs, a at most once on a GPU: what may join no GPU is left out."""
    problem = cut_gpus(2, AtMost(tasks=(0,), most=1))
    a, b = (Replicas(task=0, option=1),), (Replicas(task=1, option=1),)
    groups = (GpuGroup(gpu=0, layout=1, contents=(a, a), count=2), GpuGroup(gpu=0, layout=1, contents=(b, b)))
    mended = mend(groups, problem)
    assert Counter({g.contents: g.count for g in mended}) == {(a, b): 2, (a, ()): 1}


@given(together_problems(sliced=True))
@TINY
def test_search_by_slices_encloses_the_optimum(problem: Problem) -> None:
    """By patterns of slices alone, the bound is never above the least cost, and every plan keeps the rules."""
    if too_many(problem) or unplaceable(problem):
        return
    reduction = reduce(problem)
    state = SearchState(problem=reduction.problem, limits=SearchLimits(seconds=5))
    model = build(reduction.problem, whole_layouts=True)
    first = pack(model, model.demand, model.replicas, state.limits, rule=0)
    if first is None:
        return
    state.offer(first)
    search_slices(state, model)
    expected = least_cost(problem)
    assert expected is not None
    assert state.bound <= expected
    gpus = reduction.expand(state.gpus)
    plan = Plan(status=Status.FEASIBLE, gpus=gpus, objective=cost_of(gpus, problem))
    assert violations(plan, problem) == ()
