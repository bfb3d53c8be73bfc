"""Greedy plans: fill one GPU by one of six rules, repeat it as often as the demand allows, go on with the next GPU.

Bin-centric rules over items (Panigrahy et al., "Heuristics for vector bin packing", 2011) and first-fit
decreasing by three measures.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from planner.problem.plan import GpuGroup
from planner.solver.column_model import ColumnModel, Ints, Items, Pattern
from planner.solver.greedy_kernel import fill
from planner.solver.limits import SearchLimits

RULES = ("dot product", "nearest fit", "tightest", "decreasing sum", "decreasing maximum", "decreasing product")

_FEW_ITEMS = 40

Fill = Callable[..., Ints]


def _choose_fill(model: ColumnModel) -> Fill:
    """Return `fill` in plain Python for few items, else compiled: to load numba takes longer than to fill a few."""
    if sum(len(items.task) for items in model.items.values()) <= _FEW_ITEMS:
        return fill
    from planner.solver.column_generation.knapsack import fast_fill

    return fast_fill  # type: ignore[no-any-return]


def compile_fill(model: ColumnModel) -> None:
    """Load what `pack` calls, or compile it where no machine code is on disk, by filling places with nothing."""
    run, unit = _choose_fill(model), _unit_costs(model)
    for items in model.items.values():
        _fill_place(items, np.zeros_like(unit, dtype=np.int64), unit, 0, run)


def pack(
    model: ColumnModel,
    demand: Ints,
    replicas: Ints,
    limits: SearchLimits,
    *,
    rule: int,
    used: dict[int, int] | None = None,
) -> tuple[GpuGroup, ...] | None:
    """Serve `demand` (and least `replicas`) by one rule; None where the GPUs left, or the time, do not suffice.

    `rule` is an index into `RULES`; `used` counts the GPUs of each type that are in use already.
    """
    problem = model.problem
    run = _choose_fill(model)
    left = _as_demand(model, demand, replicas)
    taken = dict(used or {})
    unit = _unit_costs(model)
    places = [(g, j) for g, gpu in enumerate(problem.gpus) for j in range(len(gpu.layouts))]
    groups: list[GpuGroup] = []
    while left.any():
        best: tuple[float, int, int, list[tuple[Pattern, Ints]]] | None = None
        for g, j in places:
            gpu = problem.gpus[g]
            if gpu.limit is not None and taken.get(g, 0) >= gpu.limit:
                continue
            contents = _fill_layout(model, gpu.layouts[j].places, left, unit, rule, run)
            served = sum((s for _, s in contents), np.zeros_like(left))
            value = float(np.minimum(served, left) @ unit) / (gpu.cost + 1e-9)
            if served.any() and (best is None or value > best[0]):
                best = (value, g, j, contents)
        if best is None or limits.over:
            return None
        _, g, j, contents = best
        served = sum((s for _, s in contents), np.zeros_like(left))
        times = int(np.min(left[served > 0] // served[served > 0]))
        limit = problem.gpus[g].limit
        times = max(1, times if limit is None else min(times, limit - taken.get(g, 0)))
        if model.capped and any(served[t] for t in model.capped):
            times = 1  # the next GPU with this group may have to be the last one
        left = np.maximum(left - times * served, 0)
        taken[g] = taken.get(g, 0) + times
        groups.append(model.group(g, j, [pattern for pattern, _ in contents], times))
    return tuple(groups)


def _as_demand(model: ColumnModel, demand: Ints, replicas: Ints) -> Ints:
    """Demand that needs the least replicas too: each of them counts as the task's largest supply."""
    largest = np.array(
        [max((o.supply for o in task.options), default=1) for task in model.problem.tasks], dtype=np.int64
    )
    return np.maximum(np.maximum(demand, 0), np.maximum(replicas, 0) * largest)


def _fill_layout(
    model: ColumnModel, places: tuple[int, ...], left: Ints, unit: Any, rule: int, run: Fill
) -> list[tuple[Pattern, Ints]]:
    contents = []
    left = left.copy()
    for place in places:
        counts = _fill_place(model.items[place], left, unit, rule, run)
        pattern = Pattern(place, tuple((int(i), int(counts[i])) for i in np.flatnonzero(counts)))
        served = np.zeros_like(left)
        for t, supply in model.served(pattern)[0].items():
            served[t] = supply
        contents.append((pattern, served))
        left = np.maximum(left - served, 0)
    return contents


def _fill_place(items: Items, left: Ints, unit: Any, rule: int, run: Fill) -> Ints:
    """(n_items,) copies of each item; a group counts as a task of which one is wanted."""
    if len(items.most) == len(left) and not items.known:  # there are no groups
        return run(
            items.load, items.capacity, items.task, items.supply, items.most, items.sharing, left,
            _worth(items, left, unit), rule,
        )  # fmt: skip
    usable = np.flatnonzero(items.wanted(left, np.zeros_like(left)))
    wanted = np.concatenate([left, np.ones(len(items.most) - len(left), dtype=np.int64)])
    worth = _worth(items, left, unit)
    best = np.zeros(len(items.task), dtype=np.int64)
    for search in items.searches(usable):
        own = search.items
        counts = np.zeros(len(items.task), dtype=np.int64)
        counts[own] = run(
            search.load, search.room, items.task[own], items.supply[own], items.most, search.sharing, wanted,
            worth[own], rule,
        )  # fmt: skip
        if not best.any() or worth @ (counts * items.share) > worth @ (best * items.share):
            best = counts
    return best


def _unit_costs(model: ColumnModel) -> Any:
    """(n_tasks,) what a unit of demand costs at least, as if GPUs could be bought in parts."""
    unit = np.full(len(model.problem.tasks), np.inf)
    for gpu in (gpu for gpu in model.problem.gpus if gpu.limit != 0):
        for layout in gpu.layouts:
            for place in set(layout.places):
                items, n = model.items[place], model.items[place].n_options
                price = (gpu.cost + 1e-9) / len(layout.places)
                np.minimum.at(unit, items.task[:n], price * items.share[:n] / items.supply[:n])
                np.minimum.at(unit, items.bundles.task, price * items.bundles.share / items.bundles.supply)
    return np.where(np.isfinite(unit), unit, 0.0)


def _worth(items: Items, left: Ints, unit: Any) -> Any:
    """(n_items,) cost of the demand that an item serves, per share of the place that it takes; squared, at most 1."""
    n, bundles = items.n_options, items.bundles
    task = items.task[:n]
    gain = unit[task] * np.minimum(items.supply[:n], np.maximum(left[task], 0))
    if bundles.number:
        served = unit[bundles.task] * np.minimum(bundles.supply, np.maximum(left[bundles.task], 0))
        gain = np.concatenate([gain, np.bincount(bundles.bundle, served, minlength=bundles.number)])
    gain = gain / items.share
    top = gain.max(initial=0.0)
    return (gain / top) ** 2 if top > 0 else np.ones(len(items.task))
