"""Test the progress of an image pull: the Docker engine's events become bytes received and bytes in total."""

from __future__ import annotations

from analyzer.cli.pull_progress import show_pull, update_layers


def downloading(layer: str, current: int, total: int) -> dict[str, object]:
    """Make the engine's event for a layer that is being downloaded."""
    return {"id": layer, "status": "Downloading", "progressDetail": {"current": current, "total": total}}


def test_layers_are_followed_one_by_one() -> None:
    """A complete layer counts in full; extraction and layers that the engine already has are no download."""
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
        layers = update_layers(layers, event)
    assert layers == {"b": (60, 100), "c": (50, 50)}


def test_failure_in_the_middle_is_returned() -> None:
    """The engine reports a failure during the pull as an event; its text is returned."""
    assert show_pull("x", [downloading("b", 10, 100), {"error": "unexpected EOF"}]) == "unexpected EOF"
    assert show_pull("x", [downloading("b", 100, 100)]) is None
