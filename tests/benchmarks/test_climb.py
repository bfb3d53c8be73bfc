"""Test how the climb benchmark reads the best configuration from each tool's table."""

from dataclasses import replace

from analyzer.measurements.record import UNKNOWN, Measurement, Status, Trial, Variant
from benchmarks.profiler.climb import MODELS, Configuration, best_of, best_row

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
