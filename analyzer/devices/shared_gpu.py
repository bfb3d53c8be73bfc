"""Read a GPU that other processes use too: count only the memory of the server's own processes."""

from __future__ import annotations

from dataclasses import replace

from analyzer.devices import Device, Reading, Sampler
from analyzer.devices.inventory import Gpu

TENANT_BYTES = 64 << 20  # memory in use before the server starts; above it, another process must use the GPU


class ServerMemorySampler:
    """A sampler whose `memory_bytes` is the memory of the server's own processes.

    Parameters
    ----------
    sampler : Sampler
        The sampler to wrap; its driver must list processes with their memory.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    @property
    def device(self) -> Device:
        """The wrapped sampler's device."""
        return self._sampler.device

    @property
    def period_s(self) -> float:
        """The wrapped sampler's `period_s`."""
        return self._sampler.period_s

    @property
    def min_window_s(self) -> float:
        """The wrapped sampler's `min_window_s`."""
        return self._sampler.min_window_s

    @property
    def lag_s(self) -> float:
        """The wrapped sampler's `lag_s`."""
        return self._sampler.lag_s

    def read(self) -> Reading:
        """Read the device; its memory is that of the server's processes, None while the driver lists none of them."""
        reading = self._sampler.read()
        return replace(reading, memory_bytes=reading.process_memory_bytes)

    def close(self) -> None:
        """Close the wrapped sampler."""
        self._sampler.close()


def is_shared(gpu: Gpu) -> bool:
    """Return whether other processes used the GPU when it was listed, before the server started."""
    return gpu.used_bytes is not None and gpu.used_bytes > TENANT_BYTES


def sampler_for_shared_gpu(sampler: Sampler) -> Sampler:
    """Return the sampler to use on a shared GPU: `sampler`, wrapped if its driver lists the server's processes.

    If the driver lists none of them (in a container with a pid namespace of its own), only the memory of the whole GPU
    is known. On a GPU that is not shared, that memory is the better figure, since it includes what the driver takes
    for the server and attributes to no process.
    """
    return sampler if sampler.read().process_memory_bytes is None else ServerMemorySampler(sampler)
