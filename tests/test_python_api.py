"""Test that the Python API and the command line agree in options, defaults, errors and results."""

from __future__ import annotations

import inspect
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from analyzer import UsageError, measure, read_measurements
from analyzer.cli.main import main as analyze_command
from analyzer.formats.option_values import in_flags, options_of
from analyzer.sweep.settings import FLAGS as SWEEP_FLAGS
from analyzer.sweep.settings import SweepSettings
from planner import explain, plan, read_profiles, write_placement
from planner.cli.explain import command as explain_command
from planner.cli.solve import command as solve_command
from planner.explanation.explain import ExplainSettings
from planner.formulation.settings import FLAGS, PlanSettings
from planner.placement.file import to_json
from tests.builders.model_repositories import write_model

ROOT = Path(__file__).parent.parent
DATA = ROOT / "tests" / "data" / "case-study.csv"
GPU = ("--gpu-memory", "16384MiB")

# function, its settings, its other parameters, the command, and the command's other parameters
CALLS: list[tuple[Callable[..., Any], type, set[str], click.Command, set[str]]] = [
    (measure, SweepSettings, {"model_folder", "config", "per_model"}, analyze_command, {"check", "version", "config"}),
    (plan, PlanSettings, {"profiles", "current"}, solve_command, {"profiles", "current", "output"}),
    (explain, ExplainSettings, {"placement", "profiles"}, explain_command, {"placement", "profiles", "as_json"}),
]


@pytest.mark.parametrize(("function", "settings", "beside", "command", "flags_only"), CALLS)
def test_every_option_is_a_keyword_with_the_same_default(
    function: Callable[..., Any], settings: type, beside: set[str], command: click.Command, flags_only: set[str]
) -> None:
    """Each option of the settings is a keyword with the same default and a flag of the command."""
    declared = options_of(settings)
    parameters = inspect.signature(function).parameters
    assert parameters.keys() - declared.keys() <= beside
    assert declared.keys() <= parameters.keys()
    for name in declared:
        assert parameters[name].default is not inspect.Parameter.empty, name
        assert getattr(settings(**{name: parameters[name].default}), name) == getattr(settings(), name), name
    assert {parameter.name for parameter in command.params} - flags_only == declared.keys() - {"per_model"}


