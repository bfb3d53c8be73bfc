"""Test `plan solve --mig`: geometry and start positions in the placement."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from analyzer.measurements.csv_file import write_measurements_csv
from planner.cli.main import main
from tests.builders.profiles import measurement


def test_placement_says_how_each_gpu_is_cut(tmp_path: Path) -> None:
    """Four replicas each fill a 1g.6gb slice: 4 x (1000 MiB + a server of 309 MiB) = 4 x 1309 MiB on one A30."""
    path = tmp_path / "metrics-model.csv"
    write_measurements_csv(path, [measurement(device="NVIDIA A30 MIG 1g.6gb", utilization=1.0)])
    (tmp_path / "demand.csv").write_text("model,replicas\nchest,4\n")
    options = ["--demand", str(tmp_path / "demand.csv"), "--gpu", "A30"]
    result = CliRunner().invoke(main, ["solve", str(path), *options, "--mig", "-o", "-"])
    assert result.exit_code == 0, result.output
    (gpu,) = json.loads(result.stdout)["gpus"]
    assert [(s["profile"], s["start"], s["memory_mib"]) for s in gpu["geometry"]["slices"]] == [
        ("1g.6gb", start, 1309) for start in range(4)
    ]
    assert gpu["memory_mib"] == 4 * 1309
    assert gpu["utilization_pct"] == 100  # each fills its quarter of the GPU
    assert {m["slice"]["start"] for m in gpu["models"]} == {0, 1, 2, 3}
    assert CliRunner().invoke(main, ["solve", str(path), *options]).exit_code == 3


def test_type_that_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    """The error names the GPU types that support MIG."""
    path = tmp_path / "metrics-model.csv"
    write_measurements_csv(path, [measurement()])
    result = CliRunner().invoke(main, ["solve", str(path), "--gpu", "T4", "--mig"])
    assert result.exit_code == 2
    assert "T4 cannot be cut; types that can are A30, A100-40GB" in result.stderr
