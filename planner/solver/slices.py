"""Search where rules hold across the slices of a GPU: by patterns of slices, which are then put on GPUs by the rules.

Patterns of slices know the rules within a slice only, so their LP bounds the cost from below. The GPUs that have groups
of tasks that are together are kept from the best plan so far; the others are planned anew.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from planner.problem.co_location import Alone, Apart, AtMost, Rule, Together
from planner.problem.plan import GpuGroup, Replicas
from planner.problem.problem import Problem
from planner.solver.column_generation.restricted_master import completed
from planner.solver.column_generation.search import bound_by_patterns, search_patterns
from planner.solver.column_model import ColumnModel, build
from planner.solver.search_state import SearchState

_BOUND_SHARE, _PLANS_SHARE = 0.4, 0.8  # of the time left, for the bound of groups, and for the search by slices


def without_together(problem: Problem) -> Problem:
    """Return the problem without the rules that tasks are together: it costs no more."""
    if not problem.together:
        return problem
    return replace(problem, rules=tuple(rule for rule in problem.rules if not isinstance(rule, Together)))


def search_slices(state: SearchState, model: ColumnModel) -> None:
    """Raise the bound, and look for cheaper plans.

    Parameters
    ----------
    model : with whole layouts as places
    """
    problem = state.problem
    fixed = _with_groups(state.gpus, problem)
    if problem.together:
        bound_by_patterns(state, build(without_together(problem)), seconds=state.limits.left_s * _BOUND_SHARE)
        if state.done or state.limits.over or state.cost is None:
            return
    rest = _without(fixed, without_together(problem))

    def offer(gpus: tuple[GpuGroup, ...]) -> None:
        mended = completed(model, (*fixed, *mend(gpus, rest)), state.limits)
        if mended is not None:
            state.offer(mended)

    state.say("column generation")
    limits = state.limits.within(state.limits.left_s * _PLANS_SHARE)
    part = SearchState(problem=rest, limits=limits, on_offer=offer)
    search_patterns(part, build(rest))
    if not problem.together:
        state.prove(part.bound, part.source)


def _with_groups(gpus: Iterable[GpuGroup], problem: Problem) -> tuple[GpuGroup, ...]:
    """The GPUs that have a group of tasks that are together."""
    members = {t for group in problem.together for t in group}
    return tuple(gpu for gpu in gpus if any(r.task in members for r in chain.from_iterable(gpu.contents)))


def _without(fixed: Iterable[GpuGroup], problem: Problem) -> Problem:
    """What is still to be served beside these GPUs."""
    supply: Counter[int] = Counter()
    replicas: Counter[int] = Counter()
    used: Counter[int] = Counter()
    for gpu in fixed:
        used[gpu.gpu] += gpu.count
        for r in chain.from_iterable(gpu.contents):
            supply[r.task] += gpu.count * r.count * problem.tasks[r.task].options[r.option].supply
            replicas[r.task] += gpu.count * r.count
    tasks = []
    for t, task in enumerate(problem.tasks):
        demand, least = max(0, task.demand - supply[t]), max(0, task.min_replicas - replicas[t])
        options = task.options if demand or least else ()
        tasks.append(replace(task, demand=demand, min_replicas=least, options=options))
    gpus = tuple(
        gpu if gpu.limit is None else replace(gpu, limit=gpu.limit - used[g]) for g, gpu in enumerate(problem.gpus)
    )
    return replace(problem, tasks=tuple(tasks), gpus=gpus)


@dataclass(slots=True)
class _Gpu:
    """A GPU that is being filled."""

    gpu: int
    layout: int
    contents: list[tuple[Replicas, ...]]
    free: dict[int, list[int]] = field(default_factory=dict)  # by place, its empty positions
    on_gpu: Counter[int] = field(default_factory=Counter)


def mend(gpus: Iterable[GpuGroup], problem: Problem) -> tuple[GpuGroup, ...]:
    """Put the contents of slices on the same GPUs so that the rules hold on each.

    The contents with the most replicas that rules name come first; those that may join no GPU are left out.
    """
    named = problem.ruled
    slots: list[_Gpu] = []
    waiting: list[tuple[int, tuple[Replicas, ...]]] = []
    for group in gpus:
        places = problem.gpus[group.gpu].layouts[group.layout].places
        waiting += [(p, c) for p, c in zip(places, group.contents, strict=True) if c] * group.count
        for _ in range(group.count):
            slot = _Gpu(gpu=group.gpu, layout=group.layout, contents=[()] * len(places))
            for position, place in enumerate(places):
                slot.free.setdefault(place, []).append(position)
            slots.append(slot)
    waiting.sort(key=lambda pair: -sum(r.count for r in pair[1] if r.task in named))
    by_place: dict[int, list[_Gpu]] = defaultdict(list)
    for slot in slots:
        for place in slot.free:
            by_place[place].append(slot)
    of_task = _rules_by_task(problem.rules)
    for place, content in waiting:
        for slot in by_place[place]:
            if slot.free[place] and _may_join(content, slot.on_gpu, of_task):
                slot.contents[slot.free[place].pop(0)] = content
                for r in content:
                    slot.on_gpu[r.task] += r.count
                break
    alike = Counter((slot.gpu, slot.layout, tuple(slot.contents)) for slot in slots if slot.on_gpu)
    return tuple(GpuGroup(gpu=g, layout=j, contents=c, count=n) for (g, j, c), n in alike.items())


def _rules_by_task(rules: Sequence[Rule]) -> dict[int, list[Rule]]:
    of_task: dict[int, list[Rule]] = defaultdict(list)
    for rule in rules:
        for t in set(rule.tasks):
            of_task[t].append(rule)
    return of_task


def _may_join(content: tuple[Replicas, ...], on_gpu: Counter[int], of_task: dict[int, list[Rule]]) -> bool:
    """Whether replicas may be added to a GPU by the rules on both."""
    after = Counter(on_gpu)
    for r in content:
        after[r.task] += r.count
    for rule in (rule for t in after for rule in of_task.get(t, ())):
        here = [t for t in set(rule.tasks) if after[t]]
        if isinstance(rule, AtMost) and sum(after[t] for t in here) > rule.most:
            return False
        if isinstance(rule, Apart) and len(here) > 1:
            return False
        if isinstance(rule, Alone) and len(after) > 1:
            return False
    return True
