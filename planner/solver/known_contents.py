"""The contents that are known to hold: searches of a place in which tolerances do not count.            [pure]"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.problem.co_location import KnownToHold
from planner.problem.problem import Problem
from planner.solver.bundles import Part
from planner.solver.sharing_rules import SharingRules

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Search:
    """Some items of a place, their loads, the room for them, and the rules about them: what a knapsack is made of."""

    items: Ints
    load: Ints
    room: Ints
    sharing: SharingRules


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownContent:
    """The items of a content that is known to hold, and how many copies of them it has.

    Parameters
    ----------
    items : (n,) numbers of the items in their place
    part : bool (n, n_parts), of which part of the content each of them is
    count : (n_parts,) copies
    """

    items: Ints
    part: NDArray[np.bool_]
    count: Ints

    def search(self, own: NDArray[np.bool_], load: Ints, capacity: Ints, sharing: SharingRules) -> Search:
        """Return the search of the content with some of its items; copies of each part act like one more resource.

        Parameters
        ----------
        own : bool (n,), which items
        load, sharing : of these, in the resources of their place
        """
        return Search(
            items=self.items[own],
            load=np.concatenate([load, self.part[own].astype(np.int64)], axis=1),
            room=np.concatenate([capacity, self.count]),
            sharing=sharing._replace(reserve=np.zeros((0, len(capacity) + len(self.count)), dtype=np.int64)),
        )

    def bounds(self) -> Ints:
        """(n,) most copies of each of the items."""
        return self.part @ self.count


def known_contents(problem: Problem, held: Sequence[Sequence[Part]]) -> tuple[KnownContent, ...]:
    """Return the contents that are known to hold on a place that is not cut.

    Parameters
    ----------
    held : the replica that one copy of each item of the place stands for
    """
    found = []
    single = {(t, k): i for i, ((_, t, k, _),) in enumerate(held)}
    for rule in problem.known_to_hold:
        keys = {(part.task, k) for part in rule.parts for k in part.options}
        of_item = {single[key]: rule.part_of(*key) for key in keys if key in single}
        if of_item:
            items = np.array(sorted(of_item), dtype=np.int64)
            parts = np.array([of_item[i] for i in items.tolist()])
            found.append(
                KnownContent(
                    items=items,
                    part=parts[:, None] == np.arange(len(rule.parts)),
                    count=np.array([part.count for part in rule.parts], dtype=np.int64),
                )
            )
    return tuple(found)


def largest_loads(rule: KnownToHold, problem: Problem) -> dict[int, tuple[int, ...]]:
    """Return, by place, the most that a content which is known to hold loads it with."""
    found: dict[int, tuple[int, ...]] = {}
    for part in rule.parts:
        by_place: dict[int, list[tuple[int, ...]]] = defaultdict(list)
        for option in (problem.tasks[part.task].options[k] for k in part.options):
            by_place[option.place].append(option.load)
        for p, loads in by_place.items():
            before = found.get(p, (0,) * len(problem.resources))
            found[p] = tuple(x + part.count * max(own) for x, *own in zip(before, *loads, strict=True))
    return found
