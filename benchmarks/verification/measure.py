"""Measure the contents in portions: each briefly, as `plan verify` does, and once more for long.

What is measured is kept in two stores, so that a portion goes on where the last one ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from analyzer.errors import TritonpackError
from analyzer.measurements.co_location import CoLocation
from analyzer.measurements.record import Measurement, Trial
from analyzer.measurements.store import Store
from analyzer.sweep.joint_runner import JointLoad, JointRunner
from analyzer.sweep.prepare import prepare
from analyzer.sweep.settings import SweepSettings
from benchmarks.verification.contents import MODELS, contents

REPOSITORY = Path(__file__).parent / "models"
_WARM_UP_S = 2.0  # most of a trial that may be left out before its window
_OVERHEAD_S = 25.0  # loads of a content and its models alone, for the estimate whether it still fits in a portion


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What both stores have, and how much there is to measure.

    Parameters
    ----------
    capacities : dict of str to float
        Requests/s that each model serves alone in a closed loop.
    alone : dict of str to Measurement
        Each model alone at each rate, by `key_of` it.
    brief, long : dict
        Of each content that was measured both ways, by `key_of` it.
    planned : int
        Contents in all; unknown (0) before the capacities are measured.
    """

    capacities: dict[str, float]
    alone: dict[str, Measurement]
    brief: dict[str, CoLocation]
    long: dict[str, CoLocation]
    planned: int


def key_of(trials: list[Trial]) -> str:
    """Name a content by its models and rates."""
    return ", ".join(sorted(f"{trial.model} at {trial.request_rate_per_s:g}/s" for trial in trials))


def read(folder: Path) -> Measured:
    """Read both stores."""
    brief, long = (_co_locations(folder / name) for name in ("brief", "long"))
    singles = [found.models[0].measurement for found in brief if len(found.models) == 1]
    capacities = {m.trial.model: m.throughput_infer_per_s or 0.0 for m in singles if m.trial.concurrency}
    both = [{_key(found): found for found in store if len(found.models) > 1} for store in (brief, long)]
    kept = [key for key in both[0] if key in both[1]]
    return Measured(
        capacities=capacities,
        alone={key_of([m.trial]): m for m in singles if not m.trial.concurrency},
        brief={key: both[0][key] for key in kept},
        long={key: both[1][key] for key in kept},
        planned=len(contents(capacities)) if len(capacities) == len(MODELS) else 0,
    )


def _co_locations(folder: Path) -> tuple[CoLocation, ...]:
    if not folder.is_dir():
        return ()
    with Store.open(_settings(folder, 1.0).store_place) as store:
        return store.co_locations()


def _key(found: CoLocation) -> str:
    return key_of([model.measurement.trial for model in found.models])


def _settings(folder: Path, brief_s: float) -> SweepSettings:
    return SweepSettings(
        model_folder=REPOSITORY, model_names=MODELS, output=folder, launch_mode="local", max_trial_s=brief_s
    )


def measure_portion(
    folder: Path, *, brief_s: float, long_s: float, portion_s: float, say: Callable[[str], None]
) -> None:
    """Measure contents that the stores do not have until the time is up.

    Parameters
    ----------
    brief_s, long_s : float
        Longest brief trial, and window of a long one.
    portion_s : float
        Time after which no further content is begun.

    Raises
    ------
    TritonpackError
        If a model does not run alone.
    """
    began_s = time.perf_counter()
    for name in ("brief", "long"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    prepared = prepare(_settings(folder / "brief", brief_s))
    (worker, *_) = prepared.workers({})
    long_rule = replace(worker.rule, min_window_s=long_s, max_trial_s=long_s + _WARM_UP_S)
    with (
        worker.serving(say) as (server, generator),
        Store.open(prepared.settings.store_place) as brief,
        Store.open(_settings(folder / "long", brief_s).store_place) as long,
    ):
        runner = JointRunner(server, prepared.job.repository, prepared.job.workload, generator, rule=worker.rule)
        capacities = _measure_capacities(runner, brief, read(folder).capacities)
        done = read(folder)
        for loads in contents(capacities):
            key = key_of([load.trial for load in loads])
            if key in done.long:
                continue
            if time.perf_counter() - began_s + long_s + _OVERHEAD_S > portion_s:
                return
            say(key)
            brief.append_co_location(runner.measure(loads))
            for load in loads:
                brief.append_co_location(runner.measure([load]))
            long.append_co_location(runner.measure(loads, rule=long_rule))


def _measure_capacities(runner: JointRunner, store: Store, known: dict[str, float]) -> dict[str, float]:
    """Measure in a closed loop what each model serves alone, as far as the store does not have it."""
    found = dict(known)
    for name in MODELS:
        if name not in found:
            load = JointLoad(trial=Trial(model=name, batch=1, concurrency=2))
            alone = runner.measure([load])
            served = alone.models[0].measurement.throughput_infer_per_s
            if served is None:
                raise TritonpackError(f"{name} does not run alone: {alone.models[0].measurement.cause}")
            store.append_co_location(alone)
            found[name] = served
    return found
