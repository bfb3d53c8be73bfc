"""The depth-first search over the contents of one place under a linear bound, compiled: see `knapsack.py`."""

# ruff: noqa: C901  (one hot loop, kept in one function on purpose)

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

SLACK = 1e-11  # relative; the sums below have a few hundred terms, their rounding error is under 1e-13


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def copies_allowed(i: int, counted: Any, needed: Any, first: Any, parts: Any, most: int) -> int:
    """Return how many copies of item i may join a place, `most` at most, that holds `parts` of the failed contents."""
    for f in range(len(first) - 1):
        allowed = -1
        for c in range(first[f], first[f + 1]):
            missing = needed[c] - parts[c]
            if missing > 0:
                allowed = max(allowed, (missing - 1) // counted[i, c] if counted[i, c] > 0 else most)
        most = min(most, max(0, allowed))
    return most


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def search_contents(
    order: Any, weight: Any, profit: Any, bound: Any, load: Any, task: Any, most: Any, sharing: Any, capacity: Any,
    part: Any, forced: bool, floor: int, node_limit: int, stop: Any, kept_value: Any, kept: Any, state: Any,
) -> bool:  # fmt: skip
    """Search contents whose profit exceeds what is kept; return whether the search was exhausted.

    Parameters
    ----------
    order : int64 (n,), the items' numbers in `kept`; this and all below are sorted by profit per weight
    weight : float64 (n,), of a content 1 at most
    profit, bound, load, task, most, sharing, capacity, floor, stop : as for `best_contents`
    part : float64 (m,), weight of a unit of load
    forced : whether only contents with the first item are of interest, whatever its profit per weight
    kept_value, kept : int64 (k,) and (k, n_items), the best contents so far, of which there are `state[0]`
    state : int64 (3,), contents kept, nodes so far, and the best profit; the search gives up after `node_limit` nodes
    """
    n, m = load.shape
    apart, reserved, adds, needed, first = sharing
    tolerant = reserved.shape[0] > 0
    w, ub, rows, whole, task_at = weight, bound, load, profit, task
    p = profit.astype(np.float64)
    keep = len(kept_value)
    n_kept, nodes, best = state[0], state[1], state[2]
    threshold = floor
    worst = 0  # index of the least of the kept
    if n_kept == keep:
        worst = int(np.argmin(kept_value))
        threshold = kept_value[worst]
    chosen = np.empty(n + 1, dtype=np.int64)
    count = np.empty(n + 1, dtype=np.int64)
    parts = np.zeros(len(needed), dtype=np.int64)
    kept_free = np.zeros((n + 1 if tolerant else 1, m), dtype=np.int64)  # by depth, room that must stay free
    spare = most.copy()
    depth = 0
    room = capacity.copy()
    left = 1.0
    value = 0
    i = 0
    exhausted = True
    while True:
        # Go down: take as much as fits of each next item while the bound allows more than the threshold.
        cut = False
        while i < n:
            nodes += 1
            bound_here = float(value)
            rest = left
            j = i
            while j < n:
                if tolerant:
                    fits = True
                    for r in range(m):
                        if rows[j, r] + max(kept_free[depth, r], reserved[j, r]) > room[r]:
                            fits = False
                    if not fits:
                        j += 1
                        continue
                need = ub[j] * w[j]
                if need <= rest:
                    rest -= need
                    bound_here += ub[j] * p[j]
                    j += 1
                else:
                    bound_here += p[j] * (rest / w[j])
                    break
            if bound_here * (1 + SLACK) + 1e-6 < threshold + 1 and (i > 0 or not forced):
                cut = True
                break
            take = min(ub[i], spare[task_at[i]])
            if tolerant:
                for r in range(m):
                    free = room[r] - max(kept_free[depth, r], reserved[i, r])
                    if free < 0:
                        take = 0
                    elif rows[i, r] > 0:
                        take = min(take, free // rows[i, r])
            else:
                for r in range(m):
                    if rows[i, r] > 0:
                        fit = room[r] // rows[i, r]
                        if fit < take:
                            take = fit
            if take > 0 and apart.shape[0] > 0:
                for d in range(depth):
                    if apart[task_at[i], task_at[chosen[d]]]:
                        take = 0
            if take > 0 and len(needed) > 0:
                take = copies_allowed(i, adds, needed, first, parts, take)
            if take > 0:
                chosen[depth] = i
                count[depth] = take
                depth += 1
                value += take * whole[i]
                left -= take * w[i]
                spare[task_at[i]] -= take
                for r in range(m):
                    room[r] -= take * rows[i, r]
                for c in range(len(needed)):
                    parts[c] += take * adds[i, c]
                if tolerant:
                    left = 0.0
                    for r in range(m):
                        kept_free[depth, r] = max(kept_free[depth - 1, r], reserved[i, r])
                        left += part[r] * (room[r] - kept_free[depth, r])
                if left < 0.0:
                    left = 0.0
            elif forced and i == 0:
                break
            i += 1
        if not cut and value > threshold:
            slot = worst
            if n_kept < keep:
                slot = n_kept
                n_kept += 1
            kept_value[slot] = value
            kept[slot, :] = 0
            for d in range(depth):
                kept[slot, order[chosen[d]]] = count[d]
            if value > best:
                best = value
            if n_kept == keep:
                worst = 0
                for s in range(1, keep):
                    if kept_value[s] < kept_value[worst]:
                        worst = s
                threshold = kept_value[worst]
        if nodes > node_limit or stop[0]:
            exhausted = False
            break
        # Go back: one copy fewer of the last item taken.
        if depth == 0:
            break
        d = depth - 1
        i = chosen[d]
        count[d] -= 1
        value -= whole[i]
        spare[task_at[i]] += 1
        for r in range(m):
            room[r] += rows[i, r]
        for c in range(len(needed)):
            parts[c] -= adds[i, c]
        if count[d] == 0:
            depth -= 1
            if depth == 0 and forced:
                break
        left = 1.0
        if tolerant:
            left = 0.0
            for r in range(m):
                left += part[r] * (room[r] - kept_free[depth, r])
        else:
            for e in range(depth):
                left -= count[e] * w[chosen[e]]
        if left < 0.0:
            left = 0.0
        i += 1
    state[0], state[1], state[2] = n_kept, nodes, best
    return exhausted
