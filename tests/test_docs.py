"""Test the documentation: its examples run, and the keys, files and folders that it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from analyzer.cli.main import main as analyze
from analyzer.servers.backends import BACKENDS_OF_IMAGES
from planner.cli.export import command as export_command
from planner.cli.main import main
from planner.export.inventory import read_inventory
from planner.inputs.demand_file import KEYS, read_demand
from planner.inputs.fleet_file import read_fleet

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "planning.md").read_text()
DEPLOYING = (ROOT / "docs" / "deploying.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(), re.DOTALL)


def example(name: str, folder: Path) -> Path:
    """Write the TOML example that begins with this file's name to `folder`; return its path."""
    (body,) = re.findall(rf"```toml\n# {name}\n(.*?)```", TEXT, re.DOTALL)
    (folder / name).write_text(body)
    return folder / name


def test_demand_example_is_planned(tmp_path: Path) -> None:
    """The demand example is read and planned with the case study."""
    demand = example("demand.toml", tmp_path)
    assert len(read_demand(str(demand))) == 4
    demand.write_text(demand.read_text().replace("latency_p99_ms = 50", ""))  # the case study has no latencies
    data = str(ROOT / "tests" / "data" / "case-study.csv")
    result = CliRunner().invoke(main, ["solve", data, "--demand", str(demand), "--gpu-memory", "16GiB"])
    assert result.exit_code == 0, result.output


def test_example_of_rates_by_hour_is_read(tmp_path: Path) -> None:
    """The example has a rate for each of 24 hours, the highest at 09:00."""
    (found,) = read_demand(str(example("hours.toml", tmp_path)))
    assert found.shares_by_hour.index(1.0) == 9
    assert found.rate_infer_per_s == 2500


def test_fleet_example_is_read(tmp_path: Path) -> None:
    """The fleet example has types from the catalogue, with MIG and with scaling."""
    t4, a100, lab = read_fleet(str(example("fleet.toml", tmp_path)))
    assert (t4.thresholds.utilization, a100.mig) == (0.8, "A100-80GB")
    assert lab.scaling is not None and lab.scaling.device == "Tesla T4"


def test_every_key_of_the_demand_is_documented() -> None:
    """docs/planning.md names every key of a demand file."""
    assert [key for key in KEYS if key not in TEXT] == []


def test_every_option_of_onnx_models_is_documented() -> None:
    """docs/onnx.md names every parameter that is honoured or named as not, and every image whose backends are known."""
    text = (ROOT / "docs" / "onnx.md").read_text()
    code = (ROOT / "analyzer" / "servers" / "onnx_backend" / "onnx_options.py").read_text()
    theirs = {"string_value", "intra_op_num_threads", "inter_op_num_threads", "enable_cpu_mem_arena"}
    names = [name for name in re.findall(r'"([a-z_.]+)"', code) if "_" in name and name not in theirs]
    assert len(names) > 15
    assert [name for name in names if name.rpartition(".")[2] not in text] == []
    assert [kind for kind in BACKENDS_OF_IMAGES if kind != "py3-min" and f"`24.10-{kind}`" not in text] == []


def test_blocks_of_the_python_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The blocks run in order in one namespace; the first one, which needs Triton, is only compiled here."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    assert "measure(" in PYTHON[0]
    compile(PYTHON[0], "docs/python.md", "exec")
    namespace: dict[str, object] = {}
    for block in PYTHON[1:]:
        exec(block, namespace)  # noqa: S102  (the code of our own page)
    said = capsys.readouterr().out
    comment = re.search(r"print\(error\)  # (.*)", "".join(PYTHON))
    assert comment is not None
    assert comment[1] in said  # the error that the page shows is the one that is raised
    assert (tmp_path / "report" / "report.html").exists()


def test_deploying_names_existing_options_and_its_inventory_is_read(tmp_path: Path) -> None:
    """docs/deploying.md has an inventory that is read, and only options that commands or Triton's flags have."""
    (body,) = re.findall(r"```toml\n(.*?)```", DEPLOYING, re.DOTALL)
    (tmp_path / "gpus.toml").write_text(body)
    (real,) = read_inventory([str(tmp_path / "gpus.toml")])
    assert (real.node, real.address, len(real.slices)) == ("serving-1", "10.0.0.7", 1)
    commands = re.findall(r"^plan export (.*)$|`(--[a-z-]+)[ `]", DEPLOYING, re.MULTILINE)
    named = {word for found in commands for word in " ".join(found).split() if word.startswith("-")}
    assert len(named) > 8
    known = {flag for command in (export_command, analyze) for parameter in command.params for flag in parameter.opts}
    others = {"--model-config-name", "--metrics-config", "--build-arg"}  # of tritonserver and docker
    assert named - known - others - {"--help"} == set()


def test_files_that_the_architecture_names_exist() -> None:
    """Every path in backquotes exists below the root of the repository."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = [name for name in re.findall(r"`((?:analyzer|planner|reports|tests|docs)/[\w/.]*)`", text) if "/" in name]
    assert len(named) > 30
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("package", ["analyzer", "planner"])
def test_architecture_lists_every_subpackage(package: str) -> None:
    """Each folder of a package has a row in the architecture's table."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = [path.parent.name for path in (ROOT / package).glob("*/__init__.py")]
    assert [room for room in rooms if f"| `{room}/` |" not in text] == []
