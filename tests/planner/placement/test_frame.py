"""Test the tables of placements: CSV and data frame."""

from __future__ import annotations

import csv
import io

from planner.placement.frame import to_csv
from tests.builders.placements import gpu, model, placement


def test_csv_has_one_row_per_model_and_gpu() -> None:
    """Every model of every GPU is a row in the file's units; an unknown figure is an empty cell, not 0."""
    text = to_csv(placement(gpu(0, model("a", 1000), model("b", 2000, None)), gpu(1, model("a", 1000))))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["gpu"], row["model"], row["memory_mib"]) for row in rows] == [
        ("gpu-0", "a", "1000"),
        ("gpu-0", "b", "2000"),
        ("gpu-1", "a", "1000"),
    ]
    assert rows[0]["gpu_memory_mib"] == "3309"  # the server's 309 and both models
    assert rows[1]["utilization_pct"] == rows[0]["gpu_utilization_pct"] == rows[0]["latency_p99_ms"] == ""


def test_csv_holds_no_formula() -> None:
    """A model named =cmd() stays text in a spreadsheet."""
    assert "'=cmd()" in to_csv(placement(gpu(0, model("=cmd()", 1))))


def test_grouped_gpus_keep_their_count() -> None:
    """A row for grouped GPUs names the first and how many are like it."""
    table = placement(gpu(0, model("a", 1)) | {"count": 3}).to_frame()
    assert list(table["gpu"]) == ["gpu-0 and 2 like it"]


def test_slice_is_named_with_its_start() -> None:
    """The row of a model on a MIG slice names the slice and its start position."""
    table = placement(gpu(0, model("a", 1, slice={"profile": "1g.10gb", "start": 2}))).to_frame()
    assert list(table["slice"]) == ["1g.10gb at 2"]


def test_figures_of_the_frame_are_numbers() -> None:
    """The frame's figures are numbers; an unknown figure is missing, not 0."""
    table = placement(gpu(0, model("a", 1000, 20), model("b", 500.5, None))).to_frame()
    assert table["memory_mib"].sum() == 1500.5
    assert table["utilization_pct"].tolist()[0] == 20
    assert table["utilization_pct"].isna().tolist() == [False, True]
