"""Run `analyze` as a command, and its server and load generator by themselves."""

from __future__ import annotations

import csv
import shutil
import sys
import tempfile
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from analyzer.load.generator import LoadGenerator
from analyzer.load.load import Load
from analyzer.load.workload import Workload
from analyzer.measurements.record import Trial
from analyzer.models.repository import read_repository, select
from analyzer.servers import Endpoint, RunningServer
from analyzer.servers.control import ControlClient
from analyzer.servers.local import LocalServer
from analyzer.statistics.window import Window, summarize
from benchmarks.profiler.peers import Point
from benchmarks.profiler.processes import PeerError, run

ANALYZE = Path(sys.executable).with_name("analyze")
MODELS = Path(__file__).with_name("models")
_QUICK = ("--precision", "30", "--max-trial-seconds", "2")


@contextmanager
def repository_of(models: Sequence[str]) -> Iterator[Path]:
    """Make a model repository with these models of `benchmarks/profiler/models`."""
    with tempfile.TemporaryDirectory(prefix="tritonpack-bench-") as folder:
        for model in models:
            shutil.copytree(MODELS / model, Path(folder) / model, ignore=shutil.ignore_patterns("__pycache__"))
        yield Path(folder)


@contextmanager
def serving(repository: Path) -> Iterator[tuple[RunningServer, ControlClient]]:
    """Run a server without models, and give it with a client that loads them."""
    with LocalServer().serve(repository) as server, ControlClient(server.endpoint.http) as triton:
        yield server, triton


@contextmanager
def load_on(
    endpoint: Endpoint, repository: Path, model: str, *, batch: int = 1, concurrency: int = 1, protocol: str = "http"
) -> Iterator[Load]:
    """Prepare the load that `analyze` sends for a trial."""
    found = select(read_repository(repository), (model,))[0]
    trial = Trial(model=model, batch=batch, concurrency=concurrency, transport=protocol)
    with Workload(protocol=protocol).build_load(endpoint, found, trial) as load:
        yield load


def send_for(
    seconds: float, endpoint: Endpoint, repository: Path, model: str, *, concurrency: int, protocol: str
) -> Window:
    """Run the load generator of `analyze` for some seconds, in a process of its own as `analyze` does.

    Raises
    ------
    PeerError
        If a request failed, or none completed.
    """
    ends, latencies = array("d"), array("d")
    errors = ""
    with (
        load_on(endpoint, repository, model, concurrency=concurrency, protocol=protocol) as load,
        LoadGenerator() as generator,
        generator.sending(load) as stream,
    ):
        deadline_s = time.perf_counter() + seconds
        while time.perf_counter() < deadline_s:
            for report in stream.receive(0.2):
                ends.extend(report.end_s)
                latencies.extend(report.latency_s)
                errors = errors or report.first_error
    window = summarize(np.array(ends), np.array(latencies), concurrency=concurrency)
    if errors or window is None:
        raise PeerError(f"the load generator failed: {errors or 'no requests completed'}")
    return window


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the CSV that `analyze` writes: the point, and figures that only `analyze` has."""

    point: Point
    status: str
    window_s: float | None
    steady_mib: float | None
    run_peak_mib: float | None
    server_mib: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalyzeRun:
    """One run of `analyze`: its rows, and the time that it took."""

    rows: list[Row]
    wall_s: float
    cpu_s: float


def run_analyze(
    repository: Path, batches: Sequence[int], concurrencies: Sequence[int], *, quick: bool, timeout_s: float = 600
) -> AnalyzeRun:
    """Run ``analyze`` with its defaults on every model of a repository.

    Parameters
    ----------
    quick : bool
        Whether trials are short and imprecise, to try the benchmark; the figures are then not worth keeping.

    Raises
    ------
    PeerError
        If it fails.
    """
    with tempfile.TemporaryDirectory(prefix="tritonpack-bench-") as folder:
        command = [str(ANALYZE), "--launch-mode", "local", "--model-folder", str(repository), "-o", folder, "--export"]
        command += ["--batch", ",".join(map(str, batches)), "--concurrency", ",".join(map(str, concurrencies))]
        ended = run([*command, *(_QUICK if quick else ())], timeout_s=timeout_s)
        try:
            text = (Path(folder) / "metrics-model.csv").read_text()
        except OSError as error:
            raise PeerError(f"analyze wrote no metrics-model.csv: {error.strerror}") from None
    rows = [_row(row) for row in csv.DictReader(text.splitlines())]
    return AnalyzeRun(rows=rows, wall_s=ended.wall_s, cpu_s=ended.cpu_s)


def _row(row: dict[str, str]) -> Row:
    def number(column: str, unit: float = 1.0) -> float | None:
        return float(row[column]) * unit if row[column] else None

    point = Point(
        model=row["model"],
        batch=int(row["batch"]),
        concurrency=int(row["concurrency"]),
        infer_per_s=number("throughput_infer_per_s") or 0.0,
        p50_s=number("latency_p50_ms", 1e-3),
        p99_s=number("latency_p99_ms", 1e-3),
        memory_mib=number("model_memory_mib"),
    )
    return Row(
        point=point,
        status=row["status"],
        window_s=number("window_s"),
        steady_mib=number("steady_memory_mib"),
        run_peak_mib=number("run_peak_memory_mib"),
        server_mib=number("server_memory_mib"),
    )
