"""The contract that every `Sampler` keeps."""

from __future__ import annotations

import time
from dataclasses import fields

from analyzer.devices import Device, Reading, Sampler

FRACTIONS = (
    "utilization",
    "memory_utilization",
    "sm_utilization",
    "tensor_utilization",
    "dram_bandwidth_utilization",
)


def check_sampler(sampler: Sampler, *, readings: int = 4, period_s: float | None = None) -> list[Reading]:
    """Check the contract on an open sampler, close it, and return its readings for further checks."""
    device = sampler.device
    assert isinstance(device, Device)
    assert device.name and device.uuid and device.memory_bytes > 0
    assert 0 < sampler.period_s <= 2
    assert 2 * sampler.period_s <= sampler.min_window_s <= 10
    taken = []
    for _ in range(readings):
        before = time.perf_counter()
        taken.append(sampler.read())
        assert before <= taken[-1].time_s <= time.perf_counter()  # the time is that of the reading
        time.sleep(period_s or sampler.period_s)
    for reading in taken:
        check_reading(reading, device)
    assert [reading.time_s for reading in taken] == sorted({reading.time_s for reading in taken})
    assert sampler.device == device
    sampler.close()
    return taken


def check_reading(reading: Reading, device: Device) -> None:
    """Check that every figure is in its unit and range, or None."""
    for field in fields(reading):
        figure = getattr(reading, field.name)
        assert figure is None or figure >= 0, field.name
    for name in FRACTIONS:
        fraction = getattr(reading, name)
        assert fraction is None or (isinstance(fraction, float) and 0 <= fraction <= 1), name
    for memory in (reading.memory_bytes, reading.process_memory_bytes):
        assert memory is None or (isinstance(memory, int) and memory <= device.memory_bytes)
    assert reading.memory_bytes is not None  # packing needs it
