"""Take copies beyond the number that is asked for out of a plan: what the searches prove needs no such exactness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from planner.problem.plan import GpuGroup, Replicas
from planner.problem.problem import Problem


def exact_tasks(problem: Problem) -> frozenset[int]:
    """Return the tasks that ask for a number of copies; of groups that are together, the searches count exactly."""
    exact = frozenset(t for t, task in enumerate(problem.tasks) if task.exact)
    return exact - {t for group in problem.together for t in group}


def without_surplus_copies(gpus: Sequence[GpuGroup], problem: Problem) -> tuple[GpuGroup, ...]:
    """Return a plan with no more copies of a task than its demand, where the demand is a number of copies."""
    held: Counter[int] = Counter()
    for group in gpus:
        for r in (r for content in group.contents for r in content):
            held[r.task] += group.count * r.count
    surplus = Counter({t: held[t] - problem.tasks[t].demand for t in exact_tasks(problem)})
    if not +surplus:
        return tuple(gpus)
    found = []
    for group in gpus:
        for one in _split(group, any(surplus[r.task] > 0 for content in group.contents for r in content)):
            contents = tuple(_reduced(content, surplus) for content in one.contents)
            if any(contents):
                found.append(replace(one, contents=contents))
    return tuple(found)


def _split(group: GpuGroup, one_by_one: bool) -> Sequence[GpuGroup]:
    if not one_by_one:
        return (group,)
    return [replace(group, count=1, nodes=group.nodes[k : k + 1]) for k in range(group.count)]


def _reduced(content: Sequence[Replicas], surplus: Counter[int]) -> tuple[Replicas, ...]:
    """Take surplus replicas out of a place, and count them as taken."""
    kept = []
    for r in content:
        taken = max(0, min(r.count, surplus[r.task]))
        surplus[r.task] -= taken
        if taken < r.count:
            kept.append(replace(r, count=r.count - taken))
    return tuple(kept)
