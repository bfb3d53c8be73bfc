"""Test the command line of `plan`: its output, and the options that it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from analyzer.measurements.csv_file import write_measurements_csv
from planner.cli.main import main
from tests.builders.profiles import measurement


def plan(*arguments: object) -> Result:
    """Run `plan` with these arguments."""
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    """Write the measurements of two models on a T4: chest (1000 MiB, 50 %) and liver (2000 MiB, 60 %)."""
    path = tmp_path / "metrics-model.csv"
    rows = [measurement("chest"), measurement("liver", max_memory_mib=2309, utilization=0.6)]
    write_measurements_csv(path, rows)
    return path


def test_table_goes_to_stdout_and_notes_to_stderr(csv: Path, tmp_path: Path) -> None:
    """Half a rate in proportion: 25 % and 30 % fit on one GPU, and a note says what that takes for granted."""
    demand = tmp_path / "demand.csv"
    demand.write_text("model,rate_infer_per_s\nchest,50\nliver,50\n")
    result = plan("solve", csv, "--gpu-memory", "16GiB", "--demand", demand, "--proportional")
    assert result.exit_code == 0
    assert result.stdout.startswith("1 GPU: proven")
    assert "note" not in result.stdout
    assert "note: --proportional takes utilization to grow from 0" in result.stderr


def test_model_too_big_is_named_with_its_figure_and_exit_code_3(csv: Path) -> None:
    """2000 MiB do not fit the 1691 MiB that a server of 309 MiB leaves of 2000 MiB."""
    result = plan("solve", csv, "--gpu-memory", "2000MiB")
    assert result.exit_code == 3
    assert "liver fits no GPU: its memory of 2,000 MiB exceeds the 1,691 MiB left beside the server" in result.stdout
    assert "chest" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu-memory", "16384"], "without a unit; write 16384MiB"),
        (["--gpu", "T5"], "did you mean 'T4'"),
        (["--gpu", "T4:x"], "write T4:8"),
        (["--gpu", "L4"], "not assumed of a L4"),
        (["--mode", "memory", "--max-utilization", "80"], "no effect with --mode memory"),
        (["--max-utilization", "0"], "above 0"),
        (["--max-memory", "101"], "at most 100"),
        (["--batch", "3"], "was not measured at batch 3"),
        (["--model-names", "chst"], "did you mean 'chest'"),
        (["--device", "Tesla T5"], "did you mean 'Tesla T4'"),
        (["--gpu-memory", "300MiB"], "server (309 MiB)"),
        (["-o", "/no/such/folder/placement.json"], "there is no folder /no/such/folder"),
    ],
)
def test_bad_option_is_one_line_with_the_way_out(csv: Path, arguments: list[str], message: str) -> None:
    """A wrong option ends with exit code 2 and one line that says what is wrong and what to do."""
    result = plan("solve", csv, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_missing_profiles_say_what_can_be_given(tmp_path: Path) -> None:
    """For a missing path and for a folder without measurements the error says what to give."""
    assert "there is no" in plan("solve", tmp_path / "nothing").stderr
    assert "run analyze -o" in plan("solve", tmp_path).stderr


def test_unmeasured_utilization_is_refused_where_others_have_it(tmp_path: Path) -> None:
    """A figure that one model lacks is an error; a figure that all models lack does not limit, and a note says so."""
    path = tmp_path / "some.csv"
    write_measurements_csv(path, [measurement("chest"), measurement("liver", memory_utilization=None)])
    result = plan("solve", path, "--gpu-memory", "16GiB")
    assert result.exit_code == 2
    assert "model 'liver' (batch 1, concurrency 1) has no measured memory utilization" in result.stderr
    write_measurements_csv(path, [measurement("chest", memory_utilization=None)])
    result = plan("solve", path, "--gpu-memory", "16GiB")
    assert result.exit_code == 0
    assert "memory utilization was not measured on Tesla T4" in result.stderr


def test_replicas_of_a_profiled_model_are_limited_by_its_utilization(csv: Path) -> None:
    """(0.7 x 16384 - 309) / 1000 = 11 by memory, but only 2 by 50 % of utilization each."""
    result = plan("replicas", csv, "--model", "chest", "--gpu-memory", "16GiB", "--gpus", "3")
    assert result.stdout.startswith("6 replicas on 3 GPUs, 2 on each: limited by utilization")
    result = plan("replicas", "--model-memory", "2GB", "--gpu-memory", "16GB", "--gpus", "2")
    assert result.stdout.startswith("10 replicas on 2 GPUs, 5 on each: limited by memory")


def test_help_loads_neither_solver_nor_tables() -> None:
    """`plan --help` is instant because heavy imports wait for the command that needs them."""
    code = (
        "import sys\nfrom planner.cli.main import main\n"
        "try:\n main(['solve', '--help'])\nexcept SystemExit:\n pass\n"
        "heavy = {'ortools', 'pandas', 'sqlalchemy', 'docker', 'matplotlib', 'jsonschema', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.strip() == "[]"


def test_sweep_shows_gpus_over_growth(csv: Path, tmp_path: Path) -> None:
    """A replica of chest gives 100 infer/s at 50 %: 150/s need two replicas on one GPU, 300/s three on two."""
    (tmp_path / "demand.csv").write_text("model,rate_infer_per_s\nchest,150\n")
    options = ("--demand", tmp_path / "demand.csv", "--gpu-memory", "16GiB")
    picture = tmp_path / "growth.png"
    result = plan("sweep", csv, *options, "--rate-factor", "1,2", "-o", "-", "--plot", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1:] == ["1.0,optimal,1,gpus,1.0,1.0,0.0,1", "2.0,optimal,2,gpus,2.0,2.0,0.0,2"]
    (tmp_path / "demand.csv").write_text("model,replicas\nchest,2\n")
    result = plan("sweep", csv, *options)
    assert (result.exit_code, "there is nothing that grows" in result.stderr) == (2, True)


def test_diff_shows_what_a_threshold_changes(csv: Path, tmp_path: Path) -> None:
    """At 110 % chest and liver (50 % and 60 %) share a GPU, at 100 % they do not."""
    for name, threshold in (("a", "110"), ("b", "100")):
        options = ("--gpu-memory", "16GiB", "--max-utilization", threshold, "-o", tmp_path / f"{name}.json")
        assert plan("solve", csv, *options).exit_code == 0
    result = plan("diff", tmp_path / "a.json", tmp_path / "b.json")
    assert "objective gpus: 1 -> 2" in result.stdout
    assert "chest: 1 replica of 1000 MiB from gpu-0 to new gpu-" in result.stdout
    assert plan("diff", tmp_path / "a.json", tmp_path / "a.json").stdout == "no difference\n"


def test_names_cannot_move_the_cursor_or_fake_a_line(tmp_path: Path) -> None:
    """Control characters in a model's name are replaced in every output."""
    path = tmp_path / "metrics-model.csv"
    rows = [measurement("a\x1b[2Jb"), measurement("c\nd", max_memory_mib=30_000)]
    write_measurements_csv(path, rows)
    for options in (["--gpu-memory", "64GiB"], ["--gpu-memory", "16GiB"]):
        shown = plan("solve", path, *options).output
        assert "\x1b" not in shown
        assert not any(line.startswith("d") for line in shown.splitlines())


