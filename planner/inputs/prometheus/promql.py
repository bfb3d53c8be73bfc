"""Write PromQL: strings, label filters, and the expressions for Triton's and DCGM's metrics.   [pure]

Sources: docs/user_guide/metrics.md of triton-inference-server/server; etc/default-counters.csv of the DCGM exporter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

INFERENCES = "nv_inference_count"
EXECUTIONS = "nv_inference_exec_count"
REQUESTS = "nv_inference_request_success"
DURATION = "nv_inference_request_duration_us"
SUMMARY = "nv_inference_request_summary_us"  # only with --metrics-config=summary_latencies=true

_FILTER = re.compile(r"([a-zA-Z_][a-zA-Z0-9_]*)(=~|!=|!~|=)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFilter:
    """A condition on a label: `operator` is ``=``, ``!=``, ``=~`` or ``!~``."""

    label: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.label}{self.operator}{self.value}"


def label_filter(text: str) -> LabelFilter:
    """Read a filter such as ``namespace=prod`` or ``model=~ocr-.*``.

    Raises
    ------
    ValueError
        If it is none.
    """
    match = _FILTER.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no label filter; write namespace=prod, or model=~ocr-.* for an expression")
    return LabelFilter(label=match[1], operator=match[2], value=match[3])


def promql_string(text: str) -> str:
    """Return a text as a string of PromQL, in double quotes."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def selector(metric: str, filters: Sequence[LabelFilter] = ()) -> str:
    """Select the series of a metric that fit all filters."""
    return f"{metric}{{{_conditions(filters)}}}"


def selector_of_any(metrics: Sequence[str], filters: Sequence[LabelFilter] = ()) -> str:
    """Select the series of several metrics that fit all filters."""
    names = LabelFilter(label="__name__", operator="=~", value="|".join(metrics))
    return f"{{{_conditions((names, *filters))}}}"


def rate(metric: str, window_s: int, filters: Sequence[LabelFilter], *, by: Sequence[str]) -> str:
    """Sum a counter's rates a second over its servers; rate() handles resets, so it comes before the sum."""
    return f"sum by ({', '.join(by)}) (rate({selector(metric, filters)}[{window_s}s]))"


def p99(filters: Sequence[LabelFilter]) -> str:
    """Take the highest p99 of a model's requests on any server, in microseconds."""
    quantile = LabelFilter(label="quantile", operator="=", value="0.99")
    return f"max by (model) ({selector(SUMMARY, (*filters, quantile))})"


def _conditions(filters: Sequence[LabelFilter]) -> str:
    return ",".join(f"{one.label}{one.operator}{promql_string(one.value)}" for one in filters)
