"""Prepare a sweep from its settings: the job, the server and the devices; nothing is started before it is run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from analyzer.devices.choose import MeasuredDevice, choose_devices
from analyzer.errors import UsageError
from analyzer.formats.units import counted
from analyzer.measurements.record import Measurement, Variant
from analyzer.measurements.source import Measurements
from analyzer.measurements.store import Store
from analyzer.models.fetch import fetched
from analyzer.search import SearchResult
from analyzer.servers import LaunchMode, Server
from analyzer.servers.choose import Launch, choose_server
from analyzer.servers.docker import FollowPull
from analyzer.servers.remote import RemoteServer
from analyzer.servers.tls import Tls
from analyzer.statistics.verdict import StoppingRule
from analyzer.sweep.backend_check import check_backends
from analyzer.sweep.export import Export, check_export_folder
from analyzer.sweep.fleet import Fleet, choose_fleet
from analyzer.sweep.job import Job, build_job
from analyzer.sweep.observer import Observer, Recording
from analyzer.sweep.parallel import Worker, run_job
from analyzer.sweep.remote import sample_models
from analyzer.sweep.settings import SweepSettings
from analyzer.sweep.turns import FollowTurns


@dataclass(frozen=True)
class SweepResult(Measurements):
    """What a sweep measured or found in its store, in the order of its models.

    Parameters
    ----------
    search_results : tuple of SearchResult
        The knees, peaks and numbers of instances that were searched for.
    notes : tuple of str
        Remarks for the user on what was left out.
    """

    search_results: tuple[SearchResult, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSweep:
    """A sweep whose settings are checked, and of which nothing is started yet.

    Parameters
    ----------
    server : Server or None
        None if each node of a cluster chooses its own.
    server_why : str
        Why this server was chosen, in a few words.
    devices : tuple of MeasuredDevice
        The devices of this host to use, at most one for each variant of a model.
    fleet : Fleet or None
        The devices of a cluster that are used instead.
    fetched : ExitStack
        Holds the model repository, if it was fetched, until the sweep has run.
    """

    settings: SweepSettings
    job: Job
    server: Server | None = None
    server_why: str = ""
    devices: tuple[MeasuredDevice, ...] = ()
    fleet: Fleet | None = None
    fetched: ExitStack = field(default_factory=ExitStack)

    def describe(self) -> list[str]:
        """Describe the server and the devices, one in a line; those of a cluster are known when it runs."""
        if self.server is None:
            return []
        devices = [f"Device: {device.describe()}" for device in self.devices]
        return [f"Triton: {self.server.describe()} ({self.server_why})", *devices]

    def run(
        self,
        observer: Observer,
        *,
        flags: Mapping[str, str] | None = None,
        follow: FollowTurns = lambda _count: None,
    ) -> None:
        """Measure what the store does not have; nothing is left running, however it ends.

        Parameters
        ----------
        flags : mapping of str to str, optional
            The command line's flag of each option, for the causes that are stored.
        follow : callable, optional
            Is told how far the turns on a cluster are whenever that changes.

        Raises
        ------
        TritonpackError
            If the sweep ended early; the finished trials are in the store.
        """
        with self.fetched, Store.open(self.settings.store_place) as store:
            if self.fleet is not None:
                self.fleet.run(self.job, partial(self._worker, flags or {}), observer, store, follow)
            else:
                run_job(self.workers(flags or {}), self.job, observer, store)

    def workers(self, flags: Mapping[str, str]) -> list[Worker]:
        """Return a worker for each device of this host, not started yet."""
        assert self.server is not None  # noqa: S101 - on this host
        repository, each = self.settings.model_folder or sample_models(), self.settings.reserve_cores or 0
        cores = tuple(sorted(os.sched_getaffinity(0)))
        return [
            self._worker(
                flags,
                server=self.server,
                device=device,
                repository=repository,
                cores=cores[place * each : (place + 1) * each],
            )
            for place, device in enumerate(self.devices)
        ]

    def _worker(
        self,
        flags: Mapping[str, str],
        *,
        server: Server,
        device: MeasuredDevice,
        repository: Path,
        cores: tuple[int, ...],
    ) -> Worker:
        settings = self.settings
        rule = StoppingRule(
            throughput_ci=settings.precision_pct / 100,
            latency_p99_ci=settings.precision_pct / 50,
            max_trial_s=settings.max_trial_s,
            request_timeout_s=settings.request_timeout_s,
        )
        return Worker(
            server=server,
            device=device,
            repository=repository,
            rule=rule,
            fresh=settings.fresh,
            load_timeout_s=settings.load_timeout_s,
            client_processes=settings.client_processes,
            flags=flags,
            remote=server.address if isinstance(server, RemoteServer) else None,
            allow_reload=settings.allow_reload,
            cores=cores,
        )

    def export_early(self, recording: Recording, files: Export) -> None:
        """Start the export, if one is asked for, as soon as the recording has the last trial.

        Where a search decides how many trials there are, the last one is not known as such.
        """
        if self.settings.export and self.job.exact_points is not None and self.fleet is None:
            recording.call_after(self.job.exact_points, lambda: files.start(self.result(recording).rows))

    def result(self, recording: Recording) -> SweepResult:
        """Return what was recorded in the order of the job, whichever device it was measured on.

        Trials of one variant keep the order in which they were tried.
        """
        order = {(model.name, variant): i for i, (model, variant) in enumerate(self.job.model_variants)}

        def index(model: str, variant: Variant) -> int:
            found = order.get((model, variant))  # None where a climb raised the instances of a variant
            return order[model, replace(variant, instances=None)] if found is None else found

        def place(m: Measurement) -> tuple[int, str, int]:
            return index(m.trial.model, m.trial.variant), m.provenance.device_name, m.instances

        def result_place(r: SearchResult) -> tuple[int, bool, int]:
            variant = r.about.variant
            return index(r.about.model, variant), r.sought == "instances", variant.instances or 0

        return SweepResult(
            rows=tuple(sorted(recording.measurements, key=place)),
            server_only=tuple(recording.idle),
            search_results=tuple(sorted(recording.search_results, key=result_place)),
            notes=(*self.job.notes, *recording.notes),
        )


def prepare(settings: SweepSettings, *, follow_pull: FollowPull | None = None) -> PreparedSweep:
    """Read the repository, and choose the server and the devices; nothing is started yet.

    Parameters
    ----------
    follow_pull : callable, optional
        Shows the progress of an image pull; see `DockerServer`.

    Raises
    ------
    UsageError
        If settings contradict each other, the repository or this host.
    ServerError
        If this host has neither a Docker engine nor a Triton.
    """
    launch = _launch(settings, follow_pull)
    _check_running_server(settings)
    running = choose_server(launch) if settings.url else None  # asked first, because it may say what is measured
    remote = running[0].read_models() if running and isinstance(running[0], RemoteServer) else None
    fetched_here = ExitStack()
    folder = settings.model_folder
    if settings.model_uri and folder is None:
        settings = replace(settings, model_folder=fetched_here.enter_context(fetched(settings.model_uri)))
    elif settings.model_uri and not settings.ray:
        raise UsageError("`model_uri` and `model_folder` are two model repositories: drop one of them")
    job = build_job(settings, remote)
    if settings.export:
        check_export_folder(settings.export_folder)
    fleet = choose_fleet(settings, launch, job, folder)
    if fleet is not None:
        return PreparedSweep(settings=settings, job=job, fleet=fleet, fetched=fetched_here)
    devices = choose_devices(settings.gpus, remote=settings.url is not None, dcgm_url=settings.dcgm_url)
    for port in ("http_port", "grpc_port", "metrics_port"):
        if len(devices) > 1 and getattr(settings, port):
            raise UsageError(
                f"`{port}` is one port, and {len(devices)} GPUs have a server each: drop it, or name one GPU with "
                "`gpus`"
            )
    server, why = running or choose_server(launch)
    samples = settings.model_folder is None and remote is None and not settings.model_names
    job = check_backends(job, server, leave_out=samples)
    devices = devices[: max(1, len(job.model_variants))]
    processors = len(os.sched_getaffinity(0))
    if (settings.reserve_cores or 0) * len(devices) > processors:
        raise UsageError(
            f"`reserve_cores={settings.reserve_cores}` on {counted(len(devices), 'device')} is more than the "
            f"{counted(processors, 'processor')} of this host: lower it, or name fewer GPUs with `gpus`"
        )
    return PreparedSweep(
        settings=settings, job=job, server=server, server_why=why, devices=devices, fetched=fetched_here
    )


def _launch(settings: SweepSettings, follow_pull: FollowPull | None) -> Launch:
    return Launch(
        mode=LaunchMode(settings.launch_mode),
        triton_version=settings.triton_version,
        image=settings.triton_image,
        url=settings.url,
        grpc_url=settings.grpc_url,
        metrics_url=settings.metrics_url,
        access=settings.access,
        http_port=settings.http_port,
        grpc_port=settings.grpc_port,
        metrics_port=settings.metrics_port,
        shared_memory=settings.shared_memory == "system",
        follow_pull=follow_pull,
    )


def _check_running_server(settings: SweepSettings) -> None:
    """Refuse options about a running server where none is named, and those that do not fit its address."""
    if settings.url:
        _check_access(settings)
    if settings.dcgm_url and not settings.url:
        raise UsageError("`dcgm_url` belongs to a running server: name it with `url='host:8000'`")
    if settings.allow_reload and not settings.url:
        raise UsageError("`allow_reload` is about a running server: name it with `url='host:8000'`")


def _check_access(settings: SweepSettings) -> None:
    """Reject certificates that have no effect, and certificates and tokens that cannot be read.

    Raises
    ------
    UsageError
        For the first of them.
    """
    access = settings.access
    tls = ("https://", "grpcs://")
    if access.tls != Tls() and not any(str(url).startswith(tls) for url in (settings.url, settings.grpc_url)):
        given = "ssl_ca" if settings.ssl_ca else "ssl_certificate"
        raise UsageError(f"`{given}` has no effect on an address without TLS; write https:// or grpcs:// in `url`")
    access.tls.context()
    access.request_headers()
