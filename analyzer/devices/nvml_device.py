"""GPUs and MIG slices as NVML hands them out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pynvml

from analyzer.devices import Device
from analyzer.devices.inventory import Gpu
from analyzer.errors import DeviceError

_LOST = {
    pynvml.NVML_ERROR_GPU_IS_LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED,
    pynvml.NVML_ERROR_GPU_NOT_FOUND,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
}


class Part:
    """A GPU or a slice of one.

    Parameters
    ----------
    index : str
        As nvidia-smi numbers it.
    whole : nvmlDevice_t
        The GPU.
    slice_ : nvmlDevice_t or None
        The slice of it that is meant.
    """

    def __init__(self, index: str, whole: Any, slice_: Any | None = None) -> None:
        self.index = index
        self._whole = whole
        self._handle = whole if slice_ is None else slice_
        self.refused: dict[str, str] = {}
        self.uuid: str = pynvml.nvmlDeviceGetUUID(self._handle)
        self.instance = None if slice_ is None else self.ask("nvmlDeviceGetGpuInstanceId")
        # Fixed from here on: one reading by the other call would show a peak of what the driver reserves.
        self._memory_call: tuple[Any, ...] = (pynvml.nvmlMemory_v2,)
        if self.memory() is None:
            self._memory_call = ()

    def ask(self, function: str, *arguments: object, of_whole: bool = False) -> Any:
        """Call NVML on the device; None for a figure that the driver refuses.

        Raises
        ------
        DeviceError
            If the GPU is lost.
        """
        try:
            return getattr(pynvml, function)(self._whole if of_whole else self._handle, *arguments)
        except pynvml.NVMLError as error:
            if error.value in _LOST:
                raise DeviceError(
                    f"GPU {self.uuid} is lost ({error}): see dmesg for its Xid, then reset it or restart the host"
                ) from None
            self.refused[function] = str(error)
            return None

    def memory(self) -> Any:
        """Memory by the second version of the call, where `used` is without what the driver reserves.

        Drivers before 510 have the first only, where it is with it (Cldfire/nvml-wrapper#57: 912 MB instead of
        7.8 MB on an idle A100); what a model adds is the same in both.
        """
        return self.ask("nvmlDeviceGetMemoryInfo", *self._memory_call)

    def slices(self) -> Iterator[Part]:
        """The slices that it is cut into."""
        for place in range(self.ask("nvmlDeviceGetMaxMigDeviceCount") or 0):
            slice_ = self.ask("nvmlDeviceGetMigDeviceHandleByIndex", place)
            if slice_ is not None:  # places without a slice are NOT_FOUND
                yield Part(f"{self.index}:{place}", self._whole, slice_)

    def gpu(self) -> Gpu:
        """What it is."""
        memory = self.memory()
        return Gpu(
            index=self.index,
            uuid=self.uuid,
            name=pynvml.nvmlDeviceGetName(self._handle),
            memory_bytes=None if memory is None else memory.total - getattr(memory, "reserved", 0),
            mig=self._handle is not self._whole,
            used_bytes=memory.used if hasattr(memory, "reserved") else None,
        )

    def device(self) -> Device:
        """What it is, as a sampler says it."""
        gpu = self.gpu()
        if gpu.memory_bytes is None:
            raise DeviceError(f"GPU {self.uuid} does not tell its memory: update the NVIDIA driver")
        driver = pynvml.nvmlSystemGetDriverVersion()
        return Device(name=gpu.name, uuid=gpu.uuid, memory_bytes=gpu.memory_bytes, driver=driver)


def find(uuid: str) -> Part:
    for part in parts():
        if part.uuid == uuid:
            return part
    raise DeviceError(f"GPU {uuid} is not on this host or is lost: nvidia-smi -L lists those present")


def parts() -> Iterator[Part]:
    """Each GPU, or its slices where it is cut into slices; a lost one is left out, the others can be used."""
    for number in range(pynvml.nvmlDeviceGetCount()):
        try:
            whole = Part(str(number), pynvml.nvmlDeviceGetHandleByIndex(number))
            modes = whole.ask("nvmlDeviceGetMigMode")
            if modes is not None and modes[0] == pynvml.NVML_DEVICE_MIG_ENABLE:
                yield from whole.slices()
            else:
                yield whole
        except (pynvml.NVMLError, DeviceError):
            continue
