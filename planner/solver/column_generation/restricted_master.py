"""The restricted master as an integer programme: whole numbers of columns and layouts together.

SCIP (inside OR-Tools) solves such programmes over patterns of slices quickly, where CP-SAT does not. Its plan is
completed in integers here; its bound is not used.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from planner.problem.plan import GpuGroup
from planner.solver.column_generation.master import Floats, Master
from planner.solver.column_model import ColumnModel, Ints, Pattern
from planner.solver.greedy import RULES, pack
from planner.solver.limits import SearchLimits


def solve_restricted(
    model: ColumnModel,
    columns: list[Pattern],
    *,
    limits: SearchLimits,
    node_limit: int,
    below: int | None,
) -> tuple[GpuGroup, ...] | None:
    """Return the cheapest plan found with these columns, of a cost up to `below`; None where none is found."""
    needs = model.needs(model.demand, model.replicas)
    programme = Master(model, needs, columns, whole=True)
    found = programme.whole(limits, node_limit=node_limit, below=below)
    if found is None:
        return None
    counts, layouts = found
    chosen = Counter({programme.columns[k]: int(counts[k]) for k in np.flatnonzero(counts)})
    return completed(model, assembled(model, chosen, layouts), limits)


def assembled(
    model: ColumnModel, chosen: Counter[Pattern], layouts: dict[tuple[int, int], int]
) -> tuple[GpuGroup, ...]:
    """Put patterns into GPUs: one on each where the place is a whole GPU, else into the slices of the layouts."""
    groups: list[GpuGroup] = []
    waiting: dict[int, list[Pattern]] = {}
    for pattern, times in sorted(chosen.items(), key=lambda pair: (pair[0].place, pair[0].content)):
        gpu = model.direct.get(pattern.place)
        if not pattern.content:
            continue
        if gpu is None:
            waiting.setdefault(pattern.place, []).extend([pattern] * times)
        else:
            whole = next(j for j, x in enumerate(model.problem.gpus[gpu].layouts) if x.places == (pattern.place,))
            groups.append(model.group(gpu, whole, [pattern], times))
    alike: Counter[tuple[int, int, tuple[Pattern, ...]]] = Counter()
    for (g, j), times in sorted(layouts.items()):
        for _ in range(times):
            patterns = tuple(
                waiting[place].pop() if waiting.get(place) else Pattern(place, ())
                for place in model.problem.gpus[g].layouts[j].places
            )
            if any(pattern.content for pattern in patterns):
                alike[g, j, patterns] += 1
    return (*groups, *(model.group(g, j, patterns, times) for (g, j, patterns), times in alike.items()))


def completed(model: ColumnModel, groups: tuple[GpuGroup, ...], limits: SearchLimits) -> tuple[GpuGroup, ...] | None:
    """Serve by a greedy rule what the integer programme left unserved within its tolerance."""
    left, replicas, used = _unserved(model, groups)
    if not (left > 0).any() and not (replicas > 0).any():
        return groups
    for rule in range(len(RULES)):
        rest = pack(model, np.maximum(left, 0), replicas, limits, rule=rule, used=used)
        if rest is not None:
            return groups + rest
    return None


def _unserved(model: ColumnModel, groups: tuple[GpuGroup, ...]) -> tuple[Ints, Ints, dict[int, int]]:
    """Demand and least replicas that these GPUs leave unserved, and the number of these GPUs by type."""
    left, replicas = model.demand.copy(), model.replicas.copy()
    used: dict[int, int] = {}
    for group in groups:
        used[group.gpu] = used.get(group.gpu, 0) + group.count
        for r in (r for content in group.contents for r in content):
            left[r.task] -= model.problem.tasks[r.task].options[r.option].supply * r.count * group.count
            replicas[r.task] -= r.count * group.count
    return left, replicas, used


def promising(
    model: ColumnModel, columns: list[Pattern], duals: Floats, prices: dict[int, float], most: int
) -> list[Pattern]:
    """Return the `most` columns of least reduced cost, in the order of `columns`."""
    matrices = {place: model.coefficients(place).earned(duals) for place in model.items}

    def reduced(column: Pattern) -> float:
        items = model.items[column.place]
        earned = sum((float(matrices[column.place][i]) - float(items.cost[i])) * n for i, n in column.content)
        return prices[column.place] - earned

    order = sorted(range(len(columns)), key=lambda k: (reduced(columns[k]), k))
    return [columns[k] for k in sorted(order[:most])]
