"""Case accuracy: repeated runs of both tools at the same points, compared with long runs as the reference."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from analyzer.devices.processors import processor_times
from analyzer.errors import TritonpackError
from analyzer.load.generator import LoadGenerator
from analyzer.statistics.cpu_steal import stolen_share
from analyzer.sweep.timings import Timings
from benchmarks.profiler.bench import Bench
from benchmarks.profiler.ours import load_on, repository_of, run_analyze, serving
from benchmarks.profiler.peers import Point, run_model_analyzer, run_perf_analyzer
from benchmarks.profiler.processes import PeerError
from benchmarks.profiler.report import Table

MODELS = ("product", "sleeper")
OURS, THEIRS = "tritonpack", "Model Analyzer"
Key = tuple[str, int, int]


def run_case(bench: Bench) -> list[Table]:
    """Run both tools in turn, and measure the reference of some points after each turn, under the same conditions."""
    sizes = bench.pick((1, 4), quick=(1,))
    keys = [(model, batch, concurrency) for model in MODELS for batch in sizes for concurrency in sizes]
    rounds = bench.pick(5, quick=2)
    found: dict[str, dict[Key, list[Point]]] = {OURS: defaultdict(list), THEIRS: defaultdict(list)}
    reference: dict[str, dict[Key, Point]] = {OURS: {}, THEIRS: {}}
    stolen: dict[Key, float] = {}
    failures: dict[str, str] = {}
    with repository_of(MODELS) as repository:
        for turn in range(rounds):
            for name in (OURS, THEIRS)[:: 1 if turn % 2 == 0 else -1]:
                bench.say(f"accuracy: {name}, turn {turn + 1}")
                try:
                    for point in _points(bench, name, repository, sizes):
                        found[name][point.key].append(point)
                except PeerError as error:
                    failures[name] = str(error)
            for key in keys[turn :: max(1, rounds - 1)] if turn < rounds - 1 else []:
                try:
                    before = processor_times()
                    reference[THEIRS][key] = _long_windows(bench, repository, key)
                    stolen[key] = stolen_share(before, processor_times())
                    reference[OURS][key] = _long_window_of_ours(bench, repository, key)
                except (PeerError, TritonpackError) as error:
                    failures["reference"] = str(error)
    return [_summary(found, reference, failures), _detail(keys, found, reference, stolen)]


def _points(bench: Bench, name: str, repository: Path, sizes: Sequence[int]) -> Iterable[Point]:
    if name == OURS:
        return [row.point for row in run_analyze(repository, sizes, sizes, quick=bench.quick).rows]
    # over HTTP, as analyze and the reference: the tools are compared, not the protocols
    options = ["--client-protocol", "http"]
    return run_model_analyzer(bench.peers, repository, MODELS, sizes, sizes, options=options).points


def _long_windows(bench: Bench, repository: Path, key: Key) -> Point:
    """Measure a point by perf_analyzer in three windows of 20 s, however much they differ."""
    window_ms = bench.pick(20_000, quick=1_000)
    options = ["-p", str(window_ms), "--max-trials", "3", "--stability-percentage", "999"]
    model, batch, concurrency = key
    bench.say(f"accuracy: reference of {model}, batch {batch}, concurrency {concurrency}")
    with serving(repository) as (server, triton):
        triton.load(model)
        point, _ = run_perf_analyzer(
            bench.peers, server.endpoint.http, model, batch=batch, concurrency=concurrency, options=options
        )
    return point


def _long_window_of_ours(bench: Bench, repository: Path, key: Key) -> Point:
    """Measure a point for 60 s with the load generator of `analyze`."""
    model, batch, concurrency = key
    timings = Timings()
    with (
        serving(repository) as (server, triton),
        load_on(server.endpoint, repository, model, batch=batch, concurrency=concurrency) as load,
        LoadGenerator() as generator,
    ):
        triton.load(model)
        with generator.sending(load) as stream:
            deadline_s = time.perf_counter() + bench.pick(60, quick=3)
            while time.perf_counter() < deadline_s:
                timings.add(stream.receive(0.2))
    window = timings.summarize(concurrency).window
    if window is None or timings.errors:
        raise PeerError(f"the load generator failed: {timings.first_error or 'no undisturbed requests'}")
    return Point(
        model=model,
        batch=batch,
        concurrency=concurrency,
        infer_per_s=window.requests_per_s * batch,
        p50_s=window.latency_p50_s,
        p99_s=window.latency_p99_s,
        memory_mib=None,
    )


def throughput_error(points: Sequence[Point], reference: Point) -> float:
    """Return the mean absolute error of the throughput, as a share of the reference."""
    return statistics.fmean(abs(point.infer_per_s / reference.infer_per_s - 1) for point in points)


def p99_spread(points: Sequence[Point]) -> float | None:
    """Return the highest less the lowest p99 latency, as a share of the median; None with fewer than two runs."""
    values = [point.p99_s for point in points if point.p99_s is not None]
    if len(values) < 2:
        return None
    return (max(values) - min(values)) / statistics.median(values)


def _summary(
    found: dict[str, dict[Key, list[Point]]], reference: dict[str, dict[Key, Point]], failures: dict[str, str]
) -> Table:
    rows = []
    for name, points in found.items():
        shared = [key for key in points if key in reference[THEIRS] and key in reference[name]]
        spreads = [spread for runs in points.values() if (spread := p99_spread(runs)) is not None]
        if not shared or not spreads:
            why = failures.get(name) or failures.get("reference") or "no figures"
            rows.append([name, f"failed: {why}", "", "", ""])
            continue
        errors = [
            f"{statistics.fmean(throughput_error(points[key], reference[whose][key]) for key in shared):.1%}"
            for whose in (THEIRS, name)
        ]
        runs = f"{len(shared)} points, {sum(len(points[key]) for key in shared)} runs"
        remark = f"; last failure: {failures[name]}" if name in failures else ""
        rows.append([name, *errors, f"{statistics.median(spreads):.0%}", runs + remark])
    header = [
        "Tool",
        "Mean absolute error of throughput, to perf_analyzer's three windows of 20 s",
        "The same, to 60 s of the tool's own client",
        "Median spread of p99 between runs",
        "Measured",
    ]
    notes = [
        "Target: within 2 % on average, and a spread at most half of Model Analyzer's. Model Analyzer's own client is "
        "perf_analyzer. Requests in half seconds in which the hypervisor took more than 2 % of the processors in use "
        "are left out by tritonpack, and by nobody else."
    ]
    return Table(title="Accuracy", header=header, rows=rows, notes=notes)


def _detail(
    keys: Sequence[Key],
    found: dict[str, dict[Key, list[Point]]],
    reference: dict[str, dict[Key, Point]],
    stolen: dict[Key, float],
) -> Table:
    rows = []
    for key in keys:
        row = [key[0], str(key[1]), str(key[2])]
        row += [f"{reference[name][key].infer_per_s:.1f}" if key in reference[name] else "" for name in (THEIRS, OURS)]
        row.append(f"{stolen[key]:.1%}" if key in stolen else "")
        for name in (OURS, THEIRS):
            points = found[name].get(key, [])
            spread = p99_spread(points)
            for whose in dict.fromkeys((THEIRS, name)):
                known = points and key in reference[whose]
                row.append(f"{throughput_error(points, reference[whose][key]):.1%}" if known else "")
            row.append("" if spread is None else f"{spread:.0%}")
        rows.append(row)
    header = ["Model", "Batch", "Concurrency", "perf_analyzer, 60 s (infer/s)", "tritonpack, 60 s", "Stolen meanwhile"]
    header += [f"tritonpack: {what}" for what in ("error to perf_analyzer", "to its own 60 s", "p99 spread")]
    header += [f"Model Analyzer: {what}" for what in ("error", "p99 spread")]
    return Table(title="Accuracy, point by point", header=header, rows=rows)