@pytest.mark.parametrize(
    ("wrong", "flags"),
    [
        ({"mode": "speed"}, ["--mode", "speed"]),
        ({"gpu_memory_mib": 0.0}, ["--gpu-memory", "0MiB"]),
        ({"max_memory_pct": 101.0}, ["--max-memory", "101"]),
        ({"max_utilization_pct": 80.0, "mode": "memory"}, ["--max-utilization", "80", "--mode", "memory"]),
        ({"keep_throughput": 1.5}, ["--keep-throughput", "1.5"]),
        ({"spare": -1}, ["--spare", "-1"]),
        ({"time_limit_s": 0.0}, ["--time-limit", "0"]),
        ({"batch": 3}, ["--batch", "3"]),
        ({"model_names": "classification_brest"}, ["--model-names", "classification_brest"]),
        ({"device": "16-GB GP"}, ["--device", "16-GB GP"]),
        ({"gpus": ["T5"]}, ["--gpu", "T5"]),
        ({"gpus": ["T4", "T4:2"]}, ["--gpu", "T4", "--gpu", "T4:2"]),
        ({"gpus": ["T4:x"]}, ["--gpu", "T4:x"]),
        ({"fleet": "/none.toml"}, ["--fleet", "/none.toml"]),
        ({"demand": "/none.toml"}, ["--demand", "/none.toml"]),
        ({"mig": True}, ["--mig"]),
        ({"max_moves": 3}, ["--max-moves", "3"]),
        ({"current": "/none.json"}, ["--current", "/none.json"]),
        ({"objective": "cost"}, ["--objective", "cost"]),
    ],
)
def test_plan_raises_the_error_of_the_command(
    wrong: dict[str, Any], flags: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """`plan()` raises the command's message, without flags, and prints nothing."""
    with pytest.raises(UsageError) as caught:
        plan(DATA, **{"gpu_memory_mib": 16384.0, **wrong} if "gpus" not in wrong and "fleet" not in wrong else wrong)
    assert capfd.readouterr() == ("", "")
    given = [] if {"gpus", "fleet", "gpu_memory_mib"} & wrong.keys() else GPU
    said = CliRunner().invoke(solve_command, [str(DATA), *given, *flags])
    assert said.exit_code == 2
    assert "--" not in caught.value.message
    sentence = in_flags(caught.value.message, FLAGS | {"current": "current"})
    assert without_value(said.stderr) == without_value(f"Error: {sentence}\n")


def without_value(line: str) -> str:
    """Replace the parts in which messages differ: a size is text with a unit there, a number here."""
    return (
        line.replace("'0MiB' is out of range; it must be above 0 and at most 1024TiB", "SIZE")
        .replace("0.0 is not a size; give MiB, above 0 and at most 1,073,741,824", "SIZE")
        .replace("Invalid value for '--", "Invalid value for --")
        .replace("':", ":")
    )


@pytest.mark.parametrize(
    ("wrong", "flags"),
    [
        ({"batches": [0]}, ["--batch", "0"]),
        ({"search": "walk"}, ["--search", "walk"]),
        ({"max_concurrency": 8}, ["--max-concurrency", "8"]),
        ({"latency_p99_ms": 50.0}, ["--latency-p99-ms", "50"]),
        ({"find_peak": True}, ["--find-peak"]),
        ({"shapes": ["X"]}, ["--shape", "X"]),
        ({"shapes": ["Z:2"]}, ["--shape", "Z:2"]),
        ({"input_data": "/none.json"}, ["--input-data", "/none.json"]),
        ({"launch_mode": "remote"}, ["--launch-mode", "remote"]),
        ({"allow_reload": True}, ["--allow-reload"]),
        ({"model_names": ["mm"]}, ["--model-names", "mm"]),
        ({"also_load": ["mm"]}, ["--also-load", "mm"]),
        ({"gpus": ["7"]}, ["--gpus", "7"]),
        ({"batches": [16]}, ["--batch", "16"]),
        ({"store": "nonsense://x"}, ["--store", "nonsense://x"]),
    ],
)
def test_measure_raises_the_error_of_the_command(
    repository: Path, tmp_path: Path, wrong: dict[str, Any], flags: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """`measure()` raises the command's message before it starts or writes anything."""
    write_model(repository, "m")
    launch = {} if "launch_mode" in wrong else {"launch_mode": "local"}
    with pytest.raises(UsageError) as caught:
        measure(repository, output=tmp_path / "results", **launch, **wrong)
    assert capfd.readouterr() == ("", "")
    command = ["--model-folder", str(repository), "-o", str(tmp_path / "results")]
    said = CliRunner().invoke(analyze_command, [*command, *(() if not launch else ("--launch-mode", "local")), *flags])
    assert said.exit_code == 2
    assert "--" not in caught.value.message
    sentence = in_flags(caught.value.message, SWEEP_FLAGS)
    last = said.stderr.splitlines()[-1]
    assert without_value(last) == without_value(f"Error: {sentence}")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({}, ()),
        ({"mode": "memory", "group": True}, ("--mode", "memory", "--group")),
        ({"max_utilization_pct": 80, "seed": 3}, ("--max-utilization", "80", "--seed", "3")),
        ({"keep_throughput": 0.9, "spare": 1}, ("--keep-throughput", "0.9", "--spare", "1")),
        ({"batch": 2, "concurrency": 4}, ("--batch", "2", "--concurrency", "4")),
    ],
)
def test_plan_gives_the_same_bytes_as_the_command(
    options: dict[str, Any], flags: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    """`plan solve -o -` and `plan()` write the same placement."""
    result = plan(DATA, gpu_memory_mib=16384, **options)
    assert capfd.readouterr() == ("", "")
    printed = CliRunner().invoke(solve_command, [str(DATA), *GPU, *flags, "-o", "-"])
    assert printed.exit_code == 0, printed.output
    assert printed.stdout == to_json(result.placement)


def test_replanning_gives_the_same_bytes_as_the_command(tmp_path: Path) -> None:
    """With files of demand, fleet and current placement, `plan()` and the command write the same placement."""
    demand, fleet, current = (tmp_path / name for name in ("demand.toml", "fleet.toml", "current.json"))
    demand.write_text('[[model]]\nmodel = "classification_breast"\nrate_infer_per_s = 3000\n')
    fleet.write_text('[[gpu]]\ntype = "house"\nmemory_mib = 16384\ndevices = ["16-GB GPU"]\n')
    write_placement(plan(DATA, demand=demand, fleet=fleet).placement, current)
    result = plan(DATA, demand=demand, fleet=fleet, current=current, max_moves=2)
    named = ["--demand", demand, "--fleet", fleet, "--current", current, "--max-moves", "2", "-o", "-"]
    printed = CliRunner().invoke(solve_command, [str(DATA), *map(str, named)])
    assert printed.stdout == to_json(result.placement)
    assert result.moves == ()


def test_profiles_come_from_a_table_or_from_measurements() -> None:
    """A DataFrame with the CSV's columns, the records and the file give the same plan."""
    measurements = read_measurements(DATA)
    wanted = to_json(plan(DATA, gpu_memory_mib=16384).placement)
    for source in (measurements, measurements.to_frame(), list(measurements), read_profiles(measurements.to_frame())):
        assert to_json(plan(source, gpu_memory_mib=16384).placement) == wanted


def test_table_of_other_columns_is_refused_with_the_column() -> None:
    """Refused are a table without a column that a plan needs, and one with a cell that is no number."""
    table = read_measurements(DATA).to_frame()
    with pytest.raises(UsageError, match="max_memory_mib"):
        read_profiles(table.drop(columns=["max_memory_mib", "model_memory_mib"]))
    with pytest.raises(UsageError, match="row 2 of the table"):
        read_profiles(table.astype(object).assign(batch=lambda t: [1, 1, "many", *t["batch"][3:]]))


def test_interrupt_of_plan_is_a_keyboard_interrupt_at_once() -> None:
    """In Python, Ctrl-C raises KeyboardInterrupt also during a search in compiled code."""
    script = (
        "from planner import SearchLimits, solve\nfrom tests.builders.problems import hard_problem\n"
        "print('on', flush=True)\nsolve(hard_problem(400), SearchLimits(seconds=300))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(3)
        process.send_signal(signal.SIGINT)
        asked_s = time.monotonic()
        _, err = process.communicate(timeout=60)
    assert time.monotonic() - asked_s < 10  # about a second on an idle machine
    assert err.rstrip().endswith("KeyboardInterrupt"), err
    assert process.returncode != 0
