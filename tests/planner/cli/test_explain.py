"""Test `plan explain` on the case study."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from planner.cli.main import main

DATA = Path(__file__).parents[2] / "data" / "case-study.csv"


def plan(*arguments: object) -> Result:
    """Run `plan` with these arguments."""
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_explanation_says_what_binds_and_what_would_save_a_gpu(tmp_path: Path) -> None:
    """At 95 % hippocampus (52 %) and brain tumor (48 %) cannot share a GPU: 7 GPUs; at 10 % more it would be 6.

    By volume: utilization 491 / 95 = 5.2, so 6; memory utilization 332 / 95 = 3.5 and memory 52 of 4 x 15.9 GiB, so 4.
    """
    file = tmp_path / "placement.json"
    options = ("--gpu-memory", "16GiB", "--max-utilization", "95", "--max-memory-utilization", "95")
    assert plan("solve", DATA, *options, "-o", file).exit_code == 0
    result = plan("explain", file, DATA)
    assert result.exit_code == 0, result.output
    assert "7 GPUs: proven" in result.stdout
    assert "utilization 6 GPUs, memory 4 GPUs, memory utilization 4 GPUs" in result.stdout
    found = json.loads(plan("explain", file, DATA, "--json").stdout)
    assert found["bounds"] == {"memory": 4, "utilization": 6, "memory utilization": 4}
    assert len(found["binding"]) == 7
    assert all(0 < fill["share"] <= 1 for fill in found["binding"].values())


def test_conflicting_demands_are_named(tmp_path: Path) -> None:
    """Two GPUs cannot hold two replicas of chest (56 %) and liver (76 %); breast is not part of the conflict."""
    demand, file = tmp_path / "demand.csv", tmp_path / "placement.json"
    demand.write_text("model,replicas\nclassification_chest,2\nsegmentation_liver,1\nclassification_breast,1\n")
    fleet = tmp_path / "fleet.toml"
    fleet.write_text('[[gpu]]\ntype = "16-GB GPU"\nmemory_mib = 16384\ncount = 2\n')
    assert plan("solve", DATA, "--demand", demand, "--fleet", fleet, "-o", file).exit_code == 3
    found = json.loads(plan("explain", file, DATA, "--json").stdout)
    assert found["conflict"] == ["classification_chest", "segmentation_liver"]


def test_placement_alone_explains_what_it_can(tmp_path: Path) -> None:
    """Without profiles it names the fullest resource and what the emptiest GPU holds, and asks for the profiles."""
    file = tmp_path / "placement.json"
    assert plan("solve", DATA, "--gpu-memory", "16GiB", "-o", file).exit_code == 0
    result = plan("explain", file)
    assert "is the emptiest" in result.stdout
    assert "give the PROFILES" in result.stderr
