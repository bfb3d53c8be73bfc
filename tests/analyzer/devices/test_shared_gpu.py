"""Test the memory figure on a GPU that other processes use too, on the fake driver library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analyzer.devices.inventory import Gpu
from analyzer.devices.shared_gpu import is_shared
from tests.fakes import nvml

MIB = 2**20
CODE = """
import json
from analyzer.devices.nvml import NvmlSampler, list_gpus
from analyzer.devices.shared_gpu import is_shared, sampler_for_shared_gpu
(gpu,) = list_gpus().present
sampler = sampler_for_shared_gpu(NvmlSampler(gpu.uuid, processes=lambda: {41, 42}))
print(json.dumps([is_shared(gpu), sampler.read().memory_bytes, sampler.device.name, sampler.min_window_s > 0]))
sampler.close()
"""


@pytest.mark.parametrize(
    ("processes", "mib"),
    [
        (("process 41 300", "process 42 200", "process 7 4000"), 500),  # 300 + 200 are the server's own
        ((), 5000),  # the driver lists no process: the GPU's total is the only figure
    ],
)
def test_memory_on_a_shared_gpu_is_the_servers_own(
    nvml_library: Path, tmp_path: Path, processes: tuple[str, ...], mib: int
) -> None:
    """If other processes hold memory, only that of the server's own processes counts."""
    nvml.write_state(
        tmp_path / "gpu0.state",
        *processes,
        name="Fake GPU",
        uuid="GPU-0",
        memory_total_mib=16384,
        memory_reserved_mib=0,
        memory_used_mib=5000,
    )
    done = nvml.run_python(CODE, library=nvml_library, state=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True, mib * MIB, "Fake GPU", True]


@pytest.mark.parametrize(("used", "shared"), [(None, False), (64 * MIB, False), (65 * MIB, True)])
def test_gpu_is_shared_if_memory_is_in_use_before_the_server_starts(used: int | None, shared: bool) -> None:
    """An idle GPU shows up to 64 MiB in use; an unknown amount (None) does not count as shared."""
    assert is_shared(Gpu(index="0", uuid="GPU-0", name="T4", memory_bytes=1, mig=False, used_bytes=used)) is shared
