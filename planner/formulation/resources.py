"""What replicas take of a place, in solver integers: memory, and utilizations in every hour of a day.           [pure]

A replica serves its part of its model's rate, so in an hour in which the rate is a share of its highest, the replica
takes that share of what it takes at the highest. Hours in which every model takes the same, or less than in another
hour, do not limit a plan and have no row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from analyzer.errors import UsageError
from analyzer.formats.units import listed
from planner.formulation.candidates import Candidate, Mode
from planner.formulation.gpu_places import GpuPlace
from planner.formulation.integer_units import share_capacity, share_load
from planner.inputs.demand import HOURS, Requirement


class Resource(StrEnum):
    """What a replica takes of a GPU."""

    MEMORY = "memory"
    UTILIZATION = "utilization"
    MEMORY_UTILIZATION = "memory utilization"
    SLOW_DOWN = "slow-down"  # busy shares and pressures together
    PRESSURE = "pressure"


@dataclass(frozen=True, slots=True, kw_only=True)
class HourGroup:
    """Hours of a day in which every model serves the same share of its highest rate.

    Parameters
    ----------
    hours : tuple of int
        From 0 to 23; empty where the shares hold in all hours.
    shares : tuple of float
        For each requirement its rate as a share of the highest; 1 where it has no rates by hour.
    """

    hours: tuple[int, ...]
    shares: tuple[float, ...]

    @property
    def suffix(self) -> str:
        """The hours in words, to follow a resource's name: `` at 09:00 and 14:00-17:00``; empty for all hours."""
        return f" at {listed([*_runs(self.hours)])}" if self.hours else ""


def _runs(hours: Sequence[int]) -> Iterator[str]:
    """Yield runs of hours as times of the day, the end of a run not included; a run may go on after midnight."""
    for first in hours:
        if (first - 1) % HOURS in hours:
            continue
        n = next(n for n in range(1, HOURS) if (first + n) % HOURS not in hours)
        yield f"{first:02}:00" if n == 1 else f"{first:02}:00-{(first + n) % HOURS:02}:00"


def hour_groups(requirements: Sequence[Requirement]) -> tuple[HourGroup, ...]:
    """Return the hours that may limit a plan; those in which no model serves more than in another hour do not.

    Where all models have their highest rates in one hour, or in all hours, there is one group without hours.
    """
    by_model = [requirement.shares_by_hour for requirement in requirements]
    hours_of: dict[tuple[float, ...], list[int]] = {}
    for hour in range(HOURS):
        hours_of.setdefault(tuple(shares[hour] for shares in by_model), []).append(hour)
    kept = [own for own in hours_of if not any(_within(own, other) for other in hours_of if other != own)]
    if len(kept) == 1:
        return (HourGroup(hours=(), shares=kept[0]),)
    return tuple(HourGroup(hours=tuple(hours_of[shares]), shares=shares) for shares in kept)


def _within(shares: Sequence[float], others: Sequence[float]) -> bool:
    return all(own <= other for own, other in zip(shares, others, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRow:
    """A resource that is counted, in a group of hours; None for memory, which is taken in all hours."""

    resource: Resource
    group: HourGroup | None = None

    @property
    def name(self) -> str:
        """The resource, with the hours where it is counted by hours."""
        return self.resource.value + (self.group.suffix if self.group else "")

    def load(self, candidate: Candidate, task: int) -> int:
        """Return what a replica takes that serves a requirement, by its number."""
        if self.group is None:
            return candidate.memory_bytes
        share = candidate.memory_utilization if self.resource is Resource.MEMORY_UTILIZATION else candidate.utilization
        return share_load((share or 0.0) * self.group.shares[task])

    def capacity(self, place: GpuPlace) -> int:
        """Return what a place has for models."""
        if self.resource is Resource.MEMORY:
            return place.memory_for_models
        thresholds = place.fleet_type.thresholds
        memory = self.resource is Resource.MEMORY_UTILIZATION
        return share_capacity(thresholds.memory_utilization if memory else thresholds.utilization)


def resource_rows(
    found: Sequence[Candidate], requirements: Sequence[Requirement], mode: Mode
) -> tuple[tuple[ResourceRow, ...], tuple[str, ...]]:
    """Return the counted resources, memory first, and notes for the user.

    Not counted is a utilization that no candidate has.

    Raises
    ------
    UsageError
        If only some candidates lack a utilization, or all lack both.
    """
    memory = ResourceRow(resource=Resource.MEMORY)
    if mode is Mode.MEMORY or not found:
        return (memory,), ()
    counted: list[Resource] = []
    notes: list[str] = []
    for resource, column, figures in (
        (Resource.UTILIZATION, "max_utilization_pct", [c.utilization for c in found]),
        (Resource.MEMORY_UTILIZATION, "max_memory_utilization_pct", [c.memory_utilization for c in found]),
    ):
        missing = [c for c, figure in zip(found, figures, strict=True) if figure is None]
        if not missing:
            counted.append(resource)
        elif len(missing) < len(found):
            raise UsageError(
                f"model '{missing[0].model}' ({missing[0].point.label}) has no measured {resource} ({column} is empty)"
                " where others have; measure it again, or use `mode='memory'`"
            )
        else:
            notes.append(f"{resource} was not measured on {found[0].device}, so it does not limit this plan")
    if not counted:
        raise UsageError(
            f"no utilization was measured on '{found[0].device}'; throughput mode needs one: use `mode='memory'`"
        )
    groups = hour_groups(requirements)
    rows = (ResourceRow(resource=resource, group=group) for resource in counted for group in groups)
    return (memory, *rows), tuple(notes)
