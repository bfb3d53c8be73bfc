"""Rules of a plan besides demand and fleet: mode, objective, spare GPUs, proportional charging."""

from __future__ import annotations

from dataclasses import dataclass

from analyzer.formats.json_keys import FLAG, INTEGER, NUMBER, key, nullable, word
from planner.formulation.candidates import Mode
from planner.formulation.objective import Objective
from planner.inputs.demand import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is asked of a plan besides demand and fleet.

    Parameters
    ----------
    keep_throughput : float
        For models without a rate: least share of its best throughput that each model keeps.
    proportional : bool
        Charge utilization in proportion to the load a replica serves (it is assumed to grow linearly from 0).
    spare : int
        GPUs, or nodes, that may be lost at once while every demand is still met.
    spare_of : Spread
        Whether `spare` counts GPUs or whole nodes.
    batch, concurrency : int or None
        The only batch size and concurrency whose operating points are used; None for all.
    """

    mode: Mode
    objective: Objective = Objective.GPUS
    keep_throughput: float = 1.0
    proportional: bool = False
    spare: int = 0
    spare_of: Spread = Spread.GPU
    batch: int | None = None
    concurrency: int | None = None


RULES_KEYS = (  # of the rules in a placement file; mode and objective have keys of their own there
    key("keep_throughput", NUMBER, absent=1.0),
    key("proportional", FLAG, absent=False),
    key("spare", INTEGER, absent=0),
    key("spare_of", word(Spread), absent=Spread.GPU),
    key("batch", nullable(INTEGER), absent=None),
    key("concurrency", nullable(INTEGER), absent=None),
)
