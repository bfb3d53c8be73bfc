"""Find out what this host can measure, what it cannot, and why (`analyze --check`)."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.devices import Reading
from analyzer.devices.inventory import Gpu, Gpus
from analyzer.errors import DeviceError, ServerError

if TYPE_CHECKING:
    from analyzer.devices.processors import ProcessorTimes

# The pid namespace that the kernel starts with (Linux, include/uapi/linux/nsfs.h: PID_NS_INIT_INO).
_FIRST_PID_NAMESPACE = "pid:[4026531836]"
_DCGM = "GPM has it on Hopper and later, the DCGM exporter also on older GPUs (--launch-mode remote)"
_PROCESSES = "nvmlDeviceGetComputeRunningProcesses_v3"
_SAMPLES = "nvmlDeviceGetSamples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """Whether one thing can be measured or used on this host.

    Parameters
    ----------
    subject : str
        The part of the host: a GPU by its index, ``host`` or ``Triton``.
    what : str
        What is to be measured or used.
    can : bool
    detail : str
        How, if it can; why not and what to do about it, if it cannot.
    """

    subject: str
    what: str
    can: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figure:
    """A figure of a GPU: its field in `Reading`, its NVML function, and advice if the GPU does not report it."""

    what: str
    field: str
    function: str
    otherwise: str = ""


_FIGURES = (
    _Figure(what="GPU utilization", field="utilization", function="nvmlDeviceGetUtilizationRates", otherwise=_DCGM),
    _Figure(
        what="memory utilization",
        field="memory_utilization",
        function="nvmlDeviceGetUtilizationRates",
        otherwise=_DCGM,
    ),
    _Figure(what="SM utilization", field="sm_utilization", function="nvmlGpmQueryDeviceSupport", otherwise=_DCGM),
    _Figure(what="tensor core utilization", field="tensor_utilization", function="nvmlGpmMetricsGet", otherwise=_DCGM),
    _Figure(
        what="DRAM bandwidth utilization",
        field="dram_bandwidth_utilization",
        function="nvmlGpmMetricsGet",
        otherwise=_DCGM,
    ),
    _Figure(what="power", field="power_w", function="nvmlDeviceGetPowerUsage"),
    _Figure(what="SM clock", field="sm_clock_hz", function="nvmlDeviceGetClockInfo"),
    _Figure(
        what="throttling",
        field="throttled",
        function="nvmlDeviceGetCurrentClocksThrottleReasons",
        otherwise="throttled windows are not marked",
    ),
)


def check_host() -> list[Capability]:
    """Try everything that a sweep on this host may need; nothing is left running.

    Examples
    --------
    >>> from analyzer import check_host
    >>> [about.what for about in check_host() if about.subject == "Triton"]
    ['in Docker', 'on this host']
    """
    from analyzer.devices.nvml import list_gpus

    gpus = list_gpus()
    found = [each for gpu in gpus.present for each in _check_gpu(gpu)]
    if not gpus.present:
        detail = f"{gpus.why_none}; models run on this host's processors and are measured there"
        found.append(Capability(subject="GPU", what="memory and utilization", can=False, detail=detail))
    return [*found, *_check_processes(), *_check_servers(gpus)]


def _check_gpu(gpu: Gpu) -> list[Capability]:
    from analyzer.devices.nvml import NvmlSampler
    from analyzer.devices.nvml_gpm import GPM_SPAN_S

    subject = f"GPU {gpu.index}"
    try:
        sampler = NvmlSampler(gpu.uuid, processes=lambda: ())
    except DeviceError as error:
        return [Capability(subject=subject, what=gpu.name, can=False, detail=error.message)]
    try:
        first = sampler.read()
        time.sleep(1.1 * GPM_SPAN_S)
        readings = (first, sampler.read())  # GPM reports only in the second; the driver may take no sample in between
    except DeviceError as error:
        return [Capability(subject=subject, what=gpu.name, can=False, detail=error.message)]
    finally:
        sampler.close()
    refused = sampler.refused
    return [
        _memory(subject, gpu, refused),
        _process_memory(subject, refused),
        *(_figure(subject, figure, readings, refused) for figure in _FIGURES),
        _samples(subject, refused),
    ]


def _memory(subject: str, gpu: Gpu, refused: Mapping[str, str]) -> Capability:
    detail = f"{gpu.name}, {gpu.uuid}, {(gpu.memory_bytes or 0) / 2**20:.0f} MiB for models"
    if "nvmlDeviceGetMemoryInfo" in refused:
        detail += "; includes what the driver reserves, which drivers from 510 on exclude"
    return Capability(subject=subject, what="slice memory" if gpu.mig else "memory", can=True, detail=detail)


def _process_memory(subject: str, refused: Mapping[str, str]) -> Capability:
    what = "memory of the server's own processes"
    if _PROCESSES in refused:
        detail = f"the driver says {refused[_PROCESSES]}: keep other tenants off the GPU while it is measured"
        return Capability(subject=subject, what=what, can=False, detail=detail)
    if str(Path("/proc/self/ns/pid").readlink()) != _FIRST_PID_NAMESPACE:
        detail = "the driver has the host's process ids, and this is a container: run it with --pid=host"
        return Capability(subject=subject, what=what, can=False, detail=detail)
    return Capability(subject=subject, what=what, can=True, detail="also while others use the GPU")


def _figure(subject: str, figure: _Figure, readings: Sequence[Reading], refused: Mapping[str, str]) -> Capability:
    if any(getattr(reading, figure.field) is not None for reading in readings):
        return Capability(subject=subject, what=figure.what, can=True, detail="")
    why = f"the driver says {refused[figure.function]}" if figure.function in refused else "the device has none"
    detail = f"{why}; {figure.otherwise}" if figure.otherwise else why
    return Capability(subject=subject, what=figure.what, can=False, detail=detail)


def _samples(subject: str, refused: Mapping[str, str]) -> Capability:
    answer = refused.get(_SAMPLES, "")
    can = answer in ("", "Not Found")  # "Not Found": there is a buffer, but no new sample in it
    why = "the driver keeps them" if can else f"the driver says {answer}; its last rate is used instead"
    return Capability(subject=subject, what="every utilization sample", can=can, detail=why)


def _check_processes() -> list[Capability]:
    from analyzer.devices.process import host, shared_bytes
    from analyzer.devices.processors import processor_times

    device = host()
    readable = shared_bytes([os.getpid()]) is not None
    if not readable:
        detail = "the kernel does not have smaps_rollup: use Linux 4.14 or later"
    elif os.geteuid() != 0:
        detail = "for servers that this user runs; for containers and other users' servers only as root"
    else:
        detail = f"{device.memory_bytes / 2**20:.0f} MiB; each shared page by its share, over the whole process tree"
    return [
        Capability(subject="host", what="processor utilization", can=True, detail=device.name),
        Capability(subject="host", what="memory", can=readable, detail=detail),
        undisturbed(processor_times()),
    ]


def undisturbed(since_boot: ProcessorTimes) -> Capability:
    """Check how much processor time a hypervisor took since boot, relative to the time in use."""
    from analyzer.statistics.cpu_steal import MOST_STOLEN

    stolen = since_boot.stolen_s / max(since_boot.busy_s, 1.0)
    detail = "no hypervisor gave processors to others since boot"
    if since_boot.stolen_s:
        detail = f"since boot the hypervisor gave others {stolen:.1%} of the time in use; trials leave such time out"
    if stolen > MOST_STOLEN:
        detail += " and last longer; a host that is not shared measures faster"
    return Capability(subject="host", what="undisturbed processors", can=stolen <= MOST_STOLEN, detail=detail)


def _check_servers(gpus: Gpus) -> list[Capability]:
    from analyzer.servers.local import Installation
    from analyzer.servers.onnx_backend import describe_backend

    installation = Installation.find()
    detail = installation.describe() if installation else "no tritonserver on PATH: pip install 'tritonpack[local]'"
    if installation and installation.package:
        by = describe_backend()
        detail += f"; ONNX models by {by}" if by else "; for ONNX models: pip install 'tritonpack[onnx]'"
    local = Capability(subject="Triton", what="on this host", can=installation is not None, detail=detail)
    return [*_check_docker(gpus), local]


def _check_docker(gpus: Gpus) -> list[Capability]:
    from analyzer.servers.docker import connect
    from analyzer.servers.docker_container import answering

    try:
        client = connect()
        with closing(client), answering():
            info = client.info()
    except ServerError as error:
        return [Capability(subject="Triton", what="in Docker", can=False, detail=error.message)]
    found = [
        Capability(subject="Triton", what="in Docker", can=True, detail=f"Docker Engine {info.get('ServerVersion')}")
    ]
    if gpus.present:
        can = "nvidia" in info.get("Runtimes", {})
        detail = "the engine has NVIDIA's runtime" if can else "the engine has none: install nvidia-container-toolkit"
        found.append(Capability(subject="Triton", what="in Docker on a GPU", can=can, detail=detail))
    return found
