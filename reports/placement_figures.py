"""Draw placements: how much of each GPU's capacity is used, by model, and the plan's thresholds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from analyzer.formats.figure_style import DIM, INK, PALETTE, SERVER_GREY, head, house_style, label
from analyzer.formats.units import MIB, counted, number
from planner.placement.busiest_hour import gpu_in_busiest_hour, shares_by_hour
from planner.placement.document import CountedThresholds, Placement
from planner.placement.placed_gpu import PlacedGpu, PlacedModel

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_SINGLE = 60  # GPUs that are shown with a row for each, and rows of one figure; more would be too high to read
MOST_FIGURES = 10  # figures of one plan; GPUs beyond them are in the tables only
ROW_INCHES = 0.34
CHARACTER_INCHES = 0.062  # width of a character of 7 points, with some allowance for wide ones
HATCHES = ("", "////", "....", "xxxx")
MOST_DISTINCT = len(PALETTE) * len(HATCHES)  # models that colour and hatch can tell apart
THRESHOLD_RED = "#b3261e"
EMPTY = "#f3f5f7"
TOTAL_GREY = "#57606a"
# Parts of a bar that are no models; no model can have these names, since Triton refuses an empty one.
SERVER, TOTAL = "", "\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One panel of a figure: a resource's capacity, use and threshold on a GPU, in MiB or in percent of the GPU."""

    title: str
    unit: str
    capacity: Callable[[PlacedGpu], float]
    used: Callable[[PlacedGpu], float | None]
    threshold: Callable[[CountedThresholds], float | None]  # share of the capacity
    of_model: Callable[[PlacedModel], float | None]
    width: float  # in shares of the figure


class Segment(NamedTuple):
    """One part of a GPU's bar: where it starts, its width, whose it is, and which of the GPU's models that is."""

    start: float
    width: float
    name: str
    model: int | None


def _percent(share: float | None) -> float | None:
    return None if share is None else share * 100


RESOURCES = (
    Resource(
        title="Memory",
        unit="MiB",
        capacity=lambda gpu: gpu.memory_capacity_bytes / MIB,
        used=lambda gpu: gpu.memory_bytes / MIB,
        threshold=lambda limits: limits.memory,
        of_model=lambda model: model.memory_bytes / MIB,
        width=1.7,
    ),
    Resource(
        title="GPU utilization",
        unit="%",
        capacity=lambda gpu: 100.0,
        used=lambda gpu: _percent(gpu.utilization),
        threshold=lambda limits: limits.utilization,
        of_model=lambda model: _percent(model.utilization),
        width=1.0,
    ),
    Resource(
        title="Memory utilization",
        unit="%",
        capacity=lambda gpu: 100.0,
        used=lambda gpu: _percent(gpu.memory_utilization),
        threshold=lambda limits: limits.memory_utilization,
        of_model=lambda model: _percent(model.memory_utilization),
        width=1.0,
    ),
)


def shown_gpus(placement: Placement) -> list[PlacedGpu]:
    """Return the rows that figures and pages show: above `MOST_SINGLE` GPUs, one for those of the same content."""
    return list(placement.gpus) if len(placement.gpus) <= MOST_SINGLE else placement.grouped()


def drawn_gpus(placement: Placement) -> list[PlacedGpu]:
    """Return the `shown_gpus`, each with what its models take in its busiest hour."""
    shares = shares_by_hour(placement.demand)
    return [gpu_in_busiest_hour(gpu, shares) for gpu in shown_gpus(placement)]


