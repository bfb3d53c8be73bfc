"""Several devices of one kind, so that a sweep can be spread over them."""

from __future__ import annotations

from collections.abc import Sequence

from analyzer.devices.choose import Devices, choose_devices
from analyzer.devices.gpus import Gpu, Gpus, select_gpus
from analyzer.errors import UsageError


def choose_several(
    wanted: Sequence[str] = (), *, remote: bool = False, dcgm_url: str | None = None
) -> tuple[Devices, ...]:
    """Take the GPUs asked for, else the first of this host and all that are like it, else the host.

    Parameters
    ----------
    wanted : sequence of str
        Indices, UUIDs or their beginnings.
    remote : bool
        Whether the server runs elsewhere; it is then measured on one device.
    dcgm_url : str, optional
        See `choose_devices`.

    Raises
    ------
    UsageError
        If a GPU is not there, or two of them differ: their figures would not make one profile.
    """
    if remote:
        return (choose_devices(wanted, remote=True, dcgm_url=dcgm_url),)
    gpus = _present()
    chosen = select_gpus(gpus, wanted)
    if not gpus.present:
        return (choose_devices(),)
    if not chosen:
        chosen = tuple(gpu for gpu in gpus.present if _alike(gpu, gpus.present[0]))
    for gpu in chosen:
        if not _alike(gpu, chosen[0]):
            raise UsageError(
                f"GPU {chosen[0].index} is a {chosen[0].name} and GPU {gpu.index} a {gpu.name}: a sweep is spread over "
                "like ones only; give them one at a time with --gpus"
            )
    return tuple(Devices(gpu=gpu) for gpu in chosen)


def like_uuids(devices: Devices) -> tuple[str, ...]:
    """Return the UUIDs of the other GPUs of this host on which figures count as those of this one."""
    if devices.gpu is None:
        return ()
    others = [gpu for gpu in _present().present if gpu.uuid != devices.gpu.uuid and _alike(gpu, devices.gpu)]
    return tuple(gpu.uuid for gpu in others)


def _present() -> Gpus:
    from analyzer.devices.nvml import list_gpus

    return list_gpus()


def _alike(one: Gpu, other: Gpu) -> bool:
    return (one.name, one.memory_bytes, one.mig) == (other.name, other.memory_bytes, other.mig)
