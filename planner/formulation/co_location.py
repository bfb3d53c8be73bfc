"""What co-location costs, as loads and tolerances of options.                                                 [pure]

The two rows are those of `planner.interference.limits`: a content is legal if the sums of busy shares and pressures are
within what each of its replicas tolerates. A replica alone on its place is always legal.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from planner.formulation.candidates import Candidate
from planner.inputs.demand import BUDGETS, Requirement
from planner.interference.content import Member, model_key
from planner.interference.latency import tolerated
from planner.interference.learnt import Learnt
from planner.interference.limits import Row, rows

UNLIMITED = 10**9  # capacity of both resources: what replicas tolerate limits them
_UNITS = 10**4  # a ten-thousandth of the device's time


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
    """Return the slow-down with which a replica serves its share of its throughput within its p99 budgets."""
    capacity = candidate.point.throughput_infer_per_s
    if requirement.rate_to_serve is None or not capacity:
        return None
    rate = capacity * candidate.share
    most = tolerated(rate=rate, capacity=capacity)
    for field, _ in BUDGETS:
        alone_s, budget_s = getattr(candidate.point, field), getattr(requirement, field)
        if alone_s is not None and budget_s is not None:
            most = min(most, tolerated(rate=rate, capacity=capacity, alone_p99_s=alone_s, budget_p99_s=budget_s))
    return most


def _load(row: Row) -> int:
    return math.ceil(round(row.load * _UNITS, 6))


def _tolerance(row: Row) -> int:
    return UNLIMITED if math.isinf(row.tolerance) else math.floor(round(row.tolerance * _UNITS, 6))
