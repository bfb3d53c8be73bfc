"""Quick lower bounds: the volume of each resource, as it is and under dual feasible functions.

A function f is dual feasible if loads that fit into a capacity still fit after f is applied to them; so the volume of
the f-loads gives a bound as well, and often a better one. Two families: Martello and Toth's (small loads become 0,
large ones the whole capacity) and Fekete and Schepers' staircase ("New classes of fast lower bounds for bin packing
problems", 2001). All figures are integers, rounded so that the bound stays valid. Where an option tolerates less than
the capacity, its load counts as a share of what it tolerates; failed contents are ignored, and so is what an option
tolerates that is in a content known to hold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from planner.problem.co_location import AtMost
from planner.problem.problem import Task
from planner.solver.column_model import ColumnModel, Ints
from planner.solver.limits import SearchLimits

_FUNCTIONS = 300  # thresholds of the first family that are tried, of all resources together (about)
_MOST_FUNCTIONS = 60  # and of one resource
_PRICED = 20  # and per resource of one place, where an LP combines them
_STAIRS = 12  # functions of the second family have fewer steps than this


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A proven lower bound on the cost in objective units, and in words what proves it."""

    value: int
    source: str


def lower_bound(model: ColumnModel, limits: SearchLimits) -> Bound:
    """Return the best of the quick bounds; once the limits are reached, no more dual feasible functions are tried.

    The model's places are those of the problem, and there are no bundles.
    """
    best = Bound(value=0, source="none")
    for bound in _bounds(model, limits):
        if bound.value > best.value:
            best = bound
    return best


def _bounds(model: ColumnModel, limits: SearchLimits) -> Iterator[Bound]:
    yield _replicas(model)
    for r in range(len(model.problem.resources)):
        yield from _resource_bounds(model, r, limits)


