"""The rules of a Problem over named GPUs, for the CP-SAT models that name them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from planner.problem.problem import Problem

if TYPE_CHECKING:
    from ortools.sat.python import cp_model


class Slot(Protocol):
    """One named GPU of a model: its type, its node, and how many replicas it has of each task's options."""

    gpu: int
    node: int
    counts: dict[tuple[int, int, int, int], Any]  # two numbers that say where on the GPU; task; option


def serve(model: cp_model.CpModel, problem: Problem, slots: Sequence[Slot]) -> None:
    """Meet every demand, with at least as many replicas as asked for."""
    counts: dict[int, list[tuple[int, Any]]] = defaultdict(list)
    for slot in slots:
        for (_, _, t, k), n in slot.counts.items():
            counts[t].append((problem.tasks[t].options[k].supply, n))
    for t, task in enumerate(problem.tasks):
        if not counts[t]:
            if task.demand or task.min_replicas:
                model.add_bool_or([])  # nothing can run it
            continue
        model.add(sum(supply * n for supply, n in counts[t]) >= task.demand)
        if task.min_replicas:
            model.add(sum(n for _, n in counts[t]) >= task.min_replicas)


def keep_company(model: cp_model.CpModel, problem: Problem, slot: Slot) -> None:
    """What one GPU may hold: spreading, alone, apart, together."""
    of: dict[int, list[Any]] = defaultdict(list)
    for (_, _, t, _), n in slot.counts.items():
        of[t].append(n)
    grouped = {t for group in (*problem.apart, *problem.together) for t in group}
    present = {t: _presence(model, counts) for t, counts in of.items() if problem.tasks[t].alone or t in grouped}
    for t, counts in of.items():
        task = problem.tasks[t]
        limits = [x for x in (task.max_per_gpu, task.max_per_node) if x is not None]
        if limits:
            model.add(sum(counts) <= min(limits))
        if task.alone:
            for n in (n for other, ns in of.items() if other != t for n in ns):
                model.add(n == 0).only_enforce_if(present[t])
    for group in problem.apart:
        model.add_at_most_one(present[t] for t in dict.fromkeys(group) if t in present)
    for group in problem.together:
        for t in group[1:]:
            model.add(present.get(t, 0) == present.get(group[0], 0))


def _presence(model: cp_model.CpModel, counts: list[Any]) -> Any:
    present = model.new_bool_var("")
    for n in counts:
        model.add(n == 0).only_enforce_if(~present)
    model.add(sum(counts) >= 1).only_enforce_if(present)
    return present


def spread_over_nodes(model: cp_model.CpModel, problem: Problem, slots: Sequence[Slot]) -> None:
    """Keep replicas that are to be spread on different nodes."""
    for t, task in enumerate(problem.tasks):
        if task.max_per_node is None:
            continue
        on_node: dict[tuple[int, int], list[Any]] = defaultdict(list)
        for slot in slots:
            on_node[slot.gpu, slot.node] += [n for (_, _, u, _), n in slot.counts.items() if u == t]
        for counts in on_node.values():
            model.add(sum(counts) <= task.max_per_node)
