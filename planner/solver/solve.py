"""Solve a Problem: quick methods first, then column generation, then an exact search.

Greedy rules give plans and volumes a lower bound. Prices of resources give better ones of both where problems are
large or tasks have many options. Column generation raises the bound; diving and large neighbourhoods look for cheaper
plans. Where rules hold across the slices of a GPU, patterns are of whole GPUs, and patterns of slices give a bound as
well. Rules on nodes of limited number are for the exact search (CP-SAT), which knows individual GPUs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from planner.problem.co_location import ContentRule
from planner.problem.plan import Cause, GpuGroup, Plan, Status, Unplaced, cost_of
from planner.problem.problem import Problem
from planner.problem.verify import violations
from planner.solver.column_generation.search import bound_by_patterns, search_patterns
from planner.solver.column_model import ColumnModel, build
from planner.solver.cp_sat.model import search, slots_at_most
from planner.solver.greedy import RULES, compile_fill, pack
from planner.solver.limits import SearchLimits, interrupts_as_such
from planner.solver.lower_bounds import lower_bound
from planner.solver.presolve import reduce, unplaceable
from planner.solver.search_state import OnProgress, SearchState
from planner.solver.slices import search_slices, without_together
from planner.solver.spare import has_spare, search_with_spare
from planner.solver.surplus import without_surplus

_SMALL = 150  # integer variables up to which the exact search is tried before column generation
_EXACT = 200_000  # and up to which it is tried after it
_LAYOUT_ITEMS = 2_500  # items of whole layouts up to which patterns of them are searched
_GROUP_S = 1.0  # time to find out whether one group is why there is no plan
_QUICK = 0.1  # of the time for greedy plans, and of what is left for quick bounds; in large problems prices are better
_FIRST_PLAN_S = 0.5  # time that the first greedy plan may take even under shorter limits, so that there is a plan


def solve(problem: Problem, limits: SearchLimits | None = None, *, on_progress: OnProgress | None = None) -> Plan:
    """Serve every task at the least cost; infeasibility is a status, not an exception.

    Parameters
    ----------
    limits : SearchLimits, optional
        Once they are reached, the best plan so far is returned with its gap.
    on_progress : callable, optional
        Called with the best objective so far (None before there is one), the lower bound and the stage in words.

    Returns
    -------
    Plan
        The same for the same problem, seed and one worker, where it is proven within the time limit.

    Examples
    --------
    Two copies that take 6 of a GPU's 10 units each, and one that takes 4:

    >>> from planner import Problem, SearchLimits, solve
    >>> from planner.problem.problem import GpuType, Layout, Option, Place, Task
    >>> problem = Problem(
    ...     resources=("memory",),
    ...     places=(Place(name="T4", capacity=(10,)),),
    ...     gpus=(GpuType(name="T4", layouts=(Layout(name="whole", places=(0,)),)),),
    ...     tasks=(
    ...         Task(name="a", options=(Option(place=0, load=(6,)),), demand=2),
    ...         Task(name="b", options=(Option(place=0, load=(4,)),)),
    ...     ),
    ... )
    >>> found = solve(problem, SearchLimits(seconds=10))
    >>> found.status.value, found.n_gpus, found.lower_bound
    ('optimal', 2, 2)
    """
    too_big = unplaceable(problem)
    if too_big:
        return Plan(status=Status.INFEASIBLE, unplaced=too_big, bound_source="a task that fits nowhere")
    limits = limits or SearchLimits()
    reduction = reduce(problem)
    state = SearchState(problem=reduction.problem, limits=limits, on_progress=on_progress)
    with interrupts_as_such():
        _run(state)
    if state.cost is None:
        return _without_plan(state, problem)
    gpus = without_surplus(reduction.expand(state.gpus), problem)
    objective = cost_of(gpus, problem)
    plan = Plan(
        status=Status.OPTIMAL if state.bound >= objective else Status.FEASIBLE,
        gpus=gpus,
        objective=objective,
        lower_bound=min(state.bound, objective),
        bound_source=state.source,
    )
    wrong = violations(plan, problem)
    assert not wrong, wrong  # a wrong plan is our bug, never the user's
    return plan


def _without_plan(state: SearchState, problem: Problem) -> Plan:
    if not state.infeasible:
        return Plan(status=Status.UNKNOWN, lower_bound=state.bound, bound_source=state.source)
    wanted = [t for t, task in enumerate(problem.tasks) if task.demand or task.min_replicas]
    group = _impossible_group(problem, wanted, state.limits)
    named = tuple(
        Unplaced(task=t, missing=max(problem.tasks[t].demand, problem.tasks[t].min_replicas), cause=Cause.NO_ROOM)
        for t in group or wanted
    )
    return Plan(status=Status.INFEASIBLE, lower_bound=state.bound, bound_source=state.source, unplaced=named)


def _impossible_group(problem: Problem, wanted: list[int], limits: SearchLimits) -> list[int]:
    """The tasks of a group that cannot be together as asked, even without the other tasks; empty if there is none."""
    for group in problem.together:
        own = [t for t in group if t in wanted]
        if not own or len(own) == len(wanted):
            continue
        tasks = tuple(
            task if t in group else replace(task, demand=0, min_replicas=0, exact=False)
            for t, task in enumerate(problem.tasks)
        )
        if solve(replace(problem, tasks=tasks), limits.within(_GROUP_S)).status is Status.INFEASIBLE:
            return own
    return []


def _run(state: SearchState) -> None:
    if not state.problem.tasks:
        state.offer(())
        return
    if has_spare(state.problem):
        _run_with_spare(state)
        return
    across, sliced = _node_limits(state.problem), _rules_across_slices(state.problem)
    model = build(state.problem, whole_layouts=sliced)
    if not across:
        for gpus in _greedy(model, state.limits):
            state.offer(gpus)
    if not state.done:
        bounded = build(without_together(state.problem)) if sliced or model.grouped else model
        found = lower_bound(bounded, state.limits.within(state.limits.left_s * _QUICK))
        state.prove(found.value, found.source)
    if not state.done and (across or _variables(state) <= _SMALL):
        state.say("exact search")
        _search_exactly(state, seconds=state.limits.left_s if across else 1.0)
    if not state.done and not across and not state.limits.over:
        _search_by_patterns(state, model, sliced=sliced)
    if not state.done and not across and not state.limits.over and _variables(state) <= _EXACT:
        state.say("exact search")
        _search_exactly(state, seconds=state.limits.left_s)


def _run_with_spare(state: SearchState) -> None:
    """The exact search first where it is quick, and last where the problem is not too large for it."""
    if _variables(state) <= _SMALL:
        state.say("exact search")
        _search_exactly(state, seconds=1.0)
    if not state.done:
        search_with_spare(state, solve)
    if not state.done and not state.limits.over and _variables(state) <= _EXACT:
        state.say("exact search")
        _search_exactly(state, seconds=state.limits.left_s)


def _search_by_patterns(state: SearchState, model: ColumnModel, *, sliced: bool) -> None:
    if sliced:
        search_slices(state, model)
    elif not model.complete:
        relaxed = build(without_together(state.problem))
        bound_by_patterns(state, relaxed, seconds=state.limits.left_s / 3)
    few = not sliced or sum(len(items.task) for items in model.items.values()) <= _LAYOUT_ITEMS
    if few and not state.done and not state.limits.over:
        search_patterns(state, model)


def _node_limits(problem: Problem) -> bool:
    """Whether replicas are counted on nodes of which there is a limited number: only the exact search knows nodes."""
    return problem.nodes_matter and any(gpu.limit is not None for gpu in problem.gpus)


def _rules_across_slices(problem: Problem) -> bool:
    """Whether some rule cannot be kept by the content of each slice alone."""
    sliced = any(len(layout.places) > 1 for gpu in problem.gpus for layout in gpu.layouts)
    return sliced and any(not isinstance(rule, ContentRule) for rule in problem.rules)


def _variables(state: SearchState) -> int:
    problem = state.problem
    per_gpu = [
        sum(
            max(layout.places.count(place) for layout in gpu.layouts) * sum(o.place == place for o in options)
            for place in {p for layout in gpu.layouts for p in layout.places}
        )
        for gpu, options in ((g, [o for task in problem.tasks for o in task.options]) for g in problem.gpus)
    ]
    upper = None if state.cost is None else state.cost - 1
    return sum(n * slots for n, slots in zip(per_gpu, slots_at_most(problem, upper), strict=True))


def _greedy(model: ColumnModel, limits: SearchLimits) -> Iterable[tuple[GpuGroup, ...]]:
    compile_fill(model)  # now, so that the first plan's time does not include that
    quick = limits.within(limits.left_s * _QUICK)
    first = quick.at_least(_FIRST_PLAN_S)
    for rule in range(len(RULES)):
        groups = pack(model, model.demand, model.replicas, quick if rule else first, rule=rule)
        if groups is not None:
            yield groups


def _search_exactly(state: SearchState, *, seconds: float) -> None:
    found = search(
        state.problem,
        upper_bound=None if state.cost is None else state.cost - 1,
        lower_bound=state.bound,
        limits=state.limits.within(seconds),
    )
    if found.status is Status.INFEASIBLE:
        if state.cost is None:
            state.infeasible, state.source = True, "exact search"
        else:
            state.prove(state.cost, "exact search")
        return
    if found.gpus:
        state.gpus, state.cost = found.gpus, cost_of(found.gpus, state.problem)
    state.prove(found.lower_bound, "exact search")
