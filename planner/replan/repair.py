"""Repair a placement in force: keep replicas that fit, remove those not needed, add those that are missing.  [pure]"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from planner.problem.problem import Option, Problem

ReplicaKey = tuple[int, int, int]  # position in the layout, task, option


class LoadedAs(NamedTuple):
    """What a GPU loads for a replica: options that differ in the task or the load share alone have it in common."""

    kind: int
    size_mib: int


def kinds_at(
    j: int, counts: Mapping[ReplicaKey, int], loaded_as: Mapping[tuple[int, int], LoadedAs]
) -> Counter[LoadedAs]:
    """Return how many replicas of each kind are at a position of a GPU's layout."""
    kinds: Counter[LoadedAs] = Counter()
    for (at, t, k), n in counts.items():
        if at == j:
            kinds[loaded_as[t, k]] += n
    return kinds


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentGpu:
    """A GPU of the current placement in the Problem's terms.

    Parameters
    ----------
    layout : int or None
        None where its MIG geometry is no longer allowed, or the GPU is new.
    counts : mapping
        Number of replicas by position, task and option; replicas that match no option are left out.
    """

    id: str
    gpu: int
    layout: int | None
    node: int | None
    counts: Mapping[ReplicaKey, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailableGpus:
    """The GPUs that a new plan may use: those of the placement in force, and new ones in the order of their use."""

    current: tuple[CurrentGpu, ...]
    new: tuple[CurrentGpu, ...]


Repaired = list[tuple[int, dict[ReplicaKey, int]] | None]  # each GPU's layout and counts; None: not used


@dataclass(slots=True)
class _Gpu:
    gpu: int
    layout: int
    counts: Counter[ReplicaKey]
    used: list[list[int]] = field(default_factory=list)  # by position, then resource


def repair(problem: Problem, available: AvailableGpus) -> Repaired | None:
    """Serve every task with few changes, by a greedy rule.

    Replicas that no longer fit are removed, then those beyond the demand. Missing replicas are added, the largest model
    first: each on a GPU in use where one has room (`_best_place`), else on an empty or new one; new ones are not cut.

    Returns
    -------
    list or None
        None where the GPUs do not suffice. What replicas tolerate is heeded as capacities are; co-location rules are
        not: the caller checks them.
    """
    gpus = [_start(problem, h.gpu, h.layout or 0, h.counts if h.layout is not None else {}) for h in available.current]
    for gpu in gpus:
        _evict(problem, gpu)
    _drop_surplus(problem, gpus)
    new = [_start(problem, h.gpu, 0, {}) for h in available.new]
    for t in sorted(range(len(problem.tasks)), key=lambda t: -_size(problem, t)):
        if not _add_missing(problem, t, gpus, new):
            return None
    return [(gpu.layout, dict(gpu.counts)) if gpu.counts.total() else None for gpu in (*gpus, *new)]


def _start(problem: Problem, g: int, layout: int, counts: Mapping[ReplicaKey, int]) -> _Gpu:
    places = problem.gpus[g].layouts[layout].places
    gpu = _Gpu(gpu=g, layout=layout, counts=Counter(), used=[[0] * len(problem.resources) for _ in places])
    for key, n in sorted(counts.items()):
        _put(problem, gpu, key, n)
    return gpu


def _put(problem: Problem, gpu: _Gpu, key: ReplicaKey, n: int) -> None:
    j, t, k = key
    load = problem.tasks[t].options[k].load
    gpu.counts[key] += n
    if not gpu.counts[key]:
        del gpu.counts[key]
    gpu.used[j] = [u + n * x for u, x in zip(gpu.used[j], load, strict=True)]


def _capacity(problem: Problem, gpu: _Gpu, j: int) -> tuple[int, ...]:
    return problem.places[problem.gpus[gpu.gpu].layouts[gpu.layout].places[j]].capacity


def _room(problem: Problem, gpu: _Gpu, j: int, more: ReplicaKey | None = None) -> tuple[int, ...]:
    """Return what a position may be loaded with: its capacity, or what the replicas there tolerate.

    Parameters
    ----------
    more : a replica that is to join those there
    """
    room = _capacity(problem, gpu, j)
    if not problem.has_tolerances:
        return room
    here = Counter({key: n for key, n in gpu.counts.items() if key[0] == j})
    here.update([more] if more else [])
    if any(rule.covers((t, k, n) for (_, t, k), n in here.items()) for rule in problem.known_to_hold):
        return room
    for key in here:
        room = tuple(map(min, room, problem.room(_option(problem, key))))
    return room


def _share(problem: Problem, gpu: _Gpu, j: int, load: Sequence[int]) -> float:
    return max(x / max(1, c) for x, c in zip(load, _capacity(problem, gpu, j), strict=True))


def _evict(problem: Problem, gpu: _Gpu) -> None:
    """Remove replicas until each position has room for the rest; the largest go first, so that few are removed."""
    for j, used in enumerate(gpu.used):
        while any(u > c for u, c in zip(gpu.used[j], _room(problem, gpu, j), strict=True)):
            room = _room(problem, gpu, j)
            over = max(range(len(used)), key=lambda r: gpu.used[j][r] / max(1, room[r]))
            here = [key for key in gpu.counts if key[0] == j]
            _put(problem, gpu, max(here, key=lambda key: (_option(problem, key).load[over], key)), -1)


def _option(problem: Problem, key: ReplicaKey) -> Option:
    return problem.tasks[key[1]].options[key[2]]


def _drop_surplus(problem: Problem, gpus: Sequence[_Gpu]) -> None:
    """Remove replicas beyond the demand, from the emptiest GPUs first, so that these may become free."""
    where: dict[int, list[tuple[float, int, ReplicaKey]]] = {}
    supply: Counter[int] = Counter()
    replicas: Counter[int] = Counter()
    for i, gpu in enumerate(gpus):
        fill = max((_share(problem, gpu, j, used) for j, used in enumerate(gpu.used)), default=0.0)
        for key, n in gpu.counts.items():
            where.setdefault(key[1], []).append((fill, i, key))
            supply[key[1]] += n * _option(problem, key).supply
            replicas[key[1]] += n
    for t, places in where.items():
        task = problem.tasks[t]
        for _, i, key in sorted(places):
            one = _option(problem, key).supply
            while gpus[i].counts[key] and supply[t] - one >= task.demand and replicas[t] > task.min_replicas:
                _put(problem, gpus[i], key, -1)
                supply[t] -= one
                replicas[t] -= 1


def _size(problem: Problem, t: int) -> float:
    """Return the least, over a task's options, of the largest share that a replica takes of a resource of its place."""
    sizes = [
        max(x / max(1, c) for x, c in zip(o.load, problem.places[o.place].capacity, strict=True))
        for o in problem.tasks[t].options
    ]
    return min(sizes, default=0.0)


def _add_missing(problem: Problem, t: int, current: Sequence[_Gpu], new: Sequence[_Gpu]) -> bool:
    task = problem.tasks[t]
    everywhere = [(gpu.counts[key], key) for gpu in (*current, *new) for key in gpu.counts if key[1] == t]
    supply = sum(n * _option(problem, key).supply for n, key in everywhere)
    replicas = sum(n for n, _ in everywhere)
    while supply < task.demand or replicas < task.min_replicas:
        in_use = [gpu for gpu in (*current, *new) if gpu.counts]
        missing = task.demand - supply
        found = _best_place(problem, t, in_use, missing) or _best_place(problem, t, _unused(current, new), missing)
        if found is None:
            return False
        gpu, key = found
        _put(problem, gpu, key, 1)
        supply += _option(problem, key).supply
        replicas += 1
    return True


def _unused(current: Sequence[_Gpu], new: Sequence[_Gpu]) -> list[_Gpu]:
    """Return the empty current GPUs, and the next new GPU of each type that has no empty one."""
    found = [gpu for gpu in current if not gpu.counts]
    types = {gpu.gpu for gpu in found}
    for gpu in new:
        if not gpu.counts and gpu.gpu not in types:
            types.add(gpu.gpu)
            found.append(gpu)
    return found


def _best_place(problem: Problem, t: int, gpus: Sequence[_Gpu], missing: int) -> tuple[_Gpu, ReplicaKey] | None:
    """Return the GPU and key for one more replica; None where there is no room.

    The option that serves most of what is missing for the share of a place that it takes wins, then the fullest place.
    """
    best: tuple[tuple[float, float], _Gpu, ReplicaKey] | None = None
    for gpu in gpus:
        for j, place in enumerate(problem.gpus[gpu.gpu].layouts[gpu.layout].places):
            for k, option in enumerate(problem.tasks[t].options):
                if option.place != place:
                    continue
                after = [u + x for u, x in zip(gpu.used[j], option.load, strict=True)]
                if any(a > c for a, c in zip(after, _room(problem, gpu, j, (j, t, k)), strict=True)):
                    continue
                efficiency = min(option.supply, max(1, missing)) / max(1e-9, _share(problem, gpu, j, option.load))
                rank = (efficiency, _share(problem, gpu, j, after))
                if best is None or rank > best[0]:
                    best = (rank, gpu, (j, t, k))
    return None if best is None else best[1:]
