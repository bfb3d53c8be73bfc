"""Demands, tolerances and co-location rules as constraints of a CP-SAT model over individual GPUs.

One function for each rule.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from planner.problem.co_location import Alone, Apart, AtMost, Overloaded, Spare, Together, Within
from planner.problem.problem import Problem, Task
from planner.solver.limits import SearchLimits

if TYPE_CHECKING:
    from ortools.sat.python import cp_model


Counts = dict[int, list[Any]]  # the replicas on one GPU, by task
Content = dict[tuple[int, int], Any]  # the replicas in one place, by task and option


class Slot(Protocol):
    """One GPU of a CP-SAT model: its type, its node, and the numbers of replicas of each task's options on it."""

    gpu: int
    node: int
    used: Any
    counts: dict[tuple[int, int, int, int], Any]  # two indices of the position on the GPU; task; option


def cost_of_slots(problem: Problem, slots: Sequence[Slot]) -> Any:
    """Return what the GPUs in use and their replicas cost; also right where a type or every replica costs nothing."""
    from ortools.sat.python import cp_model

    paid = [(slot.used, problem.gpus[slot.gpu].cost) for slot in slots]
    paid += [(n, problem.tasks[t].options[k].cost) for slot in slots for (_, _, t, k), n in slot.counts.items()]
    return cp_model.LinearExpr.weighted_sum([variable for variable, _ in paid], [cost for _, cost in paid])


def serve(model: cp_model.CpModel, problem: Problem, slots: Sequence[Slot], limits: SearchLimits) -> None:
    """Add the constraints that every demand is met, with at least (exact tasks: just) as many replicas as asked for."""
    counts: dict[int, list[tuple[int, Any]]] = defaultdict(list)
    for slot in slots:
        for (_, _, t, k), n in slot.counts.items():
            counts[t].append((problem.tasks[t].options[k].supply, n))
    exact = problem.exact
    for t, task in limits.each(enumerate(problem.tasks)):
        if not counts[t]:
            if task.demand or task.min_replicas:
                model.add_bool_or([])  # nothing can run it
            continue
        if t in exact:
            model.add(sum(n for _, n in counts[t]) == task.demand)
            continue
        model.add(sum(supply * n for supply, n in counts[t]) >= task.demand)
        if task.min_replicas:
            model.add(sum(n for _, n in counts[t]) >= task.min_replicas)


def tolerate(model: cp_model.CpModel, problem: Problem, slots: Sequence[Slot], limits: SearchLimits) -> None:
    """Add, for every place and option, that where there is such a replica the place is loaded with what it tolerates.

    Tolerances of a resource that are equal share a variable: whether any replica with it is in the place. A place that
    holds nothing beside a content that is known to hold is not limited so.
    """
    if not problem.has_tolerances:
        return
    for slot in limits.each(slots):
        for content in _contents(slot).values():
            _tolerate(model, problem, content)


def _tolerate(model: cp_model.CpModel, problem: Problem, content: Content) -> None:
    options = {key: problem.tasks[key[0]].options[key[1]] for key in content}
    other = [~known for known in _known_to_hold(model, problem, content)]
    for r in range(len(problem.resources)):
        strict: dict[int, list[Any]] = defaultdict(list)
        for key, option in options.items():
            room = problem.room(option)[r]
            if room < problem.places[option.place].capacity[r]:
                strict[room].append(content[key])
        used = sum(option.load[r] * content[key] for key, option in options.items())
        for room, counts in strict.items():
            present = _presence(model, counts)
            model.add(used <= room).only_enforce_if([present, *other])


def _known_to_hold(model: cp_model.CpModel, problem: Problem, content: Content) -> list[Any]:
    """Variables each of which says that the place holds nothing beside a content that is known to hold."""
    found = []
    for rule in problem.known_to_hold:
        part_of = {key: rule.part_of(*key) for key in content}
        if all(part is None for part in part_of.values()):
            continue
        known = model.new_bool_var("")
        model.add(sum(n for key, n in content.items() if part_of[key] is None) == 0).only_enforce_if(known)
        for c, part in enumerate(rule.parts):
            counts = [n for key, n in content.items() if part_of[key] == c]
            model.add(sum(counts) <= part.count).only_enforce_if(known)
        found.append(known)
    return found


def _contents(slot: Slot) -> dict[tuple[int, int], Content]:
    """The replicas in each place of a GPU."""
    found: dict[tuple[int, int], Content] = defaultdict(dict)
    for (a, b, t, k), n in slot.counts.items():
        found[a, b][t, k] = n
    return found


