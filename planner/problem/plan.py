"""The solver's result: which replicas run on which GPUs, what that costs, and the proven lower bound."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from planner.problem.problem import Problem


class Status(enum.StrEnum):
    """What the search has found and proven."""

    OPTIMAL = "optimal"  # no plan costs less: proven
    FEASIBLE = "feasible"  # a right plan; whether a cheaper one exists is not known
    INFEASIBLE = "infeasible"  # no plan exists: proven
    UNKNOWN = "unknown"  # neither a plan nor a proof within the time


class Cause(enum.StrEnum):
    """Why a task could not be placed."""

    NO_OPTION = "no option"  # no operating point that may be used (p99 budget, GPU types of the fleet)
    TOO_BIG = "too big"  # its smallest option exceeds every place
    NO_ROOM = "no room"  # fits alone, but not with the others in the GPUs of the fleet


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """`count` equal replicas in one place."""

    task: int
    option: int
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuGroup:
    """`count` GPUs of one type, cut and filled alike."""

    gpu: int
    layout: int
    contents: tuple[tuple[Replicas, ...], ...]  # for each place of the layout, sorted by task and option
    count: int = 1
    nodes: tuple[int, ...] = ()  # the node of each of them, numbered per type; empty where nodes do not matter


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplaced:
    """A task that is not, or not fully, served, with its cause and the figures of the resource that is short."""

    task: int
    missing: int  # demand not served
    cause: Cause
    place: int | None = None  # TOO_BIG: the place that is nearest, the resource that is short, and both figures
    resource: int | None = None
    load: int | None = None
    capacity: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Which replicas run on which GPUs, what that costs, and what every plan costs at least."""

    status: Status
    gpus: tuple[GpuGroup, ...] = ()
    objective: int | None = None  # None where there is no plan
    lower_bound: int = 0
    bound_source: str = "none"  # in words: "volume of memory", "column generation" ...
    within_moves: int | None = None  # the bound is for plans within so many moves; None: for any plan
    unplaced: tuple[Unplaced, ...] = ()

    @property
    def n_gpus(self) -> int:
        """GPUs used."""
        return sum(placed.count for placed in self.gpus)

    @property
    def gap(self) -> float | None:
        """(objective - bound) / objective, a fraction in [0, 1]; None without a plan."""
        if self.objective is None:
            return None
        return (self.objective - self.lower_bound) / self.objective if self.objective else 0.0


def cost_of(gpus: tuple[GpuGroup, ...], problem: Problem) -> int:
    """Return what these GPUs and the replicas on them cost, in objective units."""
    total = 0
    for placed in gpus:
        replicas = [r for content in placed.contents for r in content]
        paid = sum(problem.tasks[r.task].options[r.option].cost * r.count for r in replicas)
        total += placed.count * (problem.gpus[placed.gpu].cost + paid)
    return total
