"""Subset-row cuts (Jepsen and others, 2008): of three items, at most one GPU holds two or more, as each is placed once.

The search for violated ones goes over all triples of items, compiled.
"""

# ruff: noqa: C901  (one hot loop, compiled)

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def pair_values(start: Any, rows: Any, values: Any, n_rows: int) -> Any:
    """The sum of the values of the columns that hold both items of each pair: float64 (n_rows, n_rows).

    Column p holds `rows[start[p] : start[p + 1]]`, each item once.
    """
    pairs = np.zeros((n_rows, n_rows))
    for p in range(len(values)):
        for a in range(start[p], start[p + 1]):
            for b in range(start[p], start[p + 1]):
                if rows[a] != rows[b]:
                    pairs[rows[a], rows[b]] += values[p]
    return pairs


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def violated_triples(start: Any, rows: Any, values: Any, pairs: Any, single: Any, least: float, most: int) -> Any:
    """The triples of items of which columns with two or more have a total value above `least`: int64 (k, 3).

    `single` says which items are placed once; `pairs` is what `pair_values` returned. At most `most` are returned, the
    most violated ones.
    """
    n_rows = len(pairs)
    kept = np.zeros((most, 3), dtype=np.int64)
    violation = np.zeros(most)
    number = 0
    linked = np.zeros(n_rows, dtype=np.int64)
    for i in range(n_rows):
        if not single[i]:
            continue
        n_linked = 0
        for j in range(i + 1, n_rows):
            if single[j]:
                linked[n_linked] = j
                n_linked += 1
        for a in range(n_linked):
            j = linked[a]
            for b in range(a + 1, n_linked):
                k = linked[b]
                total = pairs[i, j] + pairs[i, k] + pairs[j, k]
                if total <= least:
                    continue
                for p in range(len(values)):  # a column that holds all three was counted three times
                    held = 0
                    for e in range(start[p], start[p + 1]):
                        if rows[e] == i or rows[e] == j or rows[e] == k:
                            held += 1
                    if held == 3:
                        total -= 2 * values[p]
                if total <= least:
                    continue
                slot = number if number < most else int(np.argmin(violation))
                if number < most:
                    number += 1
                elif total <= violation[slot]:
                    continue
                kept[slot, 0] = i
                kept[slot, 1] = j
                kept[slot, 2] = k
                violation[slot] = total
    return kept[:number]
