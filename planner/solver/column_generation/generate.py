"""Pattern generation: the LP over all contents of all places, and the safe bound from its duals.

The bound never rests on a float: duals are rounded down to integers, every place is priced exactly in integers, and
what the duals promise too much is scaled away in fractions (Farley, 1990).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np

from planner.solver.column_generation.master import Floats, Master, Relaxed
from planner.solver.column_model import ColumnModel, Ints, Items, Pattern
from planner.solver.limits import SearchLimits, run_interruptibly

_SCALE = 10**13  # integer units of the dearest price: small enough for int64 and doubles, fine for any demand
# Each effort is tried once the one before found nothing: nodes of the plain search, nodes of the search under tables,
# and by how much a content must exceed its price to be of interest (a proof within a hundredth is quick, and may do).
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
_KEEP = 40

_Sack = tuple[Any, Any, Any, Any, Any, Any, Any]  # what the kernels are given of a place


QUICK, THOROUGH = 0, 1  # efforts short of a proof


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Generated:
    """Where the column generation ended."""

    relaxed: Relaxed
    bound: Fraction | None  # a proven lower bound on the cost of serving the needs; None where pricing was not closed
    converged: bool


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
    left, replicas : (n_tasks,) demand and replicas still to be served; no content needs more copies than that
    effort : how long to search where nothing is found; without it, until it is proven that there is nothing
    known : a proven bound; an LP whose value does not exceed it need not be closed
    cost : of a plan at hand; a bound that reaches it is enough
    step : every cost is a multiple of it

    Returns
    -------
    Generated or None
        With a value for every column of `master`; None if the LP failed.
    """
    coefficients = {place: model.coefficients(place) for place in model.items}
    bounds = {place: _bounds(items, left, replicas) for place, items in model.items.items()}
    trying = 0
    bound: Fraction | None = None
    while True:
        relaxed = master.relax(limits)
        if relaxed is None:
            return None
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
        hopeless = trying > 0 and relaxed.value <= known - 1e-6
        if all(p.exhausted for p in priced.values()) or hopeless:
            return Generated(relaxed=relaxed, bound=bound, converged=True)
        trying += 1
        if trying > effort:
            return Generated(relaxed=relaxed, bound=bound, converged=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Priced:
    """What pricing one place found: a proven limit of the profit, whether it is exact, and improving contents."""

    at_most: int | None  # None where the search gave up without a bound
    exhausted: bool
    columns: list[Pattern]


def price(
    items: Items,
    coefficients: Ints,
    bounds: Ints,
    relaxed: Relaxed,
    place: int,
    effort: int,
    limits: SearchLimits,
) -> Priced:
    """Search contents of a place that are worth more than it costs at these duals."""
    scale = _scale(relaxed)
    floor = int(relaxed.prices[place] * scale * (1 + 1e-7)) + 1
    profit = _profits(items, coefficients, relaxed.row_duals, scale)
    chosen = np.flatnonzero((profit > 0) & (bounds > 0))
    if not len(chosen):
        return Priced(at_most=0, exhausted=True, columns=[])
    sack = (
        np.ascontiguousarray(items.load[chosen]), items.capacity, bounds[chosen], items.task[chosen], items.most,
        items.apart, profit[chosen],
    )  # fmt: skip
    stop = np.zeros(1, dtype=np.int64)

    def search() -> tuple[int, bool, Ints]:
        return _best(sack, floor, effort, stop)

    if effort == QUICK:  # a few milliseconds
        at_most, exhausted, counts = search()
    else:
        at_most, exhausted, counts = run_interruptibly(search, lambda: stop.fill(1), limits)
    columns = [Pattern(place, tuple((int(chosen[i]), int(row[i])) for i in np.flatnonzero(row))) for row in counts]
    return Priced(at_most=int(at_most) if at_most >= 0 else None, exhausted=bool(exhausted), columns=columns)


def _best(sack: _Sack, floor: int, effort: int, stop: Ints) -> tuple[int, bool, Ints]:
    """A limit of the profit (-1: none), whether it is exact, and the best contents above the floor that were found."""
    from planner.solver.column_generation.knapsack import best_contents
    from planner.solver.column_generation.knapsack_dp import closed_contents

    plain, tabled, tolerance = _EFFORTS[effort]
    at_most, exhausted, _, counts = best_contents(*sack, floor, plain, _KEEP, stop)
    if tabled and not exhausted and not stop[0]:
        at_most, exhausted, _, counts = closed_contents(*sack, int(floor * (1 + tolerance)), tabled, _KEEP, stop)
        exhausted = exhausted and not tolerance
    return at_most, exhausted, counts


def safe_bound(model: ColumnModel, relaxed: Relaxed, needs: Ints, best: dict[int, int]) -> Fraction:
    """Farley's bound in fractions: the duals, scaled until no layout earns more than its GPU costs.

    A GPU type with a limit may earn more; what `limit` such GPUs earn too much is taken off.
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
    """The factor that makes every type without a limit earn its cost at most."""
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


def _profits(items: Items, coefficients: Ints, duals: Floats, scale: float) -> Ints:
    """(n_items,) in integer units: what a replica earns in all rows, less what it costs itself."""
    whole = np.floor(duals * scale).astype(np.int64)
    profits: Ints = whole @ coefficients - np.ceil(items.cost * scale).astype(np.int64)
    return profits


def _bounds(items: Items, left: Ints, replicas: Ints) -> Ints:
    wanted = np.maximum(-(-left[items.task] // items.supply), replicas[items.task])
    return np.minimum(items.bound, np.maximum(wanted, 0))
