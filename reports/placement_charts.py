"""The chart of a placement: what each GPU has of memory and utilization, and what its models take of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from analyzer.formats.units import number
from planner.placement.document import Placement
from planner.placement.placed_gpu import PlacedGpu
from reports.charts import LIMIT_RED, NEUTRAL_GREY, Chart, Trace, figures, text
from reports.placement_figures import (
    MOST_DISTINCT,
    MOST_SINGLE,
    RESOURCES,
    SERVER,
    TOTAL,
    Resource,
    Segment,
    drawn_gpus,
    segments,
    styles_of,
)

ROW_PX = 26
LABEL_LENGTH = 26
MOST_PARTS = 1500  # of one panel; of GPUs with more parts in all only the totals are drawn
PATTERNS = {"": "", "////": "/", "....": ".", "xxxx": "x"}  # plotly's names of matplotlib's hatches
WORDS = {SERVER: "Triton itself, and what is no model's", TOTAL: "All together"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A segment with the number of its GPU's row in the table of GPUs, and of its model's in the table of models."""

    gpu: int
    model: int | None
    segment: Segment


def placement_charts(placement: Placement) -> list[Chart]:
    """Return the chart of a plan; none where it uses no GPU.

    Up to 60 rows lie below each other, more stand side by side. Where colours and hatches do not suffice for all
    models, the legend does not name them, only the hover does. Of very many parts only the totals are drawn, since
    plotly.js takes a second for some 5,000 bars.
    """
    rows = drawn_gpus(placement)
    resources = [resource for resource in RESOURCES if any(resource.used(gpu) is not None for gpu in rows)]
    if not rows or not resources:
        return []
    lying = len(rows) <= MOST_SINGLE
    traces: list[Trace] = []
    totals = any(sum(len(segments(resource, gpu)) for gpu in rows) > MOST_PARTS for resource in resources)
    for panel, resource in enumerate(resources):
        parts = _totals(resource, rows) if totals else _parts(resource, rows)
        found = [
            _capacity(resource, rows, lying),
            *_used(list(parts), styles_of(rows)),
            *_threshold(resource, rows, placement, lying),
        ]
        for trace in found:
            traces.append(_placed(trace, panel, lying))
            traces[-1]["showlegend"] = trace["name"] not in {t["name"] for t in traces[:-1]} and bool(trace["name"])
    entries = sum(trace["showlegend"] for trace in traces)
    note = "Outlined is what a GPU has" if lying else "Shaded is what a GPU has"
    note += "." if totals else "; models in the same order in every panel."
    if not lying:
        note += " Drag over some GPUs to enlarge them."
    if totals:
        note += " The models of each are in the table."
    return [
        Chart(
            title="What the GPUs hold",
            note=note,
            table="models",
            traces=tuple(traces),
            layout=_lying(resources, rows) if lying else _standing(resources, rows),
            height_px=(186 + ROW_PX * len(rows) if lying else 260 * len(resources) + 120) + 24 * (entries // 4),
            wide=True,
        )
    ]


def _parts(resource: Resource, rows: Sequence[PlacedGpu]) -> Iterator[Part]:
    first = 0
    for row, gpu in enumerate(rows):
        for segment in segments(resource, gpu):
            yield Part(gpu=row, model=None if segment.model is None else first + segment.model, segment=segment)
        first += len(gpu.models)


def _totals(resource: Resource, rows: Sequence[PlacedGpu]) -> Iterator[Part]:
    for row, gpu in enumerate(rows):
        used = resource.used(gpu)
        if used is not None:
            yield Part(gpu=row, model=None, segment=Segment(0.0, used, TOTAL, None))


def _capacity(resource: Resource, rows: Sequence[PlacedGpu], lying: bool) -> Trace:
    """Return what GPUs have: outlined bars where they lie, and one shade where they stand, which is quicker to draw."""
    trace: Trace = {
        "name": "",
        "place": list(range(len(rows))),
        "value": figures(resource.capacity(gpu) for gpu in rows),
    }
    shade = "rgba(139,148,158,.12)"
    if not lying:
        line = {"width": 0, "shape": "hvh"}
        shaded = {"mode": "lines", "line": line, "fill": "tozeroy", "fillcolor": shade, "hoverinfo": "skip"}
        return trace | {"type": "scatter"} | shaded
    return trace | {
        "type": "bar",
        "base": 0,
        "width": 0.8,
        "marker": {"color": shade, "line": {"color": NEUTRAL_GREY, "width": 0.8}},
        "rows": list(range(len(rows))),
        "table": "gpus",
    }


def _used(parts: Sequence[Part], styles: Mapping[str, Mapping[str, str]]) -> Iterator[Trace]:
    """Yield the server's parts, the totals, and those of models: a trace for each, or one for all if there are many."""
    for name, words in WORDS.items():
        own = [part for part in parts if part.segment.name == name]
        if own:
            yield _bars(words, own, [part.gpu for part in own], "gpus", {"color": styles[name]["color"]})
    of_models = [part for part in parts if part.model is not None]
    names = list(dict.fromkeys(part.segment.name for part in of_models))
    if len(styles) - len(WORDS) > MOST_DISTINCT:
        if of_models:
            colors = [styles[part.segment.name]["color"] for part in of_models]
            yield _bars("Models", of_models, [part.model for part in of_models], "models", {"color": colors})
        return
    for name in names:
        own = [part for part in of_models if part.segment.name == name]
        color = styles[name]["color"]
        marker: dict[str, Any] = {"color": color}
        if shape := PATTERNS[styles[name]["hatch"]]:
            marker["pattern"] = {"shape": shape, "bgcolor": color, "fgcolor": "#ffffff", "size": 6, "solidity": 0.3}
        yield _bars(text(name), own, [part.model for part in own], "models", marker)


def _bars(name: str, parts: Sequence[Part], rows: Sequence[int | None], table: str, marker: Mapping[str, Any]) -> Trace:
    return {
        "type": "bar",
        "name": name,
        "legendgroup": name,
        "place": [part.gpu for part in parts],
        "value": figures(part.segment.width for part in parts),
        "base": figures(part.segment.start for part in parts),
        "width": 0.64,
        "marker": marker,
        "rows": list(rows),
        "table": table,
    }


def _threshold(resource: Resource, rows: Sequence[PlacedGpu], placement: Placement, lying: bool) -> Iterator[Trace]:
    shares = [resource.threshold(placement.thresholds_of(gpu.type)) for gpu in rows]
    values = [
        None if share is None else share * resource.capacity(gpu) for gpu, share in zip(rows, shares, strict=True)
    ]
    if all(value is None for value in values):
        return
    words = [
        "" if share is None or value is None else f"Threshold {number(share * 100)} %: {number(value)} {resource.unit}"
        for share, value in zip(shares, values, strict=True)
    ]
    trace = {
        "type": "scatter",
        "name": "Threshold of the plan",
        "legendgroup": "threshold",
        "place": list(range(len(rows))),
        "value": figures(values),
        "hovertext": words,
        "hoverinfo": "text",
    }
    if lying:
        line = {"color": LIMIT_RED, "width": 2}
        yield {
            **trace,
            "mode": "markers",
            "marker": {"symbol": "line-ns", "size": 20, "line": line},
        }
    else:
        yield {**trace, "mode": "lines", "line": {"color": LIMIT_RED, "width": 2, "shape": "hvh"}}


def _placed(trace: Trace, panel: int, lying: bool) -> Trace:
    """Put a trace into its panel: values along x where the bars lie, along y where they stand."""
    number_of = "" if panel == 0 else str(panel + 1)
    place, value = trace.pop("place"), trace.pop("value")
    if not lying:
        return {**trace, "x": place, "y": value, "yaxis": f"y{number_of}"}
    turned = {**trace, "x": value, "y": place, "xaxis": f"x{number_of}"}
    return turned | {"orientation": "h"} if trace["type"] == "bar" else turned


def _lying(resources: Sequence[Resource], rows: Sequence[PlacedGpu]) -> dict[str, Any]:
    gap = 0.04
    widths = [resource.width for resource in resources]
    share = (1 - gap * (len(widths) - 1)) / sum(widths)
    layout: dict[str, Any] = {
        "barmode": "overlay",
        "yaxis": {
            "tickvals": list(range(len(rows))),
            "ticktext": _labels(rows),
            "range": [len(rows) - 0.4, -0.6],
            "showgrid": False,
            "zeroline": False,
        },
    }
    for panel, start in enumerate(accumulate(widths[:-1], initial=0.0)):
        left = start * share + gap * panel
        layout[f"xaxis{'' if panel == 0 else panel + 1}"] = {
            "title": {"text": f"{resources[panel].title.replace(' ', '<br>')} ({resources[panel].unit})"},
            "domain": figures([left, left + widths[panel] * share]),
            "rangemode": "tozero",
            "nticks": 6,
        }
    return layout


def _standing(resources: Sequence[Resource], rows: Sequence[PlacedGpu]) -> dict[str, Any]:
    gap = 0.05
    height = (1 - gap * (len(resources) - 1)) / len(resources)
    lowest = "" if len(resources) == 1 else str(len(resources))
    every = -(-len(rows) // 25)
    layout: dict[str, Any] = {
        "barmode": "overlay",
        "bargap": 0,
        "xaxis": {
            "anchor": f"y{lowest}",
            "tickvals": list(range(0, len(rows), every)),
            "ticktext": _labels(rows)[::every],
            "range": [-1, len(rows)],
            "showgrid": False,
            "zeroline": False,
        },
    }
    for panel, resource in enumerate(resources):
        top = 1 - panel * (height + gap)
        layout[f"yaxis{'' if panel == 0 else panel + 1}"] = {
            "title": {"text": f"{resource.title} ({resource.unit})"},
            "domain": figures([max(0.0, top - height), top]),
            "rangemode": "tozero",
        }
    return layout


def _labels(rows: Sequence[PlacedGpu]) -> list[str]:
    """Return the labels of GPUs: their names, with their types where these differ."""
    several = len({gpu.type for gpu in rows}) > 1
    return [text(f"{gpu.name}  {gpu.type}" if several else gpu.name, LABEL_LENGTH) for gpu in rows]
