"""Whole numbers of columns and layouts at once: the restricted master as an integer programme.

SCIP (inside OR-Tools) proves pattern programmes of slices at once where CP-SAT does not. Its answer is checked in
integers here; its bound is not used.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from planner.solver.column_generation.master import Floats, Master
from planner.solver.column_model import Column, Ints, Model
from planner.solver.greedy import RULES, Packing, pack


def solve_restricted(
    model: Model,
    columns: list[Column],
    *,
    time_limit_s: float,
    node_limit: int,
    below: int | None,
) -> Packing | None:
    """Cheapest plan of these contents that costs `below` at most; None where the search finds none."""
    needs = model.needs(model.demand, model.replicas)
    programme = Master(model, needs, columns, whole=True)
    found = programme.whole(time_limit_s=time_limit_s, node_limit=node_limit, below=below)
    if found is None:
        return None
    counts, layouts = found
    chosen = Counter({programme.columns[k]: int(counts[k]) for k in np.flatnonzero(counts)})
    return _completed(model, assembled(model, chosen, layouts))


def assembled(model: Model, chosen: Counter[Column], layouts: dict[tuple[int, int], int]) -> Packing:
    """Put contents into GPUs: one each where the place is a GPU, else into the slices of the layouts."""
    packing: Packing = []
    waiting: dict[int, list[Column]] = {}
    for column, times in sorted(chosen.items(), key=lambda pair: (pair[0].place, pair[0].content)):
        gpu = model.direct.get(column.place)
        if not column.content:
            continue
        if gpu is None:
            waiting.setdefault(column.place, []).extend([column] * times)
        else:
            whole = next(j for j, x in enumerate(model.problem.gpus[gpu].layouts) if x.places == (column.place,))
            packing.append((gpu, whole, (column,), times))
    alike: Counter[tuple[int, int, tuple[Column, ...]]] = Counter()
    for (g, j), times in sorted(layouts.items()):
        for _ in range(times):
            contents = tuple(
                waiting[place].pop() if waiting.get(place) else Column(place, ())
                for place in model.problem.gpus[g].layouts[j].places
            )
            if any(column.content for column in contents):
                alike[g, j, contents] += 1
    return packing + [(g, j, contents, times) for (g, j, contents), times in alike.items()]


def _completed(model: Model, packing: Packing) -> Packing | None:
    """Serve by a rule what the programme's tolerance left over."""
    left, replicas, used = _unserved(model, packing)
    if not (left > 0).any() and not (replicas > 0).any():
        return packing
    for rule in range(len(RULES)):
        rest = pack(model, np.maximum(left, 0), replicas, rule=rule, used=used)
        if rest is not None:
            return packing + rest
    return None


def _unserved(model: Model, packing: Packing) -> tuple[Ints, Ints, dict[int, int]]:
    left, replicas = model.demand.copy(), model.replicas.copy()
    used: dict[int, int] = {}
    for g, _, contents, times in packing:
        used[g] = used.get(g, 0) + times
        for column in contents:
            supply, count = model.served(column)
            for t, n in supply.items():
                left[t] -= n * times
            for t, n in count.items():
                replicas[t] -= n * times
    return left, replicas, used


def promising(model: Model, columns: list[Column], duals: Floats, prices: dict[int, float], most: int) -> list[Column]:
    """The columns of least reduced cost."""
    matrices = {place: duals @ model.coefficients(place) for place in model.items}

    def reduced(column: Column) -> float:
        items = model.items[column.place]
        earned = sum((float(matrices[column.place][i]) - float(items.cost[i])) * n for i, n in column.content)
        return prices[column.place] - earned

    order = sorted(range(len(columns)), key=lambda k: (reduced(columns[k]), k))
    return [columns[k] for k in sorted(order[:most])]
