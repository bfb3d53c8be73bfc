"""One run of `analyze`: server, devices, sweep and store; then the tables, the export and the summary."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from analyzer.cli.job import build_job, sample_models
from analyzer.cli.merge import Options, merge
from analyzer.crew import run_on
from analyzer.devices.choose import MeasuredDevice, choose_devices
from analyzer.errors import TritonpackError, UsageError
from analyzer.interrupts import Interrupted
from analyzer.measurements.record import Measurement, ServerOnly, Trial
from analyzer.measurements.store import STORE_FILE, Store
from analyzer.measurements.text import answer_line, measurement_table, outcome, server_only_table, trial_name
from analyzer.progress import Progress
from analyzer.run import Job
from analyzer.search.grid import Answer
from analyzer.servers import Server
from analyzer.servers.choose import Launch, LaunchMode, choose_server
from analyzer.station import Station
from analyzer.statistics.verdict import Patience


def analyze(ctx: click.Context, values: dict[str, Any]) -> bool:
    """Run the command; return whether a trial has no figures.

    Raises
    ------
    TritonpackError, Interrupted
        What ended the sweep early; the finished trials are stored, shown and exported before that.
    """
    options = merge(ctx, values)
    job = build_job(options)
    place = _place(options)
    if options["export"]:
        _check_export_folder(_export_folder(options))
    results: list[Measurement] = []
    answers: list[Answer] = []
    idles: list[ServerOnly] = []
    with Store.open(_store_place(options)) as store:
        stopped: BaseException | None = None
        try:
            with Progress(job.points) as progress:
                run_on(_stations(options, place, job), job, _Audience(progress, results, answers, idles))
        except (Interrupted, TritonpackError) as error:
            if not results:
                raise
            stopped = error
        _sort(results, answers, job)
        _show(results, answers, idles)
        if options["export"]:
            try:
                _export(options, store, results)
            except TritonpackError as error:
                if stopped is None:
                    raise
                click.echo(error.message, err=True)
        if stopped is not None:
            click.echo(f"{len(results)} of {job.points} trials are in {store.name}; run again to go on", err=True)
            raise stopped from None
    return _summarize(results)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a sweep runs, and why there."""

    server: Server
    why: str
    devices: tuple[MeasuredDevice, ...]


def _place(options: Options) -> _Place:
    """Choose server and devices; nothing is started yet."""
    launch = Launch(
        mode=LaunchMode(options["launch_mode"]),
        triton_version=options["triton_version"],
        image=options["triton_image"],
        url=options["url"],
        metrics_url=options["metrics_url"],
        http_port=options["http_port"],
        grpc_port=options["grpc_port"],
        metrics_port=options["metrics_port"],
        shared_memory=options["shared_memory"] == "system",
    )
    if options["dcgm_url"] and not options["url"]:
        raise UsageError("--dcgm-url belongs to a running server: name it with --url host:8000")
    devices = choose_devices(options["gpus"], remote=options["url"] is not None, dcgm_url=options["dcgm_url"])
    for port in ("http_port", "grpc_port", "metrics_port"):
        if len(devices) > 1 and options[port]:
            raise UsageError(
                f"--{port.replace('_', '-')} is one port, and {len(devices)} GPUs have a server each: drop it, or name "
                "one GPU with --gpus"
            )
    server, why = choose_server(launch)
    return _Place(server=server, why=why, devices=devices)


def _store_place(options: Options) -> str | Path:
    place: str | Path = options["store"] or options["output"] / STORE_FILE
    return place


def _export_folder(options: Options) -> Path:
    folder: Path = options["export_path"] or options["output"]
    return folder


