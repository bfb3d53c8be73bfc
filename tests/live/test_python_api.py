"""Test `measure` on a real Triton: its example, its result, and Ctrl-C."""

from __future__ import annotations

import doctest
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

import analyzer
from planner import plan, verify
from tests.builders.model_repositories import write_model
from tests.conftest import wait_for

pytestmark = pytest.mark.usefixtures("local_server")


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Run Triton on this host even if there is a Docker engine, and write results to the test's folder."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("function", [analyzer.measure, verify])
def test_example_gives_the_output_shown(function: object) -> None:
    """The docstring's example, run on the sample models, gives the output that it shows."""
    (test,) = doctest.DocTestFinder().find(function, "example")
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert not report, "".join(report)


def test_measurements_are_planned_without_a_file(repository: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing is printed, a second call finds its trials in the store, and the result makes a table and a plan."""
    write_model(repository, "a")
    write_model(repository, "b")
    options = {"batches": [1, 2], "max_trial_s": 1, "precision_pct": 30, "launch_mode": "local", "store": "kept.sqlite"}
    measured = analyzer.measure(repository, **options)
    assert [(m.trial.model, m.trial.batch) for m in measured] == [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
    assert analyzer.measure(repository, **options).rows == measured.rows
    assert analyzer.read_measurements("kept.sqlite").to_frame().equals(measured.to_frame())
    result = plan(measured, mode="memory", gpu_memory_mib=8192)
    assert result.gpus == 1
    assert {model.name for model in result.placement.gpus[0].models} == {"a", "b"}
    assert capfd.readouterr() == ("", "")


def test_interrupt_leaves_nothing_behind(repository: Path, tmp_path: Path) -> None:
    """Ctrl-C in a trial raises KeyboardInterrupt; the server has ended, and no other process remains."""
    mark = tmp_path / "reached"
    write_model(repository, "m", execute=f"open({str(mark)!r}, 'w').close(); time.sleep(60)")
    code = f"from analyzer import measure; measure({str(repository)!r}, launch_mode='local')"
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as process:
        wait_for(mark.exists, "the first request", timeout_s=60)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert err.rstrip().endswith("KeyboardInterrupt"), err
    assert children
    assert psutil.wait_procs(children, timeout=5)[1] == []
