"""Where replicas can run in a fleet: whole GPUs and slices, with the memory left for models.                [pure]"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from analyzer.errors import UsageError
from planner.inputs.fleet import FleetType
from planner.inputs.memory_size import format_size
from planner.inputs.mig_geometry import boards
from planner.inputs.profiles import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuPlace:
    """A place of the Problem in bytes and shares: a whole GPU of a type, or one kind of its MIG slices.

    Parameters
    ----------
    memory_bytes : int
        Memory that server and models can use together, before thresholds.
    server_bytes : int
        Memory of the place's one server when it is idle.
    slice_name : str or None
        Name of the MIG profile; None for a whole GPU.
    compute_share, memory_share : float
        The slice's part of the GPU's multiprocessors, and of its memory's bandwidth.
    """

    fleet_type: FleetType
    memory_bytes: int
    server_bytes: int
    slice_name: str | None = None
    compute_share: float = 1.0
    memory_share: float = 1.0

    @property
    def name(self) -> str:
        """The type's name, and for a slice that of its profile."""
        return self.fleet_type.type + (f" {self.slice_name}" if self.slice_name else "")

    @property
    def memory_for_models(self) -> int:
        """Memory for the models in bytes: what the threshold allows, less the server's and what is reserved."""
        allowed = int(round(self.memory_bytes * self.fleet_type.thresholds.memory, 3))
        return allowed - self.server_bytes - math.ceil(self.fleet_type.reserved_bytes * self.memory_share)

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices whose profiles count as measured on this place; NVML names a slice after its board."""
        if self.slice_name is None:
            return self.fleet_type.devices
        return tuple(f"{device} MIG {self.slice_name}" for device in self.fleet_type.devices)


def whole_gpu(fleet_type: FleetType, profiles: Sequence[Profile]) -> GpuPlace:
    """Return the place of a GPU that is not cut.

    Raises
    ------
    UsageError
        If the server alone does not fit.
    """
    place = GpuPlace(
        fleet_type=fleet_type,
        memory_bytes=fleet_type.memory_bytes,
        server_bytes=server_bytes(fleet_type, profiles),
    )
    if place.memory_for_models < 0:
        raise UsageError(
            f"{place.name} has {format_size(place.memory_bytes)} and a memory threshold of"
            f" {fleet_type.thresholds.memory:.0%}: the server ({format_size(place.server_bytes)}) and what is reserved"
            f" ({format_size(fleet_type.reserved_bytes)}) do not fit; give a larger"
            " `gpu_memory_mib` or `max_memory_pct`"
        )
    return place


def slices(fleet_type: FleetType, profiles: Sequence[Profile]) -> tuple[tuple[GpuPlace, ...], tuple[str, ...]]:
    """Return the places of the slices that GPUs of a type can be cut into, each with a server of its own.

    Returns
    -------
    tuple
        The places whose server fits, and the profiles that are left out because their memory is not known.

    Raises
    ------
    UsageError
        If the memory of no profile is known.
    """
    if fleet_type.mig is None:
        return (), ()
    board, given = boards()[fleet_type.mig], dict(fleet_type.slice_memory)
    memory = {p.name: given.get(p.name, p.memory_bytes) for p in board.profiles}
    unknown = tuple(name for name, size in memory.items() if size is None)
    if len(unknown) == len(memory):
        raise UsageError(
            f"the memory of the MIG slices of {fleet_type.type} is not known; give [gpu.slice_memory_mib] in the"
            " fleet file, from nvidia-smi mig -lgip"
        )
    server = server_bytes(fleet_type, profiles)
    found = (
        GpuPlace(
            fleet_type=fleet_type,
            memory_bytes=size,
            server_bytes=server,
            slice_name=p.name,
            compute_share=board.compute_share(p),
            memory_share=board.memory_share(p),
        )
        for p in board.profiles
        if (size := memory[p.name]) is not None
    )
    return tuple(place for place in found if place.memory_for_models >= 0), unknown


def server_bytes(fleet_type: FleetType, profiles: Sequence[Profile]) -> int:
    """Return the idle server's memory on a type: the largest figure of the devices that its profiles come from."""
    sources = {*fleet_type.devices, *((fleet_type.scaling.device,) if fleet_type.scaling else ())}
    return max((p.server_memory_bytes for p in profiles if p.board in sources), default=0)
