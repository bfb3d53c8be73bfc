"""Test the grid search: the order of its trials, and which trials a failure rules out."""

from collections.abc import Callable

from analyzer.measurements.record import Measurement, Provenance, Status, Trial
from analyzer.search import Axes, SearchMethod, TrialSearch
from analyzer.search.grid import grid
from analyzer.search.strategy import Strategy, search
from tests.builders.searches import made, play

AXES = Axes(batches=(4, 1, 2), concurrencies=(2, 1))
PROVENANCE = Provenance(
    device_name="d", device_uuid="u", device_memory_bytes=1, driver=None, server="s", tool_version="t", model_hash="h"
)


def follow(search: TrialSearch, outcome: Callable[[Trial], Status]) -> list[tuple[int, int]]:
    """Run a search to its end and list the (batch, concurrency) of its trials."""
    tried = []
    trial = next(search, None)
    while trial is not None:
        tried.append((trial.batch, trial.concurrency))
        try:
            trial = search.send(Measurement(trial=trial, provenance=PROVENANCE, status=outcome(trial)))
        except StopIteration:
            break
    return tried


def test_grid_goes_from_the_lightest_to_the_heaviest() -> None:
    """Batches ascend, and concurrencies ascend within each batch."""
    tried = follow(grid(Trial(model="m"), AXES, 8), lambda _: Status.OK)
    assert tried == [(1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2)]


def test_grid_leaves_out_batches_above_the_models_own() -> None:
    """max_batch_size 2 allows batches 1 and 2; a model without batching allows 1 alone."""
    assert follow(grid(Trial(model="m"), AXES, 2), lambda _: Status.OK)[-1] == (2, 2)
    assert follow(grid(Trial(model="m"), AXES, 0), lambda _: Status.OK) == [(1, 1), (1, 2)]


def test_out_of_memory_rules_out_larger_batches_only() -> None:
    """After out of memory at batch 2, its other concurrencies are still tried, and batch 4 is not."""
    tried = follow(
        grid(Trial(model="m"), AXES, 8),
        lambda t: Status.OUT_OF_MEMORY if (t.batch, t.concurrency) == (2, 1) else Status.OK,
    )
    assert tried == [(1, 1), (1, 2), (2, 1), (2, 2)]


def test_an_inference_error_rules_out_nothing() -> None:
    """A model that errors from batch 2 on is still tried at every point."""
    tried = follow(grid(Trial(model="m"), AXES, 8), lambda t: Status.INFERENCE_ERROR if t.batch >= 2 else Status.OK)
    assert len(tried) == 6


def test_a_hang_rules_out_trials_as_heavy_in_batch_and_concurrency() -> None:
    """After a hang at (1, 2), the trials (2, 2) and (4, 2) are left out, and (2, 1) and (4, 1) are made."""
    tried = follow(
        grid(Trial(model="m"), AXES, 8), lambda t: Status.TIMED_OUT if (t.batch, t.concurrency) == (1, 2) else Status.OK
    )
    assert tried == [(1, 1), (1, 2), (2, 1), (4, 1)]


def test_a_model_that_cannot_be_loaded_ends_the_search() -> None:
    """If the model cannot be loaded, the first trial is the only one."""
    assert follow(grid(Trial(model="m"), AXES, 8), lambda _: Status.LOAD_FAILED) == [(1, 1)]


def test_request_rates_replace_the_concurrencies() -> None:
    """With request rates the loop is open, and the trial's concurrency is 0."""
    search = grid(Trial(model="m"), Axes(batches=(1,), concurrencies=(1, 2), request_rates_per_s=(50.0,)), 8)
    trial = next(search)
    assert (trial.concurrency, trial.request_rate_per_s) == (0, 50.0)


def test_lengths_are_crossed_with_the_rest() -> None:
    """Each pair of lengths has a grid of its own, from the shortest to the longest; `points` counts them."""
    axes = Axes(concurrencies=(1, 2), input_lengths=(64, 8), output_lengths=(16,))
    tried, _ = play(search(Trial(model="m"), Strategy(axes=axes), 8), made)
    found = [(trial.input_length, trial.output_length, trial.concurrency) for trial in tried]
    assert found == [(8, 16, 1), (8, 16, 2), (64, 16, 1), (64, 16, 2)]
    assert Strategy(axes=axes).points(8) == 4
    assert {trial.output_length for trial in play(search(Trial(model="m"), Strategy(), 8), made)[0]} == {None}


def test_a_model_that_cannot_be_loaded_is_tried_at_one_length_only() -> None:
    """The load does not depend on the lengths."""
    axes = Axes(input_lengths=(8, 64))
    tried, _ = play(search(Trial(model="m"), Strategy(axes=axes), 8), lambda t: made(t, status=Status.LOAD_FAILED))
    assert [trial.input_length for trial in tried] == [8]


def test_a_climb_and_its_peak_are_searched_at_every_length() -> None:
    """Two lengths give two knees and two peaks, whose trials have these lengths."""
    axes = Axes(output_lengths=(8, 64))
    strategy = Strategy(axes=axes, method=SearchMethod.CLIMB, max_concurrency=2, latency_p99_s=1.0, find_peak=True)
    _, results = play(search(Trial(model="m"), strategy, 8), lambda t: made(t, 10.0, 0.1))
    assert [(result.sought, result.about.output_length) for result in results] == [
        ("knee", 8), ("peak", 8), ("knee", 64), ("peak", 64),
    ]  # fmt: skip
