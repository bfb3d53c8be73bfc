"""Test the GPU benchmark's verification as far as that is possible without a GPU: its demand and the MPS daemon."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from benchmarks.gpu.co_location import MPS, demand_of, mps_daemon
from planner.inputs.demand_file import read_demand


def row(model: str, batch: int, concurrency: int, rate: str) -> dict[str, str]:
    """Make the cells of a measured row that the benchmark reads."""
    return {
        "model": model,
        "batch": str(batch),
        "concurrency": str(concurrency),
        "throughput_infer_per_s": rate,
    }


def fake_mps(folder: Path, monkeypatch: pytest.MonkeyPatch, status: int = 0) -> Path:
    """Put a control program first on PATH that notes its options, its input and its folder; return its notes."""
    notes = folder / "notes"
    program = folder / MPS
    program.write_text(
        f'#!/bin/sh\nif [ "$1" = -d ]; then echo "start $CUDA_MPS_PIPE_DIRECTORY" >>{notes}; exit {status}; fi\n'
        f'echo "$(cat) $CUDA_MPS_PIPE_DIRECTORY" >>{notes}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return notes


def test_demand_puts_the_models_together_at_a_share_of_their_throughput(tmp_path: Path) -> None:
    """Of 100/s and 50/s at batch 1 and concurrency 1, 30 % are asked for, on one GPU."""
    rows = [row("a", 4, 1, "900"), row("a", 1, 1, "100"), row("b", 1, 1, "50")]
    path = tmp_path / "demand.toml"
    path.write_text(demand_of(("a", "b"), rows))
    a, b = read_demand(str(path))
    assert (a.rate_infer_per_s, b.rate_infer_per_s) == (pytest.approx(30), pytest.approx(15))
    assert a.together == b.together == ("pair",)


def test_mps_daemon_has_a_folder_of_its_own_and_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon is started and told to quit with the same pipe folder, also where the work in between fails."""
    notes = fake_mps(tmp_path, monkeypatch)
    with pytest.raises(ZeroDivisionError), mps_daemon(tmp_path / "mps") as environment:
        assert Path(environment["CUDA_MPS_PIPE_DIRECTORY"]).is_dir()
        raise ZeroDivisionError
    pipes = tmp_path / "mps" / "pipe"
    assert notes.read_text().splitlines() == [f"start {pipes}", f"quit {pipes}"]


def test_mps_daemon_that_does_not_start_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A control program that fails is named with its status, and is not told to quit."""
    notes = fake_mps(tmp_path, monkeypatch, status=3)
    with pytest.raises(click.ClickException, match="status 3"), mps_daemon(tmp_path / "mps"):
        pass
    assert len(notes.read_text().splitlines()) == 1
