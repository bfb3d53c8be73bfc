"""Presolve: drop options that cannot help, and merge tasks that differ only in name, with their demands added.

A supply above the task's demand is lowered to it. Whole replicas serve the demand then if and only if they did before,
but fractions of a replica no longer do, so the LPs over this problem have higher values.

Where all that can be on a place tolerates less than its capacity, the capacity is lowered to what the most tolerant
option does: what is searched and proven with capacities alone then counts with tolerances, too.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

from planner.problem.co_location import ContentPart, KnownToHold, Overloaded, Rule, Spare
from planner.problem.plan import Cause, GpuGroup, Replicas, Unplaced
from planner.problem.problem import Option, Place, Problem, Task
from planner.solver.known_contents import largest_loads


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction:
    """A smaller problem with the same least cost, and how its plans become plans of the whole problem.

    `members[t]` lists the tasks of the whole problem behind task t of the smaller one, with the demand of each;
    `options[t][k]` is the option of all of them behind option k.
    """

    problem: Problem
    members: tuple[tuple[tuple[int, int], ...], ...]
    options: tuple[tuple[int, ...], ...]

    def expand(self, gpus: tuple[GpuGroup, ...]) -> tuple[GpuGroup, ...]:
        """Turn GPUs of the smaller problem into GPUs of the whole one; copies beyond the demand are left out."""
        pools = [[list(member) for member in members] for members in self.members]
        whole = {t for rule in self.problem.rules if isinstance(rule, Spare) for t in rule.tasks}
        whole |= {t for group in self.problem.together for t in group}
        counted = [is_counted(task) and t not in whole for t, task in enumerate(self.problem.tasks)]
        placed: list[GpuGroup] = []
        for group in gpus:
            left = group.count
            while left:
                contents, times = self._draw(group, left, pools, counted)
                part = group.nodes[group.count - left : group.count - left + times]
                if any(contents):
                    placed.append(replace(group, contents=contents, count=times, nodes=part))
                left -= times
        return merged(self._without_surplus(placed))

    def _without_surplus(self, placed: list[GpuGroup]) -> list[GpuGroup]:
        """Leave out copies of tasks that are together beyond those asked for; each GPU that has some keeps one."""
        surplus: Counter[int] = Counter()
        for t in self.problem.exact:
            surplus[self.members[t][0][0]] = -self.problem.tasks[t].demand
        for group in placed:
            for r in chain.from_iterable(group.contents):
                if r.task in surplus:
                    surplus[r.task] += r.count * group.count
        found = list(placed)
        for task in [t for t, n in surplus.items() if n > 0]:
            queue, found = found, []
            while queue:
                group = queue.pop()
                held = sum(r.count for r in chain.from_iterable(group.contents) if r.task == task)
                drop = min(held - 1, surplus[task])
                if drop <= 0:
                    found.append(group)
                    continue
                surplus[task] -= drop
                found.append(replace(group, contents=_dropped(group, task, drop), count=1, nodes=group.nodes[:1]))
                if group.count > 1:
                    queue.append(replace(group, count=group.count - 1, nodes=group.nodes[1:]))
        return found

    def _draw(
        self, group: GpuGroup, left: int, pools: list[list[list[int]]], counted: list[bool]
    ) -> tuple[tuple[tuple[Replicas, ...], ...], int]:
        """Contents of the next GPUs of a group in tasks of the whole problem, and for how many GPUs they hold."""
        need: dict[int, int] = defaultdict(int)
        for r in chain.from_iterable(group.contents):
            need[r.task] += r.count
        times = left
        for t, n in need.items():
            if counted[t]:
                times = min(times, max(1, pools[t][0][1] // n) if pools[t] else left)
        contents = []
        for content in group.contents:
            own: dict[tuple[int, int], int] = defaultdict(int)
            for r in content:
                for member, count in self._take(r, times, pools[r.task], counted[r.task]):
                    own[member, self.options[r.task][r.option]] += count
            contents.append(tuple(Replicas(task=t, option=o, count=n) for (t, o), n in sorted(own.items())))
        return tuple(contents), times

    def _take(self, r: Replicas, times: int, pool: list[list[int]], counted: bool) -> list[tuple[int, int]]:
        if not counted:
            return [(self.members[r.task][0][0], r.count)]
        taken, left = [], r.count
        while left and pool:
            count = min(left, pool[0][1] // times)
            if count:
                taken.append((pool[0][0], count))
            pool[0][1] -= count * times
            left -= count
            if not pool[0][1]:
                pool.pop(0)
        return taken


def _dropped(group: GpuGroup, task: int, drop: int) -> tuple[tuple[Replicas, ...], ...]:
    """The contents of a GPU without so many replicas of a task."""
    contents = []
    for content in group.contents:
        kept = []
        for r in content:
            less = min(r.count, drop) if r.task == task else 0
            drop -= less
            if r.count > less:
                kept.append(replace(r, count=r.count - less))
        contents.append(tuple(kept))
    return tuple(contents)


def is_counted(task: Task) -> bool:
    """Whether the demand is a number of copies, so that more copies than that serve nothing."""
    return all(option.supply == 1 for option in task.options) and task.demand >= task.min_replicas


def reduce(problem: Problem) -> Reduction:
    """Drop options that fit nowhere or are dominated, and merge tasks that differ in name only."""
    parts = _overload_parts(problem)
    kept = [_useful_options(t, problem, parts[t]) for t in range(len(problem.tasks))]
    ruled, grouped = problem.ruled, problem.grouped
    merged: dict[object, list[int]] = defaultdict(list)
    for t, task in enumerate(problem.tasks):
        if task.demand or task.min_replicas or t in grouped:
            merged[t if t in ruled else _likeness(t, kept[t], problem)].append(t)
    tasks: list[Task] = []
    members: list[tuple[tuple[int, int], ...]] = []
    index: dict[int, int] = {}
    for same in merged.values():
        first = problem.tasks[same[0]]
        index[same[0]] = len(tasks)
        options = tuple(_simplified(first.options[k], first.demand, problem) for k in kept[same[0]])
        demand = sum(problem.tasks[t].demand for t in same)
        tasks.append(replace(first, options=options, demand=demand))
        members.append(tuple((t, problem.tasks[t].demand) for t in same))
    rules = _rules(problem, index, kept)
    return Reduction(
        problem=replace(
            problem,
            places=_places(replace(problem, tasks=tuple(tasks), rules=rules)),
            tasks=tuple(tasks),
            rules=rules,
        ),
        members=tuple(members),
        options=tuple(kept[same[0]] for same in merged.values()),
    )


def _rules(problem: Problem, index: dict[int, int], kept: list[tuple[int, ...]]) -> tuple[Rule, ...]:
    """The rules for the tasks and options that are left; without the measured contents that these cannot make up."""
    options = {t: kept[t] for t in index}
    found: list[Rule] = []
    for rule in (rule.renumbered(index, options) for rule in problem.rules):
        if isinstance(rule, KnownToHold):
            found += [replace(rule, parts=rule.possible)] if rule.possible else []
        elif rule.is_possible if isinstance(rule, Overloaded) else rule.tasks:
            found.append(rule)
    return tuple(found)


def _places(problem: Problem) -> tuple[Place, ...]:
    """The places, with no more capacity than the most tolerant of their options has room, or a known content needs."""
    rooms: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    for option in (option for task in problem.tasks for option in task.options):
        rooms[option.place].append(problem.room(option))
    for rule in problem.known_to_hold:
        for p, load in largest_loads(rule, problem).items():
            rooms[p].append(tuple(map(min, load, problem.places[p].capacity)))
    return tuple(
        replace(place, capacity=tuple(map(max, zip(*rooms[p], strict=True)))) if rooms[p] else place
        for p, place in enumerate(problem.places)
    )


def _overload_parts(problem: Problem) -> dict[int, list[tuple[Overloaded, ContentPart]]]:
    """For each task, the parts of failed contents that name it."""
    found: dict[int, list[tuple[Overloaded, ContentPart]]] = defaultdict(list)
    for rule in problem.rules:
        if isinstance(rule, Overloaded):
            for part in rule.parts:
                found[part.task].append((rule, part))
    return found


def unplaceable(problem: Problem) -> tuple[Unplaced, ...]:
    """Return the tasks that fit nowhere even alone, with the place that is nearest and the resource that is short."""
    usable, parts = _usable_places(problem), _overload_parts(problem)
    found = []
    excused = problem.excused
    for t, task in enumerate(problem.tasks):
        if not task.demand and not task.min_replicas:
            continue
        able = [k for k, o in enumerate(task.options) if o.place in usable and not _fails_alone(t, k, parts[t])]
        here = [task.options[k] for k in able]
        if any(_fits(task.options[k], problem, excused=(t, k) in excused) for k in able):
            continue
        missing = max(task.demand, task.min_replicas)
        if not here:
            found.append(Unplaced(task=t, missing=missing, cause=Cause.NO_OPTION))
            continue
        _, place, resource, load, capacity = min(_shortage(o, problem) for o in here)
        found.append(
            Unplaced(
                task=t, missing=missing, cause=Cause.TOO_BIG,
                place=place, resource=resource, load=load, capacity=capacity,
            )
        )  # fmt: skip
    return tuple(found)


def _shortage(option: Option, problem: Problem) -> tuple[float, int, int, int, int]:
    capacity = problem.room(option)
    shares = [
        (x / c if c else float(x > 0) * 1e9, r) for r, (x, c) in enumerate(zip(option.load, capacity, strict=True))
    ]
    share, r = max(shares)
    return share, option.place, r, option.load[r], capacity[r]


def _usable_places(problem: Problem) -> set[int]:
    layouts = chain.from_iterable(gpu.layouts for gpu in problem.gpus if gpu.limit != 0)
    return {place for layout in layouts for place in layout.places}


def _fits(option: Option, problem: Problem, *, excused: bool) -> bool:
    """Whether a replica fits alone; one that is excused, whatever it tolerates."""
    room = problem.places[option.place].capacity if excused else problem.room(option)
    return all(x <= c for x, c in zip(option.load, room, strict=True))


def _fails_alone(t: int, k: int, parts: list[tuple[Overloaded, ContentPart]]) -> bool:
    """Whether a single replica makes up a failed content."""
    return any(all(p.task == t and k in p.options and p.count == 1 for p in rule.parts) for rule, _ in parts)


def _useful_options(t: int, problem: Problem, parts: list[tuple[Overloaded, ContentPart]]) -> tuple[int, ...]:
    task, usable = problem.tasks[t], _usable_places(problem)
    known = [rule for rule in problem.known_to_hold if t in rule.tasks]
    belongs = [tuple(rule.part_of(t, k) for rule in known) for k in range(len(task.options))]
    fitting = [
        k
        for k, o in enumerate(task.options)
        if o.place in usable
        and _fits(o, problem, excused=any(part is not None for part in belongs[k]))
        and not _fails_alone(t, k, parts)
    ]
    sharing = {
        k: _Sharing(problem.room(task.options[k]), tuple(k in part.options for _, part in parts), belongs[k])
        for k in fitting
    }
    kept: list[int] = []
    for k in fitting:
        o = task.options[k]
        others = (j for j in fitting if j != k)
        if not any(
            _dominates(task.options[j], o, task, earlier=j < k or sharing[j] != sharing[k])
            and sharing[j].allows_as_much_as(sharing[k])
            for j in others
        ):
            kept.append(k)
    return tuple(kept)


class _Sharing(NamedTuple):
    """What an option demands of the others on its place: the room that it leaves, and its parts of contents."""

    room: tuple[int, ...]
    parts: tuple[bool, ...]  # whether it is of each part of the contents that failed
    known: tuple[int | None, ...]  # which part of each content that is known to hold it is of

    def allows_as_much_as(self, other: _Sharing) -> bool:
        """Whether whatever can be beside the other can be beside this one."""
        return (
            all(a >= b for a, b in zip(self.room, other.room, strict=True))
            and all(b or not a for a, b in zip(self.parts, other.parts, strict=True))
            and all(b is None or a == b for a, b in zip(self.known, other.known, strict=True))
        )


def _dominates(a: Option, b: Option, task: Task, *, earlier: bool) -> bool:
    """Whether `a` serves as much as `b` (more than the demand serves nothing) and takes no more of anything."""
    if a.place != b.place or a.cost > b.cost or min(a.supply, task.demand) < min(b.supply, task.demand):
        return False
    if any(x > y for x, y in zip(a.load, b.load, strict=True)):
        return False
    same = (a.cost, a.load) == (b.cost, b.load) and min(a.supply, task.demand) == min(b.supply, task.demand)
    return earlier or not same


def _simplified(option: Option, demand: int, problem: Problem) -> Option:
    """The option with no more supply than the demand, and without a tolerance that the capacity implies."""
    if option.tolerance and problem.room(option) == problem.places[option.place].capacity:
        option = replace(option, tolerance=())
    return replace(option, supply=demand) if 0 < demand < option.supply else option


def _likeness(t: int, kept: tuple[int, ...], problem: Problem) -> object:
    task = problem.tasks[t]
    if not is_counted(task):
        return t
    return kept, tuple((o.place, o.load, o.cost, problem.room(o)) for o in (task.options[k] for k in kept))


def merged(placed: Iterable[GpuGroup]) -> tuple[GpuGroup, ...]:
    """Put equal GPUs into one group, in the order of type, layout and contents."""
    count: dict[tuple[int, int, tuple[tuple[Replicas, ...], ...]], int] = defaultdict(int)
    nodes: dict[tuple[int, int, tuple[tuple[Replicas, ...], ...]], list[int]] = defaultdict(list)
    for p in placed:
        key = (p.gpu, p.layout, p.contents)
        count[key] += p.count
        nodes[key] += p.nodes
    order = sorted(count, key=lambda k: (k[0], k[1], [[(r.task, r.option, -r.count) for r in c] for c in k[2]]))
    return tuple(
        GpuGroup(gpu=k[0], layout=k[1], contents=k[2], count=count[k], nodes=tuple(sorted(nodes[k]))) for k in order
    )
