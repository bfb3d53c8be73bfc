"""Test the check of what a host can measure: on this host, and on fake GPUs that report much or little."""

from __future__ import annotations

import json

from analyzer.devices.processors import ProcessorTimes
from analyzer.sweep.host_check import check_host, undisturbed
from tests.fakes import nvml

SHOW = """
import dataclasses, json
from analyzer.sweep.host_check import check_host
print(json.dumps([dataclasses.asdict(finding) for finding in check_host()]))
"""


def findings_of(library, state) -> dict[tuple[str, str], tuple[bool, str]]:
    done = nvml.run_python(SHOW, library=library, state=state)
    assert done.returncode == 0, done.stderr
    return {(row["subject"], row["what"]): (row["can"], row["detail"]) for row in json.loads(done.stdout)}


def test_a_host_without_gpu_says_so_and_what_is_measured_instead():
    """There are rows for the missing GPU, the host, and both ways to run Triton; each "cannot" has a reason."""
    rows = {(row.subject, row.what): row for row in check_host()}
    assert not rows["GPU", "memory and utilization"].can
    assert "no NVIDIA driver" in rows["GPU", "memory and utilization"].detail
    assert rows["host", "processor utilization"].can
    assert rows["host", "memory"].can
    assert {("Triton", "in Docker"), ("Triton", "on this host")} <= rows.keys()
    assert all(row.detail for row in rows.values() if not row.can)


def test_stolen_processor_time_is_shown():
    """1 s stolen of 100 s in use is acceptable; with 5 s the row says that trials last longer."""
    rows = {(row.subject, row.what): row for row in check_host()}
    assert ("host", "undisturbed processors") in rows
    little, much, none = (
        undisturbed(ProcessorTimes(time_s=0.0, busy_s=100.0, stolen_s=stolen_s)) for stolen_s in (1.0, 5.0, 0.0)
    )
    assert little.can
    assert "gave others 1.0% of the time in use" in little.detail
    assert not much.can
    assert "last longer" in much.detail
    assert none.can
    assert "no hypervisor" in none.detail


def test_gpu_that_reports_every_figure(nvml_library, tmp_path):
    """On a GPU that reports every figure, each row says that it can be measured."""
    nvml.write_state(
        tmp_path / "gpu0.state", "process 1 10", "gpu_sample 1000 40", "memory_sample 1000 4",
        name="Fake H100", uuid="GPU-whole", memory_total_mib=81920, memory_reserved_mib=600, memory_used_mib=10,
        utilization_pct=40, memory_utilization_pct=4, power_w=300, sm_clock_mhz=1980, throttle_reasons="0x1",
        gpm=1, gpm_graphics_pct=100, gpm_sm_pct=90, gpm_tensor_pct=0, gpm_dram_pct=3,
    )  # fmt: skip
    rows = findings_of(nvml_library, tmp_path)
    gpu = {what: row for (subject, what), row in rows.items() if subject == "GPU 0"}
    gpu.pop("memory of the server's own processes")  # in a container the pids are not the host's
    assert len(gpu) == 10  # memory, eight figures, the samples
    assert [what for what, (can, _) in gpu.items() if not can] == []
    assert "81320 MiB" in gpu["memory"][1]  # 81920 - 600


def test_gpu_that_reports_few_figures(nvml_library, tmp_path):
    """A row for a figure that the driver refuses quotes the driver's reason, or says which GPUs report it."""
    nvml.write_state(
        tmp_path / "gpu0.state", "refuse nvmlDeviceGetPowerUsage 4",
        "refuse nvmlDeviceGetComputeRunningProcesses_v3 4",
        name="Fake T4", uuid="GPU-bare", memory_total_mib=16384,
    )  # fmt: skip
    rows = findings_of(nvml_library, tmp_path)
    assert rows["GPU 0", "memory"][0]
    assert rows["GPU 0", "power"] == (False, "the driver says Insufficient Permissions")
    can, why = rows["GPU 0", "SM utilization"]
    assert not can and "Hopper" in why
    assert not rows["GPU 0", "GPU utilization"][0]
    assert "Not Supported" in rows["GPU 0", "every utilization sample"][1]
    assert not rows["GPU 0", "memory of the server's own processes"][0]


def test_slices_and_an_old_driver_are_shown(nvml_library, tmp_path):
    """Each MIG slice has its own rows; with an old driver the memory row says that it includes the reserved part."""
    nvml.write_state(tmp_path / "gpu0.state", name="Cut", uuid="GPU-cut", memory_total_mib=40960, mig_mode=1)
    nvml.write_state(
        tmp_path / "gpu0.mig1.state", name="MIG 1g.5gb", uuid="MIG-part", gpu_instance_id=7, memory_total_mib=4864
    )
    rows = findings_of(nvml_library, tmp_path)
    assert rows["GPU 0:1", "slice memory"][0]
    assert ("GPU 0", "memory") not in rows
    old = nvml.build(tmp_path / "old", absent=["nvmlDeviceGetMemoryInfo_v2"])
    assert "drivers from 510 on" in findings_of(old, tmp_path)["GPU 0:1", "slice memory"][1]
