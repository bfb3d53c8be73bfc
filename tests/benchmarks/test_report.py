"""What the profiler's benchmark writes down, and how it counts."""

from pathlib import Path

import pytest

from benchmarks.profiler.accuracy import p99_spread, throughput_error
from benchmarks.profiler.peers import Point
from benchmarks.profiler.processes import PeerError, run
from benchmarks.profiler.report import Table, store_section


def point(infer_per_s: float, p99_s: float) -> Point:
    """Make a tool's answer."""
    return Point(model="m", batch=1, concurrency=1, infer_per_s=infer_per_s, p99_s=p99_s)


def test_store_section_replaces_its_own_case_only(tmp_path: Path) -> None:
    """A case that is run again takes the place of its former results; what others wrote stays as it is."""
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
    """Throughput is off by the mean of the absolute shares; p99 spreads over its range, by the median."""
    points = [point(90, 0.010), point(105, 0.012), point(100, 0.011)]
    # |0.90 - 1| + |1.05 - 1| + 0 = 0.15, over 3
    assert throughput_error(points, point(100, 0.010)) == pytest.approx(0.05)
    # 12 ms - 10 ms = 2 ms, of 11 ms
    assert p99_spread(points) == pytest.approx(2 / 11)


def test_a_run_counts_the_processor_time_of_children_and_ends_what_takes_too_long() -> None:
    """A command's processor time has that of what it waited for; one over its time is ended and says so."""
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    ended = run(["/bin/sh", "-c", f"python3 -c '{busy}'; exit 0"], timeout_s=30)
    assert ended.cpu_s >= 0.3
    with pytest.raises(PeerError, match="took longer than 0 s"):
        run(["/bin/sh", "-c", "sleep 60; true"], timeout_s=0.2)


def test_a_failing_peer_says_why() -> None:
    """The last line of what a failing command printed is its reason, without the folders of the machine."""
    with pytest.raises(PeerError, match=r"^sh failed with status 3: no model.py$"):
        run(["/bin/sh", "-c", "echo trying; echo no /home/me/model.py >&2; exit 3"], timeout_s=10)
