"""The nearest plan to a placement in force: keep what is right, take off what is too much, add what misses.  [pure]"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from planner.problem.problem import Option, Problem

Key = tuple[int, int, int]  # position in the layout, task, option


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentGpu:
    """A GPU of the current placement in the Problem's terms.

    Parameters
    ----------
    layout : int or None
        None where it is cut in a way that is no longer allowed.
    counts : mapping
        Replicas by position, task and option; those that no longer have an option are left out.
    """

    id: str
    gpu: int
    layout: int | None
    node: int | None
    counts: Mapping[Key, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class GpusAtHand:
    """The GPUs that a new plan may use: those that are held, and new ones, in the order in which they are taken."""

    held: tuple[CurrentGpu, ...]
    fresh: tuple[CurrentGpu, ...]


Repaired = list[tuple[int, dict[Key, int]] | None]  # layout and counts of each seat, None where it is not used


@dataclass(slots=True)
class _Gpu:
    gpu: int
    layout: int
    counts: Counter[Key]
    used: list[list[int]] = field(default_factory=list)  # by position, then resource


def repair(problem: Problem, at_hand: GpusAtHand) -> Repaired | None:
    """Serve every task with as little change as comes to hand.

    Replicas that no longer fit go, then those that nobody needs; what is missing goes, largest first, to the fullest
    GPU that has room, and to a new one, used whole, where none has.

    Returns
    -------
    list or None
        None where there are rules about who shares a GPU, or the GPUs do not suffice.
    """
    if problem.rules:
        return None
    gpus = [_start(problem, h.gpu, h.layout or 0, h.counts if h.layout is not None else {}) for h in at_hand.held]
    for gpu in gpus:
        _evict(problem, gpu)
    _drop_surplus(problem, gpus)
    fresh = [_start(problem, h.gpu, 0, {}) for h in at_hand.fresh]
    for t in sorted(range(len(problem.tasks)), key=lambda t: -_size(problem, t)):
        if not _add_missing(problem, t, gpus, fresh):
            return None
    return [(gpu.layout, dict(gpu.counts)) if gpu.counts.total() else None for gpu in (*gpus, *fresh)]


def _start(problem: Problem, g: int, layout: int, counts: Mapping[Key, int]) -> _Gpu:
    places = problem.gpus[g].layouts[layout].places
    gpu = _Gpu(gpu=g, layout=layout, counts=Counter(), used=[[0] * len(problem.resources) for _ in places])
    for key, n in sorted(counts.items()):
        _put(problem, gpu, key, n)
    return gpu


def _put(problem: Problem, gpu: _Gpu, key: Key, n: int) -> None:
    j, t, k = key
    load = problem.tasks[t].options[k].load
    gpu.counts[key] += n
    if not gpu.counts[key]:
        del gpu.counts[key]
    gpu.used[j] = [u + n * x for u, x in zip(gpu.used[j], load, strict=True)]


def _capacity(problem: Problem, gpu: _Gpu, j: int) -> tuple[int, ...]:
    return problem.places[problem.gpus[gpu.gpu].layouts[gpu.layout].places[j]].capacity


def _share(problem: Problem, gpu: _Gpu, j: int, load: Sequence[int]) -> float:
    return max(x / max(1, c) for x, c in zip(load, _capacity(problem, gpu, j), strict=True))


def _evict(problem: Problem, gpu: _Gpu) -> None:
    """Take replicas off until each position is within its capacity: as few as can be, so the largest first."""
    for j, used in enumerate(gpu.used):
        while any(u > c for u, c in zip(gpu.used[j], _capacity(problem, gpu, j), strict=True)):
            over = max(range(len(used)), key=lambda r: gpu.used[j][r] / max(1, _capacity(problem, gpu, j)[r]))
            here = [key for key in gpu.counts if key[0] == j]
            _put(problem, gpu, max(here, key=lambda key: (_option(problem, key).load[over], key)), -1)


def _option(problem: Problem, key: Key) -> Option:
    return problem.tasks[key[1]].options[key[2]]


def _drop_surplus(problem: Problem, gpus: Sequence[_Gpu]) -> None:
    """Take off what is served beyond the demand, from the emptiest GPUs, which may so become free."""
    where: dict[int, list[tuple[float, int, Key]]] = {}
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
    """Of a replica, as the largest share of any place by its smallest option."""
    sizes = [
        max(x / max(1, c) for x, c in zip(o.load, problem.places[o.place].capacity, strict=True))
        for o in problem.tasks[t].options
    ]
    return min(sizes, default=0.0)


def _add_missing(problem: Problem, t: int, held: Sequence[_Gpu], fresh: Sequence[_Gpu]) -> bool:
    task = problem.tasks[t]
    everywhere = [(gpu.counts[key], key) for gpu in (*held, *fresh) for key in gpu.counts if key[1] == t]
    supply = sum(n * _option(problem, key).supply for n, key in everywhere)
    replicas = sum(n for n, _ in everywhere)
    while supply < task.demand or replicas < task.min_replicas:
        in_use = [gpu for gpu in (*held, *fresh) if gpu.counts]
        missing = task.demand - supply
        seat = _seat(problem, t, in_use, missing) or _seat(problem, t, _unused(held, fresh), missing)
        if seat is None:
            return False
        gpu, key = seat
        _put(problem, gpu, key, 1)
        supply += _option(problem, key).supply
        replicas += 1
    return True


def _unused(held: Sequence[_Gpu], fresh: Sequence[_Gpu]) -> list[_Gpu]:
    """Empty GPUs: those that are there, and the next new one of each type."""
    found = [gpu for gpu in held if not gpu.counts]
    types = {gpu.gpu for gpu in found}
    for gpu in fresh:
        if not gpu.counts and gpu.gpu not in types:
            types.add(gpu.gpu)
            found.append(gpu)
    return found


def _seat(problem: Problem, t: int, gpus: Sequence[_Gpu], missing: int) -> tuple[_Gpu, Key] | None:
    """Where a replica fits most tightly, by the option that serves most of what is missing for what it takes."""
    best: tuple[tuple[float, float], _Gpu, Key] | None = None
    for gpu in gpus:
        for j, place in enumerate(problem.gpus[gpu.gpu].layouts[gpu.layout].places):
            capacity = problem.places[place].capacity
            for k, option in enumerate(problem.tasks[t].options):
                if option.place != place:
                    continue
                after = [u + x for u, x in zip(gpu.used[j], option.load, strict=True)]
                if any(a > c for a, c in zip(after, capacity, strict=True)):
                    continue
                frugal = min(option.supply, max(1, missing)) / max(1e-9, _share(problem, gpu, j, option.load))
                rank = (frugal, _share(problem, gpu, j, after))
                if best is None or rank > best[0]:
                    best = (rank, gpu, (j, t, k))
    return None if best is None else best[1:]
