"""What is asked of a plan besides the demand."""

from __future__ import annotations

from dataclasses import dataclass

from analyzer.formats.json_keys import FLAG, INTEGER, NUMBER, key, nullable, word
from planner.formulation.candidates import Mode
from planner.formulation.objective import Objective
from planner.inputs.demand import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is asked of the plan besides the demand.

    Parameters
    ----------
    keep_throughput : float
        Without rates: share of its best throughput that each model keeps.
    proportional : bool
        Charge utilization in proportion to the load a replica serves (it is assumed to grow linearly from 0).
    spare : int
        GPUs, or nodes, that may be lost at once while every demand is still met.
    spare_of : Spread
        Whether GPUs or whole nodes are lost.
    batch, concurrency : int or None
        The only ones at which figures are taken, where they were given.
    """

    mode: Mode
    objective: Objective = Objective.GPUS
    keep_throughput: float = 1.0
    proportional: bool = False
    spare: int = 0
    spare_of: Spread = Spread.GPU
    batch: int | None = None
    concurrency: int | None = None


RULES_KEYS = (  # as a placement has them; mode and objective stand elsewhere in it
    key("keep_throughput", NUMBER, absent=1.0),
    key("proportional", FLAG, absent=False),
    key("spare", INTEGER, absent=0),
    key("spare_of", word(Spread), absent=Spread.GPU),
    key("batch", nullable(INTEGER), absent=None),
    key("concurrency", nullable(INTEGER), absent=None),
)