def placement_figures(title: str, placement: Placement) -> list[Figure]:
    """Draw the GPUs of a plan, with a row for each and at most 60 rows in a figure.

    Parameters
    ----------
    title : str
        Title of the figures.
    placement : Placement
        Its `shown_gpus` are drawn from top to bottom.

    Returns
    -------
    list of Figure
        At most 10; where more would be needed, the last one says how many GPUs are in the tables only.
    """
    rows = drawn_gpus(placement)
    styles = styles_of(rows)
    limits = {gpu.type: placement.thresholds_of(gpu.type) for gpu in rows}
    pages = [rows[start : start + MOST_SINGLE] for start in range(0, len(rows), MOST_SINGLE)]
    left_out = sum(gpu.gpus for page in pages[MOST_FIGURES:] for gpu in page)
    drawn = pages[:MOST_FIGURES]
    figures = []
    for n, page in enumerate(drawn, start=1):
        part = f", part {n} of {len(drawn)}" if len(drawn) > 1 else ""
        more = f"; {counted(left_out, 'GPU')} more in the tables" if left_out and n == len(drawn) else ""
        gpus = counted(sum(gpu.gpus for gpu in page), "GPU")
        hour = "; utilizations of the hour in which a GPU is busiest" if shares_by_hour(placement.demand) else ""
        subtitle = f"{gpus}{more}{hour}; outlined is what a GPU has, models in the same order in every panel"
        figures.append(_draw(f"{title}{part}", subtitle, page, limits, styles))
    return figures


def _draw(
    title: str,
    subtitle: str,
    rows: Sequence[PlacedGpu],
    limits: Mapping[str, CountedThresholds],
    styles: Mapping[str, Mapping[str, str]],
) -> Figure:
    from matplotlib.figure import Figure

    resources = [resource for resource in RESOURCES if any(resource.used(gpu) is not None for gpu in rows)]
    legend = _legend(resources, rows, limits, styles)
    height = 1.7 + ROW_INCHES * len(rows) + 0.22 * -(-len(legend) // 3)
    with house_style():
        figure = Figure(figsize=(12, height))
        panels = figure.subplots(
            1, len(resources), sharey=True, squeeze=False, width_ratios=[resource.width for resource in resources]
        )[0]
        for axes, resource in zip(panels, resources, strict=True):
            _panel(axes, resource, rows, limits, styles)
        panels[0].set_yticks(range(len(rows)), [label(f"{gpu.name}  {gpu.type}", 44) for gpu in rows])
        panels[0].set_ylim(len(rows) - 0.4, -0.6)
        head(figure, title, subtitle)
        figure.legend(handles=legend, loc="outside lower left", ncols=3, fontsize=8)
        figure.draw_without_rendering()  # computes the widths of the segments, which names have to fit
        figure.set_layout_engine("none")  # laying it out again would take as long as drawing it
        for axes, resource in zip(panels, resources, strict=True):
            _name_segments(axes, resource, rows, styles)
    return figure


def _panel(
    axes: Axes,
    resource: Resource,
    rows: Sequence[PlacedGpu],
    limits: Mapping[str, CountedThresholds],
    styles: Mapping[str, Mapping[str, str]],
) -> None:
    """Draw one resource: for each GPU its capacity, the parts in use stacked over it, and the threshold as a line."""
    capacities = [resource.capacity(gpu) for gpu in rows]
    threshold = [
        None if (share := resource.threshold(limits[gpu.type])) is None else share * capacity
        for gpu, capacity in zip(rows, capacities, strict=True)
    ]
    axes.barh(range(len(rows)), capacities, height=0.72, color=EMPTY, edgecolor=DIM, lw=0.8, gid="capacity")
    for position, gpu in enumerate(rows):
        for start, width, name, _ in segments(resource, gpu):
            style = styles[name]
            axes.barh(
                position, width, left=start, height=0.56, facecolor=style["color"], hatch=style["hatch"],
                edgecolor="white", lw=0.6, gid="segment",
            )  # fmt: skip
        if (limit := threshold[position]) is not None:
            axes.vlines(limit, position - 0.44, position + 0.44, color=THRESHOLD_RED, lw=1.6, gid="threshold")
        used = resource.used(gpu)
        end = max(capacities[position], used or 0, threshold[position] or 0)
        text = "not known" if used is None else number(used)
        axes.annotate(text, (end, position), (4, 0), textcoords="offset points", va="center", fontsize=8, color=DIM)
    axes.set_title(resource.title)
    axes.set_xlabel(resource.unit)
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0)
    furthest = max([*capacities, *(resource.used(gpu) or 0 for gpu in rows), *(limit or 0 for limit in threshold)])
    axes.set_xlim(0, furthest * (1 + 0.24 / resource.width))
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= furthest])


