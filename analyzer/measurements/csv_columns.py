"""Define the columns of the CSV files, and convert values to their cells and back.                    [pure]"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from analyzer.formats.units import MIB
from analyzer.measurements.record import Variant

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
_DIGITS = 6  # significant digits of a figure; measurements are precise to some per cent


@dataclass(frozen=True, slots=True)
class Figure:
    """A column of numbers: its name, its field in the record, its unit and its limit."""

    column: str
    field: str
    unit: float = 1.0  # the column's unit in the record's unit
    most: float = 1e12  # largest value that is accepted, in the column's unit
    whole: bool = False  # whether the record has an int


def _percent(column: str, field: str) -> Figure:
    return Figure(column, field, 0.01, 100.5)  # half a point above 100 for rounding


def _mib(column: str, field: str) -> Figure:
    return Figure(column, field, MIB, 1e9, whole=True)


def _ms(column: str, field: str) -> Figure:
    return Figure(column, field, 1e-3, 1e9)


TEXTS = frozenset(
    {
        "model",
        "device",
        "server",
        "variant",
        "status",
        "cause",
        "transport",
        "inputs",
        "arrivals",
        "memory_is_reservation",
    }
)
FIGURES = (
    Figure("throughput_infer_per_s", "throughput_infer_per_s"),
    _ms("latency_avg_ms", "latency_avg_s"),
    _ms("latency_p50_ms", "latency_p50_s"),
    _ms("latency_p90_ms", "latency_p90_s"),
    _ms("latency_p95_ms", "latency_p95_s"),
    _ms("latency_p99_ms", "latency_p99_s"),
    _mib("max_memory_mib", "max_memory_bytes"),
    _mib("server_memory_mib", "server_memory_bytes"),
    _mib("model_memory_mib", "model_memory_bytes"),
    _percent("max_utilization_pct", "max_utilization"),
    _percent("max_memory_utilization_pct", "max_memory_utilization"),
    _percent("mean_utilization_pct", "mean_utilization"),
    Figure("power_w", "power_w", most=1e6),
    Figure("requests", "requests", whole=True),
    Figure("window_s", "window_s", most=1e9),
    Figure("throughput_ci_pct", "throughput_ci", 0.01, 1e9),
    Figure("latency_p99_ci_pct", "latency_p99_ci", 0.01, 1e9),
    _mib("load_peak_memory_mib", "load_peak_memory_bytes"),
    _mib("steady_memory_mib", "steady_memory_bytes"),
    _mib("run_peak_memory_mib", "run_peak_memory_bytes"),
    _percent("sm_utilization_pct", "sm_utilization"),
    _percent("tensor_utilization_pct", "tensor_utilization"),
    _percent("dram_bandwidth_utilization_pct", "dram_bandwidth_utilization"),
    Figure("sm_clock_mhz", "sm_clock_hz", 1e6, 1e6),
    Figure("errors", "errors", whole=True),
    Figure("late", "late", whole=True),
    Figure("left_out_s", "left_out_s", most=1e9),
    Figure("offered", "offered", whole=True),
    Figure("backlog_half_width", "backlog_half_width"),
)
STREAM_FIGURES = (
    Figure("responses_per_s", "responses_per_s"),
    Figure("responses_ci_pct", "responses_ci", 0.01, 1e9),
    _ms("first_response_avg_ms", "first_response_avg_s"),
    _ms("first_response_p50_ms", "first_response_p50_s"),
    _ms("first_response_p99_ms", "first_response_p99_s"),
    Figure("first_response_p99_ci_pct", "first_response_p99_ci", 0.01, 1e9),
    _ms("response_gap_avg_ms", "response_gap_avg_s"),
    _ms("response_gap_p50_ms", "response_gap_p50_s"),
    _ms("response_gap_p99_ms", "response_gap_p99_s"),
    Figure("response_gap_p99_ci_pct", "response_gap_p99_ci", 0.01, 1e9),
    Figure("input_tokens_avg", "input_tokens_avg"),
    Figure("output_tokens_avg", "output_tokens_avg"),
    Figure("output_tokens_per_s", "output_tokens_per_s"),
    Figure("output_tokens_ci_pct", "output_tokens_ci", 0.01, 1e9),
    _ms("itl_avg_ms", "itl_avg_s"),
    _ms("itl_p50_ms", "itl_p50_s"),
    _ms("itl_p99_ms", "itl_p99_s"),
    Figure("itl_p99_ci_pct", "itl_p99_ci", 0.01, 1e9),
)
RATE = Figure("request_rate_per_s", "request_rate_per_s")
TRIAL_FIGURES = (  # that a trial may have
    RATE,
    Figure("input_length", "input_length", whole=True),
    Figure("output_length", "output_length", whole=True),
)
SERVER_FIGURES = (
    _mib("server_memory_mib", "memory_bytes"),
    _percent("max_utilization_pct", "max_utilization"),
    _percent("max_memory_utilization_pct", "max_memory_utilization"),
)
_AFTER_RATE = [figure.column for figure in FIGURES].index("throughput_ci_pct")
COLUMNS = (
    *("model", "device", "variant", "instances", "batch", "concurrency", "status", "cause"),
    *(figure.column for figure in FIGURES[:_AFTER_RATE]),
    RATE.column,
    *(figure.column for figure in FIGURES[_AFTER_RATE:]),
    *("transport", "inputs", "arrivals", "memory_is_reservation", "server"),
    *(figure.column for figure in TRIAL_FIGURES[1:]),
    *(figure.column for figure in STREAM_FIGURES),
)
SERVER_COLUMNS = ("device", "server", *(figure.column for figure in SERVER_FIGURES))


def to_cells(figures: Sequence[Figure], record: object) -> dict[str, str]:
    """Write a record's figures in their columns' units, to six significant digits; unknown ones are empty."""
    return {figure.column: _number(getattr(record, figure.field), figure.unit) for figure in figures}


def _number(value: float | None, unit: float) -> str:
    if value is None or not math.isfinite(value):
        return ""
    shown = value / unit
    if shown == 0:
        return "0"
    decimals = max(0, _DIGITS - 1 - math.floor(math.log10(abs(shown))))
    text = f"{shown:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text


def guarded(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would run as a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def unguarded(text: str) -> str:
    """Undo `guarded`."""
    return text[1:] if text[:1] == "'" and text[1:2] in _FORMULA else text


def to_figures(figures: Sequence[Figure], cells: Mapping[str, str]) -> dict[str, Any]:
    """Read figures from cells, by the names of their record fields; absent and empty cells are None.

    Raises
    ------
    ValueError
        If a cell is not a number or is above its column's limit; the message names the column.
    """
    return {figure.field: _figure(figure, cells.get(figure.column, "")) for figure in figures}


def _figure(figure: Figure, cell: str) -> float | None:
    if not cell or cell.isspace():
        return None
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not 0 <= value <= figure.most or "_" in cell:
        problem = f"is not a number from 0 to {figure.most:g}, with a point for the decimals and no unit"
        raise ValueError(f"column {figure.column}: {cell!r} {problem}")
    value *= figure.unit
    return round(value) if figure.whole else value


def to_count(cells: Mapping[str, str], column: str, *, default: int | None = None, least: int = 1) -> int:
    """Read a whole number; it is required unless there is a default.

    Raises
    ------
    ValueError
        If the cell is not a whole number from `least`; the message names the column.
    """
    cell = cells.get(column, "").strip()
    if not cell and default is not None:
        return default
    if not re.fullmatch("[0-9]{1,7}", cell) or int(cell) < least:
        raise ValueError(f"column {column}: {cell!r} is not a whole number from {least} to 9999999")
    return int(cell)


@cache
def to_variant(name: str) -> Variant:
    """Read a variant from its name, in the form of `Variant.name`.

    Raises
    ------
    ValueError
        If the name has another form.
    """
    pattern = (
        r"(?:instances=(?P<instances>\d{1,7})(?:;|$))?"
        r"(?:dynamic_batching=(?P<batching>on|off)(?::(?P<delay_us>\d{1,12})us)?(?:;|$))?"
        r"(?:max_batch_size=(?P<most>\d{1,7}))?"
    )
    found = re.fullmatch(pattern, "" if name == "default" else name, re.ASCII)
    if found is None or name.endswith(";"):
        example = "instances=2;dynamic_batching=on:100us;max_batch_size=8"
        raise ValueError(f"column variant: {name!r} is neither 'default' nor of the form '{example}'")
    instances, batching, delay_us, most = found.group("instances", "batching", "delay_us", "most")
    return Variant(
        instances=int(instances) if instances else None,
        dynamic_batching=None if batching is None else batching == "on",
        max_queue_delay_s=int(delay_us or 0) / 1e6,
        max_batch_size=int(most) if most else None,
    )
