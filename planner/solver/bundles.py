"""Bundles: what a GPU can hold of a group of tasks that are on a GPU all or none.                          [pure]

A bundle is at least one replica of each task of the group. A GPU holds one bundle of a group, or nothing of it; so a
bundle is one item, whose load is that of its replicas, and which tolerates what the least tolerant of them does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from planner.problem.co_location import Alone, Apart, AtMost, Overloaded
from planner.problem.problem import Problem

Part = tuple[int, int, int, int]  # position on the GPU, task, option, replicas

_MOST_STACKS = 600  # of one task
_MOST_BUNDLES = 3_000  # of one group in one place


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Replicas of every task of a group, or (while bundles are put together) of some of them."""

    parts: tuple[Part, ...]
    load: tuple[int, ...]  # the resources of each position in turn
    room: tuple[int, ...]  # what the positions may be loaded with at most while it is there: what all parts tolerate
    cost: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Replicas of one task: a bundle of it alone, and what of the task's demand that serves."""

    bundle: Bundle
    supply: int  # up to the demand
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    """A place for one replica of a task: its load and the room, over the resources of each position in turn."""

    position: int
    option: int
    load: tuple[int, ...]
    room: tuple[int, ...]


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
    capacity = tuple(c for place in positions for c in problem.places[place].capacity)
    overloads = _overloads(problem, group)
    stacks, complete = [], True
    for t in group:
        found, whole = _stacks(problem, t, positions, max(1, most[t]), capacity, overloads)
        stacks.append(found)
        complete &= whole
    number = 1
    for own in stacks:
        number *= len(own)
    if number > 50 * _MOST_BUNDLES:
        each = max(2, int(_MOST_BUNDLES ** (1 / len(group))))
        stacks, complete = [_sample(own, each) for own in stacks], False
    nothing = Bundle(parts=(), load=(0,) * len(capacity), room=capacity, cost=0)
    joined: list[tuple[Bundle, tuple[Stack, ...]]] = [(nothing, ())]
    for own in stacks:
        joined = [(both, (*used, stack)) for b, used in joined for stack in own if (both := _join(b, stack, overloads))]
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


def _overloads(problem: Problem, group: Sequence[int]) -> list[Overloaded]:
    """The failed contents that replicas of a group have a part in."""
    return [rule for rule in problem.rules if isinstance(rule, Overloaded) and set(rule.tasks) & set(group)]


def _adds(parts: Sequence[Part], overloads: Sequence[Overloaded]) -> list[dict[int, list[int]]]:
    """For each failed content, by position, the replicas that a bundle adds to each of its parts."""
    found = []
    for rule in overloads:
        at: dict[int, list[int]] = {}
        for j, t, k, n in parts:
            own = at.setdefault(j, [0] * len(rule.parts))
            for c, part in enumerate(rule.parts):
                own[c] += n if part.task == t and k in part.options else 0
        found.append(at)
    return found


def _fails(parts: Sequence[Part], overloads: Sequence[Overloaded]) -> bool:
    """Whether some position holds all of a failed content."""
    return any(
        all(n >= part.count for n, part in zip(own, rule.parts, strict=True))
        for rule, at in zip(overloads, _adds(parts, overloads), strict=True)
        for own in at.values()
    )


def _stacks(
    problem: Problem,
    t: int,
    positions: Sequence[int],
    most: int,
    capacity: tuple[int, ...],
    overloads: Sequence[Overloaded],
) -> tuple[list[Stack], bool]:
    """The ways to put replicas of one task on a GPU, and whether these are all that a plan may need."""
    task = problem.tasks[t]
    width = len(problem.resources)
    choices = [
        _Choice(
            position=j,
            option=k,
            load=(0,) * (j * width) + option.load + (0,) * ((len(positions) - j - 1) * width),
            room=capacity[: j * width] + problem.room(option) + capacity[(j + 1) * width :],
        )
        for k, option in enumerate(task.options)
        for j, place in enumerate(positions)
        if option.place == place
    ]
    if task.exact and not task.demand:
        return [], True
    found: list[Stack] = []
    for stack in _grown(problem, t, choices, most, capacity, overloads):
        found.append(stack)
        if len(found) >= 20 * _MOST_STACKS:
            return _sample(_not_dominated(problem, t, found[::10], overloads), _MOST_STACKS), False
    kept = _not_dominated(problem, t, found, overloads) if len(found) <= 5 * _MOST_STACKS else found
    return (kept, True) if len(kept) <= _MOST_STACKS else (_sample(kept, _MOST_STACKS), False)


