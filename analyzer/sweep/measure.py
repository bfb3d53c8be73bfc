"""The use case of this package: settings in, measurements out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analyzer.devices.choose import MeasuredDevice, choose_devices
from analyzer.errors import TritonpackError, UsageError
from analyzer.measurements.record import Measurement, Variant
from analyzer.measurements.source import Measurements
from analyzer.measurements.store import Store
from analyzer.search import SearchResult
from analyzer.servers import Server
from analyzer.servers.choose import Launch, LaunchMode, choose_server
from analyzer.servers.docker import FollowPull
from analyzer.statistics.verdict import StoppingRule
from analyzer.sweep.job import Job, build_job, sample_models
from analyzer.sweep.observer import Observer, Recording
from analyzer.sweep.parallel import Worker, run_job
from analyzer.sweep.settings import SweepSettings
from analyzer.sweep.signals import Interrupted, sigint_as_interrupt
from analyzer.sweep.sweep_file import merge


@dataclass(frozen=True)
class SweepResult(Measurements):
    """What a sweep measured or found in its store, in the order of its models.

    Parameters
    ----------
    search_results : tuple of SearchResult
        The knees, peaks and numbers of instances that were searched for.
    notes : tuple of str
        What was left out, for people.
    """

    search_results: tuple[SearchResult, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSweep:
    """A sweep of which everything is checked and nothing started.

    Parameters
    ----------
    server_why : str
        Why this server, in a few words.
    devices : tuple of MeasuredDevice
        As many as there are models and variants to load.
    """

    settings: SweepSettings
    job: Job
    server: Server
    server_why: str
    devices: tuple[MeasuredDevice, ...]

    def run(self, observer: Observer, *, flags: Mapping[str, str] | None = None) -> None:
        """Measure what the store does not have; nothing is left running, however it ends.

        Parameters
        ----------
        flags : mapping of str to str, optional
            The command line's names of options, for the causes that are stored.

        Raises
        ------
        TritonpackError
            What ended the sweep early; the finished trials are in the store.
        """
        settings = self.settings
        rule = StoppingRule(
            throughput_ci=settings.precision_pct / 100,
            latency_p99_ci=settings.precision_pct / 50,
            max_trial_s=settings.max_trial_s,
            request_timeout_s=settings.request_timeout_s,
        )
        workers = [
            Worker(
                server=self.server,
                device=device,
                repository=settings.model_folder or sample_models(),
                store=settings.store_place,
                rule=rule,
                fresh=settings.fresh,
                load_timeout_s=settings.load_timeout_s,
                client_processes=settings.client_processes,
                flags=flags or {},
            )
            for device in self.devices
        ]
        run_job(workers, self.job, observer)

    def result(self, recording: Recording) -> SweepResult:
        """Put what was recorded in the order of the job, whichever device it was measured on.

        Trials of one turn stay in the order in which they were tried.
        """
        order = {(model.name, variant): i for i, (model, variant) in enumerate(self.job.turns)}

        def turn(model: str, variant: Variant) -> int:
            found = order.get((model, variant))  # None where a climb raised the instances of a variant
            return order[model, replace(variant, instances=None)] if found is None else found

        def place(m: Measurement) -> tuple[int, int]:
            return turn(m.trial.model, m.trial.variant), m.instances

        def result_place(r: SearchResult) -> tuple[int, bool, int]:
            variant = r.about.variant
            return turn(r.about.model, variant), r.sought == "instances", variant.instances or 0

        return SweepResult(
            rows=tuple(sorted(recording.measurements, key=place)),
            server_only=tuple(recording.idle),
            search_results=tuple(sorted(recording.search_results, key=result_place)),
            notes=(*self.job.notes, *recording.notes),
        )


def prepare(settings: SweepSettings, *, follow_pull: FollowPull | None = None) -> PreparedSweep:
    """Read the repository, choose server and devices; nothing is started yet.

    Parameters
    ----------
    follow_pull : callable, optional
        Shows the pull of an image; see `DockerServer`.

    Raises
    ------
    UsageError
        If settings contradict each other, the repository or this host.
    ServerError
        If nothing here can run Triton.
    """
    job = build_job(settings)
    launch = Launch(
        mode=LaunchMode(settings.launch_mode),
        triton_version=settings.triton_version,
        image=settings.triton_image,
        url=settings.url,
        metrics_url=settings.metrics_url,
        http_port=settings.http_port,
        grpc_port=settings.grpc_port,
        metrics_port=settings.metrics_port,
        shared_memory=settings.shared_memory == "system",
        follow_pull=follow_pull,
    )
    if settings.dcgm_url and not settings.url:
        raise UsageError("`dcgm_url` belongs to a running server: name it with `url='host:8000'`")
    devices = choose_devices(settings.gpus, remote=settings.url is not None, dcgm_url=settings.dcgm_url)
    for port in ("http_port", "grpc_port", "metrics_port"):
        if len(devices) > 1 and getattr(settings, port):
            raise UsageError(
                f"`{port}` is one port, and {len(devices)} GPUs have a server each: drop it, or name one GPU with "
                "`gpus`"
            )
    server, why = choose_server(launch)
    if settings.export:
        _check_export_folder(settings.export_folder)
    devices = devices[: max(1, len(job.turns))]
    return PreparedSweep(settings=settings, job=job, server=server, server_why=why, devices=devices)


def _check_export_folder(folder: Path) -> None:
    """Make the folder now: that it cannot be written to is better known before the sweep than after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TritonpackError(f"the export folder {folder} cannot be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise TritonpackError(f"the export folder {folder} cannot be written to; give another one with `export_path`")


def export(settings: SweepSettings, result: SweepResult) -> list[Path]:
    """Write the CSV files of a sweep, and a figure a model; return the figures' paths.

    Raises
    ------
    TritonpackError
        If a file cannot be written; the measurements are in the store all the same.
    """
    from analyzer.measurements.csv_file import write_measurements_csv, write_server_only_csv
    from analyzer.measurements.figures import write_measurement_figures

    folder = settings.export_folder
    with Store.open(settings.store_place) as store:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_measurements_csv(folder / settings.filename_model, result.rows)
            write_server_only_csv(folder / settings.filename_server_only, store.server_only())
            return write_measurement_figures(result.rows, folder)
        except OSError as error:
            raise TritonpackError(
                f"the export to {folder} failed: {error.strerror or error}; the measurements are in {store.name}"
            ) from None


def measure_settings(given: Mapping[str, Any], config: Path | None) -> SweepResult:
    """Run a whole sweep without a word; see `analyzer.measure`.

    Raises
    ------
    TritonpackError
        What ended the sweep; the finished trials are in the store.
    KeyboardInterrupt
        On Ctrl-C, once everything that was started has ended.
    """
    prepared = prepare(merge(given, config))
    recording = Recording()
    try:
        with sigint_as_interrupt():
            prepared.run(recording)
    except Interrupted:
        raise KeyboardInterrupt from None
    result = prepared.result(recording)
    if prepared.settings.export:
        export(prepared.settings, result)
    return result
