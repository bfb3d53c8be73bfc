"""Find the GPUs and MIG slices that NVML lists, and call NVML functions on them."""

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


class NvmlDevice:
    """A GPU or a MIG slice, with its NVML handle.

    Parameters
    ----------
    index : str
        As nvidia-smi numbers it.
    whole : nvmlDevice_t
        Handle of the GPU.
    slice_ : nvmlDevice_t or None
        Handle of the slice; None for the whole GPU.
    """

    def __init__(self, index: str, whole: Any, slice_: Any | None = None) -> None:
        self.index = index
        self._whole = whole
        self._handle = whole if slice_ is None else slice_
        self.refused: dict[str, str] = {}
        self.uuid: str = pynvml.nvmlDeviceGetUUID(self._handle)
        self.instance = None if slice_ is None else self.ask("nvmlDeviceGetGpuInstanceId")
        # The version of the call is fixed from here on: one reading with the other version would differ by what the
        # driver reserves, which would look like a peak.
        self._memory_call: tuple[Any, ...] = (pynvml.nvmlMemory_v2,)
        if self.memory() is None:
            self._memory_call = ()

    def ask(self, function: str, *arguments: object, of_whole: bool = False) -> Any:
        """Call an NVML function on the device; return None, and keep the error in `refused`, if the call fails.

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
        """Read the memory with the second version of the call, whose `used` excludes what the driver reserves.

        Drivers before 510 have only the first version, whose `used` includes it (Cldfire/nvml-wrapper#57: 912 MB
        instead of 7.8 MB on an idle A100); what a model adds is the same in both.
        """
        return self.ask("nvmlDeviceGetMemoryInfo", *self._memory_call)

    def slices(self) -> Iterator[NvmlDevice]:
        """Yield the MIG slices of the GPU."""
        for place in range(self.ask("nvmlDeviceGetMaxMigDeviceCount") or 0):
            slice_ = self.ask("nvmlDeviceGetMigDeviceHandleByIndex", place)
            if slice_ is not None:  # NVML answers NOT_FOUND for a place without a slice
                yield NvmlDevice(f"{self.index}:{place}", self._whole, slice_)

    def gpu(self) -> Gpu:
        """Return its record in the inventory."""
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
        """Return its record for a sampler; DeviceError if the driver does not report its memory."""
        gpu = self.gpu()
        if gpu.memory_bytes is None:
            raise DeviceError(f"GPU {self.uuid} does not report its memory: update the NVIDIA driver")
        driver = pynvml.nvmlSystemGetDriverVersion()
        return Device(name=gpu.name, uuid=gpu.uuid, memory_bytes=gpu.memory_bytes, driver=driver)


def find_device(uuid: str) -> NvmlDevice:
    """Return the GPU or MIG slice with a UUID; DeviceError if it is not on this host or is lost."""
    for device in all_devices():
        if device.uuid == uuid:
            return device
    raise DeviceError(f"GPU {uuid} is not on this host or is lost: nvidia-smi -L lists those present")


def all_devices() -> Iterator[NvmlDevice]:
    """Yield each GPU, or its slices if it is in MIG mode; a lost GPU is left out."""
    for number in range(pynvml.nvmlDeviceGetCount()):
        try:
            whole = NvmlDevice(str(number), pynvml.nvmlDeviceGetHandleByIndex(number))
            modes = whole.ask("nvmlDeviceGetMigMode")
            if modes is not None and modes[0] == pynvml.NVML_DEVICE_MIG_ENABLE:
                yield from whole.slices()
            else:
                yield whole
        except (pynvml.NVMLError, DeviceError):
            continue