def segments(resource: Resource, gpu: PlacedGpu) -> list[Segment]:
    """Return the parts of a GPU's bar for one resource.

    What belongs to no model is named `SERVER`. Where the placement does not say how much each model takes, the GPU's
    total is one part named `TOTAL`.
    """
    used = resource.used(gpu)
    if used is None:
        return []
    shares = [(n, model.name, resource.of_model(model), model.replicas) for n, model in enumerate(gpu.models)]
    if any(share is None for _, _, share, _ in shares):
        return [Segment(0.0, used, TOTAL, None)]
    known = [(n, name, (share or 0.0) / count) for n, name, share, count in shares for _ in range(count)]
    parts = [(None, SERVER, max(0.0, used - sum(share for *_, share in known))), *known]
    starts = accumulate((width for *_, width in parts), initial=0.0)
    return [Segment(start, width, name, n) for start, (n, name, width) in zip(starts, parts, strict=False) if width > 0]


def _name_segments(
    axes: Axes, resource: Resource, rows: Sequence[PlacedGpu], styles: Mapping[str, Mapping[str, str]]
) -> None:
    """Write each model's name into its part of a bar where all of it, or at least 7 characters, fit."""
    left, right = axes.get_xlim()
    inches_a_unit = axes.get_window_extent().width / axes.figure.dpi / (right - left)
    for position, gpu in enumerate(rows):
        for start, width, name, _ in segments(resource, gpu):
            room = int((width * inches_a_unit - 0.06) / CHARACTER_INCHES)
            if name not in (SERVER, TOTAL) and room >= min(len(name), 7):
                color = styles[name]["color"]
                axes.text(
                    start + width / 2, position, label(name, room), ha="center", va="center", fontsize=7,
                    color=_text_color_on(color), bbox={"facecolor": color, "edgecolor": "none", "pad": 0.5},
                )  # fmt: skip


def styles_of(rows: Sequence[PlacedGpu]) -> dict[str, dict[str, str]]:
    """Give each part a colour, and models a hatch where colours alone do not suffice but with hatches do."""
    names = list(dict.fromkeys(model.name for gpu in rows for model in gpu.models))
    hatches = HATCHES if len(names) <= MOST_DISTINCT else HATCHES[:1]
    styles = {SERVER: {"color": SERVER_GREY, "hatch": ""}, TOTAL: {"color": TOTAL_GREY, "hatch": ""}}
    for n, name in enumerate(names):
        styles[name] = {"color": PALETTE[n % len(PALETTE)], "hatch": hatches[n // len(PALETTE) % len(hatches)]}
    return styles


def _legend(
    resources: Sequence[Resource],
    rows: Sequence[PlacedGpu],
    limits: Mapping[str, CountedThresholds],
    styles: Mapping[str, Mapping[str, str]],
) -> list[Artist]:
    """Return the legend: thresholds, parts, and the models where colour and hatch can tell them apart."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    drawn = {name for resource in resources for gpu in rows for _, _, name, _ in segments(resource, gpu)}
    words = {SERVER: "Triton itself, and what is no model's", TOTAL: "All models together"}
    if len(drawn - {SERVER, TOTAL}) <= MOST_DISTINCT:
        # matplotlib leaves out what begins with an underscore
        words |= {name: label(f" {name}" if name.startswith("_") else name, 44) for name in styles if name not in words}
    handles: list[Artist] = []
    if any(resource.threshold(limits[gpu.type]) is not None for resource in resources for gpu in rows):
        handles.append(Line2D([], [], color=THRESHOLD_RED, lw=1.6, label="Threshold of the plan"))
    for name, word in words.items():
        if name in drawn:
            style = styles[name]
            handles.append(Patch(facecolor=style["color"], hatch=style["hatch"], edgecolor="white", label=word))
    return handles


def _text_color_on(color: str) -> str:
    """Return the text colour, white or ink, by the background's luminance (ITU-R BT.709; sRGB linearised by 2.2)."""
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    luminance = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2
    return INK if luminance > 0.25 else "white"
