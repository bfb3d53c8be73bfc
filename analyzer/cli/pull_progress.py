"""Show the progress of the download of a container image as a bar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def show_pull(image: str, events: Iterable[Mapping[str, Any]]) -> str | None:
    """Show a pull on stderr while its events arrive; return its error message, None if it succeeded.

    Parameters
    ----------
    image : str
        Name of the image, shown beside the bar.
    events : iterable of mapping
        As the engine's API streams them for ``POST /images/create``.
    """
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("pulling {task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    layers: dict[str, tuple[int, int]] = {}
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(image, total=None)
        for event in events:
            if "error" in event:
                return str(event["error"])
            layers = update_layers(layers, event)
            here, total = (sum(column) for column in zip(*layers.values(), (0, 0), strict=True))
            progress.update(task, completed=here, total=total or None)
    return None


def update_layers(layers: dict[str, tuple[int, int]], event: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Return the bytes downloaded and the bytes in total of each layer, after one more event."""
    layer = event.get("id", "")
    if event.get("status") == "Downloading":
        detail = event.get("progressDetail") or {}
        return {**layers, layer: (detail.get("current", 0), detail.get("total", 0))}
    if event.get("status") == "Download complete" and layer in layers:
        return {**layers, layer: (layers[layer][1], layers[layer][1])}
    return layers
