"""Case startup: time of the help text, of a server with its first model and of one point; size of the environment."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.profiler.bench import Bench
from benchmarks.profiler.ours import ANALYZE, repository_of, run_analyze, serving
from benchmarks.profiler.peers import run_model_analyzer
from benchmarks.profiler.processes import PeerError, run
from benchmarks.profiler.report import Table

MODEL = "trivial"
_SIZE = Path(__file__).with_name("environment_size.py")
SearchResult = Callable[[], str]


def run_case(bench: Bench) -> list[Table]:
    """Measure each of these with both tools; times are medians."""
    times = bench.pick(11, quick=3)
    with repository_of([MODEL]) as repository:
        asked: list[tuple[str, str, SearchResult, SearchResult]] = [
            (
                "Help text (s)",
                "under 0.25",
                lambda: f"{_help_s(ANALYZE, times):.3f}",
                lambda: f"{_help_s(bench.peers.model_analyzer, min(times, 5)):.3f}",
            ),
            (
                "Start of the server to first model loaded (s)",
                "under 2",
                lambda: f"{_load_s(repository, min(times, 5)):.2f}",
                lambda: _their_load_s(bench, repository),
            ),
            (
                "A whole run of one point (s)",
                "",
                lambda: f"{run_analyze(repository, (1,), (1,), quick=bench.quick).wall_s:.1f}",
                lambda: f"{run_model_analyzer(bench.peers, repository, [MODEL], (1,), (1,)).wall_s:.1f}",
            ),
            (
                "Environment (MB)",
                "",
                lambda: _size_mb(Path(sys.executable), "tritonpack"),
                lambda: _size_mb(bench.peers.model_analyzer.with_name("python"), "triton-model-analyzer"),
            ),
        ]
        rows = []
        for what, target, ours, theirs in asked:
            bench.say(f"startup: {what}")
            rows.append([what, _or_failure(ours), _or_failure(theirs), target])
    notes = [
        "Environment: every file of the distribution and of all that it requires, without extras of its own (so "
        "without the server of the extra `local`), by their records; counted alike in both environments.",
        "Theirs from the start of the tritonserver process to its log's first `successfully loaded`; ours from the "
        "call that starts it to the return of the load.",
    ]
    return [Table(title="Start-up", header=["What", "tritonpack", "Model Analyzer", "Target"], rows=rows, notes=notes)]


def _or_failure(measure: SearchResult) -> str:
    try:
        return measure()
    except PeerError as error:
        return f"failed: {error}"


def _help_s(command: Path, times: int) -> float:
    return statistics.median(run([command, "--help"], timeout_s=60).wall_s for _ in range(times))


def _load_s(repository: Path, times: int) -> float:
    spans = []
    for _ in range(times):
        began_s = time.perf_counter()
        with serving(repository) as (_server, triton):
            triton.load(MODEL)
            spans.append(time.perf_counter() - began_s)
    return statistics.median(spans)


def _their_load_s(bench: Bench, repository: Path) -> str:
    load_s = run_model_analyzer(bench.peers, repository, [MODEL], (1,), (1,)).load_s
    if load_s is None:
        raise PeerError("its server's log has no loaded model")
    return f"{load_s:.2f}"


def _size_mb(python: Path, distribution: str) -> str:
    size, count = run([python, "-I", _SIZE, distribution], timeout_s=60).output.split()[-2:]
    return f"{int(size) / 1e6:.0f} ({count} distributions)"
