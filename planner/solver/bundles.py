"""Bundles: what a GPU can hold of a group of tasks that are on a GPU all or none.                          [pure]

A bundle is at least one replica of each task of the group. A GPU holds one bundle of a group, or nothing of it; so a
bundle is one item, whose load is that of its replicas.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from planner.problem.co_location import Alone, Apart, AtMost
from planner.problem.problem import Option, Problem

Part = tuple[int, int, int, int]  # position on the GPU, task, option, replicas

_MOST_STACKS = 600  # of one task
_MOST_BUNDLES = 3_000  # of one group in one place


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Replicas of every task of a group, or (while bundles are put together) of some of them."""

    parts: tuple[Part, ...]
    load: tuple[int, ...]  # the resources of each position in turn
    cost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Replicas of one task: a bundle of it alone, and what of the task's demand that serves."""

    bundle: Bundle
    supply: int  # up to the demand
    count: int


def leading_task(problem: Problem, group: Sequence[int]) -> int | None:
    """Return the exact task with the fewest copies: as many GPUs at most have the group. None without an exact task.

    Where bundles hold just the copies of this task that are asked for, there are no more bundles than copies of any
    other exact task; so copies of these beyond their demand can be left out, and each GPU keeps one.
    """
    return min((t for t in group if problem.tasks[t].exact), key=lambda t: (problem.tasks[t].demand, t), default=None)


