"""The rows' coefficients of a place's items, kept sparse: a row has those of one task's items only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coefficients:
    """A matrix of shape (n_rows, n_items): the entries of item i are `start[i]` to `start[i + 1]`."""

    n_rows: int
    start: Ints  # (n_items + 1,)
    row: Ints  # (n_entries,)
    value: Ints

    def earned(self, duals: NDArray[Any]) -> NDArray[Any]:
        """Return what a replica of each item earns in all rows, exactly where the duals are integers."""
        found = np.zeros(len(self.start) - 1, dtype=np.result_type(duals, np.int64))
        item = np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))
        np.add.at(found, item, duals[self.row] * self.value)
        return found

    def served(self, content: Iterable[tuple[int, int]]) -> dict[int, int]:
        """Return what (item, count) pairs add to the rows, those with nothing left out."""
        found: dict[int, int] = {}
        for i, n in content:
            for e in range(self.start[i], self.start[i + 1]):
                j = int(self.row[e])
                found[j] = found.get(j, 0) + n * int(self.value[e])
        return found

    def largest(self) -> Ints:
        """Return the largest coefficient of each row; at least 0."""
        found = np.zeros(self.n_rows, dtype=np.int64)
        np.maximum.at(found, self.row, self.value)
        return found


def sparse(n_items: int, rows: Iterable[Ints]) -> Coefficients:
    """Return the matrix of these rows, each (n_items,)."""
    item, row, value = [], [], []
    n_rows = 0
    for j, entries in enumerate(rows):
        n_rows = j + 1
        held = np.flatnonzero(entries)
        item.append(held)
        row.append(np.full(len(held), j, dtype=np.int64))
        value.append(entries[held])
    nothing = [np.zeros(0, dtype=np.int64)]
    items = np.concatenate(item or nothing)
    order = np.argsort(items, kind="stable")
    return Coefficients(
        n_rows=n_rows,
        start=np.searchsorted(items[order], np.arange(n_items + 1)).astype(np.int64),
        row=np.concatenate(row or nothing)[order],
        value=np.concatenate(value or nothing)[order],
    )
