"""Find the peers; run perf_analyzer and Model Analyzer, with the same tritonserver binary that `analyze` starts."""

from __future__ import annotations

import csv
import os
import re
import shlex
import sys
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from analyzer.servers.local import Installation, prepare_package
from analyzer.servers.ports import LOOPBACK, choose_ports
from benchmarks.profiler.processes import CommandResult, PeerError, run

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder of POSIX shared memory, not of temporary files
_SETUP_TIMEOUT_S = 900
_POINT_TIMEOUT_S = 120
_LOADED = re.compile(r"^I\d{4} (\d\d):(\d\d):(\d\d\.\d+) .*successfully loaded", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """The figures of one tool for one model at one batch size and concurrency."""

    model: str
    batch: int
    concurrency: int
    infer_per_s: float
    p50_s: float | None = None
    p99_s: float | None = None
    memory_mib: float | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        """Model, batch size and concurrency."""
        return self.model, self.batch, self.concurrency


class Peers:
    """The peers in their cache folder; they are fetched on first use."""

    @cached_property
    def folder(self) -> Path:
        """The cache folder that ``peers.sh`` fills.

        Raises
        ------
        PeerError
            If they cannot be fetched.
        """
        script = Path(__file__).with_name("peers.sh")
        done = run([script], timeout_s=_SETUP_TIMEOUT_S, environment={"PYTHON": sys.executable})
        return Path(done.output.strip().splitlines()[-1])

    @property
    def perf_analyzer(self) -> list[str]:
        """The command of perf_analyzer, with its library path."""
        home = self.folder / "perf_analyzer"
        return ["/usr/bin/env", f"LD_LIBRARY_PATH={home / 'lib'}", str(home / "bin" / "perf_analyzer")]

    @property
    def wrk(self) -> list[str]:
        """The command of wrk, with its library path."""
        home = self.folder / "wrk"
        return ["/usr/bin/env", f"LD_LIBRARY_PATH={home / 'lib'}", str(home / "bin" / "wrk")]

    @property
    def model_analyzer(self) -> Path:
        """The executable of Model Analyzer, in an environment of its own."""
        return self.folder / "model-analyzer" / "bin" / "model-analyzer"


def run_perf_analyzer(
    peers: Peers,
    address: str,
    model: str,
    *,
    batch: int = 1,
    concurrency: int = 1,
    protocol: str = "http",
    options: Sequence[str] = (),
    timeout_s: float = _POINT_TIMEOUT_S,
) -> tuple[Point, CommandResult]:
    """Measure one point with perf_analyzer on a server that has the model loaded.

    Raises
    ------
    PeerError
        If it fails or does not settle.
    """
    with tempfile.TemporaryDirectory(prefix="tritonpack-bench-") as folder:
        report = Path(folder) / "report.csv"
        command = [*peers.perf_analyzer, "-m", model, "-u", address, "-i", protocol, "-b", str(batch)]
        command += ["--concurrency-range", str(concurrency), "-f", str(report), *options]
        ended = run(command, timeout_s=timeout_s)
        try:
            row = next(csv.DictReader(report.read_text().splitlines()))
            point = Point(
                model=model,
                batch=batch,
                concurrency=concurrency,
                infer_per_s=float(row["Inferences/Second"]),
                p50_s=float(row["p50 latency"]) * 1e-6,
                p99_s=float(row["p99 latency"]) * 1e-6,
            )
        except (OSError, StopIteration, KeyError, ValueError) as error:
            raise PeerError(f"perf_analyzer wrote no figures: {error}") from None
    return point, ended


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnalyzerRun:
    """One run of ``model-analyzer profile``.

    Parameters
    ----------
    load_s : float or None
        Seconds from the start of a server to the first model that it has loaded; None where its log has none.
    """

    points: list[Point]
    wall_s: float
    load_s: float | None


def run_model_analyzer(
    peers: Peers,
    repository: Path,
    models: Sequence[str],
    batches: Sequence[int],
    concurrencies: Sequence[int],
    *,
    options: Sequence[str] = (),
    memory: bool = False,
    timeout_s: float = 600,
) -> ModelAnalyzerRun:
    """Profile models by Model Analyzer with its defaults, but without its search over model configurations.

    Raises
    ------
    PeerError
        If it fails or writes no figures.
    """
    fields = ["model_name", "batch_size", "concurrency", "perf_throughput", "perf_latency_p99"]
    with tempfile.TemporaryDirectory(prefix="tritonpack-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        selection = ["--profile-models", ",".join(models), "--run-config-search-disable"]
        selection += ["--batch-sizes", _joined(batches), "--concurrency", _joined(concurrencies)]
        selection += [*options, *(["--collect-cpu-metrics"] if memory else [])]
        selection += ["--inference-output-fields", ",".join(fields + ["cpu_used_ram"] * memory)]
        ended = profile_with_model_analyzer(peers, repository, folder, selection, timeout_s=timeout_s)
        return ModelAnalyzerRun(points=_read_points(folder), wall_s=ended.wall_s, load_s=_load_s(folder))


def profile_with_model_analyzer(
    peers: Peers, repository: Path, folder: Path, options: Sequence[str], *, timeout_s: float
) -> CommandResult:
    """Run ``model-analyzer profile`` with its server and all its files in a folder; tables are in ``export`` there.

    Raises
    ------
    PeerError
        If it fails.
    """
    prefix = f"tritonpack_{uuid.uuid4().hex[:12]}_"
    ports = choose_ports(http=None, grpc=None, metrics=None)
    command = [peers.model_analyzer, "profile", "--model-repository", repository]
    command += ["--triton-launch-mode", "local", "--triton-server-path", _server_wrapper(folder, prefix)]
    command += ["--perf-analyzer-path", _wrapper(folder / "perf_analyzer", shlex.join(peers.perf_analyzer))]
    command += ["--triton-http-endpoint", f"{LOOPBACK}:{ports.http}"]
    command += ["--triton-grpc-endpoint", f"{LOOPBACK}:{ports.grpc}"]
    command += ["--triton-metrics-url", f"http://{LOOPBACK}:{ports.metrics}/metrics"]
    command += ["--triton-output-path", folder / "triton.log"]
    command += ["--output-model-repository-path", folder / "output"]
    command += ["--checkpoint-directory", folder / "checkpoints", "--export-path", folder / "export", *options]
    try:
        return run([str(part) for part in command], timeout_s=timeout_s, directory=folder)
    finally:
        for segment in _SHARED_MEMORY.glob(f"{prefix}*"):
            segment.unlink(missing_ok=True)


def _joined(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def _wrapper(path: Path, command: str, setting: str = "") -> Path:
    path.write_text(f'#!/bin/sh\n{setting}exec {command} "$@"\n')
    path.chmod(0o755)
    return path


def _server_wrapper(folder: Path, prefix: str) -> Path:
    """Write a script that starts tritonserver as `analyze` does: same binary, libraries and backend, on loopback."""
    installation = Installation.find()
    if installation is None:
        raise PeerError("no tritonserver here: pip install 'tritonpack[local]'")
    environment = dict(os.environ)
    flags = [f"--{kind}-address={LOOPBACK}" for kind in ("http", "grpc", "metrics")]
    flags.append(f"--backend-config=python,shm-region-prefix-name={prefix}")
    if installation.package:
        flags += prepare_package(installation.package, folder, environment)
    settings = "".join(
        f"export {name}={shlex.quote(environment[name])}\n"
        for name in ("PATH", "LD_LIBRARY_PATH")
        if name in environment
    )
    stamp = f"date +%s.%N >>{shlex.quote(str(folder / 'started'))}\n"
    return _wrapper(folder / "tritonserver", shlex.join([str(installation.binary), *flags]), stamp + settings)


def _read_points(folder: Path) -> list[Point]:
    files = sorted(folder.glob("export/**/metrics-model-inference.csv"))
    if not files:
        raise PeerError("Model Analyzer wrote no metrics-model-inference.csv")
    points = []
    for row in csv.DictReader(files[0].read_text().splitlines()):
        memory = row.get("RAM Usage (MB)") or ""
        points.append(
            Point(
                model=row["Model"],
                batch=int(row["Batch"]),
                concurrency=int(row["Concurrency"]),
                infer_per_s=float(row["Throughput (infer/sec)"]),
                p99_s=float(row["p99 Latency (ms)"]) * 1e-3,
                memory_mib=float(memory) * 1e6 / 2**20 if memory else None,
            )
        )
    return points


def _load_s(folder: Path) -> float | None:
    """Return the seconds from a server's start, which the wrapper wrote down, to its log's first loaded model.

    The log's clock time is in an unknown time zone. Zones differ by multiples of 900 s, so the difference is taken
    modulo 900 s.
    """
    loaded = _LOADED.search((folder / "triton.log").read_text(errors="replace"))
    if loaded is None:
        return None
    hours, minutes, seconds = (float(part) for part in loaded.groups())
    at_s = 3600 * hours + 60 * minutes + seconds
    return min((at_s - float(stamp)) % 900 for stamp in (folder / "started").read_text().split())
