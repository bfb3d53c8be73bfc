"""How a fleet grows with the demand (`planner.growth`, `plan sweep`)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer.errors import UsageError
from analyzer.formats.option_values import Numbers
from analyzer.measurements.record import Measurement
from planner.explanation.baselines import baselines
from planner.formulation.request import Request, make_request
from planner.formulation.settings import PlanSettings
from planner.inputs.profiles import Profile
from planner.planning import load_inputs, solve_request
from planner.solver.limits import SearchLimits

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthPoint:
    """What the plan needs when every rate of the demand is multiplied by a factor.

    Parameters
    ----------
    gpus, value, gap_pct, first_fit_gpus : float or None
        None where there is no plan.
    value, lower_bound : float
        In the objective's unit.
    first_fit_gpus : int or None
        GPUs that first-fit decreasing would use.
    """

    rate_factor: float
    status: str
    gpus: int | None
    objective: str
    value: float | None
    lower_bound: float
    gap_pct: float | None
    first_fit_gpus: int | None


def growth(
    profiles: str | Path | pd.DataFrame | Sequence[Profile] | Sequence[Measurement],
    rate_factors: float | Sequence[float] = (1, 1.5, 2, 3),
    **options: Any,
) -> tuple[GrowthPoint, ...]:
    """Say how many GPUs a growing demand needs, and what they cost; the Python form of `plan sweep`.

    Parameters
    ----------
    rate_factors : float or sequence of float
        Factors by which every rate of the demand is multiplied.
    options
        Options of `plan`; the time limit is that for each factor.

    Raises
    ------
    UsageError
        If no model of the demand has a rate, or a value is not valid.

    Examples
    --------
    >>> from planner import Requirement, growth
    >>> wanted = [Requirement(model="classification_breast", rate_infer_per_s=2500)]
    >>> points = growth("tests/data/case-study.csv", [1, 4], demand=wanted, gpu_memory_mib=16384)
    >>> [(point.rate_factor, point.gpus) for point in points]
    [(1, 1), (4, 2)]
    """
    try:
        factors = Numbers(float).check(rate_factors)
    except ValueError as error:
        raise UsageError(f"Invalid value for `rate_factors`: {error}") from None
    settings = PlanSettings(**options)
    known, learnt = load_inputs(profiles, settings)
    request = make_request(known, settings, learnt)
    if not any(r.rate_infer_per_s for r in request.requirements):
        raise UsageError("no model of the demand has a rate, so there is nothing that grows; give rate_infer_per_s")
    return tuple(_point(request.with_rate_factor(factor), factor, settings) for factor in factors)


def _point(request: Request, factor: float, settings: PlanSettings) -> GrowthPoint:
    limits = SearchLimits(seconds=settings.time_limit_s, seed=settings.seed, workers=settings.workers)
    solved = solve_request(request, limits)
    found = solved.plan
    rules = baselines(solved.formulation, seed=settings.seed) if found.objective is not None else ()
    return GrowthPoint(
        rate_factor=factor,
        status=found.status.value,
        gpus=None if found.objective is None else found.n_gpus,
        objective=request.rules.objective.value,
        value=solved.value,
        lower_bound=solved.lower_bound,
        gap_pct=None if found.gap is None else round(found.gap * 100, 4),
        first_fit_gpus=next((b.gpus for b in rules), None),
    )


def to_csv(points: Sequence[GrowthPoint]) -> str:
    """Write points as CSV, one row for each; what is not known is an empty cell."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    names = [f.name for f in fields(GrowthPoint)]
    writer.writerow(names)
    for point in points:
        cells = (getattr(point, name) for name in names)
        writer.writerow(["" if cell is None else cell for cell in cells])
    return out.getvalue()
