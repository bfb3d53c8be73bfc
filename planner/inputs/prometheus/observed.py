"""From series of Triton's metrics to what each model served.   [pure]"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from analyzer.formats.units import shortened_list
from planner.inputs.demand import HOURS
from planner.inputs.prometheus.series import Grid, Series, at, in_hours, nearest_rank, ratio, total

MOST_NAMED = 10  # models in one sentence
MOST_GAPS = 0.1  # share of the window without samples that is accepted without a warning


@dataclass(frozen=True, slots=True, kw_only=True)
class TritonSeries:
    """Series on one grid: rates a second of counters by model and version, and the p99 by model in microseconds."""

    inferences: tuple[Series, ...]
    executions: tuple[Series, ...] = ()
    requests: tuple[Series, ...] = ()
    durations_us: tuple[Series, ...] = ()
    p99_us: tuple[Series, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedModel:
    """What one model served in the window.

    Parameters
    ----------
    rate_infer_per_s : float
        The quantile of its rates, all versions together.
    versions : tuple of (str, float)
        Each version with the quantile of its own rates.
    rates_by_hour_infer_per_s : tuple of float
        (24,) the quantile of the rates in each hour of the day; empty if not asked for, or an hour has no samples.
    hours_without_samples : tuple of int
        Hours of the day for which a rate was asked but not found.
    mean_batch : float or None
        Inferences an execution.
    latency_p99_s : float or None
        The quantile over time of the p99 of its requests on the server, without the network.
    latency_mean_s : float or None
        Mean duration of its requests on the server.
    coverage : float
        Share of the window, or of its peak hours, that has samples.
    coverage_since_first : float
        The same from the first sample on.
    first_s, last_s : int
        Times of the first and the last sample, in seconds since 1970.
    new, gone : bool
        Whether samples begin later than the window, or end before it.
    """

    model: str
    rate_infer_per_s: float
    versions: tuple[tuple[str, float], ...]
    rates_by_hour_infer_per_s: tuple[float, ...] = ()
    hours_without_samples: tuple[int, ...] = ()
    mean_batch: float | None = None
    latency_p99_s: float | None = None
    latency_mean_s: float | None = None
    coverage: float
    coverage_since_first: float
    first_s: int
    last_s: int
    new: bool
    gone: bool

    @property
    def idle(self) -> bool:
        """Whether neither its rate nor that of any hour is above 0."""
        return not self.rate_infer_per_s and not any(self.rates_by_hour_infer_per_s)


def observe(
    series: TritonSeries,
    grid: Grid,
    *,
    quantile: float,
    peak_hours: tuple[int, int] | None = None,
    by_hour: bool = False,
    timezone: str = "UTC",
) -> tuple[ObservedModel, ...]:
    """Turn series into what each model served, sorted by name; models without samples in these hours are left out."""
    hours = grid.hours(timezone)
    times = [time for time in grid.times if peak_hours is None or in_hours(hours[time], *peak_hours)]
    names = sorted({one.labels["model"] for one in series.inferences if one.labels.get("model")})
    found = (
        _observe(_of_model(series, name), name, times, quantile, hours if by_hour else None, grid.step_s)
        for name in names
    )
    return tuple(model for model in found if model is not None)


def _of_model(series: TritonSeries, name: str) -> TritonSeries:
    def those(found: Iterable[Series]) -> tuple[Series, ...]:
        return tuple(one for one in found if one.labels.get("model") == name)

    return TritonSeries(
        inferences=those(series.inferences),
        executions=those(series.executions),
        requests=those(series.requests),
        durations_us=those(series.durations_us),
        p99_us=those(series.p99_us),
    )


def _observe(
    series: TritonSeries, name: str, times: Sequence[int], quantile: float, hours: Mapping[int, int] | None, step_s: int
) -> ObservedModel | None:
    rates = total(series.inferences)
    sampled = [time for time in times if time in rates]
    rate = nearest_rank(at(rates, times), quantile)
    if rate is None:
        return None
    by_hour = _by_hour(rates, times, hours, quantile) if hours else {}
    empty = tuple(hour for hour in range(HOURS) if hour not in by_hour) if hours else ()
    p99_us = nearest_rank(at(total(series.p99_us), times), quantile)
    mean_us = ratio(total(series.durations_us), total(series.requests), times)
    since_first = sum(time >= sampled[0] for time in times)
    return ObservedModel(
        model=name,
        rate_infer_per_s=rate,
        versions=_versions(series.inferences, times, quantile),
        rates_by_hour_infer_per_s=tuple(by_hour[hour] for hour in range(HOURS)) if hours and not empty else (),
        hours_without_samples=empty,
        mean_batch=ratio(rates, total(series.executions), times),
        latency_p99_s=None if p99_us is None else p99_us / 1e6,
        latency_mean_s=None if mean_us is None else mean_us / 1e6,
        coverage=len(sampled) / len(times),
        coverage_since_first=len(sampled) / since_first,
        first_s=sampled[0],
        last_s=sampled[-1],
        new=sampled[0] > times[0] + step_s,  # a counter's first rate is one step late
        gone=sampled[-1] < times[-1] - step_s,
    )


def _by_hour(
    rates: Mapping[int, float], times: Iterable[int], hours: Mapping[int, int], quantile: float
) -> dict[int, float]:
    in_hour: dict[int, list[float]] = {}
    for time in times:
        if time in rates:
            in_hour.setdefault(hours[time], []).append(rates[time])
    return {hour: rate for hour, values in in_hour.items() if (rate := nearest_rank(values, quantile)) is not None}


def _versions(series: Iterable[Series], times: Sequence[int], quantile: float) -> tuple[tuple[str, float], ...]:
    found = [(one.labels.get("version", ""), nearest_rank(at(one.samples, times), quantile)) for one in series]
    known = [(version, rate) for version, rate in found if rate is not None]
    return tuple(sorted(known, key=lambda pair: (not pair[0].isdecimal(), len(pair[0]), pair[0])))


def cautions(models: Sequence[ObservedModel]) -> tuple[str, ...]:
    """Say in sentences which figures rest on little: one sentence for each reason, with the models."""
    reasons: tuple[tuple[str, Callable[[ObservedModel], str]], ...] = (
        ("new, so the window is not full", lambda m: _share(m.coverage) if m.new else ""),
        (
            "gaps, samples in only a part of the time since the first",
            lambda m: _share(m.coverage_since_first) if m.coverage_since_first < 1 - MOST_GAPS else "",
        ),
        ("no samples at the end of the window, so it may no longer run", lambda m: _name_only(m.gone)),
        (
            "an hour of the day without samples, so one rate for all hours",
            lambda m: f"hours {', '.join(map(str, m.hours_without_samples))}" if m.hours_without_samples else "",
        ),
        ("no rate above 0, so one copy without a rate", lambda m: _name_only(m.idle)),
    )
    sentences = []
    for reason, fact in reasons:
        concerned = [f"{m.model} ({said})" if said.strip() else m.model for m in models if (said := fact(m))]
        if concerned:
            sentences.append(f"{reason}: {shortened_list(concerned, MOST_NAMED)}")
    return tuple(sentences)


def _share(fraction: float) -> str:
    return f"{min(fraction, 0.999) * 100:.3g} %"


def _name_only(concerned: bool) -> str:
    return " " if concerned else ""
