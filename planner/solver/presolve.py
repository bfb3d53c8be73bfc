"""Presolve: drop options that cannot help, and merge tasks that differ only in name, with their demands added.

A supply above the task's demand is lowered to it. Whole replicas serve the demand then if and only if they did before,
but fractions of a replica no longer do, so the LPs over this problem have higher values.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from itertools import chain

from planner.problem.co_location import Spare
from planner.problem.plan import Cause, GpuGroup, Replicas, Unplaced
from planner.problem.problem import Option, Problem, Task


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
        return _merged(self._without_surplus(placed))

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
    kept = [_useful_options(task, problem) for task in problem.tasks]
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
        options = tuple(_up_to_demand(first.options[k], first.demand) for k in kept[same[0]])
        demand = sum(problem.tasks[t].demand for t in same)
        tasks.append(replace(first, options=options, demand=demand))
        members.append(tuple((t, problem.tasks[t].demand) for t in same))
    return Reduction(
        problem=replace(
            problem,
            tasks=tuple(tasks),
            rules=tuple(rule for rule in (rule.renumbered(index) for rule in problem.rules) if rule.tasks),
        ),
        members=tuple(members),
        options=tuple(kept[same[0]] for same in merged.values()),
    )


def unplaceable(problem: Problem) -> tuple[Unplaced, ...]:
    """Return the tasks that fit nowhere even alone, with the place that is nearest and the resource that is short."""
    usable = _usable_places(problem)
    found = []
    for t, task in enumerate(problem.tasks):
        if not task.demand and not task.min_replicas:
            continue
        here = [o for o in task.options if o.place in usable]
        if any(_fits(o, problem) for o in here):
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
    capacity = problem.places[option.place].capacity
    shares = [
        (x / c if c else float(x > 0) * 1e9, r) for r, (x, c) in enumerate(zip(option.load, capacity, strict=True))
    ]
    share, r = max(shares)
    return share, option.place, r, option.load[r], capacity[r]


def _usable_places(problem: Problem) -> set[int]:
    layouts = chain.from_iterable(gpu.layouts for gpu in problem.gpus if gpu.limit != 0)
    return {place for layout in layouts for place in layout.places}


def _fits(option: Option, problem: Problem) -> bool:
    return all(x <= c for x, c in zip(option.load, problem.places[option.place].capacity, strict=True))


def _useful_options(task: Task, problem: Problem) -> tuple[int, ...]:
    usable = _usable_places(problem)
    fitting = [k for k, o in enumerate(task.options) if o.place in usable and _fits(o, problem)]
    kept: list[int] = []
    for k in fitting:
        o = task.options[k]
        others = (j for j in fitting if j != k)
        if not any(_dominates(task.options[j], o, task, earlier=j < k) for j in others):
            kept.append(k)
    return tuple(kept)


def _dominates(a: Option, b: Option, task: Task, *, earlier: bool) -> bool:
    """Whether `a` serves as much as `b` (more than the demand serves nothing) and takes no more of anything."""
    if a.place != b.place or a.cost > b.cost or min(a.supply, task.demand) < min(b.supply, task.demand):
        return False
    if any(x > y for x, y in zip(a.load, b.load, strict=True)):
        return False
    same = (a.cost, a.load) == (b.cost, b.load) and min(a.supply, task.demand) == min(b.supply, task.demand)
    return earlier or not same


def _up_to_demand(option: Option, demand: int) -> Option:
    return replace(option, supply=demand) if 0 < demand < option.supply else option


def _likeness(t: int, kept: tuple[int, ...], problem: Problem) -> object:
    task = problem.tasks[t]
    if not is_counted(task):
        return t
    return kept, tuple((o.place, o.load, o.cost) for o in (task.options[k] for k in kept))


def _merged(placed: list[GpuGroup]) -> tuple[GpuGroup, ...]:
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