def bundles(
    problem: Problem, group: Sequence[int], positions: Sequence[int], most: Sequence[int]
) -> tuple[tuple[Bundle, ...], bool]:
    """Return the bundles of a group that a GPU can hold, and whether no plan needs another one.

    Parameters
    ----------
    group : tasks that are on a GPU all or none
    positions : the place at each position of the GPU; one for a GPU that is not cut
    most : (n_tasks,) most replicas of a task on a GPU
    """
    if _excludes_itself(problem, group):
        return (), True
    capacity = [c for place in positions for c in problem.places[place].capacity]
    stacks, complete = [], True
    for t in group:
        found, whole = _stacks(problem, t, positions, max(1, most[t]), capacity)
        stacks.append(found)
        complete &= whole
    number = 1
    for own in stacks:
        number *= len(own)
    if number > 50 * _MOST_BUNDLES:
        each = max(2, int(_MOST_BUNDLES ** (1 / len(group))))
        stacks, complete = [_sample(own, each) for own in stacks], False
    joined: list[tuple[Bundle, tuple[Stack, ...]]] = [(Bundle(parts=(), load=(0,) * len(capacity), cost=0), ())]
    for own in stacks:
        joined = [(both, (*used, stack)) for b, used in joined for stack in own if (both := _join(b, stack, capacity))]
    kept = [b for b, used in joined if _is_useful(problem, group, used)]
    if len(kept) > _MOST_BUNDLES:
        kept, complete = kept[:: -(-len(kept) // _MOST_BUNDLES)], False
    return tuple(kept), complete


def _excludes_itself(problem: Problem, group: Sequence[int]) -> bool:
    """Whether another rule keeps tasks of the group off the same GPU."""
    members = set(group)
    for rule in problem.rules:
        named = members & set(rule.tasks)
        if isinstance(rule, Apart) and len(named) > 1:
            return True
        if isinstance(rule, Alone) and named:
            return True
    return False


def _is_useful(problem: Problem, group: Sequence[int], used: Sequence[Stack]) -> bool:
    """Whether a plan may have it: with all copies of the leading task, everything else of the group is there too."""
    copies = dict(zip(group, used, strict=True))
    for rule in problem.rules:
        if isinstance(rule, AtMost) and sum(copies[t].count for t in set(rule.tasks) & set(group)) > rule.most:
            return False
    leading = leading_task(problem, group)
    if leading is None:
        return True
    if copies[leading].count == problem.tasks[leading].demand:
        return all(
            s.supply >= problem.tasks[t].demand and s.count >= problem.tasks[t].min_replicas for t, s in copies.items()
        )
    return all(s.count < problem.tasks[t].demand for t, s in copies.items() if problem.tasks[t].exact)


def _stacks(
    problem: Problem, t: int, positions: Sequence[int], most: int, capacity: Sequence[int]
) -> tuple[list[Stack], bool]:
    """The ways to put replicas of one task on a GPU, and whether these are all that a plan may need."""
    task = problem.tasks[t]
    width = len(problem.resources)
    choices = [
        (j, k, option, (0,) * (j * width) + option.load + (0,) * ((len(positions) - j - 1) * width))
        for k, option in enumerate(task.options)
        for j, place in enumerate(positions)
        if option.place == place
    ]
    if task.exact and not task.demand:
        return [], True
    found: list[Stack] = []
    for stack in _grown(problem, t, choices, most, capacity):
        found.append(stack)
        if len(found) >= 20 * _MOST_STACKS:
            return _sample(_not_dominated(problem, t, found[::10]), _MOST_STACKS), False
    kept = _not_dominated(problem, t, found) if len(found) <= 5 * _MOST_STACKS else found
    return (kept, True) if len(kept) <= _MOST_STACKS else (_sample(kept, _MOST_STACKS), False)


def _grown(
    problem: Problem,
    t: int,
    choices: Sequence[tuple[int, int, Option, tuple[int, ...]]],
    most: int,
    capacity: Sequence[int],
) -> Iterator[Stack]:
    """Stacks with one replica first, then those with one more; none that has more than it needs to serve the task."""
    task = problem.tasks[t]
    level: list[tuple[int, tuple[int, ...], tuple[int, ...], int, int]] = [(0, (), (0,) * len(capacity), 0, 0)]
    for count in range(1, most + 1):
        grown = []
        for first, chosen, load, supply, cost in level:
            for c in range(first, len(choices)):
                _, _, option, own = choices[c]
                total = tuple(a + b for a, b in zip(load, own, strict=True))
                if any(a > b for a, b in zip(total, capacity, strict=True)):
                    continue
                served = min(supply + option.supply, task.demand)
                grown.append((c, (*chosen, c), total, served, cost + option.cost))
                counts = {i: grown[-1][1].count(i) for i in grown[-1][1]}
                parts = tuple((choices[i][0], t, choices[i][1], n) for i, n in sorted(counts.items()))
                bundle = Bundle(parts=parts, load=total, cost=grown[-1][4])
                yield Stack(bundle=bundle, supply=served, count=count)
        level = [g for g in grown if g[3] < task.demand or count < task.min_replicas]


def _not_dominated(problem: Problem, t: int, stacks: Sequence[Stack]) -> list[Stack]:
    """Leave out stacks that serve no more than another one and take no less of anything."""
    least = problem.tasks[t].min_replicas
    limited = any(isinstance(rule, AtMost) and t in rule.tasks for rule in problem.rules)
    kept: list[Stack] = []
    order = sorted(stacks, key=lambda s: (-s.supply, -min(s.count, least), sum(s.bundle.load), s.bundle.cost))
    for s in order:
        if not any(_dominates(a, s, least, counted=limited or problem.tasks[t].exact) for a in kept):
            kept.append(s)
    return sorted(kept, key=lambda s: (s.count, s.bundle.parts))


def _dominates(a: Stack, b: Stack, least: int, *, counted: bool) -> bool:
    if a.supply < b.supply or min(a.count, least) < min(b.count, least) or a.bundle.cost > b.bundle.cost:
        return False
    if counted and a.count != b.count:
        return False
    return all(x <= y for x, y in zip(a.bundle.load, b.bundle.load, strict=True))


def _join(bundle: Bundle, stack: Stack, capacity: Sequence[int]) -> Bundle | None:
    """Both together; None where they do not fit."""
    load = tuple(a + b for a, b in zip(bundle.load, stack.bundle.load, strict=True))
    if any(a > b for a, b in zip(load, capacity, strict=True)):
        return None
    return Bundle(parts=(*bundle.parts, *stack.bundle.parts), load=load, cost=bundle.cost + stack.bundle.cost)


def _sample(stacks: Sequence[Stack], number: int) -> list[Stack]:
    """So many of them, from those with the least load to those with the most."""
    order = sorted(stacks, key=lambda s: (sum(s.bundle.load), s.bundle.parts))
    if len(order) <= number:
        return order
    return [order[i * (len(order) - 1) // (number - 1)] for i in range(number)]
