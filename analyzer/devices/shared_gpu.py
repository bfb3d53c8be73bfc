"""A GPU that other tenants use too: only what the driver charges to the server's own processes counts."""

from __future__ import annotations

from dataclasses import replace

from analyzer.devices import Device, Reading, Sampler
from analyzer.devices.inventory import Gpu

TENANT_BYTES = 64 << 20  # in use before the server starts, above which somebody else must be on the card


class OwnMemory:
    """A sampler whose memory is that of the server's own processes.

    Parameters
    ----------
    sampler : Sampler
        Of a driver that lists processes with their memory.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    @property
    def device(self) -> Device:
        """The device behind it."""
        return self._sampler.device

    @property
    def period_s(self) -> float:
        """As of the sampler behind it."""
        return self._sampler.period_s

    @property
    def min_window_s(self) -> float:
        """As of the sampler behind it."""
        return self._sampler.min_window_s

    @property
    def lag_s(self) -> float:
        """As of the sampler behind it."""
        return self._sampler.lag_s

    def read(self) -> Reading:
        """Read the device; its memory is what the server's processes hold, None while none is listed."""
        reading = self._sampler.read()
        return replace(reading, memory_bytes=reading.process_memory_bytes)

    def close(self) -> None:
        """Close the sampler behind it."""
        self._sampler.close()


def is_shared(gpu: Gpu) -> bool:
    """Whether somebody used the card already when it was listed, before the server started."""
    return gpu.used_bytes is not None and gpu.used_bytes > TENANT_BYTES


def own_memory(sampler: Sampler) -> Sampler:
    """Return the sampler to use on a shared card.

    Where the driver lists no process (a container with process ids of its own), the whole card's memory is all there
    is; on a card that is not shared it is the better figure, for it counts what the driver takes for the server and
    charges to nobody.
    """
    return sampler if sampler.read().process_memory_bytes is None else OwnMemory(sampler)
