"""Show the progress of a sweep on stderr: a bar with the time left on a terminal, else one line for each trial."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from analyzer.formats.units import counted
from analyzer.measurements.record import Measurement

if TYPE_CHECKING:
    from analyzer.sweep.turns import TurnCount

_SAY_EVERY_S = 10.0  # how far the turns are, where there is no bar


class Progress:
    """A context manager that shows a bar on a terminal, and writes plain lines elsewhere.

    Parameters
    ----------
    trials : int
        Most trials that the sweep can have.
    """

    def __init__(self, trials: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._console = Console(stderr=True, highlight=False)
        self._bar = Bar(
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=trials)
        self.trials, self._turns_text = trials, ""
        self._turns_began_s: float | None = None
        self._said_s = 0.0
        self._workers = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bar.stop()

    def advance(self, measurement: Measurement, *, found: bool) -> None:
        """Count one trial; `found` says that it was in the store and not measured now."""
        from analyzer.measurements.text import outcome, trial_name

        rate = measurement.throughput_infer_per_s
        result = outcome(measurement) if rate is None else f"{rate:,.1f} infer/s"
        text = f"{trial_name(measurement.trial)}: {result}{' (from the store)' if found else ''}"
        self._bar.update(self._task, advance=1, description=f"{self._turns_text}{text}")
        if not self._console.is_terminal:
            self.say(text)

    def follow(self, count: TurnCount, *, per_type: int) -> None:
        """Show how far the turns on a cluster are, on how many devices, and how long they may still take.

        Parameters
        ----------
        per_type : int
            Turns that each type of device has.
        """
        now_s = time.monotonic()
        if self._turns_began_s is None:
            self._turns_began_s = self._said_s = now_s
            self.trials *= max(1, count.total // max(1, per_type))
            self._bar.update(self._task, total=self.trials)
        devices = counted(count.gpus, "GPU") if count.gpus else counted(count.workers, "device")
        where = f"{count.done} of {counted(count.total, 'turn')}, {counted(count.nodes, 'node')}, {devices}"
        self._turns_text = f"{where}; "
        fewer = count.workers < self._workers and count.done < count.total
        self._workers = count.workers
        if self._console.is_terminal or not (fewer or now_s - self._said_s >= _SAY_EVERY_S):
            return
        self._said_s = now_s
        left_s = (now_s - self._turns_began_s) / count.done * (count.total - count.done) if count.done else None
        self.say(where if left_s is None else f"{where}, about {duration(left_s)} left")

    def say(self, text: str) -> None:
        """Write a line, above the bar if there is one."""
        self._console.print(text, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Write a duration as people say it: in seconds, minutes or hours."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
