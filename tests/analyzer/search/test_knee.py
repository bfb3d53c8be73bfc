"""Test that the climb finds the knee of simulated models whose knee is known, and the number of instances."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from analyzer.measurements.record import Measurement, Status, Trial
from analyzer.search import Axes, SearchResult
from analyzer.search.knee import climb, more_instances
from tests.builders.searches import made, play

Model = Callable[[Trial], Measurement]


def model_with_slots(slots: int) -> Model:
    """Make a model that works on `slots` requests at once, for 10 ms each; further requests wait."""

    def answer(trial: Trial) -> Measurement:
        rate = min(trial.concurrency, slots) / 0.010
        return made(trial, rate * trial.batch, trial.concurrency / rate)

    return answer


def climbed(
    model: Model, *, batches: tuple[int, ...] = (1,), most: int = 1024, budget_s: float | None = None
) -> tuple[list[tuple[int, int]], tuple[SearchResult, ...]]:
    """Climb; return the (batch, concurrency) of every trial, and the results."""
    search = climb(Trial(model="m"), Axes(batches=batches), 64, max_concurrency=most, latency_p99_s=budget_s)
    tried, answers = play(search, model)
    return [(trial.batch, trial.concurrency) for trial in tried], answers


def test_climb_doubles_until_two_steps_gain_nothing_then_narrows_the_knee() -> None:
    """With 6 slots 8 reaches the full rate, 16 and 32 add nothing; then √(4 x 8) ≈ 6 and √(4 x 6) ≈ 5 are tried."""
    tried, (answer,) = climbed(model_with_slots(6))
    assert [concurrency for _, concurrency in tried] == [1, 2, 4, 8, 16, 32, 6, 5]
    assert answer.found is not None
    assert answer.found.trial.concurrency == 6
    assert answer.why == ""


def test_climb_stops_where_the_latency_budget_is_passed() -> None:
    """With 100 slots p99 is 10 ms up to 100 in flight; 128 take 12.8 ms, above the budget of 12 ms.

    Then √(64 x 128) = 91 and √(91 x 128) = 108 are tried; 108 is within a factor of 1.25 of 128, which ends it.
    """
    tried, (answer,) = climbed(model_with_slots(100), budget_s=0.012)
    assert [concurrency for _, concurrency in tried] == [1, 2, 4, 8, 16, 32, 64, 128, 91, 108]
    assert answer.found is not None
    assert answer.found.trial.concurrency == 108
    assert answer.found.latency_p99_s == 108 / 10_000
    assert "budget" in answer.why


def test_climb_ends_at_the_largest_concurrency() -> None:
    """A model whose throughput still grows is tried at the largest concurrency, and the result says so."""
    tried, (answer,) = climbed(model_with_slots(100), most=6)
    assert [concurrency for _, concurrency in tried] == [1, 2, 4, 6, 5]
    assert answer.found is not None
    assert answer.found.trial.concurrency == 6
    assert "still grew" in answer.why


def test_climb_has_no_knee_where_one_request_already_passes_the_budget() -> None:
    """At 10 ms against a budget of 5 ms there is one trial, and the result names the latency."""
    tried, (answer,) = climbed(model_with_slots(4), budget_s=0.005)
    assert tried == [(1, 1)]
    assert answer.found is None
    assert "10 ms" in answer.why


def test_climb_of_each_batch_has_a_result() -> None:
    """Batches ascend, and each is climbed from concurrency 1."""
    tried, answers = climbed(model_with_slots(1), batches=(4, 1))
    assert tried == [(1, 1), (1, 2), (1, 4), (4, 1), (4, 2), (4, 4)]
    assert [answer.about.batch for answer in answers] == [1, 4]
    assert [answer.found.trial.concurrency for answer in answers if answer.found] == [1, 1]


def test_climb_of_a_model_that_cannot_be_loaded_is_one_trial() -> None:
    """If the model cannot be loaded, the first trial is the only one; other batches are not tried."""
    tried, _ = climbed(lambda trial: made(trial, status=Status.LOAD_FAILED), batches=(1, 2))
    assert tried == [(1, 1)]


def test_climb_keeps_larger_batches_below_a_hang() -> None:
    """After hangs at concurrencies 4 and 3 of batch 1, batch 2 is tried at 1 and 2 alone."""

    def model(trial: Trial) -> Measurement:
        hangs = trial.batch == 1 and trial.concurrency >= 3
        return made(trial, status=Status.TIMED_OUT) if hangs else model_with_slots(100)(trial)

    tried, _ = climbed(model, batches=(1, 2))
    assert tried == [(1, 1), (1, 2), (1, 4), (1, 3), (2, 1), (2, 2)]


def test_climb_that_runs_out_of_memory_tries_no_larger_batch() -> None:
    """The batch that ran out of memory is still narrowed down between 2, which worked, and 4, which did not."""

    def model(trial: Trial) -> Measurement:
        return made(trial, status=Status.OUT_OF_MEMORY) if trial.concurrency >= 4 else model_with_slots(100)(trial)

    tried, (answer,) = climbed(model, batches=(1, 2))
    assert tried == [(1, 1), (1, 2), (1, 4), (1, 3)]
    assert answer.found is not None
    assert answer.found.trial.concurrency == 3
    assert answer.why == "concurrency 4 failed"


def level(
    instances: int, rate: float | None, *, p99_s: float = 0.01, model_mib: int = 100, cause: str = ""
) -> list[Measurement]:
    """Make the measurements of a climb at some number of instances: one at half the best rate, and the best."""
    trial = Trial(model="m")
    if rate is None:
        return [replace(made(trial, status=Status.LOAD_FAILED), cause=cause, instances=instances)]
    best = made(replace(trial, concurrency=2), rate, p99_s)
    memory = {"server_memory_bytes": 50 << 20, "max_memory_bytes": (50 + model_mib) << 20}
    return [replace(m, instances=instances, **memory) for m in (made(trial, rate / 2, p99_s), best)]


def raised(
    levels: Sequence[Sequence[Measurement]],
    *,
    most: int = 8,
    budget_s: float | None = None,
    room_mib: int | None = None,
) -> object:
    """Return the next number of instances to try, or the resulting number and its reason."""
    more = more_instances(levels, most, budget_s, None if room_mib is None else room_mib << 20)
    if isinstance(more, int):
        return more
    assert more.sought == "instances"
    return more.found and more.found.instances, more.why


def test_instances_are_doubled_while_each_doubling_adds_5_percent() -> None:
    """A doubling that adds 6 % is followed by another; one that adds 4 % ends the search with the number before it."""
    assert raised([level(1, 100)]) == 2
    assert raised([level(1, 100), level(2, 106)]) == 4
    assert raised([level(1, 100), level(2, 106), level(4, 110)]) == (2, "4 instances changed throughput by +4%")
    assert raised([level(3, 100)], most=5) == 5
    assert raised([level(1, 100), level(2, 200)], most=2) == (2, "`max_instances` is 2")


def test_instances_that_do_not_fit_are_not_loaded() -> None:
    """At 240 MiB per instance and 950 MiB free, 2 instances take 480 MiB and are tried; 4 would take 960."""
    assert raised([level(1, 100, model_mib=240)], room_mib=950) == 2
    levels = [level(1, 100, model_mib=240), level(2, 200, model_mib=480)]
    assert raised(levels, room_mib=950) == (2, "4 instances would need 960 MiB, and 950 MiB are free")
    assert raised(levels, room_mib=None) == 4


def test_instances_that_fail_or_pass_the_budget_leave_the_number_before() -> None:
    """The result is the number before, and its reason says how the larger number failed."""
    good = level(1, 100, p99_s=0.01)
    assert raised([good, level(2, None, cause="no room")]) == (1, "2 instances: no room")
    assert raised([good, level(2, 150, p99_s=0.03)], budget_s=0.02) == (1, "2 instances: no trial kept the p99 budget")
    assert raised([level(1, 100, p99_s=0.03)], budget_s=0.02) == (None, "1 instance: no trial kept the p99 budget")
