"""Test the NVML sampler: the real nvidia-ml-py on a fake driver library, with NVML's known pitfalls."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import nvml

MIB = 2**20

READ = """
import json, sys, time, dataclasses
from analyzer.devices.nvml import NvmlSampler, list_gpus
from analyzer.errors import TritonpackError
def show(value): print(json.dumps(value))
def asdict(value): return dataclasses.asdict(value)
"""


@dataclass(frozen=True)
class Driver:
    """The fake driver library and the folder with its state."""

    library: Path
    state: Path

    def gpu(self, *lines: str, name: str = "gpu0", **figures: object) -> None:
        known = {"name": "Fake GPU", "uuid": f"GPU-{name}", "memory_total_mib": 16384}
        nvml.write_state(self.state / f"{name}.state", *lines, **{**known, **figures})

    def run(self, code: str) -> Any:
        done = nvml.run_python(READ + code, library=self.library, state=self.state)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def read(self, *, processes: str = "None", uuid: str = "GPU-gpu0") -> dict[str, Any]:
        (reading,) = self.run(f"show(asdict(NvmlSampler({uuid!r}, processes={processes}).read()))")
        return reading

    def without(self, folder: Path, *absent: str) -> Driver:
        return Driver(nvml.build(folder, absent=absent), self.state)


@pytest.fixture
def driver(nvml_library: Path, tmp_path: Path) -> Driver:
    return Driver(nvml_library, tmp_path)


def test_host_without_a_usable_driver_has_no_gpus(driver, tmp_path):
    """A driver that sees no GPU, a driver of another version than its library, and no library each give the reason."""
    (gpus,) = driver.run("show(asdict(list_gpus()))")
    assert gpus == {"present": [], "why_none": "no NVIDIA GPU can be used (the driver sees none)"}
    nvml.write_state(tmp_path / "driver.state", init=18)
    (gpus,) = driver.run("show(asdict(list_gpus()))")
    assert "reboot" in gpus["why_none"]
    (gpus,) = Driver(tmp_path / "nowhere", tmp_path).run("show(asdict(list_gpus()))")
    assert "libnvidia-ml.so.1 is not found" in gpus["why_none"]


def test_unusable_gpus_are_counted_in_the_reason(driver):
    """A lost GPU and a GPU in MIG mode without slices are not listed; the reason says that two GPUs were seen."""
    driver.gpu(lost=1)
    driver.gpu(name="gpu1", mig_mode=1)
    (gpus,) = driver.run("show(asdict(list_gpus()))")
    assert gpus["present"] == []
    assert "2 seen, all lost or cut into no slices" in gpus["why_none"]


def test_gpus_are_listed_with_what_models_can_use(driver):
    """Capacity is the total minus what the driver reserves: 16384 - 384 = 16000 MiB."""
    driver.gpu(memory_reserved_mib=384, memory_used_mib=25)
    driver.gpu(name="gpu1")
    (gpus,) = driver.run("show(asdict(list_gpus()))")
    assert [(gpu["index"], gpu["uuid"]) for gpu in gpus["present"]] == [("0", "GPU-gpu0"), ("1", "GPU-gpu1")]
    assert [gpu["memory_bytes"] for gpu in gpus["present"]] == [16000 * MIB, 16384 * MIB]


def test_every_figure_is_read_in_the_units_of_the_record(driver):
    """MiB, percent, mW and MHz become bytes, fractions, W and Hz; `used` of the v2 call excludes `reserved`."""
    driver.gpu(
        "process 10 100", "process 11 50", "process 12 7", "mps_process 13 3",
        memory_reserved_mib=384, memory_used_mib=25, utilization_pct=40, memory_utilization_pct=7,
        power_w=150.5, sm_clock_mhz=1980, throttle_reasons="0x0",
    )  # fmt: skip
    reading = driver.read(processes="lambda: {10, 11, 13, 99}")
    del reading["time_s"]
    assert reading == {
        "memory_bytes": 25 * MIB,
        "process_memory_bytes": 153 * MIB,  # 100 + 50 + 3; process 12 is not the server's, 99 holds nothing
        "utilization": 0.4,
        "memory_utilization": 0.07,
        "sm_utilization": None,
        "tensor_utilization": None,
        "dram_bandwidth_utilization": None,
        "power_w": 150.5,
        "sm_clock_hz": 1.98e9,
        "throttled": False,
    }


def test_memory_falls_back_to_the_first_call(driver, tmp_path):
    """Without the v2 call memory comes from the first version, which includes the reserved part: 25 + 384 = 409 MiB."""
    driver.gpu(memory_reserved_mib=384, memory_used_mib=25)
    old = driver.without(tmp_path / "old", "nvmlDeviceGetMemoryInfo_v2")
    assert old.read()["memory_bytes"] == 409 * MIB


def test_memory_never_changes_its_call(driver):
    """A v2 call that fails once gives None; the first version would show 384 MiB more, which no process took."""
    driver.gpu(memory_reserved_mib=384, memory_used_mib=25)
    code = f"""
