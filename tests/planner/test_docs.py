"""The examples of docs/planning.md are files that the planner takes."""

from __future__ import annotations

import re
from pathlib import Path

from click.testing import CliRunner

from planner.cli.main import main
from planner.inputs.demand_file import KEYS, read_demand
from planner.inputs.fleet_file import read_fleet

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "planning.md").read_text()


def example(name: str, folder: Path) -> Path:
    """The TOML example that begins with this file's name."""
    (body,) = re.findall(rf"```toml\n# {name}\n(.*?)```", TEXT, re.DOTALL)
    (folder / name).write_text(body)
    return folder / name


def test_demand_example_is_planned(tmp_path: Path) -> None:
    """Every key of it is taken, and its models are those of the case study."""
    demand = example("demand.toml", tmp_path)
    assert len(read_demand(str(demand))) == 4
    demand.write_text(demand.read_text().replace("latency_p99_ms = 50", ""))  # the case study has no latencies
    data = str(ROOT / "tests" / "data" / "case-study.csv")
    result = CliRunner().invoke(main, ["solve", data, "--demand", str(demand), "--gpu-memory", "16GiB"])
    assert result.exit_code == 0, result.output


def test_fleet_example_is_read(tmp_path: Path) -> None:
    """Catalogue, cut and scaled types side by side."""
    t4, a100, lab = read_fleet(str(example("fleet.toml", tmp_path)))
    assert (t4.thresholds.utilization, a100.mig) == (0.8, "A100-80GB")
    assert lab.scaling is not None and lab.scaling.device == "Tesla T4"


def test_every_key_of_the_demand_is_told() -> None:
    """A key that nobody reads about is not used."""
    assert [key for key in KEYS if key not in TEXT] == []
