"""Which rule of the demand keeps a model of a placement off a GPU.                                            [pure]"""

from __future__ import annotations

from collections.abc import Iterator

from planner.inputs.demand import Requirement, Spread
from planner.placement.document import Placement
from planner.placement.placed_gpu import PlacedGpu, PlacedModel


def kept_off(model: PlacedModel, gpu: PlacedGpu, placement: Placement) -> str | None:
    """Say in words the first rule by which a replica may not be moved to a GPU; None where no rule forbids it."""
    asked = {requirement.model: requirement for requirement in placement.demand}
    own = asked.get(model.served)
    if own is None:
        return None
    there = [asked[served] for served in dict.fromkeys(m.served for m in gpu.models) if served in asked]
    rules = placement.rules
    if own.spread and own.model in _served_in(own.spread, gpu, placement):
        return f"its replicas are spread over {own.spread.value}s"
    if rules and rules.spare and own.model in _served_in(rules.spare_of, gpu, placement):
        return f"the loss of that {rules.spare_of.value} would then take more of its replicas"
    return next(_sharing(own, there, gpu, placement), None)


def _served_in(within: Spread, gpu: PlacedGpu, placement: Placement) -> set[str]:
    """Return the models that are served on a GPU, or on its node."""
    gpus = [gpu]
    if within is Spread.NODE and gpu.nodes:
        gpus = [other for other in placement.one_by_one() if (other.type, other.nodes) == (gpu.type, gpu.nodes)]
    return {model.served for each in gpus for model in each.models}


def _sharing(own: Requirement, there: list[Requirement], gpu: PlacedGpu, placement: Placement) -> Iterator[str]:
    others = [requirement for requirement in there if requirement is not own]
    if own.alone and others:
        yield "it is to be alone"
    for other in others:
        if other.alone:
            yield f"{other.model} is to be alone"
        for group in sorted(set(own.apart) & set(other.apart)):
            yield f"it is kept apart from {other.model} (group '{group}')"
    if own.together and not set(own.together) <= {group for other in others for group in other.together}:
        yield f"it stays together with its group '{own.together[0]}'"
    for group, most in own.group_max:
        members = {requirement.model for requirement in placement.demand if group in dict(requirement.group_max)}
        if sum(m.replicas for m in gpu.models if m.served in members) + 1 > most:
            yield f"a GPU may hold {most} replicas of the group '{group}' (group_max)"
