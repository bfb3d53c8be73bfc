"""Cases climb-*: time to the best configuration of a model under a p99 budget, by each tool's search."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analyzer.measurements.csv_file import read_measurements_csv
from analyzer.measurements.record import Measurement, Variant
from analyzer.models.variants import variant_config
from analyzer.servers.control import ControlClient
from benchmarks.profiler.bench import Bench
from benchmarks.profiler.ours import ANALYZE, repository_of, serving
from benchmarks.profiler.peers import Point, profile_with_model_analyzer, run_perf_analyzer
from benchmarks.profiler.processes import PeerError, run
from benchmarks.profiler.report import Table

OURS, QUICK, BRUTE = "tritonpack, climb", "Model Analyzer, quick", "Model Analyzer, brute"
MAX_CONCURRENCY = 16
_TIMEOUT_S = 600
_SETTLE_PCT = "10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """A model's settings and the requests kept in flight, each of one item; the largest batch is 0 without batching."""

    max_batch_size: int
    instances: int
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedModel:
    """A model, the ranges that are searched, and its best configuration.

    Parameters
    ----------
    max_batch_sizes : tuple of int
        Powers of two, which both tools try; empty for a model that does not batch.
    optimum : Configuration
        Follows from the model's durations; see `why`.
    """

    name: str
    max_batch_sizes: tuple[int, ...]
    max_instances: int
    latency_p99_ms: int
    optimum: Configuration
    why: str