def rule_gpus(model: cp_model.CpModel, problem: Problem, slots: Sequence[Slot], limits: SearchLimits) -> None:
    """Add every rule for every GPU, and for every node the rules that count replicas on nodes."""
    for slot in limits.each(slots if problem.rules else ()):
        _rule_gpu(model, problem, slot)
    _rule_nodes(model, problem, slots)
    for rule in limits.each(rule for rule in problem.rules if isinstance(rule, Spare)):
        for t in rule.tasks:
            spare(model, rule, problem.tasks[t], t, slots)


def _rule_gpu(model: cp_model.CpModel, problem: Problem, slot: Slot) -> None:
    counts: Counts = defaultdict(list)
    for (_, _, t, _), n in slot.counts.items():
        counts[t].append(n)
    asked = {t for rule in problem.rules if isinstance(rule, Alone | Apart | Together) for t in rule.tasks}
    contents = _contents(slot)
    present = {t: _presence(model, own) for t, own in counts.items() if t in asked}
    for rule in problem.rules:
        match rule:
            case AtMost():
                at_most(model, rule, counts)
            case Alone():
                alone(model, rule, counts, present)
            case Apart():
                apart(model, rule, present)
            case Together():
                together(model, rule, present)
            case Overloaded():
                for content in contents.values():
                    overloaded(model, rule, content)


def _rule_nodes(model: cp_model.CpModel, problem: Problem, slots: Sequence[Slot]) -> None:
    for rule in problem.rules:
        if not isinstance(rule, AtMost) or rule.within is not Within.NODE:
            continue
        on_node: dict[tuple[int, int], list[Any]] = defaultdict(list)
        for slot in slots:
            on_node[slot.gpu, slot.node] += [n for (_, _, t, _), n in slot.counts.items() if t in rule.tasks]
        for here in on_node.values():
            model.add(sum(here) <= rule.most)


def at_most(model: cp_model.CpModel, rule: AtMost, counts: Counts) -> None:
    """At most so many replicas together on the GPU; where nodes are counted, a GPU has no more than its node."""
    here = [n for t in rule.tasks for n in counts.get(t, ())]
    if here:
        model.add(sum(here) <= rule.most)


def spare(model: cp_model.CpModel, rule: Spare, task: Task, t: int, slots: Sequence[Slot]) -> None:
    """The demand, and the least number of replicas, also without the GPUs or nodes that hold most of the task."""
    for needed, worth in (
        (task.demand, [o.supply for o in task.options]),
        (task.min_replicas, [1] * len(task.options)),
    ):
        if not needed:
            continue
        there: dict[tuple[int, int], list[Any]] = defaultdict(list)
        for i, slot in enumerate(slots):
            where = (slot.gpu, slot.node) if rule.within is Within.NODE else (i, 0)
            there[where] += [min(worth[k], needed) * n for (_, _, other, k), n in slot.counts.items() if other == t]
        # The sum of the s largest is the least, over all z, of s z + the sum of what exceeds z.
        limit = model.new_int_var(0, needed, "")
        above = []
        for terms in (terms for terms in there.values() if terms):
            kept = model.new_int_var(0, needed, "")  # more than the demand serves nothing
            model.add(kept <= sum(terms))
            over = model.new_int_var(0, needed, "")
            model.add(over >= kept - limit)
            above.append(kept - over)
        model.add(sum(above) - rule.lost * limit >= needed)


def alone(model: cp_model.CpModel, rule: Alone, counts: Counts, present: Mapping[int, Any]) -> None:
    """No replica of another task where one of these is present."""
    for t in rule.tasks:
        for n in (n for other, ns in counts.items() if other != t and t in present for n in ns):
            model.add(n == 0).only_enforce_if(present[t])


def apart(model: cp_model.CpModel, rule: Apart, present: Mapping[int, Any]) -> None:
    """At most one of the tasks is present."""
    model.add_at_most_one(present[t] for t in rule.tasks if t in present)


def together(model: cp_model.CpModel, rule: Together, present: Mapping[int, Any]) -> None:
    """All of the tasks are present, or none."""
    for t in rule.tasks[1:]:
        model.add(present.get(t, 0) == present.get(rule.tasks[0], 0))


def overloaded(model: cp_model.CpModel, rule: Overloaded, content: Content) -> None:
    """At least one part of a failed content is missing in the place."""
    missing = []
    for part in rule.parts:
        counts = [content[part.task, k] for k in dict.fromkeys(part.options) if (part.task, k) in content]
        if not counts:
            return
        lacks = model.new_bool_var("")
        model.add(sum(counts) < part.count).only_enforce_if(lacks)
        missing.append(lacks)
    model.add_bool_or(missing)


def _presence(model: cp_model.CpModel, counts: list[Any]) -> Any:
    """A variable that says whether any of these replicas is on the GPU."""
    present = model.new_bool_var("")
    for n in counts:
        model.add(n == 0).only_enforce_if(~present)
    model.add(sum(counts) >= 1).only_enforce_if(present)
    return present
