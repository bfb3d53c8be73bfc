"""Test what is made of series: rates, versions, hours, gaps, new models."""

from __future__ import annotations

from planner.inputs.prometheus.observed import TritonSeries, cautions, observe
from planner.inputs.prometheus.series import Grid, Series

HOUR = 3600
DAY = Grid(start_s=0, end_s=24 * HOUR, step_s=HOUR)  # 24 samples, one for each hour of 1 January 1970


def series(samples: dict[int, float], model: str = "m", version: str = "1") -> Series:
    """Make a series of one version, with its samples by the hour that they stand for."""
    return Series(
        labels={"model": model, "version": version},
        samples={(hour + 1) * HOUR: value for hour, value in samples.items()},
    )


def hourly(value: float, hours: range = range(24)) -> dict[int, float]:
    """Give these hours one value."""
    return dict.fromkeys(hours, value)


def test_versions_are_summed_before_the_quantile() -> None:
    """Version 1 has 4/s in the first half of the day, version 2 has 5/s in all of it: 9/s is the sum, not its share."""
    found = observe(
        TritonSeries(inferences=(series(hourly(5), version="10"), series(hourly(4, range(12)), version="9"))),
        DAY,
        quantile=0.99,
    )
    assert [model.rate_infer_per_s for model in found] == [9]
    assert found[0].versions == (("9", 4.0), ("10", 5.0))
    assert not found[0].new


def test_batch_and_latencies_are_those_of_the_hours_that_count() -> None:
    """By day batches are of 8 / 2 = 4 and requests take 3e4 us x 2/s / 2/s = 30 ms; by night other figures hold."""
    day, night = range(8, 18), range(8)
    found = observe(
        TritonSeries(
            inferences=(series(hourly(8, day) | hourly(1, night)),),
            executions=(series(hourly(2, day) | hourly(1, night)),),
            requests=(series(hourly(2, day) | hourly(1, night)),),
            durations_us=(series(hourly(60_000, day) | hourly(1, night)),),
            p99_us=(Series(labels={"model": "m"}, samples=series(hourly(50_000, day)).samples),),
        ),
        DAY,
        quantile=0.99,
        peak_hours=(8, 18),
    )
    assert (found[0].mean_batch, found[0].latency_mean_s, found[0].latency_p99_s) == (4, 0.03, 0.05)
    assert found[0].coverage == 1


def test_each_hour_has_the_quantile_of_its_own_samples() -> None:
    """Two days: hour 8 has 10/s and 30/s, of which the higher is the 0.99 quantile; the other hours have 1/s."""
    grid = Grid(start_s=0, end_s=48 * HOUR, step_s=HOUR)
    samples = hourly(1, range(48)) | {8: 10.0, 32: 30.0}
    (found,) = observe(TritonSeries(inferences=(series(samples),)), grid, quantile=0.99, by_hour=True)
    assert found.rates_by_hour_infer_per_s == (*(1.0,) * 8, 30.0, *(1.0,) * 15)
    (found,) = observe(TritonSeries(inferences=(series(samples),)), grid, quantile=0.5, by_hour=True)
    assert found.rates_by_hour_infer_per_s[8] == 10


def test_hour_without_samples_is_not_invented() -> None:
    """Without samples in hours 2 and 3 there are no rates by hour, and a caution says why."""
    samples = hourly(1, range(2)) | hourly(1, range(4, 24))
    (found,) = observe(TritonSeries(inferences=(series(samples),)), DAY, quantile=0.99, by_hour=True)
    assert (found.rates_by_hour_infer_per_s, found.hours_without_samples) == ((), (2, 3))
    assert any(
        said.endswith("one rate for all hours: m (hours 2, 3)") and "hour of the day" in said
        for said in cautions([found])
    )


def test_gap_is_told_from_a_new_model() -> None:
    """Of 24 hours, one model lacks 6 in the middle (18/24 = 75 %), one begins at hour 12 (all 12 since), one ends."""
    found = observe(
        TritonSeries(
            inferences=(
                series(hourly(1, range(9)) | hourly(1, range(15, 24)), model="gap"),
                series(hourly(1, range(12, 24)), model="new"),
                series(hourly(1, range(20)), model="gone"),
                series(hourly(1), model="whole"),
                series(hourly(0), model="idle"),
            )
        ),
        DAY,
        quantile=0.99,
    )
    by_name = {model.model: model for model in found}
    assert (by_name["gap"].coverage, by_name["gap"].new, by_name["gap"].gone) == (0.75, False, False)
    assert (by_name["new"].coverage, by_name["new"].coverage_since_first) == (0.5, 1.0)
    assert by_name["whole"].coverage == 1
    assert cautions(found) == (
        "new, so the window is not full: new (50 %)",
        "gaps, samples in only a part of the time since the first: gap (75 %), gone (83.3 %)",
        "no samples at the end of the window, so it may no longer run: gone",
        "no rate above 0, so one copy without a rate: idle",
    )


def test_model_that_is_asked_in_one_hour_is_not_idle() -> None:
    """Its median is 0, but hour 8 has 5/s, so with rates by hour it is no idle model; without them it is."""
    known = TritonSeries(inferences=(series(hourly(0) | {8: 5.0}),))
    assert not observe(known, DAY, quantile=0.5, by_hour=True)[0].idle
    assert observe(known, DAY, quantile=0.5)[0].idle


def test_series_without_a_model_or_without_samples_are_left_out() -> None:
    """What has no label model is not Triton's; a model without samples in these hours served nothing in them."""
    nameless = Series(labels={}, samples={HOUR: 1})
    found = observe(
        TritonSeries(inferences=(nameless, series(hourly(1, range(3))))), DAY, quantile=1, peak_hours=(8, 9)
    )
    assert found == ()
