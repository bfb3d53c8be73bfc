"""The climb finds the knee of made-up models whose knee is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from analyzer.measurements.record import Measurement, Status, Trial
from analyzer.search import Axes, SearchResult
from analyzer.search.knee import climb, more_instances
from tests.builders.searches import made, play

Model = Callable[[Trial], Measurement]


def station(places: int) -> Model:
    """Make a model with `places` that take 10 ms a request each; whoever finds none free waits."""

    def answer(trial: Trial) -> Measurement:
        rate = min(trial.concurrency, places) / 0.010
        return made(trial, rate * trial.batch, trial.concurrency / rate)

    return answer


def climbed(
    model: Model, *, batches: tuple[int, ...] = (1,), most: int = 1024, budget_s: float | None = None
) -> tuple[list[tuple[int, int]], tuple[SearchResult, ...]]:
    """Climb; return (batch, concurrency) of every trial, and the answers."""
    search = climb(Trial(model="m"), Axes(batches=batches), 64, max_concurrency=most, latency_p99_s=budget_s)
    tried, answers = play(search, model)
    return [(trial.batch, trial.concurrency) for trial in tried], answers


def test_climb_doubles_until_two_steps_gain_nothing_then_narrows_the_knee() -> None:
    """6 places: 8 is the first at full rate, 16 and 32 add nothing; the knee lies in (4, 8]: 6 = √32, then 5 = √24."""
    tried, (answer,) = climbed(station(6))
    assert [concurrency for _, concurrency in tried] == [1, 2, 4, 8, 16, 32, 6, 5]
    assert answer.found is not None
    assert answer.found.trial.concurrency == 6
    assert answer.why == ""


def test_climb_stops_where_the_latency_budget_is_passed() -> None:
    """100 places keep 10 ms up to 100 in flight; 128 take 12.8 ms, above 12: between them 91, 108 and 118 are tried.

    √(64 x 128) = 91; √(91 x 128) = 108 is within a factor of 1.25 of 128, so it is not tried.
    """
    tried, (answer,) = climbed(station(100), budget_s=0.012)
    assert [concurrency for _, concurrency in tried] == [1, 2, 4, 8, 16, 32, 64, 128, 91, 108]
    assert answer.found is not None
    assert answer.found.trial.concurrency == 108
    assert answer.found.latency_p99_s == 108 / 10_000
    assert "budget" in answer.why


def test_climb_ends_at_the_largest_concurrency() -> None:
    """A model that still grows is tried at the bound itself, and the answer says that it still grew."""
    tried, (answer,) = climbed(station(100), most=6)
    assert [concurrency for _, concurrency in tried] == [1, 2, 4, 6, 5]
    assert answer.found is not None
    assert answer.found.trial.concurrency == 6
    assert "still grew" in answer.why


def test_climb_has_no_knee_where_one_request_already_passes_the_budget() -> None:
    """10 ms against a budget of 5 ms: one trial, and the latency is named."""
    tried, (answer,) = climbed(station(4), budget_s=0.005)
    assert tried == [(1, 1)]
    assert answer.found is None
    assert "10 ms" in answer.why


def test_climb_of_each_batch_has_an_answer() -> None:
    """Batches ascend; each is climbed from 1."""
    tried, answers = climbed(station(1), batches=(4, 1))
    assert tried == [(1, 1), (1, 2), (1, 4), (4, 1), (4, 2), (4, 4)]
    assert [answer.about.batch for answer in answers] == [1, 4]
    assert [answer.found.trial.concurrency for answer in answers if answer.found] == [1, 1]


def test_climb_of_a_model_that_cannot_be_loaded_is_one_trial() -> None:
    """One row says why; other batches are not tried."""
    tried, _ = climbed(lambda trial: made(trial, status=Status.LOAD_FAILED), batches=(1, 2))
    assert tried == [(1, 1)]


def test_climb_keeps_larger_batches_below_a_hang() -> None:
    """After a hang at concurrency 4 batch 2 is tried at 1, 2 and 3, its bound."""

    def model(trial: Trial) -> Measurement:
        hangs = trial.batch == 1 and trial.concurrency >= 3
        return made(trial, status=Status.TIMED_OUT) if hangs else station(100)(trial)

    tried, _ = climbed(model, batches=(1, 2))
    assert tried == [(1, 1), (1, 2), (1, 4), (1, 3), (2, 1), (2, 2)]


def test_climb_that_runs_out_of_memory_tries_no_larger_batch() -> None:
    """The batch itself is still narrowed down between what worked and what did not."""

    def model(trial: Trial) -> Measurement:
        return made(trial, status=Status.OUT_OF_MEMORY) if trial.concurrency >= 4 else station(100)(trial)

    tried, (answer,) = climbed(model, batches=(1, 2))
    assert tried == [(1, 1), (1, 2), (1, 4), (1, 3)]
    assert answer.found is not None
    assert answer.found.trial.concurrency == 3
    assert answer.why == "concurrency 4 failed"


def level(
    instances: int, rate: float | None, *, p99_s: float = 0.01, model_mib: int = 100, cause: str = ""
) -> list[Measurement]:
    """Make what a climb with some instances gave: a point at half the best rate, and the best one."""
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
    """Return the next number of instances, or the answer's number and its reason."""
    more = more_instances(levels, most, budget_s, None if room_mib is None else room_mib << 20)
    if isinstance(more, int):
        return more
    assert more.sought == "instances"
    return more.found and more.found.instances, more.why


def test_instances_are_doubled_while_each_doubling_adds_5_percent() -> None:
    """1.06 of the best is worth it, 1.04 is not, and the answer is the number before that."""
    assert raised([level(1, 100)]) == 2
    assert raised([level(1, 100), level(2, 106)]) == 4
    assert raised([level(1, 100), level(2, 106), level(4, 110)]) == (2, "4 instances changed throughput by +4%")
    assert raised([level(3, 100)], most=5) == 5
    assert raised([level(1, 100), level(2, 200)], most=2) == (2, "`max_instances` is 2")


def test_instances_that_do_not_fit_are_not_loaded() -> None:
    """A model of 240 MiB an instance where 950 MiB are free: 2 take 480, and 4 would take 960."""
    assert raised([level(1, 100, model_mib=240)], room_mib=950) == 2
    levels = [level(1, 100, model_mib=240), level(2, 200, model_mib=480)]
    assert raised(levels, room_mib=950) == (2, "4 instances would need 960 MiB, and 950 MiB are free")
    assert raised(levels, room_mib=None) == 4


def test_instances_that_fail_or_pass_the_budget_leave_the_number_before() -> None:
    """The answer says what came of more."""
    good = level(1, 100, p99_s=0.01)
    assert raised([good, level(2, None, cause="no room")]) == (1, "2 instances: no room")
    assert raised([good, level(2, 150, p99_s=0.03)], budget_s=0.02) == (1, "2 instances: no trial kept the p99 budget")
    assert raised([level(1, 100, p99_s=0.03)], budget_s=0.02) == (None, "1 instance: no trial kept the p99 budget")
