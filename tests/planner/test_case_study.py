"""Test the case study, nine medical models on 16 GB GPUs, from the command line.

Source: NVIDIA, "Maximizing Deep Learning Inference Performance with NVIDIA Model Analyzer", tables 1 to 4.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from planner.cli.main import main

DATA = Path(__file__).parent.parent / "data" / "case-study.csv"
OPERATING_POINT = ("--batch", "2", "--concurrency", "4")


def solve(*arguments: str) -> dict[str, Any]:
    """Run `plan solve` on the case study and return the placement that it prints."""
    result = CliRunner().invoke(main, ["solve", str(DATA), *OPERATING_POINT, *arguments, "-o", "-"])
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout))


@pytest.mark.parametrize("memory", ["16GB", "16000MiB", "16GiB"])
def test_memory_mode_needs_four_gpus(memory: str) -> None:
    """Table 3: by memory alone four GPUs hold the nine models with a server each, for each meaning of 16 GB."""
    placement = solve("--mode", "memory", "--gpu-memory", memory)
    assert placement["objective"]["gpus"] == placement["objective"]["lower_bound"] == 4
    assert placement["status"] == "optimal"
    for gpu in placement["gpus"]:
        # one server of 309 MiB and the models' own memory, within the card
        assert gpu["memory_mib"] == 309 + sum(m["memory_mib"] for m in gpu["models"]) <= gpu["memory_capacity_mib"]
    placed = [m["name"] for gpu in placement["gpus"] for m in gpu["models"]]
    assert len(placed) == len(set(placed)) == 9


@pytest.mark.parametrize(("threshold", "gpus"), [("100", 6), ("95", 7), ("90", 8), ("80", 8)])
def test_throughput_mode_needs_as_many_gpus_as_its_thresholds_allow(threshold: str, gpus: int) -> None:
    """Table 4: six GPUs at 100 %, where 48 + 52 = 100 is within the threshold; lower thresholds need more GPUs."""
    placement = solve(
        "--gpu-memory", "16GB", "--max-utilization", threshold, "--max-memory-utilization", threshold
    )  # fmt: skip
    assert placement["objective"]["gpus"] == gpus
    assert placement["status"] == "optimal"
    assert all(gpu["utilization_pct"] <= float(threshold) for gpu in placement["gpus"])
    assert all(gpu["memory_utilization_pct"] <= float(threshold) for gpu in placement["gpus"])


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two runs give the same bytes, because the document holds neither times nor paths."""
    documents = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "metrics-model.csv").write_text(DATA.read_text())
        result = CliRunner().invoke(
            main, ["solve", str(folder), "--gpu-memory", "16GB", "-o", str(folder / "placement.json")]
        )
        assert result.exit_code == 0, result.output
        documents.append((folder / "placement.json").read_bytes())
    assert documents[0] == documents[1]
