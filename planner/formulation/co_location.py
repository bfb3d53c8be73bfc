"""What co-location costs, as loads and tolerances of options, and as contents that failed.                   [pure]

The two rows are those of `planner.interference.limits`: a content is legal if the sums of busy shares and pressures are
within what each of its replicas tolerates. A replica alone on its place is always legal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from analyzer.formats.units import within_limit
from analyzer.measurements.co_location import CoLocatedModel
from planner.formulation.candidates import Candidate, Mode
from planner.formulation.gpu_places import GpuPlace
from planner.formulation.request import Request
from planner.inputs.demand import Requirement
from planner.interference.content import Member, model_key
from planner.interference.latency import tolerated
from planner.interference.learnt import Learnt
from planner.interference.limits import Row, rows
from planner.problem.co_location import Overloaded, OverloadPart

UNLIMITED = 10**9  # capacity of both resources: what replicas tolerate limits them
_UNITS = 10**4  # a ten-thousandth of the device's time
_MISSED = 0.05  # share of a rate that a measured content may miss without having failed, as in `plan verify`


@dataclass(frozen=True, slots=True)
class Sharing:
    """What a replica takes of the two resources of co-location, and how much of each it tolerates on its place."""

    load: tuple[int, int]
    tolerance: tuple[int | None, int | None]

    @property
    def limits(self) -> bool:
        """Whether it does not tolerate everything."""
        return self.tolerance != (None, None)


def needs_headroom(requirement: Requirement, devices: Iterable[str], learnt: Learnt) -> bool:
    """Whether replicas are planned with less than their throughput alone, because others slow them down."""
    return requirement.rate_to_serve is not None and any(learnt.fit_for(device) for device in devices)


def sharing(candidate: Candidate, requirement: Requirement, learnt: Learnt) -> Sharing:
    """Return a candidate's loads and tolerances; without a fit for its device it has neither.

    A model without a rate presses on others and tolerates any slow-down: its plan promises no rate.
    """
    fit = learnt.fit_for(candidate.device)
    if fit is None:
        return Sharing((0, 0), (None, None))
    busy_share = (candidate.point.utilization or 0.0) * candidate.share
    member = Member(model=model_key(candidate.model, candidate.point.variant), busy_share=busy_share)
    most = _tolerated(candidate, requirement)
    # on a slice as well: the models of one server share what it has
    busy, pressed = rows(fit, member, math.inf if most is None else most, shared=True)
    load = (_load(busy), _load(pressed))
    if most is None:
        return Sharing(load, (None, None))
    return Sharing(load, (max(load[0], _tolerance(busy)), max(load[1], _tolerance(pressed))))


def _tolerated(candidate: Candidate, requirement: Requirement) -> float | None:
    """Return the slow-down with which a replica serves its share of its throughput within its p99 budget."""
    capacity = candidate.point.throughput_infer_per_s
    if requirement.rate_to_serve is None or not capacity:
        return None
    alone_s = candidate.point.latency_p99_s
    budget_s = None if alone_s is None else requirement.latency_p99_s
    return tolerated(
        rate=capacity * candidate.share,
        capacity=capacity,
        alone_p99_s=alone_s if budget_s is not None else None,
        budget_p99_s=budget_s,
    )


def _load(row: Row) -> int:
    return math.ceil(round(row.load * _UNITS, 6))


def _tolerance(row: Row) -> int:
    return UNLIMITED if math.isinf(row.tolerance) else math.floor(round(row.tolerance * _UNITS, 6))


def overloads(
    options: Sequence[Sequence[Candidate]], places: Sequence[GpuPlace], request: Request
) -> Iterator[Overloaded]:
    """Yield the contents that failed when they were measured, at those operating points or heavier.

    Parameters
    ----------
    options : sequence of sequence of Candidate
        The options of each task.
    """
    for found in request.learnt.co_locations:
        if len(found.models) < 2 or not any(_misses(model, options, request) for model in found.models):
            continue
        for place in range(len(places)):
            parts = [_part(model, place, options) for model in found.models]
            if all(parts):
                yield Overloaded(parts=tuple(part for part in parts if part is not None))


def _part(model: CoLocatedModel, place: int, options: Sequence[Sequence[Candidate]]) -> OverloadPart | None:
    """Return the options on a place that are as heavy as a measured model; None if there are none."""
    for task, own in enumerate(options):
        heavy = tuple(k for k, c in enumerate(own) if c.place == place and _as_heavy(c, model))
        if heavy:
            return OverloadPart(task=task, options=heavy, count=model.replicas)
    return None


def _misses(model: CoLocatedModel, options: Sequence[Sequence[Candidate]], request: Request) -> bool:
    """Whether a measured model missed what it was to serve or its p99 budget by more than its interval."""
    measured, trial = model.measurement, model.measurement.trial
    if not measured.status.measured or measured.throughput_infer_per_s is None:
        return True
    promised = _promised(model, options, request)
    most = measured.throughput_infer_per_s * (1 + (measured.throughput_ci or 0.0))
    if promised is not None and most < promised * (1 - _MISSED):
        return True
    budget_s = next((r.latency_p99_s for r in request.requirements if r.model == trial.model), None)
    if budget_s is None or measured.latency_p99_s is None:
        return False
    return not within_limit(measured.latency_p99_s * (1 - (measured.latency_p99_ci or 0.0)), budget_s)


def _promised(model: CoLocatedModel, options: Sequence[Sequence[Candidate]], request: Request) -> float | None:
    """Return what a plan promises of a measured load: its rate, or in throughput mode what it delivers alone."""
    trial = model.measurement.trial
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


def _as_heavy(candidate: Candidate, model: CoLocatedModel) -> bool:
    """Whether an option loads its place at least as much as a replica of a measured model."""
    measured, trial, point = model.measurement, model.measurement.trial, candidate.point
    if (candidate.model, candidate.device) != (trial.model, measured.provenance.device_name):
        return False
    if point.variant != trial.variant.name:
        return False
    if trial.request_rate_per_s is None:
        return (point.batch, point.concurrency) >= (trial.batch, trial.concurrency // model.replicas)
    rate = trial.request_rate_per_s * trial.batch / model.replicas
    delivered = candidate.throughput_infer_per_s
    return delivered is not None and delivered >= rate * (1 - 1e-9)
