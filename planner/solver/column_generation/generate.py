"""Column generation: the LP over all patterns of all places, and the safe lower bound from its duals.

The bound never rests on a float: duals are rounded down to integers, every place is priced exactly in integers, and
duals that are not feasible are scaled down, in fractions, until they are (Farley, 1990).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np

from planner.solver.coefficients import Coefficients
from planner.solver.column_generation.master import Floats, Master, Relaxed
from planner.solver.column_model import ColumnModel, Ints, Items, Pattern
from planner.solver.known_contents import Search
from planner.solver.limits import SearchLimits, run_interruptibly

_SCALE = 10**13  # integer units of the dearest price: small enough for int64 and doubles, fine for any demand
# Each effort of pricing is tried once the one before found no pattern: node limit of the search under a linear bound,
# node limit of the search under tables, and by what fraction the profit of a pattern must exceed the place's price to
# be searched for (a proof within a hundredth is quick, and may be enough).
_EFFORTS = (
    (20_000, 0, 0.0),
    (20_000_000, 0, 0.0),
    (20_000_000, 2_000_000, 0.01),
    (20_000_000, 60_000_000, 0.01),
    (20_000_000, 60_000_000, 0.006),
    (20_000_000, 60_000_000, 0.003),
    (20_000_000, 60_000_000, 0.0),
    (20_000_000, 150_000_000, 0.0),
)
_MANY, _PROMISING = 1_500, 500  # of more items, those of most profit for their share of the place are tried first
_KEEP = 40  # patterns that one pricing of a place returns at most

_Knapsack = tuple[Any, Any, Any, Any, Any, Any, Any]  # the arrays that both pricing kernels take


QUICK, THOROUGH = 0, 1  # efforts short of a proof


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Generated:
    """The last LP of a column generation, and the bound from its duals."""

    relaxed: Relaxed
    bound: Fraction | None  # a proven lower bound on the cost of serving the needs; None where pricing gave none
    converged: bool  # False where the limits or the effort ended it


def generate(
    model: ColumnModel,
    master: Master,
    needs: Ints,
    left: Ints,
    replicas: Ints,
    *,
    limits: SearchLimits,
    effort: int = len(_EFFORTS) - 1,
    known: int = 0,
    step: int = 1,
    cost: int | None = None,
) -> Generated | None:
    """Add columns until none improves the LP.

    Parameters
    ----------
    needs : (n_rows,) right-hand sides of the rows
    left, replicas : (n_tasks,) demand and replicas still to be served; no pattern needs more copies than that
    effort : index of the last effort that is tried; by default until it is proven that no pattern improves the LP
    known : a proven lower bound; pricing may end early where the LP's value is below it
    step : every cost is a multiple of it
    cost : cost of a known plan; a bound that reaches it is enough

    Returns
    -------
    Generated or None
        Its LP has a value for every column of `master`; None if the first LP failed.
    """
    coefficients = {place: model.coefficients(place) for place in model.items}
    bounds = {place: items.wanted(left, replicas) for place, items in model.items.items()}
    trying = 0  # index of the effort
    bound: Fraction | None = None
    last: Relaxed | None = None
    while True:
        relaxed = master.relax(limits)
        if relaxed is None:  # most often out of time: the bound so far holds, and new columns are not used
            if last is None:
                return None
            unused = np.zeros(len(master.columns) - len(last.columns))
            last = replace(last, columns=np.concatenate([last.columns, unused]))
            return Generated(relaxed=last, bound=bound, converged=False)
        last = relaxed
        priced = {
            place: price(items, coefficients[place], bounds[place], relaxed, place, trying, limits)
            for place, items in model.items.items()
        }
        at_most = {place: p.at_most for place, p in priced.items() if p.at_most is not None}
        if len(at_most) == len(priced):
            bound = max(bound or Fraction(0), safe_bound(model, relaxed, needs, at_most))
            full = ceil((relaxed.value - 1e-6) / step) * step  # no bound from this LP can be better
            goal = full if cost is None else min(full, cost)
            if effort == len(_EFFORTS) - 1 and ceil(bound) > goal - step:
                return Generated(relaxed=relaxed, bound=bound, converged=True)
        if limits.over:  # asked before columns are added: every column has a value in what is returned
            return Generated(relaxed=relaxed, bound=bound, converged=False)
        if master.add(column for p in priced.values() for column in p.columns):
            trying = max(0, trying - 1)
            continue
        useless = trying > 0 and relaxed.value <= known - 1e-6  # no bound of this LP would exceed the known one
        if all(p.exhausted for p in priced.values()) or useless:
            return Generated(relaxed=relaxed, bound=bound, converged=True)
        trying += 1
        if trying > effort:
            return Generated(relaxed=relaxed, bound=bound, converged=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Priced:
    """The result of pricing a place: patterns that improve the LP, and an upper bound on every pattern's profit."""

    at_most: int | None  # the upper bound; None where the search gave up without one
    exhausted: bool  # whether the search was complete: if so and without columns, no pattern improves the LP
    columns: list[Pattern]


