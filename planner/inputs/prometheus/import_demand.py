"""Import a demand from a Prometheus: ask it, turn its series into what each model served, and compare with profiles."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from analyzer.errors import TritonpackError
from analyzer.formats.units import shortened_list
from analyzer.servers.access import read_token
from planner.inputs.profile_source import read_profiles
from planner.inputs.prometheus.client import PrometheusClient
from planner.inputs.prometheus.gpus import DCGM_METRICS, TRITON_METRICS, ObservedGpu, observe_gpus, uuids
from planner.inputs.prometheus.observed import MOST_NAMED, TritonSeries, cautions, observe
from planner.inputs.prometheus.promql import (
    DURATION,
    EXECUTIONS,
    INFERENCES,
    REQUESTS,
    LabelFilter,
    p99,
    rate,
    selector,
    selector_of_any,
)
from planner.inputs.prometheus.series import Grid, Series
from planner.inputs.prometheus.settings import ImportSettings
from planner.inputs.prometheus.text import Observation, utc

_BY = ("model", "version")


def import_demand(settings: ImportSettings) -> Observation:
    """Ask a Prometheus what each model served.

    Raises
    ------
    UsageError
        If the token, the certificates or the profiles cannot be read.
    TritonpackError
        If there is no usable answer, or it has nothing of Triton in the window.
    """
    profiled = None if settings.profiles is None else {one.model for one in read_profiles(settings.profiles)}
    client = PrometheusClient(
        settings.url,
        token=read_token(settings.token_file, settings.token_env),
        ca_file=settings.ca_file,
        timeout_s=settings.timeout_s,
    )
    end_s = time.time() if settings.end is None else settings.end.timestamp()
    grid = Grid.until(end_s, window_s=settings.window.seconds, step_s=settings.rate_window.seconds)
    series = _series(client, grid, settings)
    models = observe(
        series,
        grid,
        quantile=settings.quantile,
        peak_hours=settings.peak_hours,
        by_hour=settings.rates_by_hour,
        timezone=settings.timezone,
    )
    if not models:
        raise TritonpackError(_nothing(client, grid, settings, bool(series.inferences)))
    names = [model.model for model in models]
    not_profiled = frozenset() if profiled is None else frozenset(names) - profiled
    if len(not_profiled) == len(names):
        raise TritonpackError(
            f"none of the running models is profiled in {settings.profiles}: {shortened_list(names, MOST_NAMED)}; "
            "measure them with analyze, or leave out `profiles`"
        )
    return Observation(
        source=_source(client, grid, settings),
        models=models,
        gpus=_gpus(client, grid.end_s, settings.labels),
        notes=(*cautions(models), *(f"Prometheus: {warning}" for warning in client.warnings)),
        not_profiled=not_profiled,
        growth=settings.growth,
        budgets=settings.budgets,
    )


def _series(client: PrometheusClient, grid: Grid, settings: ImportSettings) -> TritonSeries:
    def rates(metric: str) -> tuple[Series, ...]:
        return client.over(rate(metric, settings.rate_window.seconds, settings.labels, by=_BY), grid)

    inferences = rates(INFERENCES)
    if not inferences:
        return TritonSeries(inferences=())
    return TritonSeries(
        inferences=inferences,
        executions=rates(EXECUTIONS),
        requests=rates(REQUESTS),
        durations_us=rates(DURATION),
        p99_us=client.over(p99(settings.labels), grid),
    )


def _gpus(client: PrometheusClient, at_s: int, filters: Sequence[LabelFilter]) -> tuple[ObservedGpu, ...]:
    """Ask for the GPUs that Triton names, else for those that DCGM has under the same labels."""
    filters = [one for one in filters if one.label not in _BY]  # a GPU has no model
    own = client.now(selector_of_any(TRITON_METRICS, filters), at_s)
    known = uuids(own)
    if known:
        filters = [LabelFilter(label="UUID", operator="=~", value="|".join(map(re.escape, known)))]
    return observe_gpus((*own, *client.now(selector_of_any(DCGM_METRICS, filters), at_s)))


def _source(client: PrometheusClient, grid: Grid, settings: ImportSettings) -> tuple[str, ...]:
    filters = f", labels {', '.join(map(str, settings.labels))}" if settings.labels else ""
    hours = ""
    if settings.peak_hours:
        hours = f", hours {settings.peak_hours[0]} to {settings.peak_hours[1]} ({settings.timezone})"
    elif settings.rates_by_hour:
        hours = f" in each hour of the day ({settings.timezone})"
    return (
        f"What ran, from Prometheus at {client.url}{filters}",
        f"{utc(grid.start_s)} to {utc(grid.end_s)} ({settings.window})",
        f"rates: quantile {settings.quantile:g} of the rates over {settings.rate_window}{hours}",
        "latencies: of requests on the server, without the network to the client; quantile "
        f"{settings.quantile:g} over time of the p99",
    )


def _nothing(client: PrometheusClient, grid: Grid, settings: ImportSettings, outside: bool) -> str:
    """Say why there is no model: asks for less and less, until something is there."""
    window = f"from {utc(grid.start_s)} to {utc(grid.end_s)}"
    length = grid.end_s - grid.start_s
    if outside:
        return f"{client.url} has samples of Triton {window}, but none in these hours; give other `peak_hours`"

    def count(expression: str) -> int:
        found = client.now(f"count(last_over_time({expression}[{length}s]))", grid.end_s)
        return int(next((value for one in found for value in one.samples.values()), 0))

    if count(selector(INFERENCES, settings.labels)):
        return (
            f"{client.url} has samples of {INFERENCES} {window}, but never two within {settings.rate_window}: "
            "give a `rate_window` of several scrape intervals"
        )
    if settings.labels and (others := count(selector(INFERENCES))):
        filters = ", ".join(map(str, settings.labels))
        return f"no series of {INFERENCES} fits {filters}, of the {others} that {client.url} has {window}"
    if count(selector("up")):
        return (
            f"{client.url} has no series of Triton {window} (looked for {INFERENCES}): "
            "let it scrape Triton's metrics, port 8002 by default"
        )
    return f"{client.url} has no samples at all {window}; choose another `window` or `end`"
