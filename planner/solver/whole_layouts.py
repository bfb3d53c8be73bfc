"""Places that are whole layouts: rules across the slices of a GPU then hold within a place.                 [pure]"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from planner.problem.problem import Layout, Place, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Layouts:
    """What the places of a column model stand for; empty where they are the problem's own.

    Parameters
    ----------
    kept : by place, the layout (its index for its GPU type) and the number of its positions
    place_of : by GPU type and layout, the place
    group_of : by task, the number of its group, for tasks that are on a GPU all or none
    """

    kept: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    place_of: Mapping[tuple[int, int], int] = field(default_factory=dict)
    group_of: Mapping[int, int] = field(default_factory=dict)


def flattened(problem: Problem) -> tuple[Problem, Layouts, dict[int, tuple[int, ...]]]:
    """Return a problem with one new place for each layout, what these stand for, and the old places of each.

    Of layouts that differ only in the order of their places, the first is kept. The capacity of a new place is that of
    its positions together.
    """
    places = list(problem.places)
    kept: dict[int, tuple[int, int]] = {}
    place_of: dict[tuple[int, int], int] = {}
    positions: dict[int, tuple[int, ...]] = {}
    gpus = []
    for g, gpu in enumerate(problem.gpus):
        first: dict[tuple[int, ...], int] = {}
        for i, layout in enumerate(gpu.layouts):
            first.setdefault(tuple(sorted(layout.places)), i)
        own = []
        for i in first.values():
            layout = gpu.layouts[i]
            number = len(places)
            loads = zip(*(problem.places[p].capacity for p in layout.places), strict=True)
            places.append(Place(name=layout.name, capacity=tuple(map(sum, loads))))
            kept[number], place_of[g, i], positions[number] = (i, len(layout.places)), number, layout.places
            own.append(Layout(name=layout.name, places=(number,)))
        gpus.append(replace(gpu, layouts=tuple(own)))
    flat = replace(problem, places=tuple(places), gpus=tuple(gpus))
    return flat, Layouts(kept=kept, place_of=place_of), positions
