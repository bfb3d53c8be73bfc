"""Prices of the resources: an LP that buys room in parts of GPUs, but serves every task in whole replicas.

Its rows are the places' resources, as they are and under dual feasible functions (`planner.solver.lower_bounds`), and
it has a column for each way to serve a task in whole replicas: Dantzig and Wolfe's decomposition ("Decomposition
principle for linear programs", 1960) by task. So few rows are solved in seconds where column generation over patterns
takes minutes, and where a GPU holds many replicas the bound is nearly as good. Of tolerances the rows have a relaxation
(`Items.relaxed_load`), of failed contents nothing.

By Lagrangian duality, any prices under which no layout is worth more than its GPU costs prove a bound: the sum of the
tasks' least weights at these prices. Prices are rounded down to integers, and the sum is taken in integers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from planner.problem.problem import GpuType, Layout
from planner.solver.column_generation.cover_kernel import least_covers
from planner.solver.column_generation.master import Floats
from planner.solver.column_generation.replicable import Replicable, by_ratio, replicable
from planner.solver.column_generation.room_master import Room, RoomMaster
from planner.solver.column_model import ColumnModel, Ints
from planner.solver.cp_sat.model import replicas_at_most
from planner.solver.limits import SearchLimits
from planner.solver.lower_bounds import dual_feasible_room

_SCALE = 10**12  # integer units of the dearest GPU's cost, at most
_LARGEST = 2**60  # of the weight of all replicas of a task, doubled several times over
_ROUNDS = 60  # of column generation
_ENOUGH = 1e-4  # fraction of the LP's value by which the bound may be below it


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResourcePrices:
    """What the room for one replica of each item is worth, with the lower bound that follows."""

    items: Replicable
    weight: Ints  # (n_items,) worth of the room and the replica's own cost, in `unit`-ths of the objective's unit
    order: Ints  # (n_items,) numbers of the items within their task, by weight per supply
    least: Ints  # (n_tasks,) least weight of whole replicas that serve the task
    counts: Ints  # (n_items,) such replicas
    unit: int
    proven: int  # lower bound on the cost, in `unit`-ths

    @property
    def bound(self) -> int:
        """Lower bound on the cost."""
        return -(-self.proven // self.unit)


def resource_prices(model: ColumnModel, limits: SearchLimits) -> ResourcePrices | None:
    """Solve the LP by column generation and return the prices of the highest bound; None where a task has no item."""
    if not model.items:
        return None
    items = replicable(model)
    if not len(items.task) or np.any(np.diff(items.first) == 0):
        return None
    rooms = {place: dual_feasible_room(model, place) for place in model.items}
    master = RoomMaster(model, rooms, items)
    prices = _first_prices(model, rooms)
    best: ResourcePrices | None = None
    for _ in range(_ROUNDS):
        found = _priced(model, items, rooms, prices)
        if best is None or found.proven > best.proven:
            best = found
        if limits.over or not master.add(found.counts):
            break
        relaxed = master.relax(limits)
        if relaxed is None:
            break
        value, prices = relaxed
        if best.proven >= value * best.unit * (1 - _ENOUGH):
            break
    return best


def _first_prices(model: ColumnModel, rooms: Mapping[int, Room]) -> dict[int, Floats]:
    """Equal prices of all the resources of a place, and of nothing else."""
    found = {}
    for place, (_, room) in rooms.items():
        costs = [g.cost / len(x.places) for g in model.problem.gpus for x in g.layouts if place in x.places]
        n = min(len(room), len(model.items[place].capacity))
        found[place] = np.where(np.arange(len(room)) < n, min(costs) / max(1, n), 0.0)
    return found


def _priced(
    model: ColumnModel, items: Replicable, rooms: Mapping[int, Room], prices: Mapping[int, Floats]
) -> ResourcePrices:
    """Lower prices to integers by which no layout of a type without a limit is worth more than it costs, and bound."""
    most = max(1, *replicas_at_most(model.problem))
    unit = _unit(model, most)
    each = {  # of one unit of room
        p: np.floor(np.minimum(prices[p] * unit, _LARGEST / (8 * most)) / np.maximum(room, 1)).astype(np.int64)
        for p, (_, room) in rooms.items()
    }
    worth = _worth(rooms, each)
    ratio = max(
        (
            Fraction(_earned(layout, worth), max(1, gpu.cost * unit))
            for gpu, layout in _layouts(model)
            if gpu.limit is None
        ),
        default=Fraction(0),
    )
    if ratio > 1:
        each = {p: _lowered(own, ratio) for p, own in each.items()}
        worth = _worth(rooms, each)
    weight = items.cost * unit
    for place, (load, _) in rooms.items():
        own = items.of_place(place)
        weight[own] += load @ each[place]
    order = by_ratio(items, weight)
    least, counts = least_covers(items.first, weight, items.supply, order, model.demand, model.replicas)
    excess: dict[str, int] = {}  # of a type with a limit: what its layouts are worth at most above what it costs
    for gpu, layout in _layouts(model):
        over = _earned(layout, worth) - gpu.cost * unit
        excess[gpu.name] = max(excess.get(gpu.name, 0), 0 if gpu.limit is None else over * gpu.limit)
    proven = sum(map(int, least)) - sum(excess.values())
    return ResourcePrices(
        items=items, weight=weight, order=order, least=least, counts=counts, unit=unit, proven=max(0, proven)
    )


def _layouts(model: ColumnModel) -> Iterator[tuple[GpuType, Layout]]:
    for gpu in model.problem.gpus:
        if gpu.limit != 0:
            yield from ((gpu, layout) for layout in gpu.layouts)


def _lowered(prices: Ints, ratio: Fraction) -> Ints:
    return np.array([int(x) * ratio.denominator // ratio.numerator for x in prices], dtype=np.int64)


def _unit(model: ColumnModel, most: int) -> int:
    """Integer units for one of the objective: the weights of all replicas of a task must stay in int64."""
    dearest = max(1, *(gpu.cost for gpu in model.problem.gpus))
    paid = max((int(items.cost.max(initial=0)) for items in model.items.values()), default=0)
    return max(1, min(_SCALE // dearest, _LARGEST // (64 * most * (dearest + paid))))


def _worth(rooms: Mapping[int, Room], each: Mapping[int, Ints]) -> dict[int, int]:
    return {p: sum(int(x) * int(r) for x, r in zip(each[p], room, strict=True)) for p, (_, room) in rooms.items()}


def _earned(layout: Layout, worth: Mapping[int, int]) -> int:
    return sum(worth[p] for p in layout.places)
