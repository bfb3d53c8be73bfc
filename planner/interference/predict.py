"""Predict how much slower each member of a content is than alone, with a lower and an upper value.           [pure]"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from planner.interference.content import Content, Member
from planner.interference.fitted import Interference
from planner.interference.latency import co_located_p99_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """How much slower a member of a content is than alone; at least 1.

    Parameters
    ----------
    slow_down : float
        Predicted value.
    lower, upper : float
        The prediction times the 10th percentile of measured over predicted, and times the margin; the predicted value
        itself where the fit is not calibrated, which claims nothing.
    known : bool
        Whether all members' models were measured beside others. Where one was not, it counts with sensitivity and
        pressure 0, and the upper value is not covered by what was measured.
    """

    model: str
    slow_down: float
    lower: float
    upper: float
    known: bool

    def p99_s(self, alone_p99_s: float, *, rate: float, capacity: float) -> tuple[float, float, float]:
        """Return the p99 latency (s) at the lower, the predicted and the upper slow-down."""
        low, middle, high = (
            co_located_p99_s(alone_p99_s, rate=rate, capacity=capacity, slow_down=slow_down)
            for slow_down in (self.lower, self.slow_down, self.upper)
        )
        return low, middle, high


def predict(interference: Interference, content: Content) -> tuple[Prediction, ...]:
    """Predict the slow-down of each member of a content of the fit's device type; a member alone has 1."""
    if len(content.members) == 1:
        return (Prediction(model=content.members[0].model, slow_down=1.0, lower=1.0, upper=1.0, known=True),)
    known = all(interference.cost_of(member.model) for member in content.members)
    return tuple(
        Prediction(
            model=member.model,
            slow_down=max(1.0, linear),
            lower=max(1.0, linear * _lowest(interference)),
            upper=max(1.0, linear * interference.margin),
            known=known,
        )
        for member, linear in zip(content.members, linear_slow_downs(interference, content), strict=True)
    )


def predict_replicas(interference: Interference, replicas: Sequence[tuple[Member, int]]) -> tuple[Prediction, ...]:
    """Predict the slow-down of each model of a server, where so many equal replicas of each run; one for each model."""
    members = tuple(member for member, count in replicas for _ in range(count))
    found = predict(interference, Content(device=interference.device, members=members))
    first = accumulate((count for _, count in replicas[:-1]), initial=0)
    return tuple(found[at] for at in first)


def linear_slow_downs(interference: Interference, content: Content) -> tuple[float, ...]:
    """Return base + constant + sensitivity + the others' pressures for each of two or more members.

    Noise can put it below 1.
    """
    pressures = [interference.pressure(member.model) for member in content.members]
    return tuple(
        content.base
        + interference.constant
        + interference.sensitivity(member.model)
        + math.fsum(pressures[:i] + pressures[i + 1 :])
        for i, member in enumerate(content.members)
    )


def _lowest(interference: Interference) -> float:
    return min(1.0, interference.ratio_p10) if interference.calibrated and interference.ratio_p10 else 1.0
