"""The contents that are measured: every pair, triple and quadruple of the models, each model at a rate.       [pure]"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping

from analyzer.measurements.record import Trial
from analyzer.sweep.joint_runner import JointLoad

MODELS = ("bandwidth", "bursts", "core_a", "core_b", "sleeper")
SHARES = (0.35, 0.65)  # of the rate that a model serves alone
LATENCY_FACTOR = 3.0  # p99 budget of a model, in units of its p99 alone at the same rate


def contents(capacities: Mapping[str, float], *, seed: int = 0) -> list[tuple[JointLoad, ...]]:
    """Return the contents in the order in which they are measured: pairs, then a mix of larger ones.

    Parameters
    ----------
    capacities : mapping of str to float
        Requests/s that each model serves alone.
    seed : int
        Of the rates and of the order.
    """
    drawn = random.Random(seed)
    pairs = list(itertools.combinations(MODELS, 2))
    larger = [names for size in (3, 4) for names in itertools.combinations(MODELS, size)]
    drawn.shuffle(pairs)
    drawn.shuffle(larger)
    return [
        tuple(_load(name, capacities[name] * drawn.choice(SHARES)) for name in names) for names in (*pairs, *larger)
    ]


def _load(name: str, rate_per_s: float) -> JointLoad:
    trial = Trial(model=name, batch=1, concurrency=0, request_rate_per_s=round(rate_per_s, 1), arrivals="poisson")
    return JointLoad(trial=trial)
