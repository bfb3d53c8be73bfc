"""Test the progress of a sweep on a cluster."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analyzer.cli.progress import Progress, duration
from analyzer.sweep.turns import TurnCount

START = TurnCount(done=0, total=60, workers=6, gpus=6, nodes=3)


def test_lost_node_is_shown_with_turns_devices_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal a line tells how far the turns are when a worker is lost, and not at every turn."""
    with Progress(60) as progress:
        progress.follow(START, per_type=60)
        for done in range(1, 31):
            progress.follow(replace(START, done=done), per_type=60)
        progress.follow(replace(START, done=30, workers=4, gpus=4, nodes=2), per_type=60)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("30 of 60 turns, 2 nodes, 4 GPUs, about ")
    assert line.endswith(" s left")


def test_trials_are_those_of_all_types() -> None:
    """Where every turn is done on two types of devices there are twice as many trials."""
    with Progress(120) as progress:
        progress.follow(START, per_type=30)
    assert progress.trials == 240


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (89, "89 s"), (91, "2 min"), (3600, "60 min"), (5500, "2 h"), (200_000, "56 h")]
)
def test_duration_is_rounded(seconds: float, text: str) -> None:
    """Seconds up to one and a half minutes, minutes up to one and a half hours."""
    assert duration(seconds) == text
