"""Lower bounds on the cost of every plan by each resource alone.                                            [pure]"""

from __future__ import annotations

import math
from fractions import Fraction

from planner.formulation.formulate import Formulation
from planner.formulation.objective import from_units
from planner.formulation.resources import Resource
from planner.problem.problem import Option


def resource_bounds(formulation: Formulation) -> dict[str, float]:
    """Return for each resource, by its name, what every plan costs at least by the volume of that resource.

    A unit of demand takes some part of a place, by the option that takes least, and a place is a part of a GPU (a
    slice: its share of the memory slices). The parts of a GPU in use add up to one at most, so the sum of the parts
    times the GPU's cost is a bound. It is rounded up to whole units of the objective. Of a resource that is counted in
    several hours, the hours with the highest bound are given.
    """
    problem = formulation.problem
    price = _prices(formulation)
    found: dict[Resource, tuple[float, str]] = {}
    for r, (resource, name) in enumerate(zip(formulation.resources, problem.resources, strict=True)):
        total = Fraction(0)
        for task in problem.tasks:
            parts = [_part(o, r, price[o.place], problem.places[o.place].capacity[r]) for o in task.options]
            total += task.demand * min((p for p in parts if p is not None), default=Fraction(0))
        bound = from_units(math.ceil(total), formulation.cost_divisor)
        if resource not in found or bound > found[resource][0]:
            found[resource] = bound, str(name)
    return {name: bound for bound, name in found.values()}


def _part(option: Option, resource: int, price: Fraction, capacity: int) -> Fraction | None:
    """What one unit of demand costs by an option and one resource; None if the option does not fit."""
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
