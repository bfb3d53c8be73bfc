"""Check a plan against its problem; nothing here is imported from the solver."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from planner.problem.co_location import (
    Alone,
    Apart,
    AtMost,
    ContentRule,
    KnownToHold,
    Overloaded,
    Rule,
    Spare,
    Together,
    Within,
)
from planner.problem.plan import Plan, Replicas, Status, cost_of
from planner.problem.problem import Problem, Task


def violations(plan: Plan, problem: Problem) -> tuple[str, ...]:
    """Say in words everything that is wrong with a plan.

    Returns
    -------
    tuple of str
        Empty for a right plan. A plan without GPUs and without an objective (infeasible, unknown) claims
        nothing, so nothing is wrong with it.
    """
    if plan.objective is None:
        return () if not plan.gpus else ("GPUs are placed, but there is no objective",)
    malformed = tuple(_malformed(plan, problem))
    if malformed:
        return malformed
    found = [*_gpu_faults(plan, problem), *_fleet_faults(plan, problem), *_demand_faults(plan, problem)]
    if plan.objective != cost_of(plan.gpus, problem):
        found.append(f"objective {plan.objective}, but the GPUs cost {cost_of(plan.gpus, problem)}")
    if plan.lower_bound > plan.objective:
        found.append(f"lower bound {plan.lower_bound} above the objective {plan.objective}")
    if plan.status is Status.OPTIMAL and plan.lower_bound != plan.objective:
        found.append(f"called optimal at {plan.objective} with a lower bound of {plan.lower_bound}")
    if plan.status not in (Status.OPTIMAL, Status.FEASIBLE):
        found.append(f"a plan with the status {plan.status.value}")
    return tuple(found)


def _malformed(plan: Plan, problem: Problem) -> Iterator[str]:
    """Indices that point nowhere: nothing else can be checked with them."""
    for i, placed in enumerate(plan.gpus):
        if not 0 <= placed.gpu < len(problem.gpus) or placed.count < 1:
            yield f"group {i}: unknown GPU type {placed.gpu}, or a count of {placed.count}"
        elif not 0 <= placed.layout < len(problem.gpus[placed.gpu].layouts):
            yield f"group {i}: {problem.gpus[placed.gpu].name} has no layout {placed.layout}"
        elif len(placed.contents) != len(problem.gpus[placed.gpu].layouts[placed.layout].places):
            yield f"group {i}: {len(placed.contents)} contents do not match the layout's places"
        elif placed.nodes and len(placed.nodes) != placed.count:
            yield f"group {i}: {len(placed.nodes)} nodes for {placed.count} GPUs"
        for replicas in (r for content in placed.contents for r in content):
            if not 0 <= replicas.task < len(problem.tasks) or replicas.count < 1:
                yield f"group {i}: unknown task {replicas.task}, or a count of {replicas.count}"
            elif not 0 <= replicas.option < len(problem.tasks[replicas.task].options):
                yield f"group {i}: task {problem.tasks[replicas.task].name} has no option {replicas.option}"


def _gpu_faults(plan: Plan, problem: Problem) -> Iterator[str]:
    naming = _rules_by_task(problem)
    for i, placed in enumerate(plan.gpus):
        layout = problem.gpus[placed.gpu].layouts[placed.layout]
        on_gpu: Counter[int] = Counter()
        for where, content in zip(layout.places, placed.contents, strict=True):
            place = problem.places[where]
            used = [0] * len(problem.resources)
            for replicas in content:
                option = problem.tasks[replicas.task].options[replicas.option]
                on_gpu[replicas.task] += replicas.count
                if option.place != where:
                    name = problem.tasks[replicas.task].name
                    yield f"group {i}: {name} runs on {place.name} by another place's option"
                used = [u + replicas.count * x for u, x in zip(used, option.load, strict=True)]
            for resource, u, capacity in zip(problem.resources, used, place.capacity, strict=True):
                if u > capacity:
                    yield f"group {i}: {resource} on {place.name} is {u} of {capacity}"
            if not _is_known_to_hold(content, naming, problem):
                yield from _tolerance_faults(i, place.name, used, content, problem)
            yield from _overload_faults(i, place.name, content, naming, problem)
        yield from _rule_faults(i, on_gpu, _rules_of(on_gpu, naming, problem), problem)


def _tolerance_faults(
    group: int, place: str, used: Iterable[int], content: Iterable[Replicas], problem: Problem
) -> Iterator[str]:
    for replicas in content:
        task = problem.tasks[replicas.task]
        tolerance = task.options[replicas.option].tolerance or (None,) * len(problem.resources)
        for resource, u, most in zip(problem.resources, used, tolerance, strict=True):
            if most is not None and u > most:
                yield f"group {group}: {resource} on {place} is {u}, and {task.name} tolerates {most}"


def _is_known_to_hold(content: Iterable[Replicas], naming: Mapping[int, list[int]], problem: Problem) -> bool:
    """Whether some measured content that held has all of these replicas, or more."""
    held: Counter[tuple[int, int]] = Counter()
    for r in content:
        held[r.task, r.option] += r.count
    rules = _rules_of({t for t, _ in held}, naming, problem)
    return any(isinstance(rule, KnownToHold) and rule.covers((t, k, n) for (t, k), n in held.items()) for rule in rules)


def _overload_faults(
    group: int, place: str, content: Iterable[Replicas], naming: Mapping[int, list[int]], problem: Problem
) -> Iterator[str]:
    """Contents that hold all of what failed together."""
    here = list(content)
    for rule in _rules_of({r.task for r in here}, naming, problem):
        if isinstance(rule, Overloaded) and all(
            sum(r.count for r in here if r.task == part.task and r.option in part.options) >= part.count
            for part in rule.parts
        ):
            yield f"group {group}: {' and '.join(problem.tasks[t].name for t in rule.tasks)} overload {place}"


def _rules_by_task(problem: Problem) -> dict[int, list[int]]:
    """For each task the indices of the rules that name it: a GPU is checked against the rules of its tasks only."""
    naming: dict[int, list[int]] = defaultdict(list)
    for i, rule in enumerate(problem.rules):
        for t in set(rule.tasks):
            naming[t].append(i)
    return naming


def _rules_of(tasks: Iterable[int], naming: Mapping[int, list[int]], problem: Problem) -> list[Rule]:
    return [problem.rules[i] for i in sorted({i for t in tasks for i in naming.get(t, ())})]


def _rule_faults(group: int, on_gpu: Counter[int], rules: Iterable[Rule], problem: Problem) -> Iterator[str]:
    for rule in rules:
        if isinstance(rule, Spare | ContentRule):  # the one is about the whole plan, the other about a place
            continue
        fault = _RULES[type(rule)](rule, on_gpu, [problem.tasks[t].name for t in sorted(set(rule.tasks) & set(on_gpu))])
        if fault:
            yield f"group {group}: {fault}"


def _at_most_fault(rule: Any, on_gpu: Counter[int], here: list[str]) -> str:
    count = sum(on_gpu[t] for t in set(rule.tasks))
    return f"{count} replicas of {' and '.join(here)} on one GPU, at most {rule.most}" if count > rule.most else ""


def _alone_fault(rule: Any, on_gpu: Counter[int], here: list[str]) -> str:
    return f"{' and '.join(here)} wants its GPU alone" if here and len(on_gpu) > 1 else ""


def _apart_fault(rule: Any, on_gpu: Counter[int], here: list[str]) -> str:
    return f"{' and '.join(here)} must be apart" if len(here) > 1 else ""


def _together_fault(rule: Any, on_gpu: Counter[int], here: list[str]) -> str:
    return f"{', '.join(here)} without the rest of the group" if 0 < len(here) < len(set(rule.tasks)) else ""


_RULES: dict[type[Rule], Callable[[Any, Counter[int], list[str]], str]] = {
    AtMost: _at_most_fault,
    Alone: _alone_fault,
    Apart: _apart_fault,
    Together: _together_fault,
}


def _fleet_faults(plan: Plan, problem: Problem) -> Iterator[str]:
    used: Counter[int] = Counter()
    for placed in plan.gpus:
        used[placed.gpu] += placed.count
    for g, count in used.items():
        limit = problem.gpus[g].limit
        if limit is not None and count > limit:
            yield f"{count} GPUs of type {problem.gpus[g].name}, at most {limit}"
    yield from _node_faults(plan, problem)


def _node_faults(plan: Plan, problem: Problem) -> Iterator[str]:
    on_node: Counter[tuple[int, int]] = Counter()
    replicas_on_node: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    nodes_matter, naming = problem.nodes_matter, _rules_by_task(problem)
    for i, placed in enumerate(plan.gpus):
        if nodes_matter and not placed.nodes:
            yield f"group {i}: no node is named, and a task is to be spread over nodes"
        for node in placed.nodes:
            on_node[placed.gpu, node] += 1
            for replicas in (r for content in placed.contents for r in content):
                replicas_on_node[placed.gpu, node][replicas.task] += replicas.count
    for (g, node), count in on_node.items():
        gpu = problem.gpus[g]
        if node < 0 or not gpu.in_node(node):
            yield f"{gpu.name} has no node {node}"
        elif count > gpu.in_node(node):
            yield f"{count} GPUs in node {node} of {gpu.name}, which holds {gpu.in_node(node)}"
    for (g, node), on_this in replicas_on_node.items():
        rules = _rules_of(on_this, naming, problem)
        yield from _spread_faults(on_this, f"node {node} of {problem.gpus[g].name}", rules, problem)


def _spread_faults(on_node: Counter[int], where: str, rules: Iterable[Rule], problem: Problem) -> Iterator[str]:
    for rule in rules:
        count = sum(on_node[t] for t in set(rule.tasks))
        if isinstance(rule, AtMost) and rule.within is Within.NODE and count > rule.most:
            names = " and ".join(problem.tasks[t].name for t in rule.tasks if on_node[t])
            yield f"{count} replicas of {names} on {where}, at most {rule.most}"


def _demand_faults(plan: Plan, problem: Problem) -> Iterator[str]:
    supply: Counter[int] = Counter()
    replicas_of: Counter[int] = Counter()
    for placed in plan.gpus:
        for replicas in (r for content in placed.contents for r in content):
            option = problem.tasks[replicas.task].options[replicas.option]
            supply[replicas.task] += placed.count * replicas.count * option.supply
            replicas_of[replicas.task] += placed.count * replicas.count
    if plan.unplaced:
        yield f"called a plan, but {len(plan.unplaced)} tasks are unplaced"
    for t, task in enumerate(problem.tasks):
        yield from _task_faults(task, supply[t], replicas_of[t])
    yield from _loss_faults(plan, problem)
    grouped = {t for rule in problem.rules if isinstance(rule, Together) for t in rule.tasks}
    for t in sorted(grouped):
        task = problem.tasks[t]
        if task.exact and replicas_of[t] > task.demand:
            yield f"{task.name}: {replicas_of[t]} replicas where {task.demand} were asked for"


def _loss_faults(plan: Plan, problem: Problem) -> Iterator[str]:
    """For each task that is to survive a loss: what is left without the GPUs (or nodes) that hold most of it."""
    rules = [(t, rule) for rule in problem.rules if isinstance(rule, Spare) for t in rule.tasks]
    held = {within: _held(plan, problem, within) for within in {rule.within for _, rule in rules}}
    for t, rule in rules:
        task, here = problem.tasks[t], held[rule.within].get(t, {}).values()
        supply = sum(n * one for one, _, n in here) - _largest(rule.lost, ((one, n) for one, _, n in here))
        replicas = sum(n * one for _, one, n in here) - _largest(rule.lost, ((one, n) for _, one, n in here))
        if supply < task.demand or replicas < task.min_replicas:
            lost = f"{rule.lost} {rule.within.value}{'s' if rule.lost > 1 else ''}"
            yield f"{task.name}: without {lost}, {supply} of {task.demand} served by {replicas} replicas"


def _held(plan: Plan, problem: Problem, within: Within) -> dict[int, dict[tuple[int, int], tuple[int, int, int]]]:
    """For each task, by group of equal GPUs or by node: its supply and replicas there, and how many such there are."""
    held: dict[int, dict[tuple[int, int], tuple[int, int, int]]] = defaultdict(dict)
    for i, placed in enumerate(plan.gpus):
        by_node = within is Within.NODE and bool(placed.nodes)
        places = [((placed.gpu, node), 1) for node in placed.nodes] if by_node else [((-1, i), placed.count)]
        for r in (r for content in placed.contents for r in content):
            supply = r.count * problem.tasks[r.task].options[r.option].supply
            for where, n in places:
                before = held[r.task].get(where, (0, 0, n))
                held[r.task][where] = (before[0] + supply, before[1] + r.count, n)
    return held


def _largest(count: int, values: Iterable[tuple[int, int]]) -> int:
    """Add up the `count` largest of values that each occur so many times."""
    total = 0
    for value, times in sorted(values, reverse=True):
        total += value * min(count, times)
        count -= min(count, times)
    return total


def _task_faults(task: Task, supply: int, replicas: int) -> Iterator[str]:
    if supply < task.demand:
        yield f"{task.name}: {supply} of {task.demand} served"
    if replicas < task.min_replicas:
        yield f"{task.name}: {replicas} of at least {task.min_replicas} replicas"
