"""From co-locations in the store to the contents that a fit rests on.                                       [pure]"""

from __future__ import annotations

from collections.abc import Iterable

from analyzer.measurements.co_location import CoLocatedModel, CoLocation
from planner.interference.content import Content, Member, model_key
from planner.interference.fit import fit
from planner.interference.fitted import Interference


def observed(co_locations: Iterable[CoLocation]) -> tuple[Content, ...]:
    """Return the contents that were measured, without those in which a model failed.

    Replicas of a model are members of their own, which share its busy time and have its slow-down.
    """
    return tuple(
        Content(device=found.device_name, members=tuple(member for model in found.models for member in _members(model)))
        for found in co_locations
        if found.measured
    )


def _members(model: CoLocatedModel) -> list[Member]:
    trial = model.measurement.trial
    member = Member(
        model=model_key(trial.model, trial.variant.name),
        busy_share=(model.busy_share or 0.0) / model.replicas,
        slow_down=model.slow_down or None,
    )
    return [member] * model.replicas


def fits_of(co_locations: Iterable[CoLocation]) -> dict[str, Interference]:
    """Fit what co-location costs on each device that it was measured on, by the device's name."""
    contents = observed(co_locations)
    return {device: fit(contents, device) for device in sorted({content.device for content in contents})}
