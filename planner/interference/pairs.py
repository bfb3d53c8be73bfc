"""Choose the pairs of models from which a fit learns most.                                                  [pure]"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np


def choose_pairs(
    models: Sequence[str], per_model: int, measured: Iterable[Sequence[str]] = ()
) -> tuple[tuple[str, str], ...]:
    """Return pairs so that each model is in `per_model` of them, as far as there are partners that it was not beside.

    Of the pairs that are left, the next is the one whose two slow-downs are the least certain by what was measured
    and chosen so far: the largest sum of leverages, where each slow-down is a constant, a sensitivity and a pressure.

    Parameters
    ----------
    models : sequence of str
    per_model : int
        Pairs of each model.
    measured : iterable of sequence of str
        The models of each content that was measured.
    """
    names = sorted(set(models))
    index = {name: i for i, name in enumerate(names)}
    information = np.eye(1 + 2 * len(names)) * 0.1
    seen: set[frozenset[str]] = set()
    for content in measured:
        known = [name for name in content if name in index]
        if len(content) == 2:
            seen.add(frozenset(content))
        for i, name in enumerate(known):
            row = _row(index[name], [index[other] for other in known[:i] + known[i + 1 :]], len(names))
            information += np.outer(row, row)
    left = [pair for pair in combinations(names, 2) if frozenset(pair) not in seen]
    chosen: list[tuple[str, str]] = []
    count: Counter[str] = Counter()
    while True:
        left = [pair for pair in left if pair not in chosen and min(count[name] for name in pair) < per_model]
        if not left:
            return tuple(chosen)
        inverse = np.linalg.inv(information)
        rows = [[_row(index[a], [index[b]], len(names)) for a, b in (pair, pair[::-1])] for pair in left]
        gain = [
            (-max(count[name] for name in pair), sum(float(row @ inverse @ row) for row in both))
            for pair, both in zip(left, rows, strict=True)
        ]
        best = max(range(len(left)), key=lambda i: gain[i])
        chosen.append(left[best])
        count.update(left[best])
        for row in rows[best]:
            information += np.outer(row, row)


def _row(model: int, others: Sequence[int], n: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Return the factors of the constant, the sensitivities and the pressures in a model's slow-down."""
    row = np.zeros(1 + 2 * n)
    row[0] = row[1 + model] = 1.0
    for other in others:
        row[1 + n + other] += 1.0
    return row
