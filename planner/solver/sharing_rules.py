"""What may not share a place, as arrays for the compiled searches: tasks apart, tolerances, and failed contents."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from planner.problem.co_location import Overloaded
from planner.problem.problem import Problem
from planner.solver.bundles import Part


class SharingRules(NamedTuple):
    """Rules about the content of one place, which numba takes as they are.

    Parameters
    ----------
    apart : bool (n_tasks, n_tasks), whether two tasks may not share the place; of shape (0, 0) without such rules
    reserve : int64 (n_items, n_resources), the capacity less what an item tolerates: the room that must stay free
        beside a copy of it; of shape (0, n_resources) where no item tolerates less than the capacity
    counted : int64 (n_items, n_parts), the replicas that a copy of the item adds to each part of the failed contents
    needed : int64 (n_parts,), replicas that make a part
    first : int64 (n_failed + 1,), the parts of failed content f are `first[f]` to `first[f + 1]`
    """

    apart: Any
    reserve: Any
    counted: Any
    needed: Any
    first: Any

    def of(self, chosen: Any) -> SharingRules:
        """Return the rules for some of the items, with the failed contents that these can make up."""
        if not len(self.needed):
            reserve = self.reserve[chosen] if len(self.reserve) else self.reserve
            return self._replace(reserve=reserve, counted=self.counted[chosen])
        counted = self.counted[chosen]
        sizes = np.diff(self.first)
        possible = np.logical_and.reduceat(counted.any(axis=0), self.first[:-1])
        parts = np.repeat(possible, sizes)
        return self._replace(
            reserve=self.reserve[chosen] if len(self.reserve) else self.reserve,
            counted=np.ascontiguousarray(counted[:, parts]),
            needed=self.needed[parts],
            first=np.concatenate([[0], np.cumsum(sizes[possible])]).astype(np.int64),
        )

    def copies(self) -> Any:
        """(n_items,) most copies of each item that make up no failed content by themselves; a large number for any."""
        most = np.full(len(self.counted), np.iinfo(np.int64).max)
        for f in range(len(self.first) - 1):
            own = slice(self.first[f], self.first[f + 1])
            adds = self.counted[:, own]
            alone = (adds > 0).all(axis=1)
            largest = ((self.needed[own] - 1) // np.maximum(adds, 1)).max(axis=1)
            most[alone] = np.minimum(most[alone], largest[alone])
        return most


def sharing_rules(
    problem: Problem, positions: Sequence[int], held: Sequence[Sequence[Part]], apart: Any, reserve: Any
) -> SharingRules:
    """Return the rules of a place; failed contents count at each of its positions alone.

    Parameters
    ----------
    held : the replicas that one copy of each item stands for
    """
    items_with: dict[tuple[int, int, int], list[tuple[int, int]]] = defaultdict(list)
    rules = [rule for rule in problem.rules if isinstance(rule, Overloaded)]
    for i, parts in enumerate(held if rules else ()):
        for j, t, k, n in parts:
            items_with[j, t, k].append((i, n))
    columns, needed, first = [], [], [0]
    for rule in rules:
        for j in range(len(positions)):
            own = np.zeros((len(rule.parts), len(held)), dtype=np.int64)
            for c, part in enumerate(rule.parts):
                for k in set(part.options):
                    for i, n in items_with.get((j, part.task, k), ()):
                        own[c, i] += n
            if own.any(axis=1).all():
                columns.append(own)
                needed += [part.count for part in rule.parts]
                first.append(len(needed))
    counted = np.concatenate(columns).T if columns else np.zeros((len(held), 0))
    return SharingRules(
        apart=apart,
        reserve=reserve,
        counted=np.ascontiguousarray(counted.astype(np.int64)),
        needed=np.array(needed, dtype=np.int64),
        first=np.array(first, dtype=np.int64),
    )
