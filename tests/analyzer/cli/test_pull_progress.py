"""What the engine says of a pull becomes bytes here and bytes in all."""

from __future__ import annotations

from analyzer.cli.pull_progress import follow, show_pull


def downloading(layer: str, current: int, total: int) -> dict[str, object]:
    """Make the engine's event of a layer under way."""
    return {"id": layer, "status": "Downloading", "progressDetail": {"current": current, "total": total}}


def test_layers_are_followed_one_by_one() -> None:
    """A complete layer counts whole; extraction, and layers that were here before, do not count as download."""
    layers: dict[str, tuple[int, int]] = {}
    for event in (
        {"id": "24.10-py3", "status": "Pulling from nvidia/tritonserver"},
        {"id": "a", "status": "Already exists", "progressDetail": {}},
        downloading("b", 10, 100),
        downloading("c", 5, 50),
        downloading("b", 60, 100),
        {"id": "c", "status": "Download complete", "progressDetail": {}},
        {"id": "b", "status": "Extracting", "progressDetail": {"current": 1, "total": 100}},
    ):
        layers = follow(layers, event)
    assert layers == {"b": (60, 100), "c": (50, 50)}


def test_failure_in_the_middle_is_returned() -> None:
    """The engine reports a pull that breaks off as an event, after its answer began well."""
    assert show_pull("x", [downloading("b", 10, 100), {"error": "unexpected EOF"}]) == "unexpected EOF"
    assert show_pull("x", [downloading("b", 100, 100)]) is None
