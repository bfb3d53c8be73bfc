"""The least weight of replicas that serve one task, compiled: a covering knapsack in whole replicas.

Depth-first branch and bound over the task's items in the order of weight per unit of supply. Weights, supplies and
demands are integers; a node's bound is computed in doubles and lowered by more than their rounding error before it
prunes, so what is returned as a least weight is never above it.

Rules about what shares a place are ignored, tolerances and failed contents as well: a relaxation.
"""

# ruff: noqa: C901  (a hot loop, compiled)

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

_SLACK = 1e-9  # relative; far more than the rounding error of one product and one quotient of doubles
NODES = 3_000  # nodes for one task; then the bound in fractions of a replica is taken


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def least_cover(weight: Any, supply: Any, order: Any, demand: int, replicas: int, counts: Any) -> Any:
    """Serve `demand` with at least so many `replicas` at the least weight.

    Parameters
    ----------
    weight, supply, order : int64 (n,), of the items of one task; `order` sorts them by weight per supply
    counts : int64 (n,), receives the replicas of each item in the best cover found

    Returns
    -------
    (int, bool)
        A lower bound on the weight of every cover, and whether `counts` reaches it.
    """
    n = len(order)
    counts[:] = 0
    if demand <= 0 and replicas <= 0:
        return 0, True
    ratio = np.empty(n)
    lightest = np.empty(n, dtype=np.int64)
    for j in range(n - 1, -1, -1):
        i = order[j]
        ratio[j] = weight[i] / supply[i]
        lightest[j] = weight[i] if j == n - 1 else min(weight[i], lightest[j + 1])
    count = np.zeros(n, dtype=np.int64)
    best = np.int64(np.iinfo(np.int64).max)
    cost, left, missing = np.int64(0), demand, replicas
    nodes = 0
    j = -1
    exhausted = True
    while True:
        forward = False
        if left <= 0 and missing <= 0:
            if cost < best:
                best = cost
                for d in range(n):
                    counts[order[d]] = count[d] if d <= j else 0
        elif j + 1 < n:
            low = cost + max(max(left, 0) * ratio[j + 1] * (1 - _SLACK), float(max(missing, 0) * lightest[j + 1]))
            forward = low < best
        if forward:
            nodes += 1
            if nodes > NODES:
                exhausted = False
                break
            j += 1
            i = order[j]
            count[j] = max(-(-max(left, 0) // supply[i]), missing, 0)
            cost += count[j] * weight[i]
            left -= count[j] * supply[i]
            missing -= count[j]
            continue
        while j >= 0 and count[j] == 0:
            j -= 1
        if j < 0:
            break
        i = order[j]
        count[j] -= 1
        cost -= weight[i]
        left += supply[i]
        missing += 1
    if exhausted:
        return best, True
    return int(
        max(max(demand, 0) * ratio[0] * (1 - _SLACK), float(max(replicas, 0) * lightest[0]) * (1 - _SLACK))
    ), False


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def least_covers(first: Any, weight: Any, supply: Any, order: Any, demand: Any, replicas: Any) -> Any:
    """Return `least_cover` of every task: (n_tasks,) weights and (n_items,) replicas.

    The items of task t are `first[t]` to `first[t + 1]`; `order` numbers them within the task.
    """
    n = len(first) - 1
    least = np.zeros(n, dtype=np.int64)
    counts = np.zeros(len(weight), dtype=np.int64)
    for t in range(n):
        a, b = first[t], first[t + 1]
        least[t], _ = least_cover(weight[a:b], supply[a:b], order[a:b], demand[t], replicas[t], counts[a:b])
    return least, counts


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def gains(tasks: Any, first: Any, weight: Any, supply: Any, order: Any, demand: Any, replicas: Any, gain: Any) -> Any:
    """Put into `gain` by how much one replica of each item lowers the least weight of what its task still needs."""
    for t in tasks:
        a, b = first[t], first[t + 1]
        counts = np.zeros(b - a, dtype=np.int64)
        now, _ = least_cover(weight[a:b], supply[a:b], order[a:b], demand[t], replicas[t], counts)
        for i in range(a, b):
            then, _ = least_cover(weight[a:b], supply[a:b], order[a:b], demand[t] - supply[i], replicas[t] - 1, counts)
            gain[i] = now - then
