"""Make the tables of a report from records: cells of text under headings with units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from analyzer.formats.text_table import Column, worth_showing
from analyzer.formats.units import MIB, counted, mib, milliseconds, number, whole
from analyzer.measurements.record import Measurement, ServerOnly
from analyzer.measurements.text import (
    SERVER_ONLY_COLUMNS,
    Subject,
    lengths_of,
    load,
    measurement_columns,
    outcome,
)
from planner.placement.document import UnplacedModel
from planner.placement.placed_gpu import PlacedGpu, PlacedModel
from planner.verification.document import Verdict, Verification
from planner.verification.text import CONTENT_COLUMNS, MODEL_COLUMNS, model_rows

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """A column's heading, and how its cells are shown.

    Parameters
    ----------
    numeric : bool
        Whether the cells are figures.
    classes : mapping of str to str
        CSS class of a cell by its text, for a column of a few fixed words.
    """

    title: str
    unit: str
    numeric: bool
    classes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells of text; an empty cell is an unknown figure.

    Parameters
    ----------
    rows : tuple of tuple of str
        Each row has as many cells as there are `headings`.
    """

    headings: tuple[Heading, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """One subject: how many of its trials were measured, and the trial with the highest throughput."""

    about: Subject
    trials: int
    measured: int
    best: Measurement | None


OVERVIEW_COLUMNS: list[Column[Overview]] = [
    Column(title="Model", unit="", text=lambda o: o.about.title, numeric=False),
    Column(title="Trials", unit="", text=lambda o: f"{o.measured} of {o.trials}"),
    Column(
        title="Best throughput",
        unit="infer/s",
        text=lambda o: number(o.best.throughput_infer_per_s) if o.best else "",
    ),
    Column(title="at batch", unit="", text=lambda o: whole(o.best.trial.batch) if o.best else ""),
    Column(title="at load", unit="", text=lambda o: _load(o.best) if o.best else ""),
    Column(
        title="at lengths", unit="", text=lambda o: ", ".join(lengths_of(o.best.trial)) if o.best else "", numeric=False
    ),
    Column(title="p99 latency there", unit="ms", text=lambda o: milliseconds(o.best.latency_p99_s) if o.best else ""),
    Column(
        title="Model's own memory there", unit="MiB", text=lambda o: mib(o.best.model_memory_bytes) if o.best else ""
    ),
]

FAILURE_COLUMNS: list[Column[Measurement]] = [
    Column(title="Model", unit="", text=lambda m: m.trial.model, numeric=False),
    Column(title="Variant", unit="", text=lambda m: m.trial.variant.name, numeric=False),
    Column(title="Batch", unit="", text=lambda m: whole(m.trial.batch)),
    Column(title="Load", unit="", text=lambda m: _load(m)),
    Column(title="Lengths", unit="", text=lambda m: ", ".join(lengths_of(m.trial)), numeric=False),
    Column(title="Status and cause", unit="", text=outcome, numeric=False),
]

GPU_COLUMNS: list[Column[PlacedGpu]] = [
    Column(title="GPU", unit="", text=lambda g: g.name, numeric=False),
    Column(title="Type", unit="", text=lambda g: g.type, numeric=False),
    Column(title="Models", unit="", text=lambda g: whole(sum(model.replicas for model in g.models))),
    Column(title="Memory", unit="MiB", text=lambda g: number(g.memory_bytes / MIB)),
    Column(title="of", unit="MiB", text=lambda g: number(g.memory_capacity_bytes / MIB)),
    Column(title="GPU utilization", unit="%", text=lambda g: _percent(g.utilization)),
    Column(title="Memory utilization", unit="%", text=lambda g: _percent(g.memory_utilization)),
]

VERDICT_CLASSES = {
    Verdict.MISSES: "misses",
    Verdict.DRIFTED: "drifted",
    Verdict.NOT_MEASURED: "not-measured",
    Verdict.WITHIN_NOISE: "within-noise",
    Verdict.HOLDS: "holds",
}
_BY_VERDICT = {"Verdict": {verdict.value: name for verdict, name in VERDICT_CLASSES.items()}}

Placed = tuple[PlacedGpu, PlacedModel]
PLACED_COLUMNS: list[Column[Placed]] = [
    Column(title="GPU", unit="", text=lambda p: p[0].name, numeric=False),
    Column(
        title="Slice",
        unit="",
        text=lambda p: f"{p[1].slice.profile} at {p[1].slice.start}" if p[1].slice else "",
        numeric=False,
    ),
    Column(title="Model", unit="", text=lambda p: p[1].name, numeric=False),
    Column(title="Variant", unit="", text=lambda p: "" if p[1].variant == "default" else p[1].variant, numeric=False),
    Column(title="Replicas", unit="", text=lambda p: whole(p[1].replicas)),
    Column(title="Instances", unit="", text=lambda p: whole(p[1].instances)),
    Column(title="Batch", unit="", text=lambda p: whole(p[1].batch)),
    Column(title="Concurrency", unit="", text=lambda p: whole(p[1].concurrency)),
    Column(title="Planned rate", unit="infer/s", text=lambda p: number(p[1].rate_infer_per_s)),
    Column(title="Throughput", unit="infer/s", text=lambda p: number(p[1].throughput_infer_per_s)),
    Column(title="p99 latency", unit="ms", text=lambda p: milliseconds(p[1].latency_p99_s)),
    Column(title="Memory", unit="MiB", text=lambda p: number(p[1].memory_bytes / MIB)),
    Column(title="GPU utilization", unit="%", text=lambda p: _percent(p[1].utilization)),
    Column(title="Memory utilization", unit="%", text=lambda p: _percent(p[1].memory_utilization)),
]

UNPLACED_COLUMNS: list[Column[UnplacedModel]] = [
    Column(title="Model", unit="", text=lambda u: u.name, numeric=False),
    Column(title="Why it has no place", unit="", text=lambda u: u.reason, numeric=False),
]


def table(
    columns: Sequence[Column[Record]],
    records: Sequence[Record],
    classes: Mapping[str, Mapping[str, str]] | None = None,
) -> Table:
    """Write records as a table; a column without any known value is left out.

    Parameters
    ----------
    classes : mapping, optional
        By the title of a column, the CSS classes of its cells.
    """
    shown = worth_showing(columns, records)
    of_title = classes or {}
    return Table(
        headings=tuple(
            Heading(title=c.title, unit=c.unit, numeric=c.numeric, classes=of_title.get(c.title, {})) for c in shown
        ),
        rows=tuple(tuple(column.text(record) for column in shown) for record in records),
    )


def measurements(about: Subject, group: Sequence[Measurement]) -> Table:
    """Write the trials of one subject as a table, failed ones included."""
    return table(measurement_columns(about, full=True), group)


def overview(groups: Mapping[Subject, Sequence[Measurement]]) -> Table:
    """Write one row for each subject, with its trial of the highest throughput."""
    records = []
    for about, group in groups.items():
        known = [m for m in group if m.throughput_infer_per_s is not None]
        best = max(known, key=lambda m: m.throughput_infer_per_s or 0.0, default=None)
        measured = sum(m.status.measured for m in group)
        records.append(Overview(about=about, trials=len(group), measured=measured, best=best))
    return table(OVERVIEW_COLUMNS, records)


def failures(trials: Sequence[Measurement]) -> Table:
    """Write trials that failed or did not settle, with the cause."""
    return table(FAILURE_COLUMNS, trials)


def server_only(records: Sequence[ServerOnly]) -> Table:
    """Write the memory and utilization of the idle server."""
    return table(SERVER_ONLY_COLUMNS, records)


def gpus(placed: Sequence[PlacedGpu]) -> Table:
    """Write one row for each GPU, with its totals."""
    return table(GPU_COLUMNS, placed)


def placed_models(placed: Sequence[PlacedGpu]) -> Table:
    """Write one row for each model on a GPU."""
    return table(PLACED_COLUMNS, [(gpu, model) for gpu in placed for model in gpu.models])


def unplaced(entries: Sequence[UnplacedModel]) -> Table:
    """Write the models that could not be placed, with the reason."""
    return table(UNPLACED_COLUMNS, entries)


def verified_models(found: Verification) -> Table:
    """Write one row for each model of each content that was measured; each names its GPU, as rows are sorted."""
    return table(MODEL_COLUMNS, [replace(row, first=True) for row in model_rows(found)], _BY_VERDICT)


def verified_contents(found: Verification) -> Table:
    """Write one row for each content that was measured: planned → measured of what the plan allows."""
    return table(CONTENT_COLUMNS, found.contents, _BY_VERDICT)


def statuses(trials: Sequence[Measurement]) -> str:
    """Count trials by status: ``18 trials: 16 ok, 2 out of memory``."""
    counts = Counter(m.status.value.replace("_", " ") for m in trials)
    parts = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    return f"{counted(len(trials), 'trial')}{': ' if parts else ''}{parts}"


def _load(measurement: Measurement) -> str:
    if measurement.trial.request_rate_per_s is None:
        return f"concurrency {measurement.trial.concurrency}"
    return f"{number(load(measurement))} requests/s"


def _percent(share: float | None) -> str:
    return "" if share is None else number(share * 100)
