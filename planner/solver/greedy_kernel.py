"""Fill one place by a greedy rule: plain Python over arrays, compiled in column_generation/knapsack.py."""

# ruff: noqa: C901  (one hot loop that numba compiles)

from __future__ import annotations

from typing import Any

import numpy as np


def fill(
    load: Any, capacity: Any, task: Any, supply: Any, most: Any, sharing: Any, left: Any, worth: Any, rule: int
) -> Any:
    """Fill one place with items of tasks that are still to be served, the best by the rule first.

    Parameters
    ----------
    load, capacity, task, supply, most, sharing : as in `planner.solver.column_model.Items`
    left : int64 (n_tasks,), demand still to be served
    worth : float64 (n,), weight by which each item's score is multiplied
    rule : index into `planner.solver.greedy.RULES`

    Returns
    -------
    int64 (n,)
        Copies of each item.
    """
    n, m = load.shape
    counts = np.zeros(n, dtype=np.int64)
    room = capacity.copy()
    wanted = left.copy()
    spare = most.copy()
    barred = np.zeros(len(left), dtype=np.bool_)  # tasks that may not share the place with one that is in it
    apart, reserve, counted, needed, first = sharing
    kept = np.zeros(m, dtype=np.int64)  # room that must stay free for what is in the place
    parts = np.zeros(len(needed), dtype=np.int64)  # replicas in the place of each part of the failed contents
    while True:
        pick = -1
        pick_score = 0.0
        for i in range(n):
            t = task[i]
            if wanted[t] <= 0 or spare[t] <= 0 or barred[t]:
                continue
            fits = True
            for r in range(m):
                if load[i, r] > room[r]:
                    fits = False
                    break
            if fits and reserve.shape[0] > 0:
                for r in range(m):
                    if load[i, r] > room[r] - max(kept[r], reserve[i, r]):
                        fits = False
                        break
            for f in range(len(first) - 1):
                failed = True
                for c in range(first[f], first[f + 1]):
                    if parts[c] + counted[i, c] < needed[c]:
                        failed = False
                        break
                if failed:
                    fits = False
                    break
            if not fits:
                continue
            score = 0.0
            if rule == 0:
                for r in range(m):
                    if capacity[r] > 0:
                        score += (load[i, r] / capacity[r]) * (room[r] / capacity[r])
            elif rule == 1:
                for r in range(m):
                    if capacity[r] > 0:
                        score += ((room[r] - load[i, r]) / capacity[r]) ** 2
                score = 1.0 / (1e-9 + score)
            elif rule == 2:
                for r in range(m):
                    if room[r] > 0:
                        score = max(score, load[i, r] / room[r])
            elif rule == 3:
                for r in range(m):
                    if capacity[r] > 0:
                        score += load[i, r] / capacity[r]
            elif rule == 4:
                for r in range(m):
                    if capacity[r] > 0:
                        score = max(score, load[i, r] / capacity[r])
            else:
                score = 1.0
                for r in range(m):
                    if capacity[r] > 0:
                        score *= load[i, r] / capacity[r] + 1e-6
            score = (score + 1e-12) * worth[i]
            if pick < 0 or score > pick_score:
                pick = i
                pick_score = score
        if pick < 0:
            return counts
        counts[pick] += 1
        wanted[task[pick]] -= supply[pick]
        spare[task[pick]] -= 1
        if apart.shape[0] > 0:
            barred |= apart[task[pick]]
        for r in range(m):
            room[r] -= load[pick, r]
        if reserve.shape[0] > 0:
            for r in range(m):
                kept[r] = max(kept[r], reserve[pick, r])
        for c in range(len(needed)):
            parts[c] += counted[pick, c]
