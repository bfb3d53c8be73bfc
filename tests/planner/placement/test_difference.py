"""Test the difference of two placements."""

from __future__ import annotations

from typing import Any

from planner.placement.difference import Relocation, difference
from tests.builders import placements
from tests.builders.placements import THRESHOLDS, placement


def gpu(number: int, *models: tuple[str, int], **extra: Any) -> dict[str, Any]:
    """Make a GPU with models of these sizes in MiB."""
    return placements.gpu(number, *(placements.model(name, size) for name, size in models)) | extra


def test_renumbered_gpus_are_no_difference() -> None:
    """GPUs are matched by their models, not by their ids."""
    before = placement(gpu(0, ("a", 100)), gpu(1, ("b", 200)))
    after = placement(gpu(0, ("b", 200)), gpu(1, ("a", 100)))
    found = difference(before, after)
    assert (found.figures, found.moves) == ((), ())
    assert found.matched == (("gpu-0", "gpu-1"), ("gpu-1", "gpu-0"))


def test_moves_name_gpus_of_the_first_placement() -> None:
    """b moves to gpu-0, c is removed, and d is placed on a new GPU."""
    before = placement(gpu(0, ("a", 300)), gpu(1, ("b", 200), ("c", 100)))
    after = placement(gpu(0, ("d", 50)), gpu(1, ("a", 300), ("b", 200)))
    assert difference(before, after).moves == (
        Relocation(model="b", count=1, memory_mib=200, source="gpu-1", target="gpu-0"),
        Relocation(model="c", count=1, memory_mib=100, source="gpu-1", target=None),
        Relocation(model="d", count=1, memory_mib=50, source=None, target="new gpu-0"),
    )


def test_counted_gpus_are_expanded() -> None:
    """An entry with a count of three from gpu-2 is gpu-2, gpu-3 and gpu-4."""
    found = placement(gpu(2, ("a", 1), count=3)).one_by_one()
    assert [g.id for g in found] == ["gpu-2", "gpu-3", "gpu-4"]


def test_changed_figures_are_named() -> None:
    """Thresholds and results that differ are named as in the file, and the numbers of GPUs by type."""
    before = placement(gpu(0, ("a", 1)))
    after = placement(gpu(0, ("a", 1)), gpu(1, ("b", 1)), thresholds=THRESHOLDS | {"memory_pct": 80})
    assert difference(before, after).figures == (
        ("objective gpus", 1, 2),
        ("objective lower_bound", 1, 2),
        ("objective value", 1, 2),
        ("thresholds memory_pct", 90, 80),
        ("GPUs of type T4", 1, 2),
    )


def test_moves_as_a_table() -> None:
    """The frame has one row per move; column names contain the units."""
    table = difference(placement(gpu(0, ("a", 300))), placement(gpu(0, ("b", 200)))).to_frame()
    assert table["model"].tolist() == ["a", "b"]
    assert table["memory_mib"].tolist() == [300, 200]
    assert table["target"].isna().tolist() == [True, False]
    assert table["target"][1] == "new gpu-0"
