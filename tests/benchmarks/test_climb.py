"""Test how the climb benchmark reads the best configuration from each tool's table."""

from dataclasses import replace

from analyzer.measurements.record import UNKNOWN, Measurement, Status, Trial, Variant
from benchmarks.profiler.climb import MODELS, Configuration, best_of, best_row, search_settings

MODEL = replace(MODELS[1], latency_p99_ms=50)


def ours(concurrency: int, infer_per_s: float | None, p99_s: float | None) -> Measurement:
    """Make a row of `analyze`."""
    return Measurement(
        trial=Trial(model="m", concurrency=concurrency, variant=Variant(max_batch_size=2, instances=4)),
        provenance=UNKNOWN,
        status=Status.OK if infer_per_s else Status.TIMED_OUT,
        instances=4,
        throughput_infer_per_s=infer_per_s,
        latency_p99_s=p99_s,
    )


def theirs(concurrency: int, infer_per_s: float, p99_ms: float) -> dict[str, str]:
    """Make a row of Model Analyzer's table."""
    return {
        "Max Batch Size": "2",
        "Instance Group": "4:CPU",
        "Concurrency": str(concurrency),
        "Throughput (infer/sec)": str(infer_per_s),
        "p99 Latency (ms)": str(p99_ms),
    }


def test_best_configuration_has_the_highest_throughput_within_the_budget() -> None:
    """Of 100/s at 20 ms, 150/s at 50 ms and 200/s at 51 ms, the second is best where the budget is 50 ms."""
    wanted = Configuration(max_batch_size=2, instances=4, concurrency=8)
    rows = (ours(4, 100, 0.020), ours(8, 150, 0.050), ours(16, 200, 0.051), ours(32, None, None))
    assert best_of(rows, MODEL) == wanted
    assert best_row([theirs(4, 100, 20), theirs(8, 150, 50), theirs(16, 200, 51)], MODEL) == wanted


def test_no_configuration_is_found_where_none_keeps_the_budget() -> None:
    """A search whose every trial is slower than the budget has found nothing."""
    assert best_of((ours(1, 10, 0.06),), MODEL) is None
    assert best_row([theirs(1, 10, 60)], MODEL) is None


def test_bounds_of_a_batch_are_given_only_for_a_model_that_batches() -> None:
    """Model Analyzer's search has no bounds of max_batch_size for the first model, and 1 to 4 for the second."""
    bounds = ("run_config_search_min_model_batch_size", "run_config_search_max_model_batch_size")
    assert [search_settings(MODELS[0], "brute").get(bound) for bound in bounds] == [None, None]
    assert [search_settings(MODELS[1], "brute").get(bound) for bound in bounds] == [1, 4]


def test_only_the_brute_search_has_a_constraint() -> None:
    """A constraint beside its bounds made the quick search of Model Analyzer 1.58.0 end with an OverflowError."""
    constrained = {"climb_budget": {"cpu_only": True, "constraints": {"perf_latency_p99": {"max": 32}}}}
    assert search_settings(MODELS[2], "brute")["profile_models"] == constrained
    assert search_settings(MODELS[2], "quick")["profile_models"] == {"climb_budget": {"cpu_only": True}}
