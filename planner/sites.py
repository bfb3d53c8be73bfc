"""Where replicas can run in a fleet: whole GPUs and slices, with what is left of them for models.           [pure]"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analyzer.errors import UsageError
from planner.fleet import FleetType
from planner.profile import Profile
from planner.sizes import format_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What stands behind a place of the Problem.

    Parameters
    ----------
    memory_bytes : int
        What server and models can use together, before thresholds.
    server_bytes : int
        Taken by the one server.
    slice_name : str or None
        MIG profile; None for a whole GPU.
    """

    fleet_type: FleetType
    memory_bytes: int
    server_bytes: int
    slice_name: str | None = None

    @property
    def name(self) -> str:
        """The type, with the slice where it is one."""
        return self.fleet_type.type + (f" {self.slice_name}" if self.slice_name else "")

    @property
    def memory_for_models(self) -> int:
        """What the models can share within the memory threshold, in bytes."""
        allowed = int(round(self.memory_bytes * self.fleet_type.thresholds.memory, 3))
        return allowed - self.server_bytes - self.fleet_type.reserved_bytes


def whole_gpu(fleet_type: FleetType, profiles: Sequence[Profile]) -> Site:
    """A GPU that is not cut.

    Raises
    ------
    UsageError
        If the server alone does not fit.
    """
    site = Site(
        fleet_type=fleet_type,
        memory_bytes=fleet_type.memory_bytes,
        server_bytes=server_bytes(fleet_type, profiles),
    )
    if site.memory_for_models < 0:
        raise UsageError(
            f"{site.name} has {format_size(site.memory_bytes)} and a memory threshold of"
            f" {fleet_type.thresholds.memory:.0%}: the server ({format_size(site.server_bytes)}) and what is reserved"
            f" ({format_size(fleet_type.reserved_bytes)}) do not fit; give a larger --gpu-memory or --max-memory"
        )
    return site


def server_bytes(fleet_type: FleetType, profiles: Sequence[Profile]) -> int:
    """The idle server's memory on a type: the most that was seen on the devices its profiles come from."""
    sources = {*fleet_type.devices, *((fleet_type.scaling.device,) if fleet_type.scaling else ())}
    return max((p.server_memory_bytes for p in profiles if p.device in sources), default=0)
