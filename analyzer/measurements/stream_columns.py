"""The columns of tables, and the panels of figures, for language models and other streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analyzer.formats.text_table import Column
from analyzer.formats.units import milliseconds, number, percent, times, whole
from analyzer.measurements.record import Measurement
from analyzer.measurements.stream_figures import StreamFigures

MeasurementColumn = Column[Measurement]
FigureOf = Callable[[Measurement], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A figure of streams that is drawn over the load.

    Parameters
    ----------
    value : callable
        Returns it in `unit`.
    half_width : callable
        Returns the half width of its interval, as a fraction of it.
    """

    title: str
    unit: str
    value: FigureOf
    half_width: FigureOf


def stream_panels(measurements: Sequence[Measurement]) -> list[Panel]:
    """Return what is drawn of streams, in tokens where the model reports them; nothing where there were no streams."""
    if any(_reports(m) for m in measurements):
        return [
            _panel("Output tokens", "tokens/s", "output_tokens_per_s", "output_tokens_ci"),
            _panel("p99 time to first token (TTFT)", "ms", "first_response_p99_s", "first_response_p99_ci"),
            _panel("p99 inter-token latency (ITL)", "ms", "itl_p99_s", "itl_p99_ci"),
        ]
    if all(m.stream.responses_per_s is None for m in measurements):
        return []
    return [
        _panel("Responses", "responses/s", "responses_per_s", "responses_ci"),
        _panel("p99 time to first response", "ms", "first_response_p99_s", "first_response_p99_ci"),
        _panel("p99 time between responses", "ms", "response_gap_p99_s", "response_gap_p99_ci"),
    ]


def _panel(title: str, unit: str, field: str, interval: str) -> Panel:
    return Panel(
        title=title,
        unit=unit,
        value=lambda m: times(getattr(m.stream, field), 1e3 if unit == "ms" else 1.0),
        half_width=lambda m: getattr(m.stream, interval),
    )


def length_columns() -> list[MeasurementColumn]:
    """Return the lengths that were asked for, each beside the tokens that the model reports."""
    return [
        Column(title="Input asked", unit="", text=lambda m: whole(m.trial.input_length)),
        Column(title="Input", unit="tokens", text=lambda m: number(m.stream.input_tokens_avg)),
        Column(title="Output asked", unit="", text=lambda m: whole(m.trial.output_length)),
        Column(title="Output", unit="tokens", text=lambda m: number(m.stream.output_tokens_avg)),
    ]


def stream_columns(*, full: bool = False) -> list[MeasurementColumn]:
    """Return the figures of streams, in tokens where the model reports them, and else in responses.

    Parameters
    ----------
    full : bool
        Whether to show averages and medians, too.
    """
    of_tokens = [
        _column("Tokens", "tokens/s", lambda s: number(s.output_tokens_per_s)),
        _column("±", "%", lambda s: percent(s.output_tokens_ci)),
        *_times("TTFT", "first_response", full=full, tokens=True),
        *_times("ITL", "itl", full=full, tokens=True),
    ]
    of_responses = [
        _column("Responses", "responses/s", lambda s: number(s.responses_per_s), tokens=False),
        _column("±", "%", lambda s: percent(s.responses_ci), tokens=False),
        *_times("first response", "first_response", full=full, tokens=False),
        *_times("between responses", "response_gap", full=full, tokens=False),
    ]
    return of_tokens + of_responses


def _times(name: str, field: str, *, full: bool, tokens: bool) -> list[MeasurementColumn]:
    shares = ("avg", "p50", "p99") if full else ("p99",)

    def of(share: str) -> MeasurementColumn:
        return _column(f"{share} {name}", "ms", lambda s: milliseconds(getattr(s, f"{field}_{share}_s")), tokens=tokens)

    return [
        *(of(share) for share in shares),
        _column("±", "%", lambda s: percent(getattr(s, f"{field}_p99_ci")), tokens=tokens),
    ]


def _column(title: str, unit: str, text: Callable[[StreamFigures], str], *, tokens: bool = True) -> MeasurementColumn:
    """Return a column of the models that report tokens, or of those that do not."""
    return Column(title=title, unit=unit, text=lambda m: text(m.stream) if _reports(m) is tokens else "")


def _reports(measurement: Measurement) -> bool:
    return measurement.stream.output_tokens_per_s is not None
