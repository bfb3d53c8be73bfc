"""A placement file as records to show."""

from __future__ import annotations

import csv
import io

from reports.placement_rows import placed_gpus, shown_gpus, to_csv
from tests.builders.placements import document, gpu, model


def test_csv_has_one_row_a_model_on_a_gpu() -> None:
    """Every model of every GPU is a row in the file's units; an unknown figure is an empty cell, not 0."""
    text = to_csv(placed_gpus(document(gpu(0, model("a", 1000), model("b", 2000, None)), gpu(1, model("a", 1000)))))
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
    assert "'=cmd()" in to_csv(placed_gpus(document(gpu(0, model("=cmd()", 1)))))


def test_many_gpus_that_hold_the_same_share_a_row() -> None:
    """Up to 60 GPUs are shown one by one; of more, those that differ in their id alone are one row with their count."""
    few = [gpu(n, model("a", 1)) for n in range(60)]
    assert len(shown_gpus(document(*few))) == 60
    rows = shown_gpus(document(*few, gpu(60, model("b", 1))))
    assert [(row.name, row.count) for row in rows] == [("gpu-0 and 59 like it", 60), ("gpu-60", 1)]


def test_gpus_that_the_file_counts_keep_their_count() -> None:
    """A file that groups GPUs names the first of them and how many are like it."""
    (row,) = placed_gpus(document(gpu(0, model("a", 1)) | {"count": 3}))
    assert (row.name, row.count) == ("gpu-0 and 2 like it", 3)


def test_thresholds_are_those_of_the_type() -> None:
    """Where types have thresholds of their own, a GPU is held to its type's."""
    own = {"memory_pct": 70, "utilization_pct": None, "memory_utilization_pct": None}
    (row,) = placed_gpus(document(gpu(0, model("a", 1)), gpu_types=[{"type": "T4", "thresholds": own}]))
    assert (row.max_memory_pct, row.max_utilization_pct) == (70, None)


def test_slice_is_named_with_its_start() -> None:
    """A model on a MIG slice says which slice, and where on the GPU it begins."""
    (row,) = placed_gpus(document(gpu(0, model("a", 1, slice={"profile": "1g.10gb", "start": 2}))))
    assert row.models[0].mig_slice == "1g.10gb at 2"