def _grown(
    problem: Problem,
    t: int,
    choices: Sequence[_Choice],
    most: int,
    capacity: tuple[int, ...],
    overloads: Sequence[Overloaded],
) -> Iterator[Stack]:
    """Stacks with one replica first, then those with one more; none that has more than it needs to serve the task."""
    task = problem.tasks[t]
    nothing = Bundle(parts=(), load=(0,) * len(capacity), room=capacity, cost=0)
    level: list[tuple[int, tuple[int, ...], Bundle, int]] = [(0, (), nothing, 0)]
    for count in range(1, most + 1):
        grown = []
        for first, chosen, held, supply in level:
            for c in range(first, len(choices)):
                option = task.options[choices[c].option]
                load = tuple(a + b for a, b in zip(held.load, choices[c].load, strict=True))
                room = tuple(map(min, held.room, choices[c].room))
                if any(a > b for a, b in zip(load, room, strict=True)):
                    continue
                more = (*chosen, c)
                counts = {i: more.count(i) for i in more}
                parts = tuple((choices[i].position, t, choices[i].option, n) for i, n in sorted(counts.items()))
                if overloads and _fails(parts, overloads):
                    continue
                served = min(supply + option.supply, task.demand)
                bundle = Bundle(parts=parts, load=load, room=room, cost=held.cost + option.cost)
                grown.append((c, more, bundle, served))
                yield Stack(bundle=bundle, supply=served, count=count)
        level = [g for g in grown if g[3] < task.demand or count < task.min_replicas]


def _not_dominated(problem: Problem, t: int, stacks: Sequence[Stack], overloads: Sequence[Overloaded]) -> list[Stack]:
    """Leave out stacks that serve no more than another one, take no less of anything, and tolerate no more."""
    least = problem.tasks[t].min_replicas
    limited = any(isinstance(rule, AtMost) and t in rule.tasks for rule in problem.rules)
    kept: list[Stack] = []
    order = sorted(stacks, key=lambda s: (-s.supply, -min(s.count, least), sum(s.bundle.load), s.bundle.cost))
    for s in order:
        if not any(_dominates(a, s, least, overloads, counted=limited or problem.tasks[t].exact) for a in kept):
            kept.append(s)
    return sorted(kept, key=lambda s: (s.count, s.bundle.parts))


def _dominates(a: Stack, b: Stack, least: int, overloads: Sequence[Overloaded], *, counted: bool) -> bool:
    if a.supply < b.supply or min(a.count, least) < min(b.count, least) or a.bundle.cost > b.bundle.cost:
        return False
    if counted and a.count != b.count:
        return False
    if any(x > y for x, y in zip(a.bundle.load, b.bundle.load, strict=True)):
        return False
    if any(x < y for x, y in zip(a.bundle.room, b.bundle.room, strict=True)):
        return False
    return all(
        all(x <= y for x, y in zip(own, there.get(j, [0] * len(own)), strict=True))
        for at, there in zip(_adds(a.bundle.parts, overloads), _adds(b.bundle.parts, overloads), strict=True)
        for j, own in at.items()
    )


def _join(bundle: Bundle, stack: Stack, overloads: Sequence[Overloaded]) -> Bundle | None:
    """Both together; None where they do not fit, or may not be together."""
    load = tuple(a + b for a, b in zip(bundle.load, stack.bundle.load, strict=True))
    room = tuple(map(min, bundle.room, stack.bundle.room))
    if any(a > b for a, b in zip(load, room, strict=True)):
        return None
    parts = (*bundle.parts, *stack.bundle.parts)
    if overloads and _fails(parts, overloads):
        return None
    return Bundle(parts=parts, load=load, room=room, cost=bundle.cost + stack.bundle.cost)


def _sample(stacks: Sequence[Stack], number: int) -> list[Stack]:
    """So many of them, from those with the least load to those with the most."""
    order = sorted(stacks, key=lambda s: (sum(s.bundle.load), s.bundle.parts))
    if len(order) <= number:
        return order
    return [order[i * (len(order) - 1) // (number - 1)] for i in range(number)]
