"""What is different between two placements."""

from __future__ import annotations

from typing import Any

from planner.placement.difference import Move, difference, expanded


def gpu(gpu_id: str, *models: tuple[str, int], **extra: Any) -> dict[str, Any]:
    """A GPU with models of these sizes in MiB."""
    return {
        "id": gpu_id,
        "type": "T4",
        "models": [
            {"name": name, "batch": 1, "concurrency": 1, "instances": 1, "memory_mib": size} for name, size in models
        ],
        **extra,
    }


def placement(*gpus: dict[str, Any], **extra: Any) -> dict[str, Any]:
    """A placement of these GPUs."""
    return {
        "status": "optimal",
        "mode": "memory",
        "objective": {"gpus": len(gpus)},
        "thresholds": {},
        "provenance": {},
        "gpus": list(gpus),
        **extra,
    }


def test_renumbered_gpus_are_no_difference() -> None:
    """GPUs are matched by what they hold."""
    before = placement(gpu("gpu-0", ("a", 100)), gpu("gpu-1", ("b", 200)))
    after = placement(gpu("gpu-0", ("b", 200)), gpu("gpu-1", ("a", 100)))
    found = difference(before, after)
    assert (found.figures, found.moves) == ((), ())
    assert found.matched == (("gpu-0", "gpu-1"), ("gpu-1", "gpu-0"))


def test_moves_are_told_in_the_first_placements_names() -> None:
    """b joins a on gpu-0, c goes away and d comes on a GPU that was not there."""
    before = placement(gpu("gpu-0", ("a", 300)), gpu("gpu-1", ("b", 200), ("c", 100)))
    after = placement(gpu("gpu-0", ("d", 50)), gpu("gpu-1", ("a", 300), ("b", 200)))
    assert difference(before, after).moves == (
        Move(model="b", count=1, memory_mib=200, source="gpu-1", target="gpu-0"),
        Move(model="c", count=1, memory_mib=100, source="gpu-1", target=None),
        Move(model="d", count=1, memory_mib=50, source=None, target="new gpu-0"),
    )


def test_counted_gpus_are_taken_one_by_one() -> None:
    """An entry of three like GPUs stands for gpu-2, gpu-3 and gpu-4."""
    found = expanded(placement(gpu("gpu-2", ("a", 1), count=3)))
    assert [g["id"] for g in found] == ["gpu-2", "gpu-3", "gpu-4"]


def test_changed_figures_are_named() -> None:
    """Thresholds and outcomes that differ, and the GPUs by type."""
    before = placement(gpu("gpu-0", ("a", 1)), thresholds={"memory_pct": 100})
    after = placement(gpu("gpu-0", ("a", 1)), gpu("gpu-1", ("b", 1)), thresholds={"memory_pct": 80})
    assert difference(before, after).figures == (
        ("objective gpus", 1, 2),
        ("thresholds memory_pct", 100, 80),
        ("GPUs of type T4", 1, 2),
    )
