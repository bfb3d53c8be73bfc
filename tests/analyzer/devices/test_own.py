"""A GPU that others use too, on the fake driver library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes import nvml

MIB = 2**20
CODE = """
import json
from analyzer.devices.nvml import NvmlSampler
from analyzer.devices.own import own_or_whole
sampler = own_or_whole(NvmlSampler("GPU-0", processes=lambda: {{41, 42}}), {held_mib} * 2**20)
print(json.dumps([sampler.read().memory_bytes, sampler.device.name, sampler.min_window_s > 0]))
sampler.close()
"""


@pytest.mark.parametrize(
    ("held_mib", "processes", "mib"),
    [
        (0, ("process 41 300", "process 42 200"), 5000),  # the server has the card for itself: all of it counts
        (4000, ("process 41 300", "process 42 200", "process 7 4000"), 500),  # 300 + 200 are the server's own
        (4000, (), 5000),  # the driver lists no process: the card is all there is
    ],
)
def test_memory_on_a_shared_card_is_the_servers_own(
    nvml_library: Path, tmp_path: Path, held_mib: int, processes: tuple[str, ...], mib: int
) -> None:
    """Where somebody held memory before the server started, only its own processes' memory counts."""
    nvml.write_state(
        tmp_path / "gpu0.state", *processes, name="Fake GPU", uuid="GPU-0", memory_total_mib=16384, memory_used_mib=5000
    )
    done = nvml.run_python(CODE.format(held_mib=held_mib), library=nvml_library, state=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [mib * MIB, "Fake GPU", True]
