"""Case rate: highest request rate on a model that does nothing, and the client's processor time per request."""

from __future__ import annotations

import json
import resource
import statistics
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analyzer.servers import Endpoint
from benchmarks.profiler.bench import Bench
from benchmarks.profiler.ours import load_on, repository_of, send_for, serving
from benchmarks.profiler.peers import Point, run_perf_analyzer
from benchmarks.profiler.processes import CommandResult, PeerError
from benchmarks.profiler.report import Table
from benchmarks.profiler.wrk import run_wrk

Results = dict[tuple[str, int], dict[int, "Rate"]]  # by client and concurrency, then by repetition

MODEL = "trivial"
CONCURRENCIES = (1, 4, 16, 64)
_BLOCK_S = 2  # of each client in each repetition: short, so that the machine's changes of speed meet all of them

_PERF_ANALYZER_EVERY = 3  # repetitions: a block of it takes 10 s


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """One run at one concurrency; processor time is that of the whole client process, with its start."""

    requests_per_s: float
    p50_s: float
    cpu_per_request_s: float


def run_case(bench: Bench) -> list[Table]:
    """Run the clients in turn on one server; figures are medians over the repetitions, and so are ratios in each."""
    results: Results = defaultdict(dict)
    failures: dict[str, str] = {}
    with repository_of([MODEL]) as repository, serving(repository) as (server, triton):
        triton.load(MODEL)
        clients = _clients(bench, server.endpoint, repository)
        for repetition in range(bench.pick(6, quick=1)):
            for concurrency in CONCURRENCIES:
                # in turn, and every second time in reverse order, so that no client is always first
                for name, client in list(clients.items())[:: 1 if repetition % 2 == 0 else -1]:
                    if name.startswith("perf_analyzer") and repetition % _PERF_ANALYZER_EVERY:
                        continue
                    bench.say(f"rate: {name}, concurrency {concurrency}, repetition {repetition + 1}")
                    try:
                        results[name, concurrency][repetition] = client(concurrency)
                    except PeerError as error:
                        failures[name] = str(error)
        return [_table(list(clients), results, failures)]


def _clients(bench: Bench, endpoint: Endpoint, repository: Path) -> dict[str, Callable[[int], Rate]]:
    seconds = bench.pick(_BLOCK_S, quick=1)

    def wrk(concurrency: int) -> Rate:
        before = _requests_served(endpoint.http)
        with load_on(endpoint, repository, MODEL, concurrency=concurrency) as load:
            point, ended = run_wrk(bench.peers, load, MODEL, seconds)
        return _rate(point, ended, _requests_served(endpoint.http) - before)

    def perf_analyzer(concurrency: int, protocol: str) -> Rate:
        # three windows of a third of the time each, however much they differ: as long as the load generator of analyze
        window = ["-p", str(int(seconds / 3 * 1000)), "--max-trials", "3", "--stability-percentage", "999"]
        address = endpoint.http if protocol == "http" else endpoint.grpc or ""
        before = _requests_served(endpoint.http)
        point, ended = run_perf_analyzer(
            bench.peers, address, MODEL, concurrency=concurrency, protocol=protocol, options=window
        )
        return _rate(point, ended, _requests_served(endpoint.http) - before)

    return {
        "tritonpack, HTTP": lambda concurrency: _send(endpoint, repository, concurrency, "http", seconds),
        "wrk, HTTP": wrk,
        "perf_analyzer, HTTP": lambda concurrency: perf_analyzer(concurrency, "http"),
        "tritonpack, gRPC": lambda concurrency: _send(endpoint, repository, concurrency, "grpc", seconds),
        "perf_analyzer, gRPC": lambda concurrency: perf_analyzer(concurrency, "grpc"),
    }


def _rate(point: Point, ended: CommandResult, served: int) -> Rate:
    return Rate(requests_per_s=point.infer_per_s, p50_s=point.p50_s or 0.0, cpu_per_request_s=ended.cpu_s / served)


