"""What contents that were measured say of a plan: which are not planned again, and which are right.           [pure]

A content that failed is cut off, at those operating points or heavier ones. One that was shown to hold is right at
those operating points or lighter ones, whatever the fit predicts. One of which neither was shown is left to the fit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from analyzer.formats.units import within_limit
from analyzer.measurements.co_location import CoLocatedModel, CoLocation
from planner.formulation.candidates import Candidate, Mode
from planner.formulation.co_location import Sharing
from planner.formulation.gpu_places import GpuPlace
from planner.formulation.request import Request
from planner.inputs.demand import BUDGETS
from planner.problem.co_location import ContentPart, KnownToHold, Overloaded

_TOLERANCE = 0.05  # share of a rate that may be missing where a record does not say how it was judged
_CLOSE = 1e-9  # relative, between equal rates

Options = Sequence[Sequence[Candidate]]  # of each task


def overloads(options: Options, places: Sequence[GpuPlace], request: Request) -> Iterator[Overloaded]:
    """Yield the contents that failed when they were measured, at those operating points or heavier."""
    for found in _contents(request):
        if all(_meets(model, options, request, surely=False) for model in found.models):
            continue
        for place in range(len(places)):
            parts = [_part(model, place, options, request, _is_as_heavy) for model in found.models]
            if all(parts):
                yield Overloaded(parts=tuple(part for part in parts if part is not None))


def known_to_hold(
    options: Options, sharings: Sequence[Sequence[Sharing]], places: Sequence[GpuPlace], request: Request
) -> Iterator[KnownToHold]:
    """Yield the contents that were shown to hold although their replicas would not tolerate them by the fit.

    Parameters
    ----------
    sharings : sequence of sequence of Sharing
        What each option takes and tolerates.
    """
    for found in _contents(request):
        if not all(_meets(model, options, request, surely=True) for model in found.models):
            continue
        for number, place in enumerate(places):
            if found.device_name not in place.devices:
                continue
            named = (_part(model, number, options, request, _is_as_light) for model in found.models)
            parts = tuple(part for part in named if part is not None)
            if parts and not _is_tolerated(parts, sharings):
                yield KnownToHold(parts=parts)


def _contents(request: Request) -> Iterator[CoLocation]:
    return (found for found in request.learnt.co_locations if len(found.models) > 1)


def _is_tolerated(parts: Sequence[ContentPart], sharings: Sequence[Sequence[Sharing]]) -> bool:
    """Whether all replicas tolerate the largest load of these parts, so that the rule would add nothing."""
    own = [[sharings[part.task][k] for k in part.options] for part in parts]
    for r in (0, 1):
        load = sum(part.count * max(one.load[r] for one in each) for part, each in zip(parts, own, strict=True))
        least = [one.tolerance[r] for each in own for one in each]
        if any(most is not None and most < load for most in least):
            return False
    return True


def _part(
    model: CoLocatedModel,
    place: int,
    options: Options,
    request: Request,
    is_like: Callable[[Candidate, CoLocatedModel, float], bool],
) -> ContentPart | None:
    """Return the options on a place that are like a measured model; None if there are none."""
    for task, (own, requirement) in enumerate(zip(options, request.requirements, strict=True)):
        asked = requirement.rate_to_serve or math.inf
        like = tuple(k for k, c in enumerate(own) if c.place == place and is_like(c, model, asked))
        if like:
            return ContentPart(task=task, options=like, count=model.replicas)
    return None


def _meets(model: CoLocatedModel, options: Options, request: Request, *, surely: bool) -> bool:
    """Whether a measured model served what it was to serve, within its p99 budget.

    Parameters
    ----------
    surely : bool
        Whether that holds for all of the intervals, or for some value in them.
    """
    measured = model.measurement
    if not measured.status.measured or measured.throughput_infer_per_s is None or measured.errors:
        return False
    side = -1 if surely else 1
    promised = _promised(model, options, request)
    served = measured.throughput_infer_per_s + side * (measured.served_half_width_infer_per_s or 0.0)
    tolerance = _TOLERANCE if model.tolerance is None else model.tolerance
    if promised is not None and served < promised * (1 - tolerance):
        return False
    requirement = next((r for r in request.requirements if r.model == measured.trial.model), None)
    if requirement is None:
        return True
    stream = measured.stream
    found = {
        "latency_p99_s": (measured.latency_p99_s, measured.latency_p99_ci),
        "ttft_p99_s": (stream.first_response_p99_s, stream.first_response_p99_ci),
        "itl_p99_s": (stream.itl_p99_s, stream.itl_p99_ci),
    }
    return all(
        _within_budget(*found[field], getattr(requirement, field), side=side, surely=surely) for field, _ in BUDGETS
    )


def _within_budget(
    measured_s: float | None, half_width: float | None, budget_s: float | None, *, side: int, surely: bool
) -> bool:
    """Say whether a p99 is within its budget; `half_width` is a fraction of it."""
    if budget_s is None:
        return True
    if measured_s is None or half_width is None:
        return not surely and (measured_s is None or within_limit(measured_s, budget_s))
    return within_limit(measured_s * (1 - side * half_width), budget_s)


def _promised(model: CoLocatedModel, options: Options, request: Request) -> float | None:
    """Return what was to be served of a measured load: what was offered, or in throughput mode what it delivers alone.

    Without a record of what was offered it is the load's rate.
    """
    trial = model.measurement.trial
    if model.measurement.offered_infer_per_s is not None:
        return model.measurement.offered_infer_per_s
    if trial.request_rate_per_s is not None:
        return trial.request_rate_per_s * trial.batch
    if request.rules.mode is Mode.MEMORY:
        return None
    concurrency = trial.concurrency // model.replicas
    for candidate in (candidate for own in options for candidate in own):
        point = candidate.point
        same = (point.variant, point.batch, point.concurrency) == (trial.variant.name, trial.batch, concurrency)
        if candidate.model == trial.model and same and point.throughput_infer_per_s:
            return point.throughput_infer_per_s * model.replicas
    return None


def _is_as_heavy(candidate: Candidate, model: CoLocatedModel, asked: float) -> bool:
    """Whether an option loads its place at least as much as a replica of a measured model.

    Parameters
    ----------
    asked : float
        Rate of all replicas of the option's task together; one is never sent more.
    """
    trial, point = model.measurement.trial, candidate.point
    if not _is_same(candidate, model):
        return False
    rate = _rate(model)
    if rate is None:
        return (point.batch, point.concurrency) >= (trial.batch, trial.concurrency // model.replicas)
    delivered = candidate.throughput_infer_per_s
    return delivered is not None and min(delivered, asked) >= rate * (1 - _CLOSE)


def _is_as_light(candidate: Candidate, model: CoLocatedModel, asked: float) -> bool:
    """Whether an option is of the measured batch size, and loads its place at most as much as a measured replica."""
    trial, point = model.measurement.trial, candidate.point
    if not _is_same(candidate, model) or point.batch != trial.batch:
        return False
    rate = _rate(model)
    if rate is None:
        return point.concurrency <= trial.concurrency // model.replicas
    delivered = candidate.throughput_infer_per_s
    return delivered is not None and min(delivered, asked) <= rate * (1 + _CLOSE)


def _is_same(candidate: Candidate, model: CoLocatedModel) -> bool:
    """Whether an option is of the measured model, in the same configuration on a device of the same name."""
    measured = model.measurement
    return (candidate.model, candidate.device, candidate.point.variant) == (
        measured.trial.model,
        measured.provenance.device_name,
        measured.trial.variant.name,
    )


def _rate(model: CoLocatedModel) -> float | None:
    """Return the rate that a measured replica was sent; None where its load was a concurrency."""
    trial = model.measurement.trial
    return None if trial.request_rate_per_s is None else trial.request_rate_per_s * trial.batch / model.replicas
