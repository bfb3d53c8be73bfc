"""A GPU that other tenants use too: only what the driver charges to the server's own processes counts."""

from __future__ import annotations

from dataclasses import replace

from analyzer.devices import Device, Reading, Sampler

TENANT_BYTES = 64 << 20  # in use before the server starts, above which somebody else is on the card


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

    def read(self) -> Reading:
        """Read the device; its memory is what the server's processes hold, None while none is listed."""
        reading = self._sampler.read()
        return replace(reading, memory_bytes=reading.process_memory_bytes)

    def close(self) -> None:
        """Close the sampler behind it."""
        self._sampler.close()


def own_or_whole(sampler: Sampler, held_bytes: int | None) -> Sampler:
    """Return the sampler to use on a card of which `held_bytes` were in use before the server started.

    The whole card's memory is the better figure where the server has it for itself: it counts what the driver
    takes for the server and charges to nobody.
    """
    if held_bytes is None or held_bytes <= TENANT_BYTES or sampler.read().process_memory_bytes is None:
        return sampler
    return OwnMemory(sampler)
