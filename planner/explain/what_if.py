"""Which single change of what was asked saves a GPU, and which demands conflict where there is no plan."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from planner.formulation.candidates import Mode
from planner.formulation.formulate import Formulation, formulate
from planner.formulation.objective import from_units
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement
from planner.inputs.fleet import FleetType
from planner.inputs.profiles import Profile
from planner.problem.plan import Plan, Status

THRESHOLD_STEP = 0.1  # by which utilization thresholds are raised
KEEP_STEP = 0.9  # of its best throughput that a model would keep
_MOST_MODELS = 25  # of the demand, in its order, whose own wishes are tried

Solve = Callable[[Formulation, float], Plan]  # with a time limit in seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a plan was asked for."""

    profiles: tuple[Profile, ...]
    requirements: tuple[Requirement, ...]
    fleet: tuple[FleetType, ...]
    rules: Rules

    def formulate(self) -> Formulation:
        """State it as a Problem."""
        return formulate(self.profiles, self.requirements, self.fleet, self.rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
    """A change, and what the plan would be with it.

    Parameters
    ----------
    value, saved : float
        Of the objective, in its unit.
    """

    change: str
    value: float
    saved: float
    gpus: int


def relaxations(question: Question, value: float, solve: Solve, *, time_limit_s: float) -> tuple[Relaxation, ...]:
    """Try single changes and keep those that make the plan cost less, the largest saving first.

    Parameters
    ----------
    value : float
        What the plan costs as it is, in the objective's unit.
    """
    changes = list(_changes(question))
    deadline = time.monotonic() + time_limit_s
    found = []
    for n, (change, changed) in enumerate(changes):
        left = deadline - time.monotonic()
        if left <= 0:
            break
        formulation = changed.formulate()
        plan = solve(formulation, max(1.0, left / (len(changes) - n)))
        if plan.objective is None:
            continue
        new = from_units(plan.objective, formulation.cost_divisor)
        if new < value - 1e-9:
            found.append(Relaxation(change=change, value=new, saved=value - new, gpus=plan.n_gpus))
    return tuple(sorted(found, key=lambda r: -r.saved))


def _changes(question: Question) -> Iterator[tuple[str, Question]]:
    """Single changes worth trying, each with the question as it would then be."""
    yield from _thresholds(question)
    yield from _rules(question)
    for fleet_type in question.fleet:
        if fleet_type.limit is not None:
            more = replace(fleet_type, limit=fleet_type.limit + 1)
            change = f"one more {fleet_type.type} to choose from ({more.limit})"
            yield change, _with_types(question, [more if t is fleet_type else t for t in question.fleet])
    models = sorted({p.model for p in question.profiles})
    for requirement in question.requirements[:_MOST_MODELS]:
        for change, changed in (*_wishes(requirement), *_variants(requirement, models)):
            others = [changed if r is requirement else r for r in question.requirements]
            yield change, replace(question, requirements=tuple(others))


def _thresholds(question: Question) -> Iterator[tuple[str, Question]]:
    for name in ("memory", "utilization", "memory_utilization"):
        shares = [getattr(t.thresholds, name) for t in question.fleet]
        if name == "memory":
            raised = [1.0] * len(shares)
        elif question.rules.mode is Mode.THROUGHPUT:
            raised = [share + THRESHOLD_STEP for share in shares]
        else:
            continue
        if raised != shares:
            types = [
                replace(t, thresholds=replace(t.thresholds, **{name: share}))
                for t, share in zip(question.fleet, raised, strict=True)
            ]
            before, after = f"{min(shares):.0%}", f"{min(raised):.0%}"
            yield f"the threshold of {name.replace('_', ' ')} at {after}, not {before}", _with_types(question, types)


def _rules(question: Question) -> Iterator[tuple[str, Question]]:
    rules = question.rules
    rated = any(r.rate_infer_per_s for r in question.requirements)
    copies = any(not r.rate_infer_per_s for r in question.requirements)
    if rules.mode is Mode.THROUGHPUT and copies and rules.keep_throughput > KEEP_STEP:
        changed = replace(rules, keep_throughput=KEEP_STEP)
        yield (
            f"models may give up a tenth of their throughput (--keep-throughput {KEEP_STEP})",
            replace(question, rules=changed),
        )
    if rated and not rules.proportional:
        yield (
            "utilization charged in proportion to the load (--proportional)",
            replace(question, rules=replace(rules, proportional=True)),
        )
    if rules.spare:
        yield (
            f"{rules.spare - 1} spare, not {rules.spare}",
            replace(question, rules=replace(rules, spare=rules.spare - 1)),
        )


def _wishes(requirement: Requirement) -> Iterator[tuple[str, Requirement]]:
    name = requirement.model
    if requirement.latency_p99_s is not None:
        budget = f"{requirement.latency_p99_s * 1000:g} ms"
        yield (
            f"{name} at twice its p99 budget of {budget}",
            replace(requirement, latency_p99_s=requirement.latency_p99_s * 2),
        )
    if requirement.spread:
        yield f"{name} not spread", replace(requirement, spread=None)
    if requirement.alone:
        yield f"{name} not alone", replace(requirement, alone=False)
    if requirement.apart:
        yield f"{name} not kept apart", replace(requirement, apart=())
    if requirement.together:
        yield f"{name} not kept together", replace(requirement, together=())
    if requirement.replicas and requirement.replicas > 1:
        yield (
            f"{name} with {requirement.replicas - 1} replicas, not {requirement.replicas}",
            replace(requirement, replicas=requirement.replicas - 1),
        )


def _variants(requirement: Requirement, models: Sequence[str]) -> Iterator[tuple[str, Requirement]]:
    """Profiled models that by their name are this one in another form."""
    for model in models:
        if is_form_of(model, requirement.model) and model not in requirement.variants:
            yield (
                f"{requirement.model} served by {model} as well",
                replace(requirement, variants=(*requirement.variants, model)),
            )


def is_form_of(model: str, base: str) -> bool:
    """Whether a model is by its name another form of `base`: ``resnet_int8`` of ``resnet``."""
    return model.startswith(base) and model[len(base) :][:1] in ("_", "-", ".") and model != base


def _with_types(question: Question, types: Sequence[FleetType]) -> Question:
    return replace(question, fleet=tuple(types))


def conflict(question: Question, solve: Solve, *, time_limit_s: float) -> tuple[Requirement, ...]:
    """A smallest set of demands that cannot be met together: without any one of them, the rest can.

    Found by leaving out more and more of what is not needed for the conflict, in halves and then one by one. Within
    the time limit; what could not be tried by then stays in.
    """
    deadline = time.monotonic() + time_limit_s
    kept = list(question.requirements)
    step = max(1, len(kept) // 2)
    while step:
        start = 0
        while start < len(kept) and time.monotonic() < deadline:
            rest = kept[:start] + kept[start + step :]
            if rest and _infeasible(replace(question, requirements=tuple(rest)), solve, deadline):
                kept = rest
            else:
                start += step
        step //= 2
    return tuple(kept)


def _infeasible(question: Question, solve: Solve, deadline: float) -> bool:
    plan = solve(question.formulate(), max(0.5, min(10.0, deadline - time.monotonic())))
    return plan.status is Status.INFEASIBLE