def _replicas(model: ColumnModel) -> Bound:
    """Bound by the rules that limit replicas on a GPU: their tasks need so many GPUs of the cheapest type."""
    cheapest = min((gpu.cost for gpu in model.problem.gpus if gpu.limit != 0), default=0)
    most = 0
    for rule in model.problem.rules:
        if isinstance(rule, AtMost):
            replicas = sum(_least_replicas(model.problem.tasks[t]) for t in rule.tasks)
            most = max(most, -(-replicas // rule.most) * cheapest)
    return Bound(value=most, source="spreading")


def _least_replicas(task: Task) -> int:
    if not task.options:
        return 0
    return max(-(-task.demand // max(o.supply for o in task.options)), task.min_replicas)


def _resource_bounds(model: ColumnModel, r: int, limits: SearchLimits) -> Iterator[Bound]:
    name = model.problem.resources[r]
    yield Bound(value=_volume(model, r, 0, 0), source=f"volume of {name}")
    functions = [*((threshold, 0) for threshold in _thresholds(model, r)), *((0, k) for k in range(1, _STAIRS))]
    for threshold, stairs in functions:
        if limits.over:
            break
        yield Bound(value=_volume(model, r, threshold, stairs), source=f"dual feasible function of {name}")


def _thresholds(model: ColumnModel, r: int) -> list[int]:
    """Thresholds of the first family, in millionths of the capacity: the points where its values change."""
    found: set[int] = set()
    for items in model.items.values():
        capacity = model.problem.places[items.place].capacity[r]
        if capacity:
            found.update(_steps(_loads(model, items.place, r), capacity))
    return _thinned(sorted(found), min(_MOST_FUNCTIONS, -(-_FUNCTIONS // len(model.problem.resources))))


def _steps(load: Ints, capacity: int, most: int | None = None) -> list[int]:
    """Thresholds at which the values of some of these loads change; `most` of them (about), spread evenly."""
    share = load * 10**6 // max(1, capacity)
    low, high = share[(share > 0) & (share < 500_000)], share[(share > 500_000) & (share < 10**6)]
    found = [int(s) for s in np.unique(np.concatenate([low + 1, 10**6 - high]))]
    return found if most is None else _thinned(found, most)


def _thinned(thresholds: list[int], most: int) -> list[int]:
    return thresholds[:: max(1, len(thresholds) // most)]


def dual_feasible_room(model: ColumnModel, place: int) -> tuple[Ints, Ints]:
    """Return loads (n_items, n_functions) of a place's items and its room (n_functions,).

    The first columns are the resources themselves; the others are dual feasible functions of each resource, whose
    loads fit into their room wherever the resource's do.
    """
    items = model.items[place]
    loads, rooms = [items.relaxed_load], [items.capacity]
    for r, capacity in enumerate(map(int, items.capacity)):
        own = items.relaxed_load[:, r]
        pairs = [*((x, 0) for x in _steps(own, capacity, _PRICED)), *((0, k) for k in range(1, _STAIRS))]
        found = [_transformed(own, capacity, threshold, stairs) for threshold, stairs in pairs if capacity]
        loads += [load[:, None] for load, _ in found]
        rooms += [np.array([room], dtype=np.int64) for _, room in found]
    load, room = np.concatenate(loads, axis=1), np.concatenate(rooms)
    _, first = np.unique(load / np.maximum(room, 1), axis=1, return_index=True)
    kept = np.sort(first)
    return np.ascontiguousarray(load[:, kept]), room[kept]


def _loads(model: ColumnModel, place: int, r: int) -> Ints:
    """(n_items,) loads of a place's items; where they tolerate less than the capacity, in shares of that."""
    tasks, capacity = model.problem.tasks, model.problem.places[place].capacity[r]
    excused = model.problem.excused
    loads = []
    for ((_, t, k, _),) in model.items[place].held:
        option = tasks[t].options[k]
        limited = option.tolerance and (t, k) not in excused
        room = max(1, model.problem.room(option)[r]) if limited else capacity
        loads.append(option.load[r] * capacity // room if limited else option.load[r])
    return np.array(loads, dtype=np.int64)


def _volume(model: ColumnModel, r: int, threshold: int, stairs: int) -> int:
    """Least cost by the volume of one resource, with a dual feasible function applied to its loads."""
    problem = model.problem
    largest = max([1, *(max(task.demand, task.min_replicas) for task in problem.tasks)])
    price = _prices(model)
    scale = max(1, min(10**9, 2**61 // (largest * max(1, *(gpu.cost for gpu in problem.gpus)))))
    unknown = np.iinfo(np.int64).max
    by_demand = np.full(len(problem.tasks), unknown, dtype=np.int64)
    by_replicas = np.full(len(problem.tasks), unknown, dtype=np.int64)
    demand, replicas = model.demand, model.replicas
    for place, items in model.items.items():
        capacity = problem.places[place].capacity[r]
        value, full = _transformed(_loads(model, place, r), capacity, threshold, stairs)
        paid, parts = price[place]
        worth = np.array([int(v) * paid * scale // (full * parts) if full else 0 for v in value], dtype=np.int64)
        supply = np.minimum(items.supply, np.maximum(demand[items.task], 1))
        np.minimum.at(by_demand, items.task, worth * demand[items.task] // supply)
        np.minimum.at(by_replicas, items.task, worth * replicas[items.task])
    least = np.maximum(by_demand, by_replicas)
    return -(-sum(int(x) for x in least if x != unknown) // scale)


def _prices(model: ColumnModel) -> dict[int, tuple[int, int]]:
    """What each place costs at least, as (cost, parts): one of the equal parts of the cheapest layout that has it."""
    price: dict[int, tuple[int, int]] = {}
    for gpu in model.problem.gpus:
        if gpu.limit == 0:
            continue
        for layout in gpu.layouts:
            part = (gpu.cost, len(layout.places))
            for place in layout.places:
                old = price.get(place)
                if old is None or part[0] * old[1] < old[0] * part[1]:
                    price[place] = part
    return price


def _transformed(load: Ints, capacity: int, threshold: int, stairs: int) -> tuple[Ints, int]:
    """Loads and capacity after a dual feasible function; with 0 for both parameters, as they are."""
    if not capacity:
        return np.zeros_like(load), 0
    if stairs:
        exact = load * (stairs + 1) % capacity == 0
        return np.where(exact, load * stairs, load * (stairs + 1) // capacity * capacity), capacity * stairs
    if threshold:
        small = load * 10**6 < threshold * capacity
        big = (capacity - load) * 10**6 < threshold * capacity
        return np.where(big, capacity, np.where(small, 0, load)), capacity
    return load, capacity