MODELS = (
    SearchedModel(
        name="climb_instances",
        max_batch_sizes=(),
        max_instances=4,
        latency_p99_ms=60,
        optimum=Configuration(max_batch_size=0, instances=4, concurrency=8),
        why="It sleeps 20 ms a request, so 4 instances serve 200 requests/s; 8 requests in flight take 40 ms.",
    ),
    SearchedModel(
        name="climb_batching",
        max_batch_sizes=(1, 2, 4),
        max_instances=2,
        latency_p99_ms=60,
        optimum=Configuration(max_batch_size=4, instances=2, concurrency=16),
        why="It computes 5 ms a batch whatever its size, so 2 instances on 2 processors with 4 items a batch are best.",
    ),
    SearchedModel(
        name="climb_budget",
        max_batch_sizes=(8,),
        max_instances=2,
        latency_p99_ms=32,
        optimum=Configuration(max_batch_size=8, instances=2, concurrency=8),
        why="It sleeps 4 ms a batch and 3 ms an item: larger batches serve more, until two of them exceed the budget.",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search took, and the best configuration that it measured within the budget."""

    wall_s: float
    points: int
    best: Configuration | None


def case_of(model: SearchedModel) -> Callable[[Bench], list[Table]]:
    """Return the case of one model."""

    def run_case(bench: Bench) -> list[Table]:
        return [_compare(bench, model)]

    return run_case


def _compare(bench: Bench, model: SearchedModel) -> Table:
    """Search with each tool, then measure what each found, and the known optimum, with perf_analyzer."""
    rows = []
    with repository_of([model.name]) as repository:
        searches: dict[str, Callable[[], Found]] = {
            OURS: lambda: _climb(repository, model),
            QUICK: lambda: _search_with_model_analyzer(bench, repository, model, "quick"),
        }
        if bench.brute:
            searches[BRUTE] = lambda: _search_with_model_analyzer(bench, repository, model, "brute")
        found: dict[str, Found] = {}
        for name, search in searches.items():
            bench.say(f"{model.name}: {name}")
            try:
                found[name] = search()
            except PeerError as error:
                rows.append([name, f"failed: {error}", "", "", "", "", ""])
        measured = _measure(bench, repository, model, {model.optimum, *(f.best for f in found.values() if f.best)})
    for name, result in found.items():
        ratios = [f"{result.wall_s / found[peer].wall_s:.2f}" if peer in found else "" for peer in (QUICK, BRUTE)]
        rows.append([name, f"{result.wall_s:.1f}", str(result.points), *ratios, *_cells(result.best, measured)])
    rows.append(["by construction", "", "", "", "", *_cells(model.optimum, measured)])
    header = ["Search", "Wall time (s)", "Points", "Ratio to quick", "Ratio to brute", "Best configuration found"]
    header += [f"Measured again: infer/s (p99; budget {model.latency_p99_ms} ms)"]
    notes = [model.why, _PROTOCOL]
    return Table(title=f"Time to the best configuration: {model.name}", header=header, rows=rows, notes=notes)


_PROTOCOL = (
    f"All search max_batch_size, the number of instances and a concurrency up to {MAX_CONCURRENCY} in the same ranges, "
    "with the dynamic batcher where a model batches, and requests of one item. The quick search has no constraint, as "
    "it fails with one beside its bounds; its best within the budget is taken from its table. The best configurations "
    "are measured again by perf_analyzer over HTTP, three windows of 3 s. Target: the same throughput or more in a "
    "tenth of Model Analyzer's time."
)


def _cells(best: Configuration | None, measured: dict[Configuration, Point]) -> list[str]:
    if best is None:
        return ["none within the budget", ""]
    batching = f"max_batch_size {best.max_batch_size}, " if best.max_batch_size else ""
    text = f"{batching}{best.instances} instances, concurrency {best.concurrency}"
    point = measured[best]
    return [text, f"{point.infer_per_s:.0f} ({(point.p99_s or 0.0) * 1e3:.1f} ms)"]


def _climb(repository: Path, model: SearchedModel) -> Found:
    """Run ``analyze --search climb``; the best trial within the budget is what it found."""
    with tempfile.TemporaryDirectory(prefix="tritonpack-bench-") as folder:
        command = [str(ANALYZE), "--launch-mode", "local", "--model-folder", str(repository), "-o", folder, "--export"]
        command += ["--search", "climb", "--max-concurrency", str(MAX_CONCURRENCY)]
        command += ["--max-instances", str(model.max_instances), "--latency-p99-ms", str(model.latency_p99_ms)]
        command += ["--precision", _SETTLE_PCT]
        if model.max_batch_sizes:
            command += ["--max-batch-size", ",".join(map(str, model.max_batch_sizes))]
        ended = run(command, timeout_s=_TIMEOUT_S)
        rows = read_measurements_csv(Path(folder) / "metrics-model.csv")
    return Found(wall_s=ended.wall_s, points=len(rows), best=best_of(rows, model))


def best_of(rows: tuple[Measurement, ...], model: SearchedModel) -> Configuration | None:
    """Return the configuration with the highest throughput within the budget."""
    good = [m for m in rows if m.latency_p99_s is not None and m.latency_p99_s * 1e3 <= model.latency_p99_ms]
    best = max(good, key=lambda m: m.throughput_infer_per_s or 0.0, default=None)
    if best is None:
        return None
    return Configuration(
        max_batch_size=best.trial.variant.max_batch_size or 0,
        instances=best.instances,
        concurrency=best.trial.concurrency,
    )


def _search_with_model_analyzer(bench: Bench, repository: Path, model: SearchedModel, mode: str) -> Found:
    with tempfile.TemporaryDirectory(prefix="tritonpack-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "search.yaml").write_text(json.dumps(search_settings(model, mode)))  # JSON is YAML
        fields = "model_name,batch_size,concurrency,max_batch_size,instance_group,perf_throughput,perf_latency_p99"
        options = ["--config-file", str(folder / "search.yaml"), "--inference-output-fields", fields]
        ended = profile_with_model_analyzer(bench.peers, repository, folder, options, timeout_s=_TIMEOUT_S)
        files = sorted(folder.glob("export/**/metrics-model-inference.csv"))
        if not files:
            raise PeerError("Model Analyzer wrote no metrics-model-inference.csv")
        rows = list(csv.DictReader(files[0].read_text().splitlines()))
    return Found(wall_s=ended.wall_s, points=len(rows), best=best_row(rows, model))


def search_settings(model: SearchedModel, mode: str) -> dict[str, object]:
    """Return the settings of Model Analyzer's search, `quick` or `brute`.

    The quick search of 1.58.0 never ends where it meets both a constraint and a bound of its own, and stops with an
    OverflowError: a trial that breaks the constraint makes it take the best neighbour, of equal ones the one with the
    largest settings; and beyond the bounds of max_batch_size and of the instances, which it only clamps, all are
    equal. So it has no constraint; the best within the budget is taken from its table.
    """
    profiled: dict[str, object] = {"cpu_only": True}
    if mode == "brute":
        profiled["constraints"] = {"perf_latency_p99": {"max": model.latency_p99_ms}}
    settings: dict[str, object] = {
        "profile_models": {model.name: profiled},
        "run_config_search_mode": mode,
        "run_config_search_max_concurrency": MAX_CONCURRENCY,
        "run_config_search_max_instance_count": model.max_instances,
    }
    if model.max_batch_sizes:
        settings["run_config_search_min_model_batch_size"] = model.max_batch_sizes[0]
        settings["run_config_search_max_model_batch_size"] = model.max_batch_sizes[-1]
    return settings


def best_row(rows: list[dict[str, str]], model: SearchedModel) -> Configuration | None:
    """Return the configuration with the highest throughput within the budget, of Model Analyzer's table."""
    good = [row for row in rows if float(row["p99 Latency (ms)"]) <= model.latency_p99_ms]
    best = max(good, key=lambda row: float(row["Throughput (infer/sec)"]), default=None)
    if best is None:
        return None
    count = best["Instance Group"].partition(":")[0]  # such as 2:CPU
    return Configuration(
        max_batch_size=int(best["Max Batch Size"]), instances=int(count), concurrency=int(best["Concurrency"])
    )


def _measure(
    bench: Bench, repository: Path, model: SearchedModel, configurations: set[Configuration]
) -> dict[Configuration, Point]:
    """Measure configurations with one tool that is none of the searches: perf_analyzer, for 9 s each."""
    measured = {}
    with serving(repository) as (server, triton):
        for wanted in configurations:
            bench.say(f"{model.name}: measure {wanted}")
            _load(triton, model.name, wanted)
            window = ["-p", str(bench.pick(3000, quick=500)), "--max-trials", "3", "--stability-percentage", "999"]
            address = server.endpoint.http
            measured[wanted], _ = run_perf_analyzer(
                bench.peers, address, model.name, concurrency=wanted.concurrency, options=window
            )
            triton.unload(model.name)
    return measured


def _load(triton: ControlClient, name: str, wanted: Configuration) -> None:
    variant = Variant(instances=wanted.instances, max_batch_size=wanted.max_batch_size or None)
    triton.load(name)
    config = variant_config(triton.config(name), variant)
    triton.unload(name)
    triton.load(name, json.dumps(config))
