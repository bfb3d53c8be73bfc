"""The exact search: the whole problem, with every rule, as one CP-SAT model over individual GPUs."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from planner.problem.co_location import Spare
from planner.problem.plan import GpuGroup, Replicas, Status
from planner.problem.problem import GpuType, Problem
from planner.solver.cp_sat.rules import cost_of_slots, rule_gpus, serve, tolerate
from planner.solver.cp_sat.run import run_model
from planner.solver.limits import LimitsReached, SearchLimits

if TYPE_CHECKING:
    from ortools.sat.python import cp_model


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactResult:
    """The result of the exact search: the GPUs of a plan, if one was found, and a proven lower bound on the cost."""

    status: Status
    gpus: tuple[GpuGroup, ...] = ()
    lower_bound: int = 0


@dataclass(slots=True)
class _Slot:
    """One GPU of the model, which a plan may use or not."""

    gpu: int
    node: int
    used: Any
    layouts: list[Any]
    positions: dict[tuple[int, int], Any]  # (place, number among equal ones) -> whether the layout has it
    counts: dict[tuple[int, int, int, int], Any] = field(default_factory=dict)  # place, position, task, option


def replicas_at_most(problem: Problem) -> list[int]:
    """Return the largest number of replicas of each task in a plan without a superfluous one."""
    most = []
    for task in problem.tasks:
        least = min((o.supply for o in task.options), default=1)
        most.append(max(-(-task.demand // least), task.min_replicas))
    for rule in problem.rules:
        if isinstance(rule, Spare):  # the lost GPUs hold that many each at most, as do all the others together
            for t in rule.tasks:
                most[t] *= 1 + rule.lost
    return most


def slots_at_most(problem: Problem, upper_bound: int | None) -> list[int]:
    """Return how many GPUs of each type a plan that costs `upper_bound` at most can use."""
    replicas = sum(replicas_at_most(problem))
    if problem.together:
        # A replica that is superfluous may be needed by its group; but where every task of a group is served without
        # the replicas on one GPU, the whole group can go. For each task, at most so many GPUs cannot be spared.
        replicas += sum(task.min_replicas for task in problem.tasks)
    slots = []
    for gpu in problem.gpus:
        n = replicas if gpu.limit is None else min(gpu.limit, replicas)
        if upper_bound is not None and gpu.cost:
            n = min(n, upper_bound // gpu.cost)
        slots.append(n)
    return slots


def search(
    problem: Problem,
    *,
    upper_bound: int | None = None,
    lower_bound: int = 0,
    limits: SearchLimits,
) -> ExactResult:
    """Search all plans that cost `upper_bound` at most (any plan, where it is None).

    Returns
    -------
    ExactResult
        Its status is INFEASIBLE where no plan costs `upper_bound` at most.
    """
    from ortools.sat.python import cp_model

    model = cp_model.CpModel()
    try:
        slots = _slots(model, problem, upper_bound, limits)
        serve(model, problem, slots, limits)
        tolerate(model, problem, slots, limits)
        rule_gpus(model, problem, slots, limits)
    except LimitsReached:
        return ExactResult(status=Status.UNKNOWN, lower_bound=lower_bound)
    cost = cost_of_slots(problem, slots)
    if slots:
        model.add(cost >= lower_bound)
        if upper_bound is not None:
            model.add(cost <= upper_bound)
        model.minimize(cost)
    solver, status = run_model(model, limits)
    if status == cp_model.INFEASIBLE:
        return ExactResult(status=Status.INFEASIBLE)
    # Integers throughout; CP-SAT's bound is a float that carries an integer.
    bound = max(lower_bound, round(solver.best_objective_bound)) if slots else 0
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        return ExactResult(status=Status.UNKNOWN, lower_bound=bound)
    gpus = tuple(_placed(solver, problem, slot) for slot in slots if solver.value(slot.used))
    proven = Status.OPTIMAL if status == cp_model.OPTIMAL else Status.FEASIBLE
    return ExactResult(status=proven, gpus=gpus, lower_bound=bound)


def _slots(model: cp_model.CpModel, problem: Problem, upper_bound: int | None, limits: SearchLimits) -> list[_Slot]:
    slots: list[_Slot] = []
    nodes_matter = problem.nodes_matter
    for g, (gpu, n) in enumerate(zip(problem.gpus, slots_at_most(problem, upper_bound), strict=True)):
        in_nodes = nodes_matter and gpu.limit is not None
        # Where nodes matter and are limited, the model has every GPU of the fleet, so that any can be left empty.
        count = gpu.limit if in_nodes and gpu.limit is not None else n
        last = None
        for s in limits.each(range(count)):
            slot = _slot(model, problem, g, s // gpu.node_size if in_nodes else s, f"{g}_{s}")
            if last is not None and (not in_nodes or last.node == slot.node):
                model.add(last.used >= slot.used)
                if gpu.limit is None or not in_nodes:
                    _order(model, problem, last, slot)
            slots.append(slot)
            last = slot
    return slots


def _slot(model: cp_model.CpModel, problem: Problem, g: int, node: int, name: str) -> _Slot:
    gpu = problem.gpus[g]
    used = model.new_bool_var(f"used_{name}")
    layouts = (
        [used] if len(gpu.layouts) == 1 else [model.new_bool_var(f"layout_{name}_{i}") for i in range(len(gpu.layouts))]
    )
    if len(layouts) > 1:
        model.add(sum(layouts) == used)
    slot = _Slot(gpu=g, node=node, used=used, layouts=layouts, positions=_positions(gpu, layouts))
    most, excused = replicas_at_most(problem), problem.excused
    for (place, j), exists in slot.positions.items():
        capacity = problem.places[place].capacity
        for t, task in enumerate(problem.tasks):
            for k, option in enumerate(task.options):
                if option.place == place:
                    room = capacity if (t, k) in excused else problem.room(option)
                    fit = min((c // x for c, x in zip(room, option.load, strict=True) if x), default=most[t])
                    slot.counts[place, j, t, k] = model.new_int_var(
                        0, min(fit, most[t]), f"n_{name}_{place}_{j}_{t}_{k}"
                    )
        here = [
            (problem.tasks[t].options[k].load, n) for (p, i, t, k), n in slot.counts.items() if (p, i) == (place, j)
        ]
        for r, c in enumerate(capacity):
            if any(load[r] for load, _ in here):
                model.add(sum(load[r] * n for load, n in here) <= c * exists)
        for load, n in here:
            if not any(load):
                model.add(n == 0).only_enforce_if(~exists)
    return slot


def _positions(gpu: GpuType, layouts: list[Any]) -> dict[tuple[int, int], Any]:
    having: dict[tuple[int, int], list[Any]] = defaultdict(list)
    for layout, chosen in zip(gpu.layouts, layouts, strict=True):
        for place, n in sorted(Counter(layout.places).items()):
            for j in range(n):
                having[place, j].append(chosen)
    return {key: chosen[0] if len(chosen) == 1 else sum(chosen) for key, chosen in sorted(having.items())}


def _order(model: cp_model.CpModel, problem: Problem, a: _Slot, b: _Slot) -> None:
    """Break the symmetry of two equal GPUs: by a weighted sum of its replicas, the first holds at least as much."""
    weight = {t: i + 1 for i, t in enumerate(range(len(problem.tasks)))}
    total = [sum(weight[t] * n for (_, _, t, _), n in s.counts.items()) for s in (a, b)]
    if a.counts:
        model.add(total[0] >= total[1])


def _placed(solver: cp_model.CpSolver, problem: Problem, slot: _Slot) -> GpuGroup:
    layout = next(i for i, chosen in enumerate(slot.layouts) if solver.value(chosen))
    seen: Counter[int] = Counter()
    contents = []
    for place in problem.gpus[slot.gpu].layouts[layout].places:
        j = seen[place]
        seen[place] += 1
        here = [(t, k, solver.value(n)) for (p, i, t, k), n in slot.counts.items() if (p, i) == (place, j)]
        contents.append(tuple(Replicas(task=t, option=k, count=n) for t, k, n in sorted(here) if n))
    nodes = (slot.node,) if problem.nodes_matter else ()
    return GpuGroup(gpu=slot.gpu, layout=layout, contents=tuple(contents), nodes=nodes)