from tests.fakes.nvml import write_state
from pathlib import Path
sampler = NvmlSampler("GPU-gpu0")
show(sampler.read().memory_bytes)
write_state(Path({str(driver.state)!r}) / "gpu0.state", "refuse nvmlDeviceGetMemoryInfo_v2 10", uuid="GPU-gpu0",
            memory_total_mib=16384, memory_reserved_mib=384, memory_used_mib=25)
show(sampler.read().memory_bytes)
"""
    assert driver.run(code) == [25 * MIB, None]


def test_refused_figures_are_none(driver):
    """A figure that the driver refuses is None, never 0; here only memory is known."""
    driver.gpu(memory_used_mib=1)
    reading = driver.read(processes="lambda: {1}")
    assert {key for key, value in reading.items() if value is not None} == {"time_s", "memory_bytes"}


@pytest.mark.parametrize("code", [3, 4, 13, 999])
def test_any_refusal_is_none(driver, code):
    """The errors not supported, no permission, function not found and unknown all give None."""
    driver.gpu(
        f"refuse nvmlDeviceGetPowerUsage {code}",
        f"refuse nvmlDeviceGetUtilizationRates {code}",
        power_w=1, utilization_pct=1, sm_clock_mhz=100,
    )  # fmt: skip
    reading = driver.read()
    assert (reading["power_w"], reading["utilization"], reading["sm_clock_hz"]) == (None, None, 1e8)


@pytest.mark.parametrize(
    ("reasons", "throttled"),
    [("0x0", False), ("0x1", False), ("0x2", False), ("0x4", True), ("0x8", True), ("0x20", True), ("0x40", True),
     ("0x80", True), ("0x100", False), ("0x5", True)],
)  # fmt: skip
def test_throttled_means_power_or_heat(driver, reasons, throttled):
    """Clocks lowered by idleness or by settings (application, display) are no throttling."""
    driver.gpu(throttle_reasons=reasons)
    assert driver.read()["throttled"] is throttled


def test_throttling_is_read_from_older_drivers(driver, tmp_path):
    """Drivers before 535 are asked by the call's former name."""
    driver.gpu(throttle_reasons="0x4")
    old = driver.without(tmp_path / "old", "nvmlDeviceGetCurrentClocksEventReasons")
    assert old.read()["throttled"] is True


def test_process_memory_is_unknown_unless_all_of_it_is_reported(driver):
    """If one of the server's processes has no amount, or none is listed, the figure is None."""
    driver.gpu("process 10 100", "process 11 -1")
    assert driver.read(processes="lambda: {10}")["process_memory_bytes"] == 100 * MIB
    assert driver.read(processes="lambda: {10, 11}")["process_memory_bytes"] is None
    assert driver.read(processes="lambda: {77}")["process_memory_bytes"] is None
    assert driver.read()["process_memory_bytes"] is None


def test_samples_of_the_driver_are_all_counted_once(driver):
    """A reading is the mean of the driver's samples since the last reading, and None if there are none."""
    driver.gpu("gpu_sample 1000 90", "memory_sample 1000 9", utilization_pct=1, memory_utilization_pct=1)
    code = f"""
from tests.fakes.nvml import write_state
from pathlib import Path
sampler = NvmlSampler("GPU-gpu0")
def now(*samples):
    write_state(Path({str(driver.state)!r}) / "gpu0.state", *samples, name="Fake", uuid="GPU-gpu0",
                memory_total_mib=1, utilization_pct=1, memory_utilization_pct=2)
    reading = sampler.read()
    show([reading.utilization, reading.memory_utilization])
now("gpu_sample 1000 90", "memory_sample 1000 9")
now("gpu_sample 1000 90", "gpu_sample 2000 30", "gpu_sample 3000 40", "gpu_sample 4000 80", "memory_sample 2000 6")
now("gpu_sample 4000 80", "memory_sample 2000 6")
"""
    # First no new sample since the sampler was opened, so the rate. Then (30 + 40 + 80) / 3 = 50
    # and 6. Then no new sample.
    assert driver.run(code) == [[0.01, 0.02], [0.5, 0.06], [None, None]]


def test_windows_hold_several_samples_of_the_driver(driver):
    """The shortest window is three sample periods (0.5 s, 1.2 s), 3 s without samples, and 0.5 s with GPM."""
    windows = []
    for period_us in (166_667, 400_000):
        samples = [f"gpu_sample {1_000_000 + n * period_us} 50" for n in range(5)]
        driver.gpu(*samples, utilization_pct=1)
        windows += driver.run('show(NvmlSampler("GPU-gpu0").min_window_s)')
    driver.gpu(utilization_pct=1)
    windows += driver.run('show(NvmlSampler("GPU-gpu0").min_window_s)')
    driver.gpu(mig_mode=1)
    driver.gpu(name="gpu0.mig0", uuid="MIG-0", gpu_instance_id=1)
    windows += driver.run('show(NvmlSampler("MIG-0").min_window_s)')
    assert windows == pytest.approx([0.5, 1.2, 3.0, 0.5], rel=0.001)


