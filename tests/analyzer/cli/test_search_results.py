"""Test the line that shows the result of a search."""

from __future__ import annotations

from dataclasses import replace

from analyzer.cli.search_results import search_result_line
from analyzer.search import SearchResult
from tests.builders.measurements import measured


def test_search_results_say_what_was_found_or_why_not() -> None:
    """The line names the model, the batch and the figures: 4 in flight give 400 infer/s at 40 ms."""
    found = measured(batch=2, concurrency=4)
    about = replace(found.trial, concurrency=1)
    knee = SearchResult(sought="knee", about=about, found=found, why="the p99 budget bounds it")
    assert search_result_line(knee) == (
        "Knee of chest at batch 2: concurrency 4, 400 infer/s, p99 40.0 ms (the p99 budget bounds it)"
    )
    none = SearchResult(sought="peak", about=about, found=None, why="even 3 requests/s were not kept")
    assert search_result_line(none) == "Peak of chest at batch 2: none, even 3 requests/s were not kept"
