"""`python -m benchmarks.fleet`: turns per hour of `analyze --ray` over 1, 2 and 4 actors, written to RESULTS.md.

The actors run on one host, each with its own Triton; models sleep, so that the host's processors are no limit but for
the loading of models.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from analyzer.sweep.observer import Recording
from analyzer.sweep.prepare import prepare
from analyzer.sweep.settings import SweepSettings
from analyzer.sweep.turns import TurnCount
from benchmarks.profiler.report import Table, busy_share, section, store_section

ACTORS = (1, 2, 4)
RESULTS = Path(__file__).with_name("RESULTS.md")
_MODEL = Path(__file__).with_name("profiler") / "models" / "sleeper"
_TURNS_EACH, _TRIAL_S = 8, 3.0
_NO_PRECISION = 0.001  # percent: no trial reaches it, so each lasts as long as it may


@dataclass
class Times:
    """When turns were done, by `time.perf_counter`; the first entry is from before the first server was started."""

    done_s: list[float] = field(default_factory=list)

    def follow(self, count: TurnCount) -> None:
        """Note the time of each further turn."""
        while len(self.done_s) <= count.done:
            self.done_s.append(time.perf_counter())


@click.command()
@click.option("--quick", is_flag=True, help="Use short settings to try the benchmark; RESULTS.md stays as it is.")
def main(*, quick: bool) -> None:
    """Measure turns per hour over 1, 2 and 4 actors on this host."""
    busy, began_s = busy_share(), time.perf_counter()
    turns_each, trial_s = (2, 1.0) if quick else (_TURNS_EACH, _TRIAL_S)
    times = {actors: run(actors, actors * turns_each, trial_s) for actors in ACTORS}
    text = section("fleet", [table_of(times, trial_s)], busy=busy, wall_s=time.perf_counter() - began_s, quick=quick)
    click.echo(text)
    if not quick:
        store_section(RESULTS, "fleet", text)


def run(actors: int, turns: int, trial_s: float) -> Times:
    """Measure copies of a model, one trial each, on a Ray cluster of this process with so many actors."""
    with tempfile.TemporaryDirectory(prefix="tritonpack-bench-") as folder:
        repository = Path(folder) / "models"
        for number in range(turns):
            copy = repository / f"sleeper_{number:02}"
            shutil.copytree(_MODEL, copy)
            config = copy / "config.pbtxt"
            config.write_text(config.read_text().replace('name: "sleeper"', f'name: "{copy.name}"'))
        settings = SweepSettings(
            model_folder=repository,
            ray="local",
            per_node=actors,
            launch_mode="local",
            max_trial_s=trial_s,
            precision_pct=_NO_PRECISION,
            client_processes=1,
            output=Path(folder) / "results",
        )
        times, recording = Times(), Recording()
        prepare(settings).run(recording, follow=times.follow)
    assert len(recording.measurements) == turns
    assert all(each.status.measured for each in recording.measurements)
    return times


def table_of(times: dict[int, Times], trial_s: float) -> Table:
    """Return the turns per hour after each actor's first turn, and their ratio to one actor."""
    rows = []
    alone = turns_per_hour(times[1].done_s, 1)
    for actors, found in times.items():
        rate = turns_per_hour(found.done_s, actors)
        start_s = found.done_s[1] - found.done_s[0]
        rows.append(
            [
                str(actors),
                str(len(found.done_s) - 1),
                f"{found.done_s[-1] - found.done_s[0]:.1f}",
                f"{start_s:.1f}",
                f"{rate:,.0f}",
                f"{rate / alone:.2f}",
            ]
        )
    header = ["Actors", "Turns", "All turns (s)", "First turn (s)", "Turns/hour", "Ratio to 1"]
    note = (
        f"`python -m benchmarks.fleet`: each turn loads a copy of `profiler/models/sleeper` and has one trial of "
        f"{trial_s:g} s. Turns/hour are those after each actor's first turn, so without the start of the servers."
    )
    return Table(title="Turns per hour over actors of one host", header=header, rows=rows, notes=[note])


def turns_per_hour(done_s: Sequence[float], actors: int) -> float:
    """Return the rate of turns after the first of each actor."""
    return (len(done_s) - 1 - actors) / (done_s[-1] - done_s[actors]) * 3600


if __name__ == "__main__":
    main()