def test_gpm_gives_means_between_samples_at_least_a_tenth_of_a_second_apart(driver):
    """The first reading and one too soon after it are None; the third is (10 + 30) / 2 = 20 %."""
    driver.gpu(gpm=1, gpm_graphics_pct=50, gpm_sm_pct=10, gpm_tensor_pct=4, utilization_pct=90)
    code = f"""
from tests.fakes.nvml import write_state
from pathlib import Path
sampler = NvmlSampler("GPU-gpu0")
def now():
    reading = sampler.read()
    show([reading.sm_utilization, reading.tensor_utilization, reading.dram_bandwidth_utilization, reading.utilization])
now()
now()
write_state(Path({str(driver.state)!r}) / "gpu0.state", name="Fake", uuid="GPU-gpu0", memory_total_mib=1, gpm=1,
            gpm_graphics_pct=50, gpm_sm_pct=30, gpm_tensor_pct=6, utilization_pct=90)
time.sleep(0.11)
now()
sampler.close()
"""
    # DRAM bandwidth is a metric that this device refuses.
    assert driver.run(code) == [[None, None, None, 0.9], [None, None, None, 0.9], [0.2, 0.05, None, 0.9]]


def test_slices_are_read_through_their_own_handles(driver):
    """A GPU in MIG mode is listed as its slices; their utilization comes from GPM, because the driver refuses rates."""
    driver.gpu(mig_mode=1, memory_used_mib=999)
    for place, instance in ((0, 7), (2, 9)):
        driver.gpu(
            name=f"gpu0.mig{place}", uuid=f"MIG-{place}", gpu_instance_id=instance, memory_total_mib=5000,
            memory_reserved_mib=40, memory_used_mib=place + 1, gpm_graphics_pct=10 * instance, gpm_sm_pct=1,
        )  # fmt: skip
    (gpus,) = driver.run("show(asdict(list_gpus()))")
    assert [(gpu["index"], gpu["uuid"], gpu["memory_bytes"], gpu["mig"]) for gpu in gpus["present"]] == [
        ("0:0", "MIG-0", 4960 * MIB, True),
        ("0:2", "MIG-2", 4960 * MIB, True),
    ]
    reading = driver.read(uuid="MIG-2")
    assert (reading["memory_bytes"], reading["utilization"]) == (3 * MIB, None)  # no GPM on Ampere
    driver.gpu(mig_mode=1, gpm=1)
    code = """
sampler = NvmlSampler("MIG-2")
sampler.read(); time.sleep(0.11); show(sampler.read().utilization)
"""
    assert driver.run(code) == [0.9]


def test_a_lost_gpu_is_an_error_that_says_what_to_do(driver):
    """A GPU that is lost between readings raises DeviceError instead of giving None."""
    driver.gpu(memory_used_mib=1)
    code = f"""
from tests.fakes.nvml import write_state
from pathlib import Path
sampler = NvmlSampler("GPU-gpu0")
sampler.read()
write_state(Path({str(driver.state)!r}) / "gpu0.state", lost=1)
try:
    sampler.read()
except TritonpackError as error:
    show(error.message)
try:
    NvmlSampler("GPU-other")
except TritonpackError as error:
    show(error.message)
"""
    lost, other = driver.run(code)
    assert lost.startswith("GPU GPU-gpu0 is lost") and "dmesg" in lost
    assert other.startswith("GPU GPU-other is not on this host or is lost")


def test_a_lost_gpu_leaves_the_others_usable(driver):
    """The other GPU of the host is still listed and read."""
    driver.gpu(lost=1)
    driver.gpu(name="gpu1", memory_used_mib=5)
    (gpus,) = driver.run("show(asdict(list_gpus()))")
    assert [gpu["index"] for gpu in gpus["present"]] == ["1"]
    assert driver.read(uuid="GPU-gpu1")["memory_bytes"] == 5 * MIB


def test_files_of_the_fake_driver_add_up(driver):
    """The fake driver adds the files of gpu0.d to memory and utilization; utilization stays at most 100 %."""
    driver.gpu(memory_used_mib=309, utilization_pct=0, memory_utilization_pct=0)
    folder = driver.state / "gpu0.d"
    folder.mkdir()
    (folder / "a.add").write_text("1152\n")
    (folder / "b.add").write_text("100\n")
    (folder / "a.busy").write_text("60 23\n")
    (folder / "b.busy").write_text("70 4\n")
    reading = driver.read()
    assert reading["memory_bytes"] == (309 + 1152 + 100) * MIB
    assert (reading["utilization"], reading["memory_utilization"]) == (1.0, 0.27)
