"""Records of the GPUs of a host, and the selection of some of them by index or UUID."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analyzer.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU or a MIG slice that models can be placed on.

    Parameters
    ----------
    index : str
        ``0`` for a GPU, ``0:1`` for slice 1 of GPU 0, as nvidia-smi numbers them.
    uuid, name : str
    memory_bytes : int or None
        The total minus what the driver reserves.
    mig : bool
        Whether it is a MIG slice.
    used_bytes : int or None
        Memory in use by any process when the GPU was listed; None if the driver's figure includes what it reserves.
    """

    index: str
    uuid: str
    name: str
    memory_bytes: int | None
    mig: bool
    used_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpus:
    """The GPUs of this host.

    Parameters
    ----------
    present : tuple of Gpu
        A GPU in MIG mode appears as its slices, since nothing can run on the whole GPU.
    why_none : str
        Why there is no GPU; empty if there is one.
    """

    present: tuple[Gpu, ...]
    why_none: str = ""


def select_gpus(gpus: Gpus, wanted: Sequence[str]) -> tuple[Gpu, ...]:
    """Return the GPUs with the given indices, UUIDs or beginnings of UUIDs, in the order of these names.

    Raises
    ------
    UsageError
        If a name fits no GPU or several (the message lists those present), or a GPU is named twice.
    """
    chosen: list[Gpu] = []
    for name in wanted:
        found = [gpu for gpu in gpus.present if name in (gpu.index, gpu.uuid)]
        found = found or [gpu for gpu in gpus.present if name and gpu.uuid.startswith(name)]
        if len(found) != 1:
            fact = "fits several GPUs" if found else "is not on this host"
            listing = ", ".join(f"{gpu.index} ({gpu.name}, {gpu.uuid})" for gpu in gpus.present) or gpus.why_none
            raise UsageError(f"GPU {name!r} {fact}; present: {listing}")
        if found[0] in chosen:
            raise UsageError(f"GPU {name!r} is named twice; leave one of them out")
        chosen += found
    return tuple(chosen)
