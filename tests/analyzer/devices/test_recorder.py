"""Test the recorder with samplers that are cheap, costly or broken."""

from __future__ import annotations

import time

import pytest

from analyzer.devices import Device, Reading
from analyzer.devices.recorder import CostBudget, Recorder
from analyzer.errors import DeviceError


class Counting:
    """A sampler whose n-th reading holds n bytes, and which raises DeviceError after `readings` of them."""

    device = Device(name="counter", uuid="0", memory_bytes=1, driver=None)
    min_window_s = 0.05

    def __init__(self, *, readings: int = 10**9, cost_s: float = 0.0) -> None:
        self.taken = 0
        self.period_s = 0.01
        self._readings = readings
        self.cost_s = cost_s

    def read(self) -> Reading:
        if self.taken == self._readings:
            raise DeviceError("the counter is gone")
        end_s = time.thread_time() + self.cost_s
        while time.thread_time() < end_s:
            pass
        self.taken += 1
        return Reading(time_s=time.perf_counter(), memory_bytes=self.taken)

    def close(self) -> None:
        pass


def test_a_window_has_its_readings_and_no_others():
    """The readings of a window are in order and lie between its two times."""
    with Recorder(Counting()) as recorder:
        time.sleep(0.15)
        start = time.perf_counter()
        time.sleep(0.3)
        end = time.perf_counter()
        time.sleep(0.15)
        readings = recorder.between(start, end)
        everything = recorder.between(0, time.perf_counter())
    assert 2 <= len(readings) <= 30  # at most one in 10 ms; fewer on a slow machine, where a reading costs more
    assert all(start <= reading.time_s <= end for reading in readings)
    assert [reading.memory_bytes for reading in everything] == list(range(1, len(everything) + 1))
    assert everything[0].time_s < readings[0].time_s < readings[-1].time_s < everything[-1].time_s


def test_a_reading_can_be_asked_for():
    """`read_now` gives a reading that is newer than the call and is recorded as well."""
    with Recorder(Counting()) as recorder:
        asked = time.perf_counter()
        reading = recorder.read_now()
        assert reading.time_s >= asked
        assert reading in recorder.between(asked, time.perf_counter())


def test_loss_of_the_device_is_raised_to_the_caller():
    """Readings before the loss are still returned; a window after it raises the error."""
    with Recorder(Counting(readings=3)) as recorder:
        time.sleep(0.1)
        now = time.perf_counter()
        assert [reading.memory_bytes for reading in recorder.between(0, now)] == [1, 2, 3]
        with pytest.raises(DeviceError, match="the counter is gone"):
            recorder.between(now, now + 1)
        with pytest.raises(DeviceError, match="the counter is gone"):
            recorder.read_now()


def test_a_costly_sampler_is_read_less_often():
    """At 5 ms per reading, 2 % of a processor allow a reading every 250 ms: at 0, 250 and 500 of 600 ms."""
    sampler = Counting(cost_s=0.005)
    with Recorder(sampler):
        time.sleep(0.6)
    assert 2 <= sampler.taken <= 3


def test_cheap_readings_save_up_for_a_costly_one() -> None:
    """0.5 s give a credit of 2 % = 10 ms: a reading of 8 ms needs no wait, a second one 6 ms / 2 % = 300 ms."""
    budget = CostBudget(now_s=100.0)
    budget.pay(0.0, now_s=100.5)
    budget.pay(0.008, now_s=100.5)
    assert budget.wait_s == 0.0
    budget.pay(0.008, now_s=100.5)  # 10 - 8 - 8 = -6 ms
    assert budget.wait_s == pytest.approx(0.3)


def test_at_most_a_tenth_of_a_second_is_saved_up() -> None:
    """After a minute the credit is 100 ms, not 1.2 s: a reading of 200 ms needs a wait of 100 ms / 2 % = 5 s."""
    budget = CostBudget(now_s=0.0)
    budget.pay(0.0, now_s=60.0)
    budget.pay(0.2, now_s=60.0)
    assert budget.wait_s == pytest.approx(5.0)


def test_nothing_is_read_after_the_end():
    """When the ``with`` block has ended, no reading is taken any more."""
    sampler = Counting()
    with Recorder(sampler):
        time.sleep(0.03)
    taken = sampler.taken
    time.sleep(0.03)
    assert sampler.taken == taken > 0
