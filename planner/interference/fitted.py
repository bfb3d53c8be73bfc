"""What co-location costs on one device type, as fitted to measurements.                                      [pure]

The records are followed by their JSON keys; `planner.interference.file` reads and writes them.
"""

from __future__ import annotations

from dataclasses import dataclass

from analyzer.formats.json_keys import FLAG, INTEGER, NUMBER, TEXT, key, nested, nullable, several


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCost:
    """What a model costs others, and what they cost it, in units of execution time alone.

    Parameters
    ----------
    sensitivity : float
        What is added to the slow-down of this model wherever it is not alone.
    pressure : float
        What one copy of this model adds to the slow-down of each other member; at least 0.
    sensitivity_error : float or None
        Half of the interval that holds constant + sensitivity with 90 %, as the measurements only give their sum; None
        where too little was measured to say.
    pressure_error : float or None
        Half of the interval that holds the pressure with 90 %.
    contents : int
        Measured contents that have this model.
    """

    model: str
    sensitivity: float
    pressure: float
    sensitivity_error: float | None
    pressure_error: float | None
    contents: int

    def __post_init__(self) -> None:
        if self.pressure < 0:
            raise ValueError(f"the pressure of {self.model} is {self.pressure}; it is at least 0")


MODEL_COST_KEYS = (
    key("model", TEXT),
    key("sensitivity", NUMBER),
    key("sensitivity_error", nullable(NUMBER)),
    key("pressure", NUMBER),
    key("pressure_error", nullable(NUMBER)),
    key("contents", INTEGER),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interference:
    """A fit for one device type: slow-down = base + constant + sensitivity + sum of the others' pressures.

    Parameters
    ----------
    constant : float
        What is added to the slow-down of every member that is not alone.
    models : tuple of ModelCost
        Those of all models that were measured beside others; any other model has sensitivity and pressure 0.
    margin : float
        The upper value of a slow-down is the predicted one times this; 1 where the fit is not calibrated.
    calibrated : bool
        Whether there were enough measurements for the margin.
    coverage : float or None
        Share of the slow-downs of left-out contents that were at most the upper value, where neither the fit nor the
        margin had seen the content; None where too little is left when a content is left out.
    contents, slow_downs : int
        Different contents and slow-downs that the fit rests on.
    ratio_p10, ratio_p50, ratio_p90 : float or None
        Percentiles of measured over predicted slow-down of left-out contents; None with fewer than two contents.
    """

    device: str
    constant: float
    models: tuple[ModelCost, ...]
    margin: float
    calibrated: bool
    coverage: float | None
    contents: int
    slow_downs: int
    ratio_p10: float | None
    ratio_p50: float | None
    ratio_p90: float | None

    @classmethod
    def uncalibrated(cls, device: str) -> Interference:
        """Return what holds without measurements: the slow-down is the sum of the busy shares, without a margin."""
        return cls(
            device=device,
            constant=0.0,
            models=(),
            margin=1.0,
            calibrated=False,
            coverage=None,
            contents=0,
            slow_downs=0,
            ratio_p10=None,
            ratio_p50=None,
            ratio_p90=None,
        )

    def cost_of(self, model: str) -> ModelCost | None:
        """Return what was fitted for a model; None where it was never measured beside others."""
        return next((cost for cost in self.models if cost.model == model), None)

    def sensitivity(self, model: str) -> float:
        """Return what is added to the slow-down of this model; 0 for one that was never measured."""
        cost = self.cost_of(model)
        return cost.sensitivity if cost else 0.0

    def pressure(self, model: str) -> float:
        """Return what a copy of this model adds to the slow-down of others; 0 for one that was never measured."""
        cost = self.cost_of(model)
        return cost.pressure if cost else 0.0


INTERFERENCE_KEYS = (
    key("device", TEXT),
    key("constant", NUMBER),
    key("margin", NUMBER),
    key("calibrated", FLAG),
    key("coverage", nullable(NUMBER)),
    key("contents", INTEGER),
    key("slow_downs", INTEGER),
    key("ratio_p10", nullable(NUMBER)),
    key("ratio_p50", nullable(NUMBER)),
    key("ratio_p90", nullable(NUMBER)),
    key("models", several(nested(ModelCost, MODEL_COST_KEYS))),
)