def price(
    items: Items,
    coefficients: Coefficients,
    bounds: Ints,
    relaxed: Relaxed,
    place: int,
    effort: int,
    limits: SearchLimits,
) -> Priced:
    """Search patterns of a place whose profit at these duals exceeds the place's price (negative reduced cost)."""
    scale = _scale(relaxed)
    floor = int(relaxed.prices[place] * scale * (1 + 1e-7)) + 1
    profit = _profits(items, coefficients, relaxed.row_duals, scale)
    chosen = np.flatnonzero((profit > 0) & (bounds > 0))
    if not len(chosen):
        return Priced(at_most=0, exhausted=True, columns=[])
    if effort == QUICK and len(chosen) > _MANY:
        best = chosen[np.argpartition(-profit[chosen] / items.share[chosen], _PROMISING)[:_PROMISING]]
        found = _priced(items, profit, bounds, np.sort(best), floor, place, effort, limits)
        if found.columns:
            return replace(found, at_most=None, exhausted=False)
    return _priced(items, profit, bounds, chosen, floor, place, effort, limits)


def _priced(
    items: Items, profit: Ints, bounds: Ints, chosen: Ints, floor: int, place: int, effort: int, limits: SearchLimits
) -> Priced:
    """Search patterns of some items."""
    searches = list(items.searches(chosen))
    found = [_searched(search, items, profit, bounds, floor, effort, limits) for search in searches]
    return Priced(
        at_most=max(at_most for at_most, _, _ in found) if all(at_most >= 0 for at_most, _, _ in found) else None,
        exhausted=all(exhausted for _, exhausted, _ in found),
        columns=[
            Pattern(place, tuple((int(search.items[i]), int(row[i])) for i in np.flatnonzero(row)))
            for search, (_, _, counts) in zip(searches, found, strict=True)
            for row in counts
        ],
    )


def _searched(
    search: Search, items: Items, profit: Ints, bounds: Ints, floor: int, effort: int, limits: SearchLimits
) -> tuple[int, bool, Ints]:
    own = search.items
    knapsack = (search.load, search.room, bounds[own], items.task[own], items.most, search.sharing, profit[own])
    stop = np.zeros(1, dtype=np.int64)
    if effort == QUICK:  # a few milliseconds
        at_most, exhausted, counts = _best(knapsack, floor, effort, stop)
    else:
        at_most, exhausted, counts = run_interruptibly(
            lambda: _best(knapsack, floor, effort, stop), lambda: stop.fill(1), limits
        )
    return int(at_most), bool(exhausted), counts


def _best(knapsack: _Knapsack, floor: int, effort: int, stop: Ints) -> tuple[int, bool, Ints]:
    """An upper bound on the profit (-1: none), whether the search was exhausted, and the best contents found."""
    from planner.solver.column_generation.knapsack import best_contents
    from planner.solver.column_generation.knapsack_dp import best_contents_by_tables

    plain, tabled, tolerance = _EFFORTS[effort]
    at_most, exhausted, _, counts = best_contents(*knapsack, floor, plain, _KEEP, stop)
    if tabled and not exhausted and not stop[0]:
        by_tables, exhausted, _, counts = best_contents_by_tables(
            *knapsack, int(floor * (1 + tolerance)), tabled, _KEEP, stop
        )
        exhausted = exhausted and not tolerance
        at_most = min((bound for bound in (at_most, by_tables) if bound >= 0), default=-1)
    return at_most, exhausted, counts


def safe_bound(model: ColumnModel, relaxed: Relaxed, needs: Ints, best: dict[int, int]) -> Fraction:
    """Return Farley's bound in fractions: the duals, scaled down until no layout earns more than its GPU costs.

    A layout earns the largest profits of its places' patterns, which `best` limits. GPUs of a type with a limit may
    earn more than they cost; the excess of `limit` such GPUs is then subtracted.
    """
    scale = _scale(relaxed)
    duals = [int(d * scale) for d in relaxed.row_duals]
    total = sum(d * int(need) for d, need in zip(duals, needs, strict=True))
    worth = {  # the most that one GPU of each type earns
        g: max(_earned(model, layout.places, best) for layout in gpu.layouts)
        for g, gpu in enumerate(model.problem.gpus)
        if gpu.limit != 0
    }
    unit = Fraction(scale).limit_denominator(10**12)
    found = Fraction(0)
    for shrink in {Fraction(1), _shrink(model, worth, unit)}:
        excess = Fraction(0)
        legal = True
        for g, earned in worth.items():
            gpu = model.problem.gpus[g]
            over = earned * shrink - gpu.cost * unit
            if over > 0 and gpu.limit is None:
                legal = False
            elif over > 0:
                excess += over * (gpu.limit or 0)
        if legal:
            found = max(found, (total * shrink - excess) / unit)
    return found


def _earned(model: ColumnModel, places: tuple[int, ...], best: dict[int, int]) -> int:
    return sum(best[place] for place in places)


def _shrink(model: ColumnModel, worth: dict[int, int], unit: Fraction) -> Fraction:
    """The largest factor, up to 1, by which every type without a limit earns no more than it costs."""
    ratios = [
        model.problem.gpus[g].cost * unit / earned
        for g, earned in worth.items()
        if earned and model.problem.gpus[g].limit is None
    ]
    return min([Fraction(1), *ratios])


def _scale(relaxed: Relaxed) -> float:
    """A power of two, so that scaling a double is exact."""
    dearest = max([1.0, *relaxed.prices.values()])
    return float(2 ** int(np.floor(np.log2(_SCALE / dearest))))


def _profits(items: Items, coefficients: Coefficients, duals: Floats, scale: float) -> Ints:
    """(n_items,) profits in integer units: what a replica earns in all rows, less its own cost."""
    whole = np.floor(duals * scale).astype(np.int64)
    profits: Ints = coefficients.earned(whole) - np.ceil(items.cost * scale).astype(np.int64)
    return profits
