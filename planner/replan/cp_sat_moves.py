"""A CP-SAT model of a change of placement, over the current and new GPUs: least cost, then the fewest bytes loaded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from planner.problem.co_location import AtMost
from planner.problem.plan import GpuGroup, Replicas
from planner.problem.problem import Problem
from planner.replan.repair import AvailableGpus, CurrentGpu, LoadedAs, Repaired, kinds_at
from planner.solver.cp_sat.rules import cost_of_slots, rule_gpus, serve, tolerate
from planner.solver.cp_sat.run import run_model
from planner.solver.limits import LimitsReached, SearchLimits
from planner.solver.surplus import exact_tasks

if TYPE_CHECKING:
    from ortools.sat.python import cp_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The GPUs in use after the change, and how many replicas it loads.

    Parameters
    ----------
    ids : tuple of str
        Id of each GPU; a current GPU keeps its own.
    moves, moved_mib : int
        Replicas that are loaded, and their memory in MiB.
    """

    gpus: tuple[GpuGroup, ...]
    ids: tuple[str, ...]
    moves: int
    moved_mib: int


@dataclass(slots=True)
class _Slot:
    """One GPU in the model, with its CP-SAT variables."""

    id: str
    gpu: int
    node: int
    used: Any
    layouts: dict[int, Any]
    counts: dict[tuple[int, int, int, int], Any] = field(default_factory=dict)  # layout, position, task, option
    most: dict[tuple[int, int, int, int], int] = field(default_factory=dict)  # upper bounds of the counts
    moves: list[tuple[Any, int]] = field(default_factory=list)  # loaded replicas and the size of each
    loads: list[tuple[Any, int, list[tuple[int, int, int, int]]]] = field(
        default_factory=list
    )  # loaded, there before, keys of counts


def search_moves(
    problem: Problem,
    available: AvailableGpus,
    repaired: Repaired | None,
    loaded_as: Mapping[tuple[int, int], LoadedAs],
    *,
    max_moves: int | None,
    lower_bound: int,
    limits: SearchLimits,
) -> tuple[Outcome, int] | None:
    """Serve every task at the least cost within the moves, and at that cost with the fewest bytes moved.

    Parameters
    ----------
    repaired : list or None
        The repaired plan, a start for the search; None where there is none.
    loaded_as : mapping
        What is loaded for a replica, by task and option.
    lower_bound : int
        A proven lower bound on the cost.

    Returns
    -------
    tuple or None
        The outcome and a proven lower bound on the cost; None where no plan was found.
    """
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    try:
        slots = _slots(model, problem, available, loaded_as, limits)
        if repaired is not None:
            _hint_repair(model, slots, repaired)
        serve(model, problem, slots, limits)
        tolerate(model, problem, slots, limits)
        rule_gpus(model, problem, slots, limits)
    except LimitsReached:
        return None
    cost = cost_of_slots(problem, slots)
    for t in exact_tasks(problem):
        model.add(
            sum(n for s in slots for (_, _, other, _), n in s.counts.items() if other == t) <= problem.tasks[t].demand
        )
    moves = [load for slot in slots for load in slot.moves]
    if max_moves is not None:
        model.add(sum(n for n, _ in moves) <= max_moves)
    model.add(cost >= lower_bound)
    model.minimize(cost)
    solver, status = run_model(model, limits.within(limits.left_s / 2))
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    bound = max(lower_bound, round(solver.best_objective_bound))
    best = _read(solver, problem, slots)
    model.add(cost <= round(solver.objective_value))
    model.minimize(sum(n * size for n, size in moves))
    _hint(model, solver, slots)
    solver, status = run_model(model, limits)
    if status in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        best = _read(solver, problem, slots)
    return best, bound


def _slots(
    model: cp_model.CpModel,
    problem: Problem,
    available: AvailableGpus,
    loaded_as: Mapping[tuple[int, int], LoadedAs],
    limits: SearchLimits,
) -> list[_Slot]:
    slots = []
    last: dict[tuple[int, int], _Slot] = {}
    for i, h in limits.each(enumerate((*available.current, *available.new))):
        node = h.node or 0
        slot = _slot(model, problem, h, node, loaded_as)
        if i >= len(available.current):  # new GPUs of a type in a node are interchangeable: use them in order
            if (h.gpu, node) in last:
                model.add(last[h.gpu, node].used >= slot.used)
            last[h.gpu, node] = slot
        slots.append(slot)
    for g, gpu in enumerate(problem.gpus):
        if gpu.limit is not None:
            model.add(sum(s.used for s in slots if s.gpu == g) <= gpu.limit)
    return slots


def _hint_repair(model: cp_model.CpModel, slots: Sequence[_Slot], repaired: Repaired) -> None:
    """Give the search the repaired plan as its start."""
    for slot, found in zip(slots, repaired, strict=True):
        layout, counts = found if found is not None else (None, {})
        model.add_hint(slot.used, found is not None)
        for i, chosen in slot.layouts.items():
            model.add_hint(chosen, i == layout)
        for (i, j, t, k), n in slot.counts.items():
            model.add_hint(n, counts.get((j, t, k), 0) if i == layout else 0)
        for loaded, old, keys in slot.loads:
            new = sum(counts.get((j, t, k), 0) for i, j, t, k in keys if i == layout)
            model.add_hint(loaded, max(0, new - old))


