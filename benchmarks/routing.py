"""`python -m benchmarks.routing`: what the exported Envoy adds to a request's latency, written to RESULTS.md.

The load generator of `analyze` calls a model that does nothing, directly and through Envoy in turn, on one server.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from analyzer.servers import Endpoint
from analyzer.servers.control import ControlClient
from analyzer.servers.health import is_ready
from analyzer.servers.local import LocalServer
from analyzer.servers.ports import choose_ports
from analyzer.statistics.window import Window
from benchmarks.profiler.ours import repository_of, send_for
from benchmarks.profiler.report import Table, busy_share, section, store_section
from planner import export_plan
from tests.builders.placements import gpu, model, placement

MODEL = "trivial"
PROTOCOLS = ("http", "grpc")
CONCURRENCIES = (1, 16)
RESULTS = Path(__file__).with_name("RESULTS.md")
ENVOY = Path(sys.executable).with_name("envoy")
_REPETITIONS, _BLOCK_S = 5, 2.0


@click.command()
@click.option("--quick", is_flag=True, help="Use short settings to try the benchmark; RESULTS.md stays as it is.")
def main(*, quick: bool) -> None:
    """Measure median latencies directly and through Envoy, over HTTP and gRPC."""
    busy, began_s = busy_share(), time.perf_counter()
    table = run(repetitions=1 if quick else _REPETITIONS, block_s=0.5 if quick else _BLOCK_S)
    text = section("routing", [table], busy=busy, wall_s=time.perf_counter() - began_s, quick=quick)
    click.echo(text)
    if not quick:
        store_section(RESULTS, "routing", text)


def run(*, repetitions: int, block_s: float) -> Table:
    """Run both ways in turn, every second time in reverse order; figures are medians over the repetitions."""
    found: dict[tuple[str, int, str], list[Window]] = defaultdict(list)
    with repository_of([MODEL]) as repository, _server_and_envoy(repository) as endpoints:
        for repetition in range(repetitions):
            for protocol in PROTOCOLS:
                for concurrency in CONCURRENCIES:
                    for way in list(endpoints)[:: 1 if repetition % 2 == 0 else -1]:
                        window = send_for(
                            block_s, endpoints[way], repository, MODEL, concurrency=concurrency, protocol=protocol
                        )
                        found[protocol, concurrency, way].append(window)
    note = f"`python -m benchmarks.routing`: medians of {repetitions} repetitions of {block_s:g} s each, in turn."
    return table_of(found, note)


@contextmanager
def _server_and_envoy(repository: Path) -> Iterator[dict[str, Endpoint]]:
    """Serve the model behind an Envoy; yield the endpoints of both."""
    ports, envoy_ports = (choose_ports(http=None, grpc=None, metrics=None) for _ in range(2))
    with tempfile.TemporaryDirectory(prefix="tritonpack-bench-") as folder:
        first = ports.http  # an export's ports follow each other
        export_plan(
            placement(gpu(0, model(MODEL, 1))),
            to="envoy",
            output=folder,
            first_port=first,
            envoy_http_port=envoy_ports.http,
            envoy_grpc_port=envoy_ports.grpc,
        )
        server = LocalServer(http_port=first, grpc_port=first + 1, metrics_port=first + 2)
        with server.serve(repository) as running, _envoy(Path(folder) / "envoy.yaml"):
            direct = running.endpoint
            with ControlClient(direct.http) as triton:
                triton.load(MODEL)
            through = replace(direct, http=f"127.0.0.1:{envoy_ports.http}", grpc=f"127.0.0.1:{envoy_ports.grpc}")
            deadline_s = time.monotonic() + 10
            while not is_ready(through.http):
                assert time.monotonic() < deadline_s, "Envoy is not ready"
                time.sleep(0.05)
            time.sleep(2)  # the model's health check comes every second
            yield {"direct": direct, "through Envoy": through}


@contextmanager
def _envoy(configuration: Path) -> Iterator[None]:
    command = [str(ENVOY), "-c", str(configuration), "--disable-hot-restart", "--log-level", "error"]
    with subprocess.Popen(command) as process:
        try:
            yield
        finally:
            process.terminate()


def table_of(found: Mapping[tuple[str, int, str], Sequence[Window]], note: str) -> Table:
    """Return medians by protocol and concurrency, and the difference between both ways."""
    rows = []
    for protocol in PROTOCOLS:
        for concurrency in CONCURRENCIES:
            direct, through = (
                (
                    statistics.median(window.latency_p50_s for window in found[protocol, concurrency, way]) * 1e6,
                    statistics.median(window.requests_per_s for window in found[protocol, concurrency, way]),
                )
                for way in ("direct", "through Envoy")
            )
            name = "HTTP" if protocol == "http" else "gRPC"
            figures = (direct[0], through[0], through[0] - direct[0], direct[1], through[1])
            rows.append([name, str(concurrency), *(f"{figure:,.0f}" for figure in figures)])
    header = ["Protocol", "Concurrency", "p50 direct (µs)", "p50 through Envoy (µs)", "Added (µs)"]
    header += ["Requests/s direct", "Requests/s through Envoy"]
    title = "What the exported Envoy adds, on a model that does nothing"
    return Table(title=title, header=header, rows=rows, notes=[note])


if __name__ == "__main__":
    main()
