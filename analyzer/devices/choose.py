"""Which devices a sweep is measured on, and the sampler that reads one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analyzer.devices import Sampler
from analyzer.devices.inventory import Gpu, select_gpus
from analyzer.devices.shared_gpu import is_shared, own_memory
from analyzer.errors import DeviceError, UsageError
from analyzer.servers import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredDevice:
    """What a server works on, and what is read while it does.

    Parameters
    ----------
    gpu : Gpu or None
        The GPU of this host; None without one, and for a server elsewhere.
    alike : tuple of str
        UUIDs of the other GPUs of this host on which figures count as those of this one.
    why : str
        Why there is no GPU of this host in use.
    remote : bool
        Whether the server runs elsewhere, so that only its metrics tell about its device.
    remote_gpu : str or None
        The GPU meant among those that a remote server shows.
    dcgm_url : str or None
        The DCGM exporter's page beside a remote server.
    """

    gpu: Gpu | None
    alike: tuple[str, ...] = ()
    why: str = ""
    remote: bool = False
    remote_gpu: str | None = None
    dcgm_url: str | None = None

    @property
    def uuids(self) -> tuple[str, ...]:
        """What the server may see of this host's GPUs."""
        return (self.gpu.uuid,) if self.gpu else ()

    def describe(self) -> str:
        """Say in a few words what is measured."""
        if self.gpu is not None:
            shared = ", which others use too" if is_shared(self.gpu) else ""
            return f"{self.gpu.name}, {self.gpu.uuid}{shared}"
        if self.remote:
            return f"what the server's metrics show, {self.remote_gpu or 'its only GPU or its host'}"
        return f"this host's processors and memory ({self.why})"

    def open_sampler(self, endpoint: Endpoint) -> Sampler:
        """Open the sampler for a server on this device.

        Raises
        ------
        DeviceError
            If the device cannot be read.
        UsageError
            If the metrics of a remote server show several GPUs and none was chosen.
        """
        if self.remote:
            return _open_remote(endpoint, self.remote_gpu, self.dcgm_url)
        if endpoint.process_id is None:
            raise DeviceError(f"the server at {endpoint.http} has no process on this host: use `launch_mode='remote'`")
        if self.gpu is None:
            from analyzer.devices.process import ProcessSampler

            return ProcessSampler(endpoint.process_id)
        from analyzer.devices.nvml import NvmlSampler
        from analyzer.devices.process_tree import ProcessTree

        sampler = NvmlSampler(self.gpu.uuid, processes=ProcessTree(endpoint.process_id).read)
        return own_memory(sampler) if is_shared(self.gpu) else sampler


def choose_devices(
    wanted: Sequence[str] = (), *, remote: bool = False, dcgm_url: str | None = None
) -> tuple[MeasuredDevice, ...]:
    """Take the GPUs asked for, else the first of this host and all that are like it, else the host.

    Parameters
    ----------
    wanted : sequence of str
        Indices, UUIDs or their beginnings.
    remote : bool
        Whether the server runs elsewhere; it is then measured on one device.
    dcgm_url : str, optional
        The DCGM exporter's page there, for figures that Triton does not publish.

    Raises
    ------
    UsageError
        If a GPU is not there, several are named for one remote server, or two of them differ: their figures would
        not make one profile.
    """
    if remote:
        if len(wanted) > 1:
            raise UsageError(
                f"{len(wanted)} GPUs are named, {', '.join(wanted)}, and a server is measured on one: name one"
            )
        return (MeasuredDevice(gpu=None, remote=True, remote_gpu=wanted[0] if wanted else None, dcgm_url=dcgm_url),)
    from analyzer.devices.nvml import list_gpus

    gpus = list_gpus()
    chosen = select_gpus(gpus, wanted)
    if not gpus.present:
        return (MeasuredDevice(gpu=None, why=gpus.why_none),)
    if not chosen:
        chosen = tuple(gpu for gpu in gpus.present if _alike(gpu, gpus.present[0]))
    for gpu in chosen:
        if not _alike(gpu, chosen[0]):
            raise UsageError(
                f"GPU {chosen[0].index} is a {chosen[0].name} and GPU {gpu.index} a {gpu.name}: a sweep is spread over "
                "like ones only; give them one at a time with `gpus`"
            )
    return tuple(
        MeasuredDevice(
            gpu=gpu,
            alike=tuple(other.uuid for other in gpus.present if other.uuid != gpu.uuid and _alike(other, gpu)),
        )
        for gpu in chosen
    )


def _alike(one: Gpu, other: Gpu) -> bool:
    return (one.name, one.memory_bytes, one.mig) == (other.name, other.memory_bytes, other.mig)


def _open_remote(endpoint: Endpoint, gpu: str | None, dcgm_url: str | None) -> Sampler:
    from analyzer.devices.prometheus import PrometheusSampler

    if endpoint.metrics_url is None:
        raise DeviceError(f"the server at {endpoint.http} has no known metrics page: give it with `metrics_url`")
    return PrometheusSampler(endpoint.metrics_url, dcgm_url=dcgm_url, gpu=gpu)
