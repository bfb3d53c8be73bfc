"""Case memory: a model that holds 256 MiB, and takes 64 MiB more for each item while it runs."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from analyzer.formats.units import MIB
from analyzer.load.generator import LoadGenerator
from benchmarks.profiler.bench import Bench
from benchmarks.profiler.ours import Row, load_on, repository_of, run_analyze, serving
from benchmarks.profiler.peers import run_model_analyzer
from benchmarks.profiler.processes import PeerError
from benchmarks.profiler.report import Table

MODEL, BARE = "holder", "bare"
HELD_MIB, TAKEN_MIB_AN_ITEM = 256.0, 64.0  # the parameters in models/holder/config.pbtxt
BATCHES = (1, 2, 4)
_REST_S = 0.5


def run_case(bench: Bench) -> list[Table]:
    """Compare each tool's figure with the real one: what the model holds, plus the memory of one that holds nothing."""
    with repository_of([MODEL, BARE]) as repository:
        bench.say("memory: what the model takes without holding anything")
        bare = _bare_mib(repository)
        try:
            bench.say("memory: tritonpack")
            ours: list[Row] | str = run_analyze(repository, BATCHES, (1,), quick=bench.quick).rows
        except PeerError as error:
            ours = str(error)
        try:
            bench.say("memory: Model Analyzer")
            done = run_model_analyzer(bench.peers, repository, [MODEL], BATCHES, (1,), memory=True)
            theirs: dict[int, float | None] | str = {point.batch: point.memory_mib for point in done.points}
        except PeerError as error:
            theirs = str(error)
    return [_table(bare, ours, theirs)]


def _bare_mib(repository: Path) -> tuple[float, float]:
    """Return the memory of a model process without the memory under test, in MiB: at rest, and under load.

    That is the interpreter, libraries and buffers. The benchmark reads it from the kernel, as the growth of the PSS of
    the server's process tree.
    """
    with serving(repository) as (server, triton):
        pid = server.endpoint.process_id
        if pid is None:
            raise PeerError("the server does not run on this host")
        idle = _tree_pss_bytes(pid)
        triton.load(BARE)
        time.sleep(_REST_S)
        at_rest = _tree_pss_bytes(pid)
        with (
            load_on(server.endpoint, repository, BARE, batch=max(BATCHES)) as load,
            LoadGenerator() as generator,
            generator.sending(load) as stream,
        ):
            deadline_s = time.perf_counter() + 1.0
            while time.perf_counter() < deadline_s:
                stream.receive(0.2)
            return (at_rest - idle) / MIB, (_tree_pss_bytes(pid) - idle) / MIB


def _tree_pss_bytes(pid: int) -> int:
    root = psutil.Process(pid)
    return sum(process.memory_full_info().pss for process in (root, *root.children(recursive=True)))


def _table(bare: tuple[float, float], ours: list[Row] | str, theirs: dict[int, float | None] | str) -> Table:
    rows = []
    at_rest = bare[0] + HELD_MIB
    for batch in BATCHES:
        peak = bare[1] + HELD_MIB + TAKEN_MIB_AN_ITEM * batch
        if isinstance(ours, str):
            cells = [f"failed: {ours}", "", ""]
        else:
            row = next(row for row in ours if row.point.model == MODEL and row.point.batch == batch)
            cells = [
                _with_error(_minus(row.steady_mib, row.server_mib), at_rest),
                _with_error(_minus(row.run_peak_mib, row.server_mib), peak),
                _with_error(row.point.memory_mib, peak),
            ]
        found = f"failed: {theirs}" if isinstance(theirs, str) else _with_error(theirs.get(batch), peak)
        rows.append([str(batch), f"{at_rest:.0f}", f"{peak:.0f}", *cells, found])
    header = ["Batch", "Really, at rest (MiB)", "Really, at most (MiB)"]
    header += ["tritonpack: steady", "tritonpack: run peak", "tritonpack: model", "Model Analyzer: RAM"]
    notes = [
        f"Really: {HELD_MIB:.0f} MiB held, {TAKEN_MIB_AN_ITEM:.0f} MiB an item while it runs, and what the same model "
        f"takes with both set to 0, {bare[0]:.1f} MiB at rest and {bare[1]:.1f} under load (growth of the server "
        "tree's PSS, read by the benchmark).",
        "Model Analyzer's figure is its column RAM Usage with --collect-cpu-metrics: the server's own process, with "
        "the server. Target: each figure of ours within 3 %.",
    ]
    return Table(title="Memory of a model", header=header, rows=rows, notes=notes)


def _minus(value: float | None, less: float | None) -> float | None:
    return None if value is None or less is None else value - less


def _with_error(value: float | None, reference: float) -> str:
    return "not given" if value is None else f"{value:.0f} ({value / reference - 1:+.1%})"
