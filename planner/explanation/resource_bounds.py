"""What each resource alone makes a plan cost at least.                                                      [pure]"""

from __future__ import annotations

import math
from fractions import Fraction

from planner.formulation.formulate import Formulation
from planner.formulation.objective import from_units
from planner.problem.problem import Option


def resource_bounds(formulation: Formulation) -> dict[str, float]:
    """The least that any plan costs by the volume of one resource, by the resource's name.

    Every unit of demand takes at least its option's part of a place, and a place its part of a GPU (a slice: of its
    memory slices); the parts of a GPU in use add up to one at most. Rounded up to whole GPUs where those are counted.
    """
    problem = formulation.problem
    price = _prices(formulation)
    found = {}
    for r, resource in enumerate(problem.resources):
        total = Fraction(0)
        for task in problem.tasks:
            parts = [_part(o, r, price[o.place], problem.places[o.place].capacity[r]) for o in task.options]
            total += task.demand * min((p for p in parts if p is not None), default=Fraction(0))
        found[str(resource)] = from_units(math.ceil(total), formulation.cost_divisor)
    return found


def _part(option: Option, resource: int, price: Fraction, capacity: int) -> Fraction | None:
    """The cost that one unit of demand has by an option, through one resource; None if the option does not fit."""
    load = option.load[resource]
    if load > capacity:
        return None
    volume = price * Fraction(load, capacity) if capacity else Fraction(0)
    return (volume + option.cost) / option.supply


def _prices(formulation: Formulation) -> list[Fraction]:
    """What each place costs: its part of its GPU's cost."""
    cost = {gpu.name: gpu.cost for gpu in formulation.problem.gpus}
    return [
        Fraction(cost[place.fleet_type.type]) * Fraction(place.memory_share).limit_denominator(64)
        for place in formulation.places
    ]