def _slot(
    model: cp_model.CpModel, problem: Problem, h: CurrentGpu, node: int, loaded_as: Mapping[tuple[int, int], LoadedAs]
) -> _Slot:
    gpu = problem.gpus[h.gpu]
    used = model.new_bool_var(f"used_{h.id}")
    layouts = {i: model.new_bool_var(f"layout_{h.id}_{i}") for i in range(len(gpu.layouts))}
    model.add(sum(layouts.values()) == used)
    slot = _Slot(id=h.id, gpu=h.gpu, node=node, used=used, layouts=layouts)
    for i, layout in enumerate(gpu.layouts):
        for j, place in enumerate(layout.places):
            _fill(model, problem, slot, (i, j, place))
            before = kinds_at(j, h.counts, loaded_as) if i == h.layout else {}
            _count_loads(model, slot, (i, j), before, loaded_as)
    return slot


def _fill(
    model: cp_model.CpModel,
    problem: Problem,
    slot: _Slot,
    where: tuple[int, int, int],
) -> None:
    """Add the number of replicas by every option at one position of one layout, within its capacity."""
    i, j, place = where
    capacity, excused = problem.places[place].capacity, problem.excused
    terms: list[tuple[Any, tuple[int, ...]]] = []
    for t, task in enumerate(problem.tasks):
        for k, option in enumerate(task.options):
            if option.place != place:
                continue
            room = capacity if (t, k) in excused else problem.room(option)
            most = min([_needed(problem, t), *(c // x for c, x in zip(room, option.load, strict=True) if x)])
            if most <= 0:
                continue
            n = model.new_int_var(0, most, f"n_{slot.id}_{i}_{j}_{t}_{k}")
            slot.counts[i, j, t, k] = n
            slot.most[i, j, t, k] = most
            terms.append((n, option.load))
            model.add(n <= most * slot.layouts[i])
    for r, c in enumerate(capacity):
        model.add(sum(n * load[r] for n, load in terms) <= c * slot.layouts[i])


def _count_loads(
    model: cp_model.CpModel,
    slot: _Slot,
    where: tuple[int, int],
    before: Mapping[LoadedAs, int],
    loaded_as: Mapping[tuple[int, int], LoadedAs],
) -> None:
    """Count the replicas of each kind beyond those that a position has before."""
    keys: dict[LoadedAs, list[tuple[int, int, int, int]]] = defaultdict(list)
    for key in slot.counts:
        if key[:2] == where:
            keys[loaded_as[key[2:]]].append(key)
    for what, of_kind in keys.items():
        old = before.get(what, 0)
        if not old:
            slot.moves += [(slot.counts[key], what.size_mib) for key in of_kind]
            continue
        new = sum(slot.counts[key] for key in of_kind)
        most = sum(slot.most[key] for key in of_kind)
        loaded = model.new_int_var(0, most, f"m_{slot.id}_{where[0]}_{where[1]}_{what.kind}")
        model.add(loaded >= new - old)
        slot.loads.append((loaded, old, of_kind))
        slot.moves.append((loaded, what.size_mib))


def _needed(problem: Problem, t: int) -> int:
    task = problem.tasks[t]
    least = min((o.supply for o in task.options), default=1)
    needed = max(-(-task.demand // least), task.min_replicas)
    return min([needed, *(rule.most for rule in problem.rules if isinstance(rule, AtMost) and t in rule.tasks)])


def _hint(model: cp_model.CpModel, solver: cp_model.CpSolver, slots: Sequence[_Slot]) -> None:
    model.clear_hints()
    for slot in slots:
        for variable in (slot.used, *slot.layouts.values(), *slot.counts.values()):
            model.add_hint(variable, solver.value(variable))


def _read(solver: cp_model.CpSolver, problem: Problem, slots: Sequence[_Slot]) -> Outcome:
    gpus, ids, moves, moved = [], [], 0, 0
    nodes_matter = problem.nodes_matter
    for slot in slots:
        if not solver.value(slot.used):
            continue
        layout = next(i for i, chosen in slot.layouts.items() if solver.value(chosen))
        contents: list[list[Replicas]] = [[] for _ in problem.gpus[slot.gpu].layouts[layout].places]
        for (i, j, t, k), n in slot.counts.items():
            if i == layout and solver.value(n):
                contents[j].append(Replicas(task=t, option=k, count=solver.value(n)))
        if any(contents):
            nodes = (slot.node,) if nodes_matter else ()
            gpus.append(GpuGroup(gpu=slot.gpu, layout=layout, contents=tuple(map(tuple, contents)), nodes=nodes))
            ids.append(slot.id)
            moves += sum(solver.value(n) for n, _ in slot.moves)
            moved += sum(solver.value(n) * size for n, size in slot.moves)
    return Outcome(gpus=tuple(gpus), ids=tuple(ids), moves=moves, moved_mib=moved)
