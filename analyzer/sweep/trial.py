"""Measure one trial of a loaded model: send requests while the device is recorded, and combine both."""

from __future__ import annotations

import time

from analyzer.devices.recorder import Recorder
from analyzer.load.generator import LoadGenerator
from analyzer.load.load import Load
from analyzer.measurements.record import Measurement, Provenance, Trial
from analyzer.statistics.verdict import CLIENT_BOUND, StoppingRule
from analyzer.sweep.loaded_model import MemoryAtLoad
from analyzer.sweep.running_trial import Death, RunningTrial, watch


def measure_trial(
    trial: Trial,
    load: Load,
    *,
    provenance: Provenance,
    instances: int,
    memory: MemoryAtLoad,
    generator: LoadGenerator,
    recorder: Recorder,
    death: Death,
    rule: StoppingRule,
) -> Measurement:
    """Send `load` until its figures are precise enough, and combine them with the device's readings.

    A trial in which the load generator is the limit is measured again with more processes where there can be more.

    Parameters
    ----------
    instances : int
        Number of instances that serve the model.
    memory : MemoryAtLoad
        What the device held around the model's load.
    death : callable
        Returns why the server ended, None while it runs.

    Returns
    -------
    Measurement
        Failures of the model or the server are statuses, not exceptions.
    """
    while True:
        began_s = time.perf_counter()
        running = RunningTrial(trial, rule, began_s)
        with generator.sending(load) as stream:
            watch([running], stream.receive, death, rule, began_s)
        running.end()
        if running.failed or running.busiest_client <= CLIENT_BOUND or not generator.grow(load.concurrency):
            break
    return running.measurement(
        recorder.between(began_s, time.perf_counter()),
        lag_s=recorder.lag_s,
        memory=memory,
        provenance=provenance,
        instances=instances,
    )
