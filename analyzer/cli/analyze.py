"""Run the command `analyze`: show progress on stderr, then the tables, the export and the summary."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from analyzer.cli.option_types import typed
from analyzer.cli.progress import Progress
from analyzer.cli.pull_progress import show_pull
from analyzer.cli.search_results import search_result_line
from analyzer.errors import TritonpackError
from analyzer.formats.option_values import in_flags
from analyzer.measurements.record import Measurement, ServerOnly
from analyzer.measurements.store import Store
from analyzer.measurements.text import measurement_table, outcome, server_only_table, trial_name
from analyzer.search import SearchResult
from analyzer.sweep.export import Export
from analyzer.sweep.observer import Recording
from analyzer.sweep.prepare import SweepResult, prepare
from analyzer.sweep.settings import FLAGS, SweepSettings
from analyzer.sweep.signals import Interrupted
from analyzer.sweep.sweep_file import merge


def analyze(ctx: click.Context, values: dict[str, Any]) -> bool:
    """Run the command; return whether a trial has no figures.

    Raises
    ------
    TritonpackError, Interrupted
        If the sweep ended early; the finished trials are stored, shown and exported before that.
    """
    prepared = prepare(merge(_settings(ctx, values), values["config"]), follow_pull=show_pull)
    settings, job = prepared.settings, prepared.job
    for note in job.notes:
        click.echo(in_flags(note, FLAGS), err=True)
    with Store.open(settings.store_place) as store:
        store_name = store.name
    for line in prepared.describe():
        click.echo(in_flags(line, FLAGS), err=True)
    recording, files = Recording(), Export(settings)
    prepared.export_early(recording, files)
    stopped: BaseException | None = None
    progress = Progress(job.points)
    try:
        with progress:
            prepared.run(
                _ProgressObserver(recording, progress),
                flags=FLAGS,
                follow=partial(progress.follow, per_type=len(job.model_variants)),
            )
    except (Interrupted, TritonpackError) as error:
        if not recording.measurements:
            raise
        stopped = error
    result = prepared.result(recording)
    _show(result)
    if settings.export:
        try:
            _finish_export(files, settings, result)
        except TritonpackError as error:
            if stopped is None:
                raise
            click.echo(in_flags(error.message, FLAGS), err=True)
    if stopped is not None:
        click.echo(f"{len(result)} of {progress.trials} trials are in {store_name}; run again to continue", err=True)
        raise stopped from None
    return _summarize(result)


def _settings(ctx: click.Context, values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in typed(ctx, values).items() if name in FLAGS}


class _ProgressObserver:
    """An observer that passes events on to a recording, and shows the progress of the sweep."""

    def __init__(self, recording: Recording, progress: Progress) -> None:
        self._recording = recording
        self._progress = progress

    def idle_measured(self, idle: ServerOnly) -> None:
        self._recording.idle_measured(idle)

    def trial_ended(self, measurement: Measurement, *, found: bool) -> None:
        self._recording.trial_ended(measurement, found=found)
        self._progress.advance(measurement, found=found)

    def search_ended(self, result: SearchResult) -> None:
        self._recording.search_ended(result)

    def noted(self, text: str) -> None:
        self._recording.noted(text)
        self._progress.say(in_flags(text, FLAGS))


def _show(result: SweepResult) -> None:
    if result.server_only:
        click.echo("Triton without models\n" + server_only_table(result.server_only) + "\n")
    click.echo(measurement_table(result.rows))
    if result.search_results:
        lines = [in_flags(search_result_line(each), FLAGS) for each in result.search_results]
        click.echo("\n" + "\n".join(lines))


def _finish_export(files: Export, settings: SweepSettings, result: SweepResult) -> None:
    figures = files.finish(result.rows)
    click.echo(
        f"Wrote {settings.filename_model}, {settings.filename_server_only} and {len(figures)} plots to "
        f"{settings.export_folder}",
        err=True,
    )


def _summarize(result: SweepResult) -> bool:
    """Print the trials that failed or have a warning; return whether one has no figures."""
    failed = [m for m in result if not m.status.measured]
    for measurement in [m for m in result if m.cause]:
        click.echo(f"{trial_name(measurement.trial)}: {outcome(measurement)}", err=True)
    if failed:
        click.echo(f"{len(failed)} of {len(result)} trials have no figures", err=True)
    return bool(failed)
