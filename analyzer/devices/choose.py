"""Choose the devices that a sweep is measured on, and open the sampler that reads one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analyzer.devices import Sampler
from analyzer.devices.inventory import Gpu, select_gpus
from analyzer.devices.shared_gpu import is_shared, sampler_for_shared_gpu
from analyzer.errors import DeviceError, UsageError
from analyzer.servers import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceIdentity:
    """A device among those of several hosts; see `Device` for each field."""

    name: str
    uuid: str
    memory_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredDevice:
    """The device that a server runs on, and where its figures are read.

    Parameters
    ----------
    gpu : Gpu or None
        A GPU of this host; None if none is used, and for a server on another host.
    alike : tuple of str
        UUIDs of the other GPUs of the same kind of this host or cluster; figures measured on them also count for this
        one.
    why : str
        Why no GPU of this host is used.
    remote : bool
        Whether the server runs on another host, so that its device is read only through metrics pages.
    remote_gpu : str or None
        UUID, or its beginning, of the GPU to read among those on a remote server's metrics page.
    dcgm_url : str or None
        Address of the DCGM exporter's page on the host of a remote server.
    """

    gpu: Gpu | None
    alike: tuple[str, ...] = ()
    why: str = ""
    remote: bool = False
    remote_gpu: str | None = None
    dcgm_url: str | None = None

    @property
    def uuids(self) -> tuple[str, ...]:
        """UUIDs of the GPUs of this host that the server may use."""
        return (self.gpu.uuid,) if self.gpu else ()

    def describe(self) -> str:
        """Describe the measured device in a few words."""
        if self.gpu is not None:
            shared = ", which other processes use too" if is_shared(self.gpu) else ""
            return f"{self.gpu.name}, {self.gpu.uuid}{shared}"
        if self.remote:
            return f"the device on the server's metrics page, {self.remote_gpu or 'its only GPU or its host'}"
        return f"this host's processors and memory ({self.why})"

    def identity(self) -> DeviceIdentity:
        """Return what tells a device of this host from others, as its measurements have it."""
        if self.gpu is not None:
            return DeviceIdentity(name=self.gpu.name, uuid=self.gpu.uuid, memory_bytes=self.gpu.memory_bytes)
        from analyzer.devices.process import host

        device = host()
        return DeviceIdentity(name=device.name, uuid=device.uuid, memory_bytes=device.memory_bytes)

    def open_sampler(self, endpoint: Endpoint, *, say: Callable[[str], None] = lambda text: None) -> Sampler:
        """Open the sampler for a server on this device.

        Parameters
        ----------
        say : callable, optional
            Receives one line where the metrics page of a remote server cannot be read, and its figures are missing.

        Raises
        ------
        DeviceError
            If the device cannot be read.
        UsageError
            If the metrics of a remote server show several GPUs and none was chosen.
        """
        if self.remote:
            from analyzer.devices.metrics_page import open_page

            page = endpoint.metrics_url
            return open_page(endpoint.control, page, dcgm_url=self.dcgm_url, gpu=self.remote_gpu, say=say)
        if endpoint.process_id is None:
            raise DeviceError(
                f"the server at {endpoint.control} has no process on this host: use `launch_mode='remote'`"
            )
        if self.gpu is None:
            from analyzer.devices.process import ProcessSampler

            return ProcessSampler(endpoint.process_id)
        from analyzer.devices.nvml import NvmlSampler
        from analyzer.devices.process_tree import ProcessTree

        sampler = NvmlSampler(self.gpu.uuid, processes=ProcessTree(endpoint.process_id).read)
        return sampler_for_shared_gpu(sampler) if is_shared(self.gpu) else sampler


def choose_devices(
    wanted: Sequence[str] = (), *, remote: bool = False, dcgm_url: str | None = None
) -> tuple[MeasuredDevice, ...]:
    """Return the GPUs named in `wanted`, else the first GPU of this host and all of its kind, else the host.

    Parameters
    ----------
    wanted : sequence of str
        Indices, UUIDs or beginnings of UUIDs.
    remote : bool
        Whether the server runs on another host; it is then measured on one device.
    dcgm_url : str, optional
        Address of the DCGM exporter's page on that host, for figures that Triton does not publish.

    Raises
    ------
    UsageError
        If a named GPU is not present, several are named for a remote server, or two are of different kinds: their
        figures would not make one profile.
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
        chosen = tuple(gpu for gpu in gpus.present if _same_kind(gpu, gpus.present[0]))
    for gpu in chosen:
        if not _same_kind(gpu, chosen[0]):
            raise UsageError(
                f"GPU {chosen[0].index} is a {chosen[0].name} and GPU {gpu.index} a {gpu.name}: a sweep runs on GPUs "
                "of one kind only; run one sweep for each kind with `gpus`"
            )
    return tuple(
        MeasuredDevice(
            gpu=gpu,
            alike=tuple(other.uuid for other in gpus.present if other.uuid != gpu.uuid and _same_kind(other, gpu)),
        )
        for gpu in chosen
    )


def device_of_this_host(wanted: Sequence[str]) -> MeasuredDevice:
    """Return the one GPU that is named, or this host if none is named.

    Raises
    ------
    UsageError
        If the GPU is not present, or several are named.
    """
    from analyzer.devices.nvml import list_gpus

    if not wanted:
        return MeasuredDevice(gpu=None, why="it offers no GPU")
    found = select_gpus(list_gpus(), wanted)
    if len(found) > 1:
        raise UsageError(f"GPUs {', '.join(wanted)} are given for one server: give one")
    return MeasuredDevice(gpu=found[0])


def _same_kind(one: Gpu, other: Gpu) -> bool:
    return (one.name, one.memory_bytes, one.mig) == (other.name, other.memory_bytes, other.mig)
