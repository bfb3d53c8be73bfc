"""Test the report of the profiler's benchmark: its sections, tables, errors and runs."""

from pathlib import Path

import pytest

from benchmarks.profiler.accuracy import p99_spread, throughput_error
from benchmarks.profiler.peers import Point
from benchmarks.profiler.processes import PeerError, run
from benchmarks.profiler.report import Table, store_section


def point(infer_per_s: float, p99_s: float) -> Point:
    """Make one result of a tool."""
    return Point(model="m", batch=1, concurrency=1, infer_per_s=infer_per_s, p99_s=p99_s)


def test_store_section_replaces_its_own_case_only(tmp_path: Path) -> None:
    """A case that is run again replaces its earlier section; the other sections stay as they are."""
    results = tmp_path / "RESULTS.md"
    results.write_text("# Results\n\nby hand\n")
    store_section(results, "rate", "first rate")
    store_section(results, "memory", "memory")
    store_section(results, "rate", "second rate")
    text = results.read_text()
    assert "first rate" not in text
    assert text.startswith("# Results\n\nby hand\n")
    assert text.index("second rate") < text.index("memory")


def test_table_lines_its_columns_up() -> None:
    """Every row of the Markdown has the width of the widest cell of each column."""
    lines = Table(title="t", header=["a", "bb"], rows=[["long cell", "1"]]).markdown().splitlines()
    assert lines[2:] == ["| a         | bb |", "|-----------|----|", "| long cell | 1  |"]


def test_errors_and_spreads_are_shares() -> None:
    """The throughput error is the mean of the absolute relative errors; the p99 spread is the range over the median."""
    points = [point(90, 0.010), point(105, 0.012), point(100, 0.011)]
    # |0.90 - 1| + |1.05 - 1| + 0 = 0.15, over 3
    assert throughput_error(points, point(100, 0.010)) == pytest.approx(0.05)
    # 12 ms - 10 ms = 2 ms, of 11 ms
    assert p99_spread(points) == pytest.approx(2 / 11)


def test_run_counts_processor_time_of_children_and_ends_at_the_time_limit() -> None:
    """The processor time includes a command's children; a command over its time limit is ended with an error."""
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    ended = run(["/bin/sh", "-c", f"python3 -c '{busy}'; exit 0"], timeout_s=30)
    assert ended.cpu_s >= 0.3
    with pytest.raises(PeerError, match="took longer than 0 s"):
        run(["/bin/sh", "-c", "sleep 60; true"], timeout_s=0.2)


def test_error_of_a_failing_command_is_its_last_line() -> None:
    """The error of a failing command is the last line it printed, without the machine's folders."""
    with pytest.raises(PeerError, match=r"^sh failed with status 3: no model.py$"):
        run(["/bin/sh", "-c", "echo trying; echo no /home/me/model.py >&2; exit 3"], timeout_s=10)
