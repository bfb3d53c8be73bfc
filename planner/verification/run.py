"""Measure contents of a plan on the devices that there are: a control first, then all models of a content at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from analyzer.formats.units import listed
from analyzer.measurements.co_location import CoLocation
from analyzer.measurements.record import Trial
from analyzer.measurements.store import Store
from analyzer.sweep.job import Job
from analyzer.sweep.joint_runner import JointLoad, JointRunner
from analyzer.sweep.parallel import Worker, spread
from analyzer.sweep.turns import ResultStore
from planner.interference.content import model_key
from planner.interference.observed import observed
from planner.interference.pairs import choose_pairs
from planner.verification.contents import MeasuredContent, ModelLoad, PlannedContent, loads_of


class ContentObserver(Protocol):
    """Who is told what is measured."""

    def said(self, text: str) -> None:
        """A line for the user."""

    def measured(self, number: int, found: MeasuredContent) -> None:
        """The content with this number was measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is measured together: the contents of a plan, then pairs of its models for the fit alone.

    Parameters
    ----------
    contents : tuple of PlannedContent
        `loads_of` them is known.
    arrivals : str
        Gaps between requests that are sent at a rate.
    tolerance : float
        Share of a planned rate that may be missing; the store keeps it with the contents.
    pairs : tuple of pair of JointLoad
        Only the store has what they show.
    """

    contents: tuple[PlannedContent, ...]
    arrivals: str
    tolerance: float
    pairs: tuple[tuple[JointLoad, JointLoad], ...] = ()


def with_pairs(
    contents: Sequence[PlannedContent], arrivals: str, per_model: int, known: Store, *, tolerance: float
) -> Contents:
    """Add pairs of the plan's models at their planned loads, each as the first content with it has it.

    Parameters
    ----------
    per_model : int
        Pairs of each model.
    known : Store
        What was measured together before.
    """
    loads: dict[str, JointLoad] = {}
    together: list[Sequence[str]] = [content.models for content in observed(known.co_locations())]
    for content in contents:
        found = {model_key(one.placed.name, one.placed.variant): one for one in loads_of(content, arrivals=arrivals)}
        together.append([name for name, one in found.items() for _ in range(one.placed.replicas)])
        loads = {name: _joint(one) for name, one in found.items()} | loads
    chosen = choose_pairs(list(loads), per_model, together)
    return Contents(
        contents=tuple(contents),
        arrivals=arrivals,
        tolerance=tolerance,
        pairs=tuple((loads[one], loads[other]) for one, other in chosen if _distinct(loads[one], loads[other])),
    )


def _distinct(one: JointLoad, other: JointLoad) -> bool:
    """Whether a pair is of two models; two configurations of one cannot be on a server."""
    return one.trial.model != other.trial.model


def measure_contents(
    workers: Sequence[Worker], job: Job, together: Contents, observer: ContentObserver, store: Store
) -> None:
    """Measure each content, and each pair, on the next worker that is free.

    Every result is in the store before the observer is told.

    Raises
    ------
    ServerError, DeviceError, StoreError
        If a server cannot be started, a device is lost or the store takes nothing more.
    """
    count = len(together.contents) + len(together.pairs)
    spread(workers[:count], count, partial(_measure, job, together), observer, store)


def _measure(
    job: Job,
    together: Contents,
    worker: Worker,
    numbers: Iterable[int],
    observer: ContentObserver,
    store: ResultStore,
) -> None:
    """Measure the contents and pairs with these numbers on a worker; pairs follow the contents."""
    with worker.serving(observer.said) as (server, generator):
        runner = JointRunner(server, job.repository, job.workload, generator, rule=worker.rule)
        for number in numbers:
            if number < len(together.contents):
                _measure_content(runner, store, together, number, observer)
                continue
            pair = together.pairs[number - len(together.contents)]
            names = " and ".join(load.trial.model for load in pair)
            observer.said(f"pair {number - len(together.contents) + 1} of {len(together.pairs)}: {names}")
            store.append_co_location(runner.measure(pair))


def _measure_content(
    runner: JointRunner, store: ResultStore, together: Contents, number: int, observer: ContentObserver
) -> None:
    content = together.contents[number]
    loads = loads_of(content, arrivals=together.arrivals)
    joint = [_joint(load) for load in loads]
    observer.said(
        f"{number + 1} of {len(together.contents)}: {content.name}, {listed([load.placed.name for load in loads])}"
    )
    control = runner.measure_alone(_control(loads), fresh=True)
    found = _judged_with(together.tolerance, runner.measure(joint))
    store.append_co_location(found)
    observer.measured(
        number,
        MeasuredContent(
            content=content,
            loads=loads,
            models=found,
            alone=tuple(runner.measure_alone(load).measurement for load in joint),
            control=control.measurement,
        ),
    )


def _judged_with(tolerance: float, found: CoLocation) -> CoLocation:
    return CoLocation(models=tuple(replace(model, tolerance=tolerance) for model in found.models))


def _joint(load: ModelLoad) -> JointLoad:
    return JointLoad(trial=load.trial, replicas=load.placed.replicas, instances=load.instances)


def _control(loads: Sequence[ModelLoad]) -> JointLoad:
    """Return the load of the control: the busiest model, as it was profiled."""
    placed = max(loads, key=lambda load: load.placed.utilization or 0.0).placed
    variant = next(load.trial.variant for load in loads if load.placed is placed)
    return JointLoad(
        trial=Trial(model=placed.name, variant=variant, batch=placed.batch, concurrency=placed.concurrency)
    )
