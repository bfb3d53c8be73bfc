"""Predict how much slower the models of a GPU are beside each other, for the placement.                       [pure]"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from planner.formulation.candidates import Candidate
from planner.interference.content import Member, model_key
from planner.interference.learnt import Learnt
from planner.interference.predict import Prediction, predict_replicas
from planner.placement.placed_gpu import PlacedModel


def predictions(content: Sequence[tuple[Candidate, int]], learnt: Learnt) -> list[Prediction | None]:
    """Predict the slow-down of the replicas of each model in a place; None where nothing was measured on its device.

    Parameters
    ----------
    content : sequence of (Candidate, int)
        The ways in which replicas run there, and how many of each.
    """
    fits = {candidate.device: learnt.fit_for(candidate.device) for candidate, _ in content}
    fit = next(iter(fits.values()), None)
    if fit is None or len(fits) > 1:
        return [None] * len(content)
    return list(predict_replicas(fit, [(_member(candidate), count) for candidate, count in content]))


def _member(candidate: Candidate) -> Member:
    point = candidate.point
    busy_share = (point.utilization or 0.0) * candidate.share
    return Member(model=model_key(candidate.model, point.variant), busy_share=busy_share)


def with_prediction(model: PlacedModel, candidate: Candidate, prediction: Prediction | None) -> PlacedModel:
    """Return a placed model with its predicted slow-down, and with the p99 that follows at its rate."""
    if prediction is None:
        return model
    model = replace(model, predicted_slow_down=prediction.slow_down, most_slow_down=prediction.upper)
    capacity, alone_s = candidate.point.throughput_infer_per_s, candidate.point.latency_p99_s
    if model.rate_infer_per_s is None or capacity is None or alone_s is None:
        return model
    rate = min(model.rate_infer_per_s / model.replicas, capacity)
    _, middle, high = prediction.p99_s(alone_s, rate=rate, capacity=capacity)
    return replace(
        model,
        predicted_p99_s=middle if math.isfinite(middle) else None,
        most_p99_s=high if math.isfinite(high) else None,
    )
