"""Measure contents of a plan on one device: a control first, then all models of each content at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

from analyzer.errors import UsageError
from analyzer.measurements.record import Trial
from analyzer.measurements.store import Store
from analyzer.sweep.job import Job
from analyzer.sweep.joint_runner import JointLoad, JointRunner
from analyzer.sweep.parallel import Worker
from planner.interference.content import model_key
from planner.interference.observed import observed
from planner.interference.pairs import choose_pairs
from planner.verification.contents import MeasuredContent, ModelLoad, PlannedContent, loads_of

Say = Callable[[str], None]


def measure_contents(
    worker: Worker, job: Job, contents: Sequence[PlannedContent], say: Say, *, pairs: int = 0
) -> Iterator[MeasuredContent | tuple[PlannedContent, str]]:
    """Yield what was measured of each content, or the content with the reason why it cannot be measured.

    Every result is in the worker's store before it is yielded.

    Parameters
    ----------
    pairs : int
        Pairs of each model that are measured afterwards, for the fit alone; only the store has them.

    Raises
    ------
    ServerError, DeviceError, StoreError
        If the server cannot be started, the device is lost or the store takes nothing more.
    """
    with worker.serving(say) as (server, generator), Store.open(worker.store) as store:
        runner = JointRunner(server, job.repository, job.workload, generator, rule=worker.rule)
        for number, content in enumerate(contents, 1):
            try:
                loads = loads_of(content)
            except UsageError as error:
                yield content, error.message
                continue
            joint = [_joint(load) for load in loads]
            say(f"{number} of {len(contents)}: {content.name}, {_named(loads)}")
            control = runner.measure_alone(_control(loads), fresh=True)
            found = runner.measure(joint)
            store.append_co_location(found)
            yield MeasuredContent(
                content=content,
                loads=loads,
                models=found,
                alone=tuple(runner.measure_alone(load).measurement for load in joint),
                control=control.measurement,
            )
        _measure_pairs(runner, store, contents, pairs, say)


def _measure_pairs(
    runner: JointRunner, store: Store, contents: Sequence[PlannedContent], per_model: int, say: Say
) -> None:
    """Measure pairs of the plan's models at their planned loads, each as the first content with it has it."""
    loads: dict[str, JointLoad] = {}
    for content in contents:
        with suppress(UsageError):
            for load in loads_of(content):
                loads.setdefault(model_key(load.placed.name, load.placed.variant), _joint(load))
    measured = [content.models for content in observed(store.co_locations())]
    chosen = [pair for pair in choose_pairs(list(loads), per_model, measured) if _distinct(pair, loads)]
    for number, pair in enumerate(chosen, 1):
        say(f"pair {number} of {len(chosen)}: {pair[0]} and {pair[1]}")
        store.append_co_location(runner.measure([loads[name] for name in pair]))


def _distinct(pair: tuple[str, str], loads: Mapping[str, JointLoad]) -> bool:
    """Whether a pair is of two models; two configurations of one cannot be on a server."""
    return len({loads[name].trial.model for name in pair}) == 2


def _joint(load: ModelLoad) -> JointLoad:
    return JointLoad(trial=load.trial, replicas=load.placed.replicas, instances=load.instances)


def _control(loads: Sequence[ModelLoad]) -> JointLoad:
    """Return the load of the control: the busiest model, as it was profiled."""
    placed = max(loads, key=lambda load: load.placed.utilization or 0.0).placed
    variant = next(load.trial.variant for load in loads if load.placed is placed)
    return JointLoad(
        trial=Trial(model=placed.name, variant=variant, batch=placed.batch, concurrency=placed.concurrency)
    )


def _named(loads: Sequence[ModelLoad]) -> str:
    names = [load.placed.name for load in loads]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
