"""Balance a plan: move single replicas so that its fullest GPUs are less full, at the same cost.            [pure]"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from planner.problem.plan import GpuGroup, Plan, Replicas
from planner.problem.problem import Problem
from planner.problem.verify import violations

MOST_GPUS = 50  # in a larger plan, GPUs stay filled alike: that is easier to read than many that differ a little
_MOST_MOVES = 2_000

Kind = tuple[int, int]  # task and option


@dataclass(slots=True)
class _Gpu:
    """One GPU of the plan, and the replicas that are on it after the moves so far."""

    placed: GpuGroup
    place: int
    content: Counter[Kind]
    used: list[int]
    open: bool  # whether replicas may be added


def even_out(plan: Plan, problem: Problem) -> Plan:
    """Move single replicas from fuller to emptier GPUs of the same type, as long as the fuller of the two gets emptier.

    A GPU is as full as its fullest resource. Replicas of tasks that a rule names are not moved, a replica goes only
    where all tolerate the load, and GPUs that are cut are not changed. The cost, the options and the GPUs in use stay
    the same.
    """
    if plan.objective is None or not 1 < plan.n_gpus <= MOST_GPUS:
        return plan
    free = frozenset(range(len(problem.tasks))) - problem.ruled
    gpus = [g for placed in plan.gpus for g in _expanded(placed, problem)]
    for _ in range(_MOST_MOVES):
        if not _improve(gpus, problem, free):
            break
    evened = replace(plan, gpus=_joined(gpus))
    wrong = violations(evened, problem)
    assert not wrong, wrong  # a wrong plan is our bug, never the user's
    return evened


def _expanded(placed: GpuGroup, problem: Problem) -> Iterator[_Gpu]:
    layout = problem.gpus[placed.gpu].layouts[placed.layout]
    place = layout.places[0]
    for k in range(placed.count):
        content: Counter[Kind] = Counter()
        used = [0] * len(problem.resources)
        if len(layout.places) == 1:
            for r in placed.contents[0]:
                content[r.task, r.option] += r.count
                load = problem.tasks[r.task].options[r.option].load
                used = [u + r.count * x for u, x in zip(used, load, strict=True)]
        one = replace(placed, count=1, nodes=placed.nodes[k : k + 1])
        closed = any(t in rule.tasks for rule in problem.rules if rule.excludes_others for t, _ in content)
        yield _Gpu(placed=one, place=place, content=content, used=used, open=bool(content) and not closed)


def _improve(gpus: Sequence[_Gpu], problem: Problem, free: frozenset[int]) -> bool:
    """Make the first move that helps, from the fullest GPUs to the emptiest; whether there was one."""
    fill = [_fill(g.used, problem.places[g.place].capacity) for g in gpus]
    order = sorted(range(len(gpus)), key=lambda i: (-fill[i], i))
    for i in order:
        source = gpus[i]
        if source.content.total() < 2:  # its GPU would become empty
            continue
        for j in reversed(order):
            target = gpus[j]
            if fill[j] >= fill[i]:
                break
            if target.place != source.place or not target.open or j == i:
                continue
            kind = _best_move(source, target, fill[i], problem, free)
            if kind is not None:
                _move(source, target, kind, problem)
                return True
    return False


def _best_move(source: _Gpu, target: _Gpu, fill: float, problem: Problem, free: frozenset[int]) -> Kind | None:
    """The replica whose move leaves the fuller of the two GPUs emptiest, if emptier than `fill`."""
    capacity, room = problem.places[source.place].capacity, _room(target, problem)
    best: tuple[float, Kind] | None = None
    for t, k in sorted(source.content):
        if t not in free:
            continue
        load = problem.tasks[t].options[k].load
        after = [u + x for u, x in zip(target.used, load, strict=True)]
        own = problem.room(problem.tasks[t].options[k])
        if any(a > min(c, x) for a, c, x in zip(after, room, own, strict=True)):
            continue
        there = _fill(after, capacity)
        here = _fill([u - x for u, x in zip(source.used, load, strict=True)], capacity)
        if max(here, there) < fill - 1e-9 and (best is None or max(here, there) < best[0]):
            best = (max(here, there), (t, k))
    return best[1] if best else None


def _room(gpu: _Gpu, problem: Problem) -> tuple[int, ...]:
    """What a GPU may be loaded with: its capacity, or what the replicas on it tolerate."""
    rooms = [problem.room(problem.tasks[t].options[k]) for t, k in gpu.content]
    return tuple(map(min, zip(problem.places[gpu.place].capacity, *rooms, strict=True)))


def _move(source: _Gpu, target: _Gpu, kind: Kind, problem: Problem) -> None:
    load = problem.tasks[kind[0]].options[kind[1]].load
    source.content[kind] -= 1
    if not source.content[kind]:
        del source.content[kind]
    target.content[kind] += 1
    source.used = [u - x for u, x in zip(source.used, load, strict=True)]
    target.used = [u + x for u, x in zip(target.used, load, strict=True)]


def _fill(used: Sequence[int], capacity: Sequence[int]) -> float:
    return max((u / c if c else float(u > 0) for u, c in zip(used, capacity, strict=True)), default=0.0)


def _joined(gpus: Sequence[_Gpu]) -> tuple[GpuGroup, ...]:
    """Put equal GPUs into one group again, in the order of the first of each."""
    count: dict[tuple[int, int, tuple[tuple[Replicas, ...], ...]], list[int]] = {}
    for g in gpus:
        contents = g.placed.contents
        if g.content:
            contents = (tuple(Replicas(task=t, option=k, count=n) for (t, k), n in sorted(g.content.items())),)
        nodes = count.setdefault((g.placed.gpu, g.placed.layout, contents), [])
        nodes += g.placed.nodes or (-1,)
    return tuple(
        GpuGroup(
            gpu=gpu,
            layout=layout,
            contents=contents,
            count=len(nodes),
            nodes=tuple(sorted(nodes)) if nodes[0] >= 0 else (),
        )
        for (gpu, layout, contents), nodes in count.items()
    )
