"""Test the catalogue of GPU types."""

from __future__ import annotations

import tomllib
from importlib.resources import files

import pytest

from analyzer.errors import UsageError
from planner.inputs.gpu_catalogue import catalogue, find_type, type_of_device


def test_usable_memory_is_below_the_total_and_near_the_nominal_size() -> None:
    """An entry's usable memory is below its total, and its total is near the size in the data sheet."""
    table = tomllib.loads(files("planner").joinpath("data/gpus.toml").read_text())
    for name, entry in table.items():
        assert entry["usable_mib"] < entry["total_mib"], name
        assert 0.85 < entry["usable_mib"] / (entry["nominal_gb"] * 1024) <= 1.0, name
        assert entry["source"], name


def test_device_belongs_to_one_type() -> None:
    """Each of NVML's board names belongs to one GPU type."""
    boards = [board for entry in catalogue().values() for board in entry.device_names]
    assert len(boards) == len(set(boards))
    found = type_of_device("NVIDIA A100-SXM4-80GB")
    assert found is not None and found.name == "A100-80GB"
    assert type_of_device("Radeon") is None


def test_wrong_type_gets_the_nearest() -> None:
    """Case does not matter; for an unknown type the error names the nearest one."""
    assert find_type("t4").name == "T4"
    with pytest.raises(UsageError, match="did you mean 'H100-NVL'"):
        find_type("H100-NLV")
