"""Measure several loaded models at the same time: send the loads of all of them while the device is recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from analyzer.devices.recorder import Recorder
from analyzer.errors import ModelError, ServerError
from analyzer.load.generator import LoadGenerator
from analyzer.load.load import Load
from analyzer.measurements.record import Measurement, Provenance, Trial
from analyzer.statistics.execution_times import ExecutionTimes, Snapshot, executions_between
from analyzer.statistics.verdict import StoppingRule
from analyzer.sweep.loaded_model import MemoryAtLoad
from analyzer.sweep.running_trial import Death, RunningTrial, watch

_SNAPSHOT_S = 0.1  # between readings of the server's counters

Executions = Callable[..., Mapping[int, tuple[int, float]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class JointMember:
    """One of the models that are measured at the same time.

    Parameters
    ----------
    load : Load
        What is sent to it.
    instances : int
        Instances that serve it.
    executing : tuple of str
        The models that execute its requests: itself, or the steps of an ensemble.
    """

    trial: Trial
    load: Load
    provenance: Provenance
    instances: int
    executing: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JointResult:
    """What one model delivered while the others worked, and how long its executions took on the server."""

    measurement: Measurement
    executions: ExecutionTimes


@dataclass(slots=True)
class _Running:
    """A member with its trial, and the snapshots of its counters on the server."""

    member: JointMember
    trial: RunningTrial
    snapshots: list[Snapshot] = field(default_factory=list)


def measure_together(
    members: Sequence[JointMember],
    *,
    memory: MemoryAtLoad,
    generator: LoadGenerator,
    recorder: Recorder,
    executions: Executions,
    death: Death,
    rule: StoppingRule,
) -> tuple[JointResult, ...]:
    """Send all loads at once until the figures of every member are precise enough, or the time is up.

    All loads begin and end together, and no window begins before the last member has warmed up, so each counts only
    while every model is under load.

    Parameters
    ----------
    memory : MemoryAtLoad
        What the device held around the load of the models.
    executions : callable
        Returns models' counters on the server, as `Control.executions` does.
    death : callable
        Returns why the server ended, None while it runs.

    Returns
    -------
    tuple of JointResult
        One for each member; failures are statuses, not exceptions. A member that fails ends the trial for all.
    """
    began_s = time.perf_counter()
    running = [_Running(member, RunningTrial(member.trial, rule, began_s)) for member in members]
    with generator.sending_together([member.load for member in members]) as stream:
        snapshots = _Snapshots(running, executions)
        watch([one.trial for one in running], stream.receive, death, rule, began_s, meanwhile=snapshots.meanwhile)
        snapshots.now()
    warmed_up_s = max(one.trial.seen.began_s for one in running)
    ended_by = next((one.trial.failure for one in running if one.trial.failed), None)
    lost = ended_by is not None and death() is not None
    for one in running:
        one.trial.end(since_s=warmed_up_s, ended_by=ended_by, lost=lost)
    under_load = recorder.between(began_s, time.perf_counter())
    return tuple(
        JointResult(
            measurement=one.trial.measurement(
                under_load,
                lag_s=recorder.lag_s,
                memory=memory,
                provenance=one.member.provenance,
                instances=one.member.instances,
            ),
            executions=executions_between(one.snapshots, one.trial.seen.began_s, one.trial.seen.ended_s),
        )
        for one in running
    )


class _Snapshots:
    """Takes a snapshot of every member's counters on the server, `_SNAPSHOT_S` after the last one."""

    def __init__(self, running: Sequence[_Running], executions: Executions) -> None:
        self._running = running
        self._executions = executions
        self._due_s = 0.0

    def meanwhile(self, now_s: float) -> None:
        if now_s >= self._due_s:
            self._due_s = now_s + _SNAPSHOT_S
            self.now()

    def now(self) -> None:
        with suppress(ServerError, ModelError):  # a server that ended is seen by its loads
            for one in self._running:
                by_batch = self._executions(*one.member.executing)
                one.snapshots.append(Snapshot(time_s=time.perf_counter(), by_batch=by_batch))
