"""Test the reading of fleet files."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.errors import UsageError
from planner.inputs.fleet import FleetType, Scaling, Thresholds
from planner.inputs.fleet_file import read_fleet
from planner.inputs.gpu_catalogue import find_type

MIB = 2**20
TOML = """
max_utilization_pct = 80

[[gpu]]
type = "T4"
count = 8
cost_per_hour = 0.35
reserved_mib = 500
max_utilization_pct = 70

[[gpu]]
type = "house-special"
memory_mib = 20000
gpus_per_node = 4
[gpu.scale]
from = "Tesla T4"
throughput = 2
"""


def read(tmp_path: Path, text: str) -> tuple[FleetType, ...]:
    """Read a fleet file with this text."""
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    return read_fleet(path)


def test_catalogue_fills_in_what_the_file_leaves_out(tmp_path: Path) -> None:
    """T4's memory comes from the catalogue; for a type that is not in it the file gives the memory."""
    t4, special = read(tmp_path, TOML)
    assert t4.memory_bytes == find_type("T4").memory_bytes
    assert (t4.limit, t4.cost_per_hour, t4.reserved_bytes) == (8, 0.35, 500 * MIB)
    assert "Tesla T4" in t4.devices
    assert (special.memory_bytes, special.gpus_per_node, special.limit) == (20000 * MIB, 4, None)
    assert special.scaling == Scaling(device="Tesla T4", throughput=2)


def test_thresholds_of_a_type_win_over_the_files(tmp_path: Path) -> None:
    """A threshold of 70 % for T4 wins over the file's 80 %."""
    assert [t.thresholds for t in read(tmp_path, TOML)] == [Thresholds(utilization=0.7), Thresholds(utilization=0.8)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[[gpu]]\ntype = "T5"\n', "did you mean 'T4'"),
        ('[[gpu]]\ntype = "T4"\nmemory_gib = 15\n', "line 3, memory_gib: unknown key; did you mean 'memory_mib'"),
        ('[[gpu]]\ntype = "T4"\nmemory_mib = "15GiB"\n', "line 3, memory_mib: is '15GiB', which is no number"),
        ('[[gpu]]\ntype = "T4"\nmig = true\n', "line 3, mig: T4 cannot be cut"),
        ('[[gpu]]\ntype = "T4"\n[gpu.scale]\nthroughput = 2\n', "from: is missing"),
        ('[[gpu]]\ntype = "T4"\n[[gpu]]\ntype = "T4"\n', "line 4, type: 'T4' is already in line 1"),
        ('[[gpu]]\ntype = "T4"\nmax_memory_pct = 120\n', "line 3, max_memory_pct: is 120"),
    ],
)
def test_mistake_names_its_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    """A mistake is an error that names the line and the key."""
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    assert message in caught.value.message