def test_demand_and_model_names_that_have_nothing_in_common_are_refused(csv: Path, tmp_path: Path) -> None:
    """Demand and model names without a common model are an error of one line; they once gave a traceback."""
    (tmp_path / "demand.csv").write_text("model\nchest\n")
    result = plan("solve", csv, "--demand", tmp_path / "demand.csv", "--model-names", "liver")
    assert result.exit_code == 2
    assert "the demand has none of --model-names liver" in result.stderr


def test_fleet_that_is_too_small_is_reported_in_numbers(csv: Path, tmp_path: Path) -> None:
    """Three copies of 50 % need two GPUs; there is one."""
    (tmp_path / "demand.csv").write_text("model,replicas\nchest,3\n")
    result = plan("solve", csv, "--demand", tmp_path / "demand.csv", "--gpu", "T4:1")
    assert result.exit_code == 3
    assert "chest fits a GPU, but 1 T4 cannot hold all that is asked for" in result.stdout


def test_models_that_cannot_be_together_are_named(csv: Path, tmp_path: Path) -> None:
    """One chest at 50 % and one liver at 60 % fit a GPU each, but not the same one."""
    (tmp_path / "demand.csv").write_text("model,together\nchest,scans\nliver,scans\n")
    result = plan("solve", csv, "--demand", tmp_path / "demand.csv", "--gpu", "T4")
    assert result.exit_code == 3
    assert "cannot hold all that is asked for, with chest and liver together" in result.stdout