def _send(endpoint: Endpoint, repository: Path, concurrency: int, protocol: str, seconds: float) -> Rate:
    """Run the load generator of `analyze` for some seconds, in a process of its own as `analyze` does."""
    served, began_cpu_s = _requests_served(endpoint.http), _cpu_s()
    window = send_for(seconds, endpoint, repository, MODEL, concurrency=concurrency, protocol=protocol)
    cpu_s, served = _cpu_s() - began_cpu_s, _requests_served(endpoint.http) - served
    return Rate(requests_per_s=window.requests_per_s, p50_s=window.latency_p50_s, cpu_per_request_s=cpu_s / served)


def _cpu_s() -> float:
    """Return the processor time of this process and of its children that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _requests_served(address: str) -> int:
    """Return the number of requests that the server has answered, from its statistics."""
    with urllib.request.urlopen(f"http://{address}/v2/models/{MODEL}/stats", timeout=5) as answer:
        statistics_page = json.load(answer)
    return int(statistics_page["model_stats"][0]["inference_stats"]["success"]["count"])


def _table(names: list[str], results: Results, failures: dict[str, str]) -> Table:
    rows = []
    for concurrency in CONCURRENCIES:
        for name in names:
            measured = results.get((name, concurrency), {})
            found = _medians(list(measured.values()))
            if found is None:
                rows.append([str(concurrency), name, f"failed: {failures.get(name, 'no figures')}", "", "", "", ""])
                continue
            protocol = name.rpartition(", ")[2]
            rows.append(
                [
                    str(concurrency),
                    name,
                    f"{found.requests_per_s:,.0f}",
                    _ratio(measured, results.get((f"perf_analyzer, {protocol}", concurrency), {})),
                    _ratio(measured, results.get(("wrk, HTTP", concurrency), {})) if protocol == "HTTP" else "",
                    f"{found.p50_s * 1e6:.0f}",
                    f"{found.cpu_per_request_s * 1e6:.1f}",
                ]
            )
    header = [
        "Concurrency",
        "Client",
        "Requests/s",
        "Ratio to perf_analyzer, same protocol",
        "Ratio to wrk",
        "p50 (µs)",
        "Client CPU a request (µs)",
    ]
    return Table(title="Peak rate on a model that does nothing", header=header, rows=rows, notes=_NOTES)


def _ratio(measured: dict[int, Rate], reference: dict[int, Rate]) -> str:
    """Return the median and the range of the ratios of two clients' rates in the same repetition."""
    ratios = ratios_of(
        {i: r.requests_per_s for i, r in measured.items()}, {i: r.requests_per_s for i, r in reference.items()}
    )
    if not ratios or measured is reference:
        return "1.00" if ratios else ""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def ratios_of(figures: dict[int, float], reference: dict[int, float]) -> list[float]:
    """Divide the figures of two clients, repetition by repetition, where both have one."""
    return [figures[i] / reference[i] for i in sorted(figures.keys() & reference.keys())]


def _medians(rates: list[Rate]) -> Rate | None:
    if not rates:
        return None
    return Rate(
        requests_per_s=statistics.median(rate.requests_per_s for rate in rates),
        p50_s=statistics.median(rate.p50_s for rate in rates),
        cpu_per_request_s=statistics.median(rate.cpu_per_request_s for rate in rates),
    )


_NOTES = (
    "Targets over HTTP: at least 0.95 x wrk's rate at each concurrency, 2 x perf_analyzer's at 16, and a lower p50 "
    "than perf_analyzer's at 1. Over gRPC: at least 1.5 x perf_analyzer's rate at 16 and 64.",
    "Ratios: median, lowest and highest of 6 repetitions, and of 2 with perf_analyzer. Clients send for 2 s each in "
    "turn; tritonpack puts up to 8 calls on a gRPC connection, perf_analyzer up to 6 of its clients.",
)