def _check_export_folder(folder: Path) -> None:
    """Make the folder now: that it cannot be written to is better known before the sweep than after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TritonpackError(f"the export folder {folder} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise TritonpackError(f"the export folder {folder} cannot be written to; give another one with --export-path")


class _Audience:
    """Keeps what a sweep tells, and shows how far it has come."""

    def __init__(
        self, progress: Progress, results: list[Measurement], answers: list[Answer], idles: list[ServerOnly]
    ) -> None:
        self._progress = progress
        self._results = results
        self._answers = answers
        self._idles = idles

    def watched(self, idle: ServerOnly) -> None:
        self._idles.append(idle)

    def measured(self, measurement: Measurement, *, found: bool) -> None:
        self._results.append(measurement)
        self._progress.advance(measurement, found=found)

    def answered(self, answer: Answer) -> None:
        self._answers.append(answer)

    def said(self, text: str) -> None:
        self._progress.say(text)


def _stations(options: Options, place: _Place, job: Job) -> list[Station]:
    """Say where the sweep runs: on as many of the devices as there are models and variants to load."""
    click.echo(f"Triton: {place.server.describe()} ({place.why})", err=True)
    devices = place.devices[: max(1, len(job.turns))]
    for each in devices:
        click.echo(f"Device: {each.describe()}", err=True)
    return [
        Station(
            server=place.server,
            device=each,
            repository=options["model_folder"] or sample_models(),
            store=_store_place(options),
            patience=_patience(options),
            fresh=options["fresh"],
            load_timeout_s=options["load_timeout"],
            client_processes=options["client_processes"],
        )
        for each in devices
    ]


def _sort(results: list[Measurement], answers: list[Answer], job: Job) -> None:
    """Put the trials in the order of the job, whichever device they were made on; those of one turn stay as tried."""
    order = {(model.name, variant): i for i, (model, variant) in enumerate(job.turns)}

    def place(trial: Trial) -> tuple[int, int]:
        turn = order.get((trial.model, trial.variant))  # None where a climb raised the instances of one
        if turn is None:
            turn = order[trial.model, replace(trial.variant, instances=None)]
        return turn, trial.instances

    results.sort(key=lambda measurement: place(measurement.trial))
    answers.sort(key=lambda answer: (place(answer.about)[0], answer.sought == "instances", answer.about.instances))


def _patience(options: Options) -> Patience:
    return Patience(
        throughput_ci=options["precision"] / 100,
        latency_p99_ci=options["precision"] / 50,
        max_trial_s=options["max_trial_seconds"],
        request_timeout_s=options["request_timeout"],
    )


def _show(results: list[Measurement], answers: list[Answer], idles: list[ServerOnly]) -> None:
    if idles:
        click.echo("Triton without models\n" + server_only_table(idles) + "\n")
    click.echo(measurement_table(results))
    if answers:
        click.echo("\n" + "\n".join(answer_line(answer) for answer in answers))


def _export(options: Options, store: Store, results: list[Measurement]) -> None:
    """Write the CSV files and the plots."""
    from analyzer.measurements.csv_file import write_measurements_csv, write_server_only_csv
    from analyzer.measurements.figures import write_measurement_figures

    folder = _export_folder(options)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_measurements_csv(folder / options["filename_model"], results)
        write_server_only_csv(folder / options["filename_server_only"], store.server_only())
        pictures = write_measurement_figures(results, folder)
    except OSError as error:
        raise TritonpackError(
            f"the export to {folder} failed: {error.strerror or error}; the measurements are in {store.name}"
        ) from None
    click.echo(
        f"Wrote {options['filename_model']}, {options['filename_server_only']} and {len(pictures)} plots to {folder}",
        err=True,
    )


def _summarize(results: list[Measurement]) -> bool:
    """Name the trials without figures and those that are unsure; return whether there is one of the former."""
    failed = [m for m in results if not m.status.measured]
    for measurement in [m for m in results if m.cause]:
        click.echo(f"{trial_name(measurement.trial)}: {outcome(measurement)}", err=True)
    if failed:
        click.echo(f"{len(failed)} of {len(results)} trials have no figures", err=True)
    return bool(failed)
