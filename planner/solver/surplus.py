"""Take replicas that serve nothing that is asked for out of a plan: the searches leave some where they cost nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from planner.problem.co_location import Spare
from planner.problem.plan import GpuGroup, Replicas
from planner.problem.problem import Problem
from planner.solver.presolve import merged

Excess = Counter[tuple[int, int]]  # replicas to take out, by task and option


def exact_tasks(problem: Problem) -> frozenset[int]:
    """Return the tasks that ask for a number of copies; of groups that are together, the searches count exactly."""
    exact = frozenset(t for t, task in enumerate(problem.tasks) if task.exact)
    return exact - {t for group in problem.together for t in group}


def without_surplus(gpus: Sequence[GpuGroup], problem: Problem) -> tuple[GpuGroup, ...]:
    """Return a plan without the replicas that its tasks' demands are met without.

    Replicas of tasks that are together, or of which some may be lost, stay: others may need them.
    """
    excess = _excess(gpus, problem)
    if not excess:
        return tuple(gpus)
    found = []
    for group in gpus:
        for one in _split(group, any(excess[r.task, r.option] for content in group.contents for r in content)):
            contents = tuple(_reduced(content, excess) for content in one.contents)
            if any(contents):
                found.append(replace(one, contents=contents))
    return merged(found)


def _excess(gpus: Sequence[GpuGroup], problem: Problem) -> Excess:
    """Count the replicas that are not needed; of a task, first those that serve least, so that few are left."""
    held: Counter[tuple[int, int]] = Counter()
    for group in gpus:
        for r in (r for content in group.contents for r in content):
            held[r.task, r.option] += group.count * r.count
    supply, replicas = Counter[int](), Counter[int]()
    for (t, k), n in held.items():
        supply[t] += n * problem.tasks[t].options[k].supply
        replicas[t] += n
    excess: Excess = Counter()
    kept = set(_kept_whole(problem))
    for (t, k), n in sorted(held.items(), key=lambda one: problem.tasks[one[0][0]].options[one[0][1]].supply):
        task = problem.tasks[t]
        each = task.options[k].supply
        drop = min(n, (supply[t] - task.demand) // each, replicas[t] - task.min_replicas)
        if drop > 0 and t not in kept:
            excess[t, k] = drop
            supply[t] -= drop * each
            replicas[t] -= drop
    return excess


def _kept_whole(problem: Problem) -> Iterator[int]:
    for group in problem.together:
        yield from group
    exact = exact_tasks(problem)
    for rule in problem.rules:
        if isinstance(rule, Spare):
            yield from (t for t in rule.tasks if t not in exact)


def _split(group: GpuGroup, one_by_one: bool) -> Sequence[GpuGroup]:
    if not one_by_one:
        return (group,)
    return [replace(group, count=1, nodes=group.nodes[k : k + 1]) for k in range(group.count)]


def _reduced(content: Sequence[Replicas], excess: Excess) -> tuple[Replicas, ...]:
    """Take replicas that are not needed out of a place, and count them as taken."""
    kept = []
    for r in content:
        taken = min(r.count, excess[r.task, r.option])
        excess[r.task, r.option] -= taken
        if taken < r.count:
            kept.append(replace(r, count=r.count - taken))
    return tuple(kept)
