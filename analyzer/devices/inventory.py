"""The GPUs of a host, and those among them that an option means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analyzer.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU, or a slice of one, that models can be placed on.

    Parameters
    ----------
    index : str
        ``0`` for a GPU, ``0:1`` for slice 1 of GPU 0, as nvidia-smi numbers them.
    uuid, name : str
    memory_bytes : int or None
        Total less what the driver reserves.
    mig : bool
        Whether it is a slice.
    used_bytes : int or None
        In use by whoever when it was listed; None where the driver counts what it reserves in.
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
        A GPU that is cut into slices appears as its slices, since nothing can run on it as a whole.
    why_none : str
        Why there is none; empty if there is one.
    """

    present: tuple[Gpu, ...]
    why_none: str = ""


def select_gpus(gpus: Gpus, wanted: Sequence[str]) -> tuple[Gpu, ...]:
    """The GPUs meant by indices, UUIDs or beginnings of UUIDs, in that order.

    Raises
    ------
    UsageError
        If one of them is absent, means several GPUs or is named twice; the message lists those present.
    """
    chosen: list[Gpu] = []
    for name in wanted:
        found = [gpu for gpu in gpus.present if name in (gpu.index, gpu.uuid)]
        found = found or [gpu for gpu in gpus.present if name and gpu.uuid.startswith(name)]
        if len(found) != 1:
            fact = "means several GPUs" if found else "is not on this host"
            listing = ", ".join(f"{gpu.index} ({gpu.name}, {gpu.uuid})" for gpu in gpus.present) or gpus.why_none
            raise UsageError(f"GPU {name!r} {fact}; present: {listing}")
        if found[0] in chosen:
            raise UsageError(f"GPU {name!r} is named twice; leave one of them out")
        chosen += found
    return tuple(chosen)
