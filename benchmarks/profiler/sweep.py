"""Case sweep: time to measure two models at every batch size and concurrency, by each tool's command and defaults."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.profiler.bench import Bench
from benchmarks.profiler.ours import repository_of, run_analyze
from benchmarks.profiler.peers import Point, run_model_analyzer
from benchmarks.profiler.processes import PeerError
from benchmarks.profiler.report import Table

MODELS = ("product", "sleeper")
OURS, THEIRS = "tritonpack", "Model Analyzer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """One run of a tool: its points, and the wall time."""

    points: list[Point]
    wall_s: float
    remark: str = ""


def run_case(bench: Bench) -> list[Table]:
    """Run both commands in turn; the figures are medians of their wall times."""
    sizes = bench.pick((1, 2, 4), quick=(1, 2))
    runs: dict[str, list[Swept]] = {OURS: [], THEIRS: []}
    failures: dict[str, str] = {}
    with repository_of(MODELS) as repository:
        tools = _tools(bench, repository, sizes)
        for repetition in range(bench.pick(2, quick=1)):
            for name, tool in list(tools.items())[:: 1 if repetition % 2 == 0 else -1]:
                bench.say(f"sweep: {name}, repetition {repetition + 1}")
                try:
                    runs[name].append(tool())
                except PeerError as error:
                    failures[name] = str(error)
    return [_table(runs, failures, points=len(MODELS) * len(sizes) ** 2)]


def _tools(bench: Bench, repository: Path, sizes: tuple[int, ...]) -> dict[str, Callable[[], Swept]]:
    def ours() -> Swept:
        done = run_analyze(repository, sizes, sizes, quick=bench.quick)
        unsettled = sum(row.status != "ok" for row in done.rows)
        return Swept(points=[row.point for row in done.rows], wall_s=done.wall_s, remark=f"{unsettled} not settled")

    def theirs() -> Swept:
        done = run_model_analyzer(bench.peers, repository, MODELS, sizes, sizes)
        return Swept(points=done.points, wall_s=done.wall_s)

    return {OURS: ours, THEIRS: theirs}


def _table(runs: Mapping[str, list[Swept]], failures: Mapping[str, str], *, points: int) -> Table:
    walls = {name: statistics.median(run.wall_s for run in done) for name, done in runs.items() if done}
    rows = []
    for name, done in runs.items():
        if not done:
            rows.append([name, f"failed: {failures.get(name, 'no figures')}", "", "", ""])
            continue
        ratio = f"{walls[name] / walls[THEIRS]:.3f}" if THEIRS in walls else ""
        each = ", ".join(f"{run.wall_s:.1f}" for run in done)
        measured = min(len(run.points) for run in done)
        remark = "; ".join(filter(None, (run.remark for run in done)))
        rows.append(
            [
                name,
                each,
                f"{walls[name] / points:.2f}",
                ratio,
                f"{measured} of {points}" + (f"; {remark}" if remark else ""),
            ]
        )
    header = ["Tool", "Wall time of each run (s)", "Seconds a point", "Ratio to Model Analyzer", "Points"]
    notes = [f"Target: under a quarter of Model Analyzer's time. {_agreement(runs)}"]
    return Table(title="Sweep time", header=header, rows=rows, notes=notes)


def _agreement(runs: Mapping[str, list[Swept]]) -> str:
    """Compare the two tools' throughputs, because a fast sweep is worth nothing if its figures are wrong."""
    ours, theirs = ({point.key: point for run in runs[name] for point in run.points} for name in (OURS, THEIRS))
    ratios = [ours[key].infer_per_s / theirs[key].infer_per_s for key in ours.keys() & theirs.keys()]
    if not ratios:
        return "No point was measured by both."
    return (
        f"Throughput of ours over theirs, point by point: median {statistics.median(ratios):.3f}, "
        f"from {min(ratios):.3f} to {max(ratios):.3f} (theirs goes over gRPC, its default)."
    )
