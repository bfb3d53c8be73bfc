"""Compare predictions, and the verdicts of brief measurements, with the long ones.                          [pure]"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analyzer.measurements.co_location import CoLocation
from analyzer.measurements.record import Measurement, Trial
from benchmarks.verification.contents import LATENCY_FACTOR, MODELS
from planner.interference.content import Content
from planner.interference.fit import fit
from planner.interference.fitted import Interference
from planner.interference.observed import observed
from planner.interference.pairs import choose_pairs
from planner.interference.predict import predict
from planner.verification.document import Verdict, worst
from planner.verification.verdict import judge_latency, judge_rate

TOLERANCE = 0.05  # as the default of `plan verify`
PAIRS_PER_MODEL = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A content that was measured briefly and for long, both of which succeeded.

    Parameters
    ----------
    alone : tuple of Measurement
        Its models alone at the same rates, in the order of the contents' models.
    capacities : tuple of float
        Inferences/s that each serves alone.
    server_bytes : int or None
        Memory of a server that has had no model yet.
    """

    key: str
    brief: CoLocation
    long: CoLocation
    alone: tuple[Measurement, ...]
    capacities: tuple[float, ...]
    server_bytes: int | None

    @property
    def content(self) -> Content:
        """The content as a fit sees its brief measurement."""
        (content,) = observed([self.brief])
        return content

    def verdict(self, of: CoLocation) -> Verdict:
        """Judge a measurement: every rate is served, and no p99 is above its budget."""
        found = []
        for model, alone in zip(of.models, self.alone, strict=True):
            measured = model.measurement
            served, half_width = measured.throughput_infer_per_s or 0.0, measured.served_half_width_infer_per_s or 0.0
            wanted = measured.offered_infer_per_s or _rate(measured.trial)
            found.append(judge_rate(wanted, served, half_width, TOLERANCE))
            if measured.latency_p99_s is not None and alone.latency_p99_s is not None:
                half_width = (
                    None if measured.latency_p99_ci is None else measured.latency_p99_s * measured.latency_p99_ci
                )
                found.append(judge_latency(LATENCY_FACTOR * alone.latency_p99_s, measured.latency_p99_s, half_width))
        return worst(found)

    @property
    def memory(self) -> tuple[float, float] | None:
        """Bytes as a plan adds them up from the models alone, and as measured; None where something was not read."""
        measured = self.long.models[0].measurement.max_memory_bytes
        own = [one.model_memory_bytes for one in self.alone]
        if measured is None or self.server_bytes is None or None in own:
            return None
        return float(self.server_bytes + sum(one or 0 for one in own)), float(measured)


def _rate(trial: Trial) -> float:
    return (trial.request_rate_per_s or 0.0) * trial.batch


def training_pairs(cases: Sequence[Case]) -> list[Case]:
    """Return the cases that `--pairs 2` would have chosen, of those that were measured."""
    by_names = {frozenset(case.content.models): case for case in cases if len(case.content.models) == 2}
    chosen = [by_names.get(frozenset(pair)) for pair in choose_pairs(MODELS, PAIRS_PER_MODEL)]
    return [case for case in chosen if case is not None]


Knows = Callable[[Case], Interference]


def ways(cases: Sequence[Case], device: str) -> Mapping[str, Knows]:
    """Return the fits that are compared, each as what it knows when it predicts a case."""
    pairs = training_pairs(cases)
    after_pairs = fit([case.content for case in pairs], device)
    return {
        "(a) sums of busy shares": lambda case: Interference.uncalibrated(device),
        "(b) fit after its pairs": lambda case: after_pairs,
        "(c) after one round of verify, the content itself left out": lambda case: fit(
            [other.content for other in cases if other.key != case.key], device
        ),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Relative errors of one way to predict, over all models of the cases.

    Parameters
    ----------
    slow_down, p99 : tuple of float
        |predicted / measured - 1|.
    endless : int
        Models whose predicted p99 grows without bound.
    under : int or None
        Slow-downs under the upper value; None where a fit is not calibrated.
    """

    slow_down: tuple[float, ...]
    p99: tuple[float, ...]
    endless: int
    under: int | None


def errors_of(cases: Sequence[Case], knows: Knows) -> Errors:
    """Compare what a way predicts of cases with their long measurements."""
    slow_downs, latencies, endless, under, calibrated = [], [], 0, 0, True
    for case in cases:
        known = knows(case)
        calibrated &= known.calibrated
        together = zip(predict(known, case.content), case.long.models, case.alone, case.capacities, strict=True)
        for prediction, model, alone, capacity in together:
            if model.slow_down is None:
                continue
            slow_downs.append(abs(prediction.slow_down / model.slow_down - 1))
            under += model.slow_down <= prediction.upper
            measured_s = model.measurement.latency_p99_s
            if alone.latency_p99_s is None or measured_s is None:
                continue
            rate = _rate(model.measurement.trial)
            p99_s = prediction.p99_s(alone.latency_p99_s, rate=rate, capacity=max(rate, capacity))[1]
            if math.isfinite(p99_s):
                latencies.append(abs(p99_s / measured_s - 1))
            else:
                endless += 1
    return Errors(
        slow_down=tuple(slow_downs), p99=tuple(latencies), endless=endless, under=under if calibrated else None
    )


def mean_and_p90(errors: Sequence[float]) -> tuple[float, float] | None:
    """Return both; None where there are none."""
    return (float(np.mean(errors)), float(np.quantile(errors, 0.9))) if errors else None
