"""Which single change of a request saves a GPU, and which demands conflict where there is no plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from analyzer.errors import UsageError
from planner.formulation.candidates import Mode
from planner.formulation.request import Request
from planner.inputs.demand import BUDGETS, SHARING_FIELDS, Requirement
from planner.inputs.fleet import FleetType
from planner.planning import solve_request
from planner.problem.plan import Status
from planner.solver.limits import SearchLimits

THRESHOLD_STEP = 0.1  # by which utilization thresholds are raised
KEEP_STEP = 0.9  # share of its best throughput that a model would keep
_FIRST_S = 2.0  # time for the first attempt at each change
_SAME = 1e-9  # a difference of the objective's values that is one of rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """A change of the request, and what the plan would cost with it.

    Parameters
    ----------
    value, saved : float
        The objective's value with the change, and by how much less that is; in its unit.
    """

    change: str
    value: float
    saved: float
    gpus: int


def relaxations(request: Request, value: float, limits: SearchLimits) -> tuple[Relaxation, ...]:
    """Try single changes and keep those that make the plan cost less, the largest saving first.

    Each is tried for a short time; those that could still save something are then tried again in the time that is left.

    Parameters
    ----------
    value : float
        What the plan costs as it is, in the objective's unit.
    """
    found: dict[str, Relaxation] = {}
    open_: list[tuple[str, Request]] = []

    def attempt(change: str, changed: Request, seconds: float) -> None:
        try:
            solved = solve_request(changed, limits.within(seconds))
        except UsageError:  # an operating point that only the change allows lacks a figure: it cannot be planned
            return
        before = found[change].value if change in found else value
        if solved.value is not None and solved.value < before - _SAME:
            found[change] = Relaxation(
                change=change, value=solved.value, saved=value - solved.value, gpus=solved.plan.n_gpus
            )
        best = found[change].value if change in found else value
        if solved.plan.status is not Status.INFEASIBLE and solved.lower_bound < best - _SAME:
            open_.append((change, changed))

    for change, changed in _changes(request):
        if limits.over:
            break
        attempt(change, changed, _FIRST_S)
    again, open_ = open_, []
    for n, (change, changed) in enumerate(again):
        if limits.over:
            break
        attempt(change, changed, limits.left_s / (len(again) - n))
    return tuple(sorted(found.values(), key=lambda r: -r.saved))


def _changes(request: Request) -> Iterator[tuple[str, Request]]:
    """Single changes worth trying, each with the request as it would then be."""
    yield from _thresholds(request)
    yield from _rules(request)
    for fleet_type in request.fleet:
        if fleet_type.limit is not None:
            more = replace(fleet_type, limit=fleet_type.limit + 1)
            change = f"one more {fleet_type.type} to choose from ({more.limit})"
            yield change, _with_types(request, [more if t is fleet_type else t for t in request.fleet])
    models = sorted({p.model for p in request.profiles})
    for requirement in request.requirements:
        for change, changed in (*_eased(requirement), *_variants(requirement, models)):
            others = [changed if r is requirement else r for r in request.requirements]
            yield change, replace(request, requirements=tuple(others))


def _thresholds(request: Request) -> Iterator[tuple[str, Request]]:
    for name in ("memory", "utilization", "memory_utilization"):
        shares = [getattr(t.thresholds, name) for t in request.fleet]
        if name == "memory":
            raised = [1.0] * len(shares)
        elif request.rules.mode is Mode.THROUGHPUT:
            raised = [share + THRESHOLD_STEP for share in shares]
        else:
            continue
        if raised != shares:
            types = [
                replace(t, thresholds=replace(t.thresholds, **{name: share}))
                for t, share in zip(request.fleet, raised, strict=True)
            ]
            before, after = f"{min(shares):.0%}", f"{min(raised):.0%}"
            yield f"the threshold of {name.replace('_', ' ')} at {after}, not {before}", _with_types(request, types)


def _rules(request: Request) -> Iterator[tuple[str, Request]]:
    rules = request.rules
    rated = any(r.rate_infer_per_s for r in request.requirements)
    copies = any(not r.rate_infer_per_s for r in request.requirements)
    if rules.mode is Mode.THROUGHPUT and copies and rules.keep_throughput > KEEP_STEP:
        changed = replace(rules, keep_throughput=KEEP_STEP)
        yield (
            f"models may give up a tenth of their throughput (`keep_throughput={KEEP_STEP}`)",
            replace(request, rules=changed),
        )
    if rated and not rules.proportional:
        yield (
            "utilization charged in proportion to the load (`proportional=True`)",
            replace(request, rules=replace(rules, proportional=True)),
        )
    if rules.spare:
        yield (
            f"{rules.spare - 1} spare, not {rules.spare}",
            replace(request, rules=replace(rules, spare=rules.spare - 1)),
        )


def _eased(requirement: Requirement) -> Iterator[tuple[str, Requirement]]:
    """The requirement with a longer p99 budget, fewer replicas, or without one of its rules on sharing GPUs."""
    name = requirement.model
    for field, what in BUDGETS:
        budget_s = getattr(requirement, field)
        if budget_s is not None:
            words = f"{name} at twice its {what} budget of {budget_s * 1000:g} ms"
            yield words, replace(requirement, **{field: budget_s * 2})
    for field, nothing, words in SHARING_FIELDS:
        if getattr(requirement, field) != nothing:
            yield f"{name} {words}", replace(requirement, **{field: nothing})  # type: ignore[arg-type]
    if requirement.replicas and requirement.replicas > 1:
        yield (
            f"{name} with {requirement.replicas - 1} replicas, not {requirement.replicas}",
            replace(requirement, replicas=requirement.replicas - 1),
        )


def _variants(requirement: Requirement, models: Sequence[str]) -> Iterator[tuple[str, Requirement]]:
    """The requirement with one more variant: a profiled model that by its name is another form of its model."""
    for model in models:
        if is_form_of(model, requirement.model) and model not in requirement.variants:
            yield (
                f"{requirement.model} served by {model} as well",
                replace(requirement, variants=(*requirement.variants, model)),
            )


def is_form_of(model: str, base: str) -> bool:
    """Whether a model is by its name another form of `base`: ``resnet_int8`` of ``resnet``."""
    return model.startswith(base) and model[len(base) :][:1] in ("_", "-", ".") and model != base


def _with_types(request: Request, types: Sequence[FleetType]) -> Request:
    return replace(request, fleet=tuple(types))


def conflict(request: Request, limits: SearchLimits) -> tuple[Requirement, ...]:
    """Return a smallest set of demands that cannot be met together: without any one of them, the rest can.

    Requirements that the conflict does not need are left out, in large parts first and then one by one. Once the
    limits are reached, those that were not tried stay in.
    """
    kept = list(request.requirements)
    step = max(1, len(kept) // 2)
    while step:
        start = 0
        while start < len(kept) and not limits.over:
            rest = kept[:start] + kept[start + step :]
            if rest and _infeasible(replace(request, requirements=tuple(rest)), limits):
                kept = rest
            else:
                start += step
        step //= 2
    return tuple(kept)


def _infeasible(request: Request, limits: SearchLimits) -> bool:
    try:
        return solve_request(request, limits.within(10.0)).plan.status is Status.INFEASIBLE
    except UsageError:  # what is left lacks a figure that its other models have
        return False
