"""Show the progress of a sweep on stderr: a bar with the time left on a terminal, else one line for each trial."""

from __future__ import annotations

from typing import Self

from analyzer.measurements.record import Measurement


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
        self._bar.update(self._task, advance=1, description=text)
        if not self._console.is_terminal:
            self.say(text)

    def say(self, text: str) -> None:
        """Write a line, above the bar if there is one."""
        self._console.print(text, markup=False, soft_wrap=True)
