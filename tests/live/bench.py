"""A real server with a load generator, to which tests send the load of a trial."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from analyzer.load.generator import LoadGenerator
from analyzer.load.load import Load, Report
from analyzer.load.workload import Workload
from analyzer.measurements.record import Trial
from analyzer.models.repository import Model, completed, read_repository
from analyzer.servers import RunningServer
from analyzer.servers.control import ControlClient
from analyzer.servers.local import LocalServer


@dataclass(frozen=True)
class Sent:
    """The summed reports of a load."""

    completed: int
    errors: int
    first_error: str
    lost: bool


class Bench:
    """A server, its repository, and a load generator."""

    def __init__(self, running: RunningServer, repository: Path, generator: LoadGenerator) -> None:
        self.running = running
        self.repository = repository
        self._generator = generator

    def load_model(self, name: str) -> Model:
        """Load a model; return it as Triton completed it."""
        (model,) = [model for model in read_repository(self.repository) if model.name == name]
        with ControlClient(self.running.endpoint.http) as triton:
            triton.load(name)
            return completed(model, triton.config(name))

    def send(self, model: Model, workload: Workload, *, concurrency: int = 2, batch: int = 1) -> Sent:
        """Send a trial's load as `send_load` does."""
        trial = Trial(model=model.name, transport=workload.transport(model), concurrency=concurrency, batch=batch)
        with workload.build_load(self.running.endpoint, model, trial) as load:
            return self.send_load(load)

    def send_load(self, load: Load, seconds: float = 0.3) -> Sent:
        """Send a load for `seconds`, and longer until a request has completed or failed."""
        reports: list[Report] = []
        with self._generator.sending(load) as stream:
            began = time.monotonic()
            while time.monotonic() - began < seconds or (
                not any(len(r.end_s) or r.errors for r in reports) and time.monotonic() - began < 20
            ):
                reports += stream.receive(0.1)
        return Sent(
            sum(len(report.end_s) for report in reports),
            sum(report.errors for report in reports),
            next((report.first_error for report in reports if report.first_error), ""),
            any(report.lost for report in reports),
        )


@contextmanager
def bench_on(server: LocalServer, repository: Path) -> Iterator[Bench]:
    """Serve a repository, and start a load generator for it."""
    with server.serve(repository) as running, LoadGenerator() as generator:
        yield Bench(running, repository, generator)
