"""The items of all places by task: what the covers of a task are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from planner.solver.column_model import ColumnModel, Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Replicable:
    """The items of all places, sorted by task: those of task t are `first[t]` to `first[t + 1]`."""

    first: Ints  # (n_tasks + 1,)
    task: Ints  # (n_items,), like all below
    place: Ints
    index: Ints  # number of the item in its place
    supply: Ints
    cost: Ints

    def of_place(self, place: int) -> Ints:
        """Return the numbers here of a place's items, in the order that they have there."""
        own = np.flatnonzero(self.place == place)
        return own[np.argsort(self.index[own])]


def replicable(model: ColumnModel) -> Replicable:
    """Return the items of all places by task."""
    places = sorted(model.items)
    task = np.concatenate([model.items[p].task for p in places])
    place = np.concatenate([np.full(len(model.items[p].task), p, dtype=np.int64) for p in places])
    index = np.concatenate([np.arange(len(model.items[p].task), dtype=np.int64) for p in places])
    order = np.lexsort((index, place, task))
    return Replicable(
        first=np.searchsorted(task[order], np.arange(len(model.problem.tasks) + 1)).astype(np.int64),
        task=task[order],
        place=place[order],
        index=index[order],
        supply=np.concatenate([model.items[p].supply for p in places])[order],
        cost=np.concatenate([model.items[p].cost for p in places])[order],
    )


def by_ratio(items: Replicable, weight: Ints) -> Ints:
    """Return the numbers of the items within their task, sorted by weight per supply."""
    order = np.lexsort((weight / items.supply, items.task))
    within: Ints = order - items.first[items.task[order]]
    return within
