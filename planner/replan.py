"""Change a placement with as few moves as can be: one CP-SAT model over the GPUs there are and a few new ones."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from analyzer.errors import UsageError
from planner.company import keep_company, serve, spread_over_nodes
from planner.plan import PlacedGpu, Plan, Replicas, Status, cost_of, violations
from planner.problem import Problem

if TYPE_CHECKING:
    from ortools.sat.python import cp_model

_MOST_VARIABLES = 400_000  # beyond, CP-SAT takes more than a gigabyte

Key = tuple[int, int, int]  # position in the layout, task, option


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
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
class Replanned:
    """A plan whose GPUs keep their ids.

    Parameters
    ----------
    ids : tuple of str
        One for each GPU of the plan.
    moves : int
        Replicas that are loaded where they were not.
    """

    plan: Plan
    ids: tuple[str, ...]
    moves: int


@dataclass(slots=True)
class _Slot:
    id: str
    gpu: int
    node: int
    used: Any
    layouts: dict[int, Any]
    counts: dict[tuple[int, int, int, int], Any] = field(default_factory=dict)  # layout, position, task, option
    moves: list[tuple[Any, int]] = field(default_factory=list)  # loaded replicas and the size of each


def replan(
    problem: Problem,
    held: Sequence[Held],
    free: Plan,
    sizes: Mapping[tuple[int, int], int],
    *,
    max_moves: int | None,
    time_limit_s: float,
    seed: int = 0,
    workers: int = 1,
) -> Replanned | None:
    """Serve every task at the least cost within the moves, and at that cost with the fewest bytes moved.

    Parameters
    ----------
    free : Plan
        A plan that pays no heed to what is there: it says how many new GPUs may be wanted, and bounds the cost.
    sizes : mapping
        MiB that a replica takes, by task and option.
    max_moves : int or None
        Replicas that may be loaded where they were not; a GPU that is cut anew restarts all of its replicas.

    Returns
    -------
    Replanned or None
        None where no plan keeps within the moves, or none was found in the time.

    Raises
    ------
    UsageError
        If there are too many GPUs and models for this search.
    """
    from ortools.sat.python import cp_model

    deadline = time.monotonic() + time_limit_s
    model = cp_model.CpModel()
    slots = _slots(model, problem, held, free, sizes)
    serve(model, problem, slots)
    for slot in slots:
        keep_company(model, problem, slot)
    spread_over_nodes(model, problem, slots)
    cost = sum(problem.gpus[s.gpu].cost * s.used for s in slots) + sum(
        problem.tasks[t].options[k].cost * n for s in slots for (_, _, t, k), n in s.counts.items()
    )
    moves = [load for slot in slots for load in slot.moves]
    if max_moves is not None:
        model.add(sum(n for n, _ in moves) <= max_moves)
    model.add(cost >= free.lower_bound)
    model.minimize(cost)
    solver = _solver(max(0.1, (deadline - time.monotonic()) / 2), seed, workers)
    if solver.solve(model) not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return None
    bound = max(free.lower_bound, round(solver.best_objective_bound))
    best = _read(solver, problem, slots)
    model.add(cost <= round(solver.objective_value))
    model.minimize(sum(n * size for n, size in moves))
    _hint(model, solver, slots)
    solver = _solver(max(0.1, deadline - time.monotonic()), seed, workers)
    if solver.solve(model) in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        best = _read(solver, problem, slots)
    gpus, ids, n_moves = best
    value = cost_of(gpus, problem)
    within = f" within {max_moves} moves" if max_moves is not None else ""
    plan = Plan(
        status=Status.OPTIMAL if value == bound else Status.FEASIBLE,
        gpus=gpus,
        objective=value,
        lower_bound=bound,
        bound_source=free.bound_source if bound == free.lower_bound else f"exact search{within}",
    )
    wrong = violations(plan, problem)
    assert not wrong, wrong  # a wrong plan is our bug, never the user's
    return Replanned(plan=plan, ids=ids, moves=n_moves)


def _slots(
    model: cp_model.CpModel,
    problem: Problem,
    held: Sequence[Held],
    free: Plan,
    sizes: Mapping[tuple[int, int], int],
) -> list[_Slot]:
    slots = []
    per_type = Counter(h.gpu for h in held)
    wanted: Counter[int] = Counter()
    for placed in free.gpus:
        wanted[placed.gpu] += placed.count
    _check_size(problem, per_type + wanted)
    nodes: dict[int, int] = defaultdict(int)  # GPUs seen of each type: those without a node fill nodes in turn
    for h in held:
        node = h.node if h.node is not None else nodes[h.gpu] // problem.gpus[h.gpu].node_size
        nodes[h.gpu] += 1
        slots.append(_slot(model, problem, h, node, sizes))
    number = 1 + max((int(h.id.rpartition("-")[2]) for h in held if h.id.rpartition("-")[2].isdecimal()), default=-1)
    for g, count in sorted(wanted.items()):
        limit = problem.gpus[g].limit
        new = count if limit is None else min(count, limit - per_type[g])
        last = None
        for _ in range(new):
            node = nodes[g] // problem.gpus[g].node_size
            nodes[g] += 1
            fresh = Held(id=f"gpu-{number}", gpu=g, layout=None, node=node, counts={})
            slot = _slot(model, problem, fresh, node, sizes)
            if last is not None:
                model.add(last.used >= slot.used)
            last = slot
            number += 1
            slots.append(slot)
    for g, gpu in enumerate(problem.gpus):
        if gpu.limit is not None:
            model.add(sum(s.used for s in slots if s.gpu == g) <= gpu.limit)
    return slots


def _check_size(problem: Problem, per_type: Mapping[int, int]) -> None:
    options = Counter(o.place for task in problem.tasks for o in task.options)
    n = sum(
        count * sum(options[p] for layout in problem.gpus[g].layouts for p in layout.places)
        for g, count in per_type.items()
    )
    if n > _MOST_VARIABLES:
        raise UsageError(
            f"--current: {n:,} combinations of GPUs, slices and models are more than re-planning can search;"
            " plan parts of the fleet (--model-names), or make a new plan and compare with plan diff"
        )


def _slot(model: cp_model.CpModel, problem: Problem, h: Held, node: int, sizes: Mapping[tuple[int, int], int]) -> _Slot:
    gpu = problem.gpus[h.gpu]
    used = model.new_bool_var(f"used_{h.id}")
    layouts = {i: model.new_bool_var(f"layout_{h.id}_{i}") for i in range(len(gpu.layouts))}
    model.add(sum(layouts.values()) == used)
    slot = _Slot(id=h.id, gpu=h.gpu, node=node, used=used, layouts=layouts)
    for i, layout in enumerate(gpu.layouts):
        for j, place in enumerate(layout.places):
            _fill(model, problem, slot, (i, j, place), h, sizes)
    model.add_hint(used, bool(h.counts))
    return slot


def _fill(
    model: cp_model.CpModel,
    problem: Problem,
    slot: _Slot,
    where: tuple[int, int, int],
    h: Held,
    sizes: Mapping[tuple[int, int], int],
) -> None:
    """Counts of every option on one position of one layout, within its capacity."""
    i, j, place = where
    capacity, kept = problem.places[place].capacity, i == h.layout
    terms: list[tuple[Any, tuple[int, ...]]] = []
    for t, task in enumerate(problem.tasks):
        for k, option in enumerate(task.options):
            if option.place != place:
                continue
            most = min((c // x for c, x in zip(capacity, option.load, strict=True) if x), default=_needed(problem, t))
            most = min(most, _needed(problem, t))
            if most <= 0:
                continue
            n = model.new_int_var(0, most, f"n_{slot.id}_{i}_{j}_{t}_{k}")
            slot.counts[i, j, t, k] = n
            terms.append((n, option.load))
            old = h.counts.get((j, t, k), 0) if kept else 0
            model.add_hint(n, min(old, most))
            loaded = n
            if old:
                loaded = model.new_int_var(0, most, f"m_{slot.id}_{i}_{j}_{t}_{k}")
                model.add(loaded >= n - old)
            slot.moves.append((loaded, sizes[t, k]))
            model.add(n <= most * slot.layouts[i])
    for r, c in enumerate(capacity):
        model.add(sum(n * load[r] for n, load in terms) <= c * slot.layouts[i])


def _needed(problem: Problem, t: int) -> int:
    task = problem.tasks[t]
    least = min((o.supply for o in task.options), default=1)
    needed = max(-(-task.demand // least), task.min_replicas)
    return needed if task.max_per_gpu is None else min(needed, task.max_per_gpu)


def _solver(time_limit_s: float, seed: int, workers: int) -> cp_model.CpSolver:
    from ortools.sat.python import cp_model

    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = time_limit_s
    solver.parameters.random_seed = seed
    solver.parameters.num_workers = workers
    return solver


def _hint(model: cp_model.CpModel, solver: cp_model.CpSolver, slots: Sequence[_Slot]) -> None:
    model.clear_hints()
    for slot in slots:
        for variable in (slot.used, *slot.layouts.values(), *slot.counts.values()):
            model.add_hint(variable, solver.value(variable))


def _read(
    solver: cp_model.CpSolver, problem: Problem, slots: Sequence[_Slot]
) -> tuple[tuple[PlacedGpu, ...], tuple[str, ...], int]:
    gpus, ids, moves = [], [], 0
    nodes_matter = any(task.max_per_node is not None for task in problem.tasks)
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
            gpus.append(PlacedGpu(gpu=slot.gpu, layout=layout, contents=tuple(map(tuple, contents)), nodes=nodes))
            ids.append(slot.id)
            moves += sum(solver.value(n) for n, _ in slot.moves)
    return tuple(gpus), tuple(ids), moves
