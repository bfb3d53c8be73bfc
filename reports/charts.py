"""Charts of the page as data for plotly.js: traces and layouts as dictionaries, which page.js completes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from analyzer.formats.units import printable, shortened

Trace = dict[str, Any]

LIMIT_RED = "#e5484d"  # thresholds and budgets; 3.9 to 1 on white, 4.7 to 1 on the dark page
NEUTRAL_GREY = "#8b949e"  # lines and outlines that are seen on a light and on a dark page
NAME_LENGTH = 44


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One chart.

    Parameters
    ----------
    title, note : str
        Heading, and a line below it on how to read the chart; `note` may be empty.
    table : str
        Which table of the section has a row for each point; the hover shows the row.
    traces : tuple of dict
        Traces of plotly.js. Besides its attributes a trace may have ``rows``, the number of the table's row for each of
        its points; ``table``, if they are another table's rows; and ``style``, the number of a line's colour, symbol
        and dash, with which it needs no ``type`` and no ``mode``.
    head : str
        First line of every hover.
    layout : mapping
        The layout of plotly.js, without colours and fonts.
    height_px : int
    wide : bool
        Whether it takes the whole width of the page.
    """

    title: str
    table: str
    traces: tuple[Trace, ...]
    layout: Mapping[str, Any]
    note: str = ""
    head: str = ""
    height_px: int = 340
    wide: bool = False

    @property
    def json(self) -> str:
        """The chart as JSON for a ``<script>`` element, which no text in it can end."""
        document = {"table": self.table, "head": self.head, "data": self.traces, "layout": self.layout}
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return text.replace("<", "\\u003c")


def figure(value: float | None) -> float | None:
    """Round a figure to four significant digits, which no chart can show, so that pages are small."""
    if value is None or not math.isfinite(value):
        return None
    rounded = float(f"{value:.4g}")
    return int(rounded) if rounded.is_integer() else rounded


def figures(values: Iterable[float | None]) -> list[float | None]:
    """Round figures to four significant digits."""
    return [figure(value) for value in values]


def text(name: str, length: int = NAME_LENGTH) -> str:
    """Write a name for plotly.js, which takes texts for a kind of HTML; a long one's middle is cut out."""
    return escape(shortened(printable(name), length), quote=False)


def log_axis(low: float, high: float) -> dict[str, Any]:
    """Return a logarithmic axis with ticks at 1, 2 and 5 times the powers of ten, written out: 20, 50, 100."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [factor * 10.0**exponent for exponent in exponents for factor in (1, 2, 5)]
    return {
        "type": "log",
        "tickvals": figures(ticks),
        "ticktext": [f"{tick:g}" for tick in ticks],
        "range": [round(math.log10(low), 4), round(math.log10(high), 4)],
    }


def line_across(name: str, level: float, highest: float, ends: tuple[float, float]) -> Trace:
    """Return a dashed line at a limit; one far above the `highest` figure is drawn only if it is asked for."""
    trace = {
        "type": "scatter",
        "mode": "lines",
        "name": text(name),
        "x": figures(ends),
        "y": figures([level, level]),
        "line": {"color": LIMIT_RED, "dash": "dash", "width": 2},
        "hovertext": [text(name, 200)] * 2,
        "hoverinfo": "text",
    }
    return trace if level <= 3 * highest else {**trace, "visible": "legendonly"}
