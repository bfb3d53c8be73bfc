"""The sweep on made-up servers: what is loaded when, what is measured anew, and what a failure costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest

from analyzer.errors import DeviceError, ServerError
from analyzer.load.generator import LoadGenerator
from analyzer.measurements.record import Measurement, Status, Variant
from analyzer.measurements.store import Store
from analyzer.models.repository import Model
from analyzer.search import Axes, SearchMethod
from analyzer.search.strategy import Strategy
from analyzer.statistics.verdict import StoppingRule
from analyzer.sweep.job import Job
from analyzer.sweep.observer import Recording
from analyzer.sweep.runner import SweepRunner
from tests.builders.fake_server import GENERATOR_ENDED, KILLED, MIB, SERVER_BYTES, FakeModel, FakeServer, Fault

NO_GENERATOR = cast(LoadGenerator, None)  # nothing is sent: `FakeServer.measure` gives the figures
TWICE_DEAD = {1: Fault.CRASH, 2: Fault.CRASH}


@dataclass(slots=True)
class Following(Recording):
    """An observer that keeps too what was found in the store, and is told to stop after some trials."""

    found: list[bool] = field(default_factory=list)
    interrupt_after: int = 1024

    def trial_ended(self, measurement: Measurement, *, found: bool) -> None:
        """Keep a measurement, and where it was from."""
        Recording.trial_ended(self, measurement, found=found)
        self.found.append(found)
        if len(self.found) == self.interrupt_after:
            raise KeyboardInterrupt


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Open an empty store in a file."""
    with Store.open(tmp_path / "measurements.sqlite") as opened:
        yield opened


def closed_loop(*concurrencies: int, batches: Sequence[int] = (1,), max_instances: int = 1) -> Strategy:
    """Make the strategy of a grid."""
    return Strategy(axes=Axes(batches=batches, concurrencies=concurrencies), max_instances=max_instances)


def sweep(
    server: FakeServer,
    store: Store,
    strategy: Strategy | None = None,
    *,
    names: Sequence[str] = (),
    variants: Sequence[Variant] = (Variant(),),
    change: Callable[[Model], Model] = lambda model: model,
    fresh: bool = False,
    rule: StoppingRule | None = None,
    alike: Sequence[str] = (),
    flags: Mapping[str, str] | None = None,
    observer: Following | None = None,
) -> Following:
    """Run a sweep of a server's models, of all or some, at one batch and concurrency unless a strategy says more."""
    repository = {name: change(model) for name, model in server.repository.items()}
    models = [repository[name] for name in names or repository]
    job = Job(
        models=models,
        repository=repository,
        variants={model.name: variants for model in models},
        strategies={model.name: strategy or closed_loop(1) for model in models},
    )
    observer = observer or Following()
    with server.instrumented() as instrumented:
        SweepRunner(
            job,
            instrumented,
            store,
            NO_GENERATOR,
            rule=rule or StoppingRule(),
            fresh=fresh,
            measure=server.measure,
            alike=alike,
            flags=flags or {},
            observer=observer,
        ).run(job.turns)
    return observer


def outcomes(seen: Following) -> list[tuple[str, int, int, str]]:
    """Show each row as model, batch, concurrency and status."""
    return [(m.trial.model, m.trial.batch, m.trial.concurrency, m.status.value) for m in seen.measurements]


def test_models_are_loaded_alone_one_after_the_other(store: Store) -> None:
    """One server serves the whole sweep; each model stays loaded for all its trials, and has a row for each."""
    server = FakeServer(FakeModel(name="a"), FakeModel(name="b"))
    seen = sweep(server, store, closed_loop(1, 2))
    assert server.events == [
        *("start", "load a", "trial a", "trial a", "unload a"),
        *("load b", "trial b", "trial b", "unload b"),
    ]
    # a request takes 10 ms: one instance completes 100/s, and the second in flight waits for the first
    assert outcomes(seen) == [("a", 1, 1, "ok"), ("a", 1, 2, "ok"), ("b", 1, 1, "ok"), ("b", 1, 2, "ok")]
    assert [m.throughput_infer_per_s for m in seen.measurements] == [100.0] * 4
    assert [m.latency_p99_s for m in seen.measurements] == [0.01, 0.02] * 2
    assert store.measurements() == tuple(seen.measurements)


def test_idle_server_is_measured_before_any_model(store: Store) -> None:
    """Whoever follows is told what the server itself holds, and the store keeps it."""
    seen = sweep(FakeServer(FakeModel(name="m")), store)
    assert [idle.memory_bytes for idle in seen.idle] == [SERVER_BYTES]
    assert store.server_only() == tuple(seen.idle)


# --- crashes, time-outs and lost devices


def test_trial_that_loses_its_server_is_tried_again_on_a_new_one(store: Store) -> None:
    """A crash costs a trial one repetition, for which the model is loaded anew, and leaves no trace in its row."""
    server = FakeServer(FakeModel(name="m", trial_faults={1: Fault.CRASH}))
    seen = sweep(server, store)
    assert server.events == ["start", "load m", "trial m", "start", "load m", "trial m", "unload m"]
    (row,) = seen.measurements
    assert (row.status, row.cause) == (Status.OK, "")


def test_second_crash_is_a_row_and_the_next_trial_goes_on(store: Store) -> None:
    """The row says why the server died; the next trial finds a new one, the third, with the model loaded."""
    server = FakeServer(FakeModel(name="m", trial_faults=TWICE_DEAD))
    seen = sweep(server, store, closed_loop(1, 2))
    assert outcomes(seen) == [("m", 1, 1, "server_crashed"), ("m", 1, 2, "ok")]
    assert seen.measurements[0].cause == KILLED
    assert seen.measurements[0].throughput_infer_per_s is None
    assert server.events == [
        *("start", "load m", "trial m", "start", "load m", "trial m", "start", "load m", "trial m", "unload m")
    ]


def test_server_that_dies_of_a_load_is_replaced_and_the_load_repeated(store: Store) -> None:
    """It is a crash like one in a trial: the first is repeated, the second is a row with the cause of death."""
    once = FakeModel(name="once", load_faults={1: Fault.CRASH})
    always = FakeModel(name="always", load_faults=TWICE_DEAD)
    server = FakeServer(once, always, FakeModel(name="next"))
    seen = sweep(server, store)
    assert outcomes(seen) == [("once", 1, 1, "ok"), ("always", 1, 1, "server_crashed"), ("next", 1, 1, "ok")]
    assert seen.measurements[1].cause == KILLED
    assert server.starts == 1 + 1 + 2


def test_time_out_replaces_the_server_and_is_not_repeated(store: Store) -> None:
    """The next trial needs a server that answers; the same trial would only hang again."""
    server = FakeServer(FakeModel(name="asleep", trial_faults={1: Fault.HANG}), FakeModel(name="awake"))
    seen = sweep(server, store)
    assert outcomes(seen) == [("asleep", 1, 1, "timed_out"), ("awake", 1, 1, "ok")]
    assert server.events == [
        "start",
        "load asleep",
        "trial asleep",
        "start",
        "load awake",
        "trial awake",
        "unload awake",
    ]


def test_server_that_died_for_want_of_memory_is_replaced_for_the_next_trial(store: Store) -> None:
    """The trial is not repeated, but the next one is sent to a server that lives.

    It was sent to the dead one, so that each trial after it was a row `out_of_memory` too, and a knee was narrowed
    down on such rows.
    """
    server = FakeServer(FakeModel(name="m", trial_faults={2: Fault.MEMORY_CRASH}))
    seen = sweep(server, store, closed_loop(1, 2, 3))
    assert outcomes(seen) == [("m", 1, 1, "ok"), ("m", 1, 2, "out_of_memory"), ("m", 1, 3, "ok")]
    assert server.events == [
        *("start", "load m", "trial m", "trial m", "start", "load m", "trial m", "unload m"),
    ]


def test_end_of_the_load_generator_costs_one_repetition(store: Store) -> None:
    """The server lives, so that the row of a second time has the generator's own words."""
    once = FakeModel(name="once", trial_faults={1: Fault.GENERATOR_ENDED})
    twice = FakeModel(name="twice", trial_faults={1: Fault.GENERATOR_ENDED, 2: Fault.GENERATOR_ENDED})
    seen = sweep(FakeServer(once, twice), store)
    assert outcomes(seen) == [("once", 1, 1, "ok"), ("twice", 1, 1, "server_crashed")]
    assert seen.measurements[1].cause == GENERATOR_ENDED


@pytest.mark.parametrize("faults", ["load_faults", "trial_faults"])
def test_death_that_the_device_shows_first_is_a_crash(store: Store, faults: str) -> None:
    """The sampler misses the server's process before anybody else does: the server is asked, and says how it died."""
    twice = {1: Fault.SILENT_CRASH, 2: Fault.SILENT_CRASH}
    server = FakeServer(FakeModel(name="m", **{faults: twice}), FakeModel(name="next"))  # type: ignore[arg-type]
    seen = sweep(server, store)
    assert outcomes(seen) == [("m", 1, 1, "server_crashed"), ("next", 1, 1, "ok")]
    assert seen.measurements[0].cause == KILLED


@pytest.mark.parametrize(
    "lost",
    [
        FakeModel(name="lost", load_faults={1: Fault.DEVICE_LOST}),
        FakeModel(name="lost", load_faults={1: Fault.DEVICE_LOST}, has_config=False),
        FakeModel(name="lost", trial_faults={1: Fault.DEVICE_LOST}),
    ],
)
def test_lost_device_ends_the_sweep_while_the_server_lives(store: Store, lost: FakeModel) -> None:
    """No other server would find the device again: what was measured before is stored, and the error is told."""
    server = FakeServer(FakeModel(name="before"), lost, FakeModel(name="after"))
    with pytest.raises(DeviceError, match="fallen off the bus"):
        sweep(server, store, closed_loop(1, batches=(1, 2)))
    assert server.starts == 1
    assert [m.trial.model for m in store.measurements()] == ["before", "before"]


def test_server_that_cannot_be_started_again_ends_the_sweep(store: Store) -> None:
    """What was measured before is stored."""
    server = FakeServer(FakeModel(name="m", trial_faults={2: Fault.CRASH}), most_starts=1)
    with pytest.raises(ServerError, match="does not answer"):
        sweep(server, store, closed_loop(1, 2))
    assert [m.trial.concurrency for m in store.measurements()] == [1]


# --- models that cannot be loaded


def test_load_failure_is_one_row_and_the_other_models_are_measured(store: Store) -> None:
    """The model's other trials are not tried; the row has Triton's words and no figures."""
    server = FakeServer(FakeModel(name="bad", load_error="no weights here"), FakeModel(name="good"))
    seen = sweep(server, store, closed_loop(1, 2, batches=(1, 2)))
    assert outcomes(seen) == [
        ("bad", 1, 1, "load_failed"),
        *(("good", batch, concurrency, "ok") for batch in (1, 2) for concurrency in (1, 2)),
    ]
    assert seen.measurements[0].cause == "no weights here"
    assert seen.measurements[0].throughput_infer_per_s is None
    assert server.events[:4] == ["start", "load bad", "unload bad", "load good"]


def test_model_that_finds_no_memory_to_load_is_out_of_memory(store: Store) -> None:
    """PyTorch's words for it are known; larger batches are not tried, and the server lives and goes on."""
    big = FakeModel(name="big", load_error="CUDA out of memory. Tried to allocate 20.00 GiB")
    server = FakeServer(big, FakeModel(name="next"))
    seen = sweep(server, store, closed_loop(1, batches=(1, 2)))
    assert outcomes(seen) == [("big", 1, 1, "out_of_memory"), ("next", 1, 1, "ok"), ("next", 2, 1, "ok")]
    assert server.starts == 1


def test_model_whose_files_are_wrong_is_a_row_and_is_not_loaded(store: Store) -> None:
    """Its row has what was found when the repository was read."""
    server = FakeServer(FakeModel(name="m", has_config=False))
    seen = sweep(server, store, closed_loop(1, batches=(1, 2)), change=lambda m: _with_error(m, "config.pbtxt: line 3"))
    assert outcomes(seen) == [("m", 1, 1, "load_failed")]
    assert seen.measurements[0].cause == "config.pbtxt: line 3"
    assert server.events == ["start"]


def test_variant_that_a_model_cannot_have_is_a_row(store: Store) -> None:
    """An ensemble has no instances of its own; its step has."""
    whole = FakeModel(name="whole", steps=["step"], memory_bytes=0)
    seen = sweep(FakeServer(FakeModel(name="step"), whole), store, variants=[Variant(instances=2)])
    assert outcomes(seen) == [("step", 1, 1, "ok"), ("whole", 1, 1, "load_failed")]
    assert "no instances of its own" in seen.measurements[1].cause


# --- a sweep that ends early


def test_own_server_that_is_left_early_is_not_asked_to_unload(store: Store) -> None:
    """It ends with the sweep; a busy model would hold up its unload."""
    server = FakeServer(FakeModel(name="m"))
    with pytest.raises(KeyboardInterrupt):
        sweep(server, store, closed_loop(1, 2), observer=Following(interrupt_after=1))
    assert server.events == ["start", "load m", "trial m"]


def test_remote_server_that_is_left_early_is_left_empty(store: Store) -> None:
    """It goes on without us, and somebody else needs its memory."""
    server = FakeServer(FakeModel(name="m"), remote=True)
    with pytest.raises(KeyboardInterrupt):
        sweep(server, store, closed_loop(1, 2), observer=Following(interrupt_after=1))
    assert server.events == ["start", "load m", "trial m", "unload m"]


@pytest.mark.parametrize("fault", [Fault.INTERRUPT, Fault.DEVICE_LOST])
def test_remote_server_that_is_left_during_a_load_is_left_empty(store: Store, fault: Fault) -> None:
    """A load that did not come to its end may have loaded the model: it stayed on the server."""
    server = FakeServer(FakeModel(name="m", load_faults={1: fault}), remote=True)
    with pytest.raises((KeyboardInterrupt, DeviceError)):
        sweep(server, store)
    assert server.loaded == set()


def test_interrupt_is_told_where_the_remote_server_died_too(store: Store) -> None:
    """That it does not unload any more is not what ended the sweep; its error took the place of the interrupt."""
    server = FakeServer(FakeModel(name="m"), remote=True)

    @dataclass(slots=True)
    class Killing(Following):
        def trial_ended(self, measurement: Measurement, *, found: bool) -> None:
            server.kill()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(server, store, observer=Killing())


def test_remote_server_that_hangs_is_unloaded_before_the_model_is_loaded_anew(store: Store) -> None:
    """Reaching it anew does not empty it: what stayed loaded was counted as the server's memory, not as the model's."""
    server = FakeServer(FakeModel(name="m", trial_faults={2: Fault.HANG}), remote=True)
    seen = sweep(server, store, closed_loop(1, 2, batches=(1, 2)))
    assert outcomes(seen) == [("m", 1, 1, "ok"), ("m", 1, 2, "timed_out"), ("m", 2, 1, "ok")]
    assert server.events == [
        *("start", "load m", "trial m", "trial m", "unload m"),
        *("start", "load m", "trial m", "unload m"),
    ]
    assert [m.model_memory_bytes for m in seen.measurements] == [64 * MIB, None, 64 * MIB]


# --- memory


@pytest.mark.parametrize(("load_peak_mib", "highest_mib"), [(32, 464), (200, 564)])
def test_memory_of_a_row_is_the_highest_of_load_rest_and_trial(
    store: Store, load_peak_mib: int, highest_mib: int
) -> None:
    """Beside the server's 300 MiB the model holds 64 at rest, and 100 more in a trial; a load is long past then."""
    model = FakeModel(name="m", load_peak_bytes=load_peak_mib * MIB, run_bytes=100 * MIB)
    seen = sweep(FakeServer(model), store, closed_loop(1, 2))
    for row in seen.measurements:
        assert row.server_memory_bytes == 300 * MIB
        assert row.load_peak_memory_bytes == (364 + load_peak_mib) * MIB
        assert row.steady_memory_bytes == 364 * MIB
        assert row.run_peak_memory_bytes == 464 * MIB
        assert row.max_memory_bytes == highest_mib * MIB
        assert row.model_memory_bytes == (highest_mib - 300) * MIB


def test_model_that_leaves_memory_behind_costs_a_new_server(store: Store) -> None:
    """More than 4 MiB stay: the next model is loaded on a new server, and is charged its own 64 + 16 MiB alone."""
    server = FakeServer(
        FakeModel(name="leaky", leftover_bytes=4 * MIB + 1), FakeModel(name="next", load_peak_bytes=16 * MIB)
    )
    seen = sweep(server, store)
    assert server.events == [
        *("start", "load leaky", "trial leaky", "unload leaky"),
        *("start", "load next", "trial next", "unload next"),
    ]
    assert seen.measurements[1].server_memory_bytes == SERVER_BYTES
    assert seen.measurements[1].model_memory_bytes == (64 + 16) * MIB


def test_little_that_stays_behind_is_the_servers(store: Store) -> None:
    """4 MiB are not worth a new server; they are in use before the next model's load, and so not charged to it."""
    server = FakeServer(FakeModel(name="leaky", leftover_bytes=4 * MIB), FakeModel(name="next"))
    seen = sweep(server, store)
    assert server.starts == 1
    assert seen.measurements[1].server_memory_bytes == SERVER_BYTES + 4 * MIB
    assert seen.measurements[1].model_memory_bytes == 64 * MIB


def test_what_stays_on_a_remote_server_is_the_servers(store: Store) -> None:
    """It is reached anew in vain; the next model is not charged for it either."""
    server = FakeServer(FakeModel(name="leaky", leftover_bytes=64 * MIB), FakeModel(name="next"), remote=True)
    seen = sweep(server, store)
    assert server.starts == 2
    assert seen.measurements[1].server_memory_bytes == SERVER_BYTES + 64 * MIB
    assert seen.measurements[1].model_memory_bytes == 64 * MIB


# --- instances


def instances_climbed(server: FakeServer, store: Store, strategy: Strategy) -> tuple[list[tuple[int, str]], str]:
    """Sweep one model; return instances and status of its rows, and the answer: the best number and why no more."""
    seen = sweep(server, store, strategy)
    (answer,) = [result for result in seen.search_results if result.sought == "instances"]
    best = "none" if answer.found is None else f"{answer.found.instances} instances"
    return [(m.instances, m.status.value) for m in seen.measurements], f"{best}: {answer.why}"


def test_instances_are_doubled_up_to_the_most_that_are_allowed(store: Store) -> None:
    """8 in flight keep 1, 2, 4 and 6 instances busy: 100, 200, 400 and 600/s; each is loaded alone."""
    server = FakeServer(FakeModel(name="m"))
    rows, answer = instances_climbed(server, store, closed_loop(8, max_instances=6))
    assert rows == [(1, "ok"), (2, "ok"), (4, "ok"), (6, "ok")]
    assert answer == "6 instances: `max_instances` is 6"
    assert [event for event in server.events if not event.startswith("trial")] == [
        *(
            "start",
            "load m",
            "unload m",
            "load m as 2",
            "unload m",
            "load m as 4",
            "unload m",
            "load m as 6",
            "unload m",
        )
    ]


def test_instances_are_doubled_while_that_adds_throughput(store: Store) -> None:
    """Two work at once: 100, 200 and 200/s, so that 4 add nothing and 2 are the answer."""
    server = FakeServer(FakeModel(name="m", most_parallel=2))
    rows, answer = instances_climbed(server, store, closed_loop(8, max_instances=16))
    assert rows == [(1, "ok"), (2, "ok"), (4, "ok")]
    assert answer == "2 instances: 4 instances changed throughput by +0%"


def test_instances_are_doubled_while_their_memory_is_free(store: Store) -> None:
    """Of 1000 MiB the server takes 300: two instances of 300 MiB fit into 700, four would need 1200."""
    server = FakeServer(FakeModel(name="m", memory_bytes=300 * MIB), memory_bytes=1000 * MIB)
    rows, answer = instances_climbed(server, store, closed_loop(8, max_instances=16))
    assert rows == [(1, "ok"), (2, "ok")]
    assert answer == "2 instances: 4 instances would need 1,200 MiB, and 700 MiB are free"


def test_instances_on_a_remote_server_are_not_bounded_by_its_memory(store: Store) -> None:
    """What is free there cannot be asked; too many fail to load instead."""
    model = FakeModel(name="m", memory_bytes=300 * MIB, most_instances=2)
    server = FakeServer(model, memory_bytes=1000 * MIB, remote=True)
    rows, answer = instances_climbed(server, store, closed_loop(8, max_instances=16))
    assert rows == [(1, "ok"), (2, "ok"), (4, "load_failed")]
    assert answer == "2 instances: 4 instances: 4 instances are too many"


def test_number_of_instances_that_fails_leaves_the_one_before(store: Store) -> None:
    """The third load of the model and its repetition kill their servers: 4 instances are a row, and 2 the answer."""
    server = FakeServer(FakeModel(name="m", load_faults={3: Fault.CRASH, 4: Fault.CRASH}))
    rows, answer = instances_climbed(server, store, closed_loop(8, max_instances=16))
    assert rows == [(1, "ok"), (2, "ok"), (4, "server_crashed")]
    assert answer == f"2 instances: 4: {KILLED}"


def test_instances_are_not_raised_where_the_models_own_number_fails(store: Store) -> None:
    """There is nothing to compare more of them with."""
    seen = sweep(FakeServer(FakeModel(name="m", load_error="no weights")), store, closed_loop(8, max_instances=4))
    assert outcomes(seen) == [("m", 1, 8, "load_failed")]
    assert seen.search_results == []


def test_instances_of_an_ensemble_are_not_raised(store: Store) -> None:
    """It has none of its own."""
    server = FakeServer(FakeModel(name="step"), FakeModel(name="whole", steps=["step"], memory_bytes=0))
    seen = sweep(server, store, closed_loop(8, max_instances=4), names=["whole"])
    assert outcomes(seen) == [("whole", 1, 8, "ok")]


def test_each_number_of_instances_is_climbed_for_its_own_knee(store: Store) -> None:
    """One instance has its knee at 1 in flight, two at 2, for every request above waits."""
    seen = sweep(
        FakeServer(FakeModel(name="m")),
        store,
        Strategy(method=SearchMethod.CLIMB, max_concurrency=16, max_instances=2),
    )
    found = [(r.sought, r.found and (r.found.instances, r.found.trial.concurrency)) for r in seen.search_results]
    assert found == [("knee", (1, 1)), ("knee", (2, 2)), ("instances", (2, 2))]


# --- configurations that Triton completes


def test_batches_that_only_triton_can_rule_out_are_left_out_with_a_note(store: Store) -> None:
    """The largest batch is known once the model is loaded, which it stays for its trials."""
    server = FakeServer(FakeModel(name="auto", has_config=False, max_batch_size=4))
    seen = sweep(server, store, closed_loop(1, batches=(1, 4, 8)))
    assert outcomes(seen) == [("auto", 1, 1, "ok"), ("auto", 4, 1, "ok")]
    assert seen.notes == ["auto has max_batch_size 4: left out batch 8"]
    assert server.events == ["start", "load auto", "trial auto", "trial auto", "unload auto"]


def test_variant_of_an_unknown_configuration_is_made_of_what_triton_completed(store: Store) -> None:
    """The model is loaded as it is and unloaded again, then loaded as the variant."""
    server = FakeServer(FakeModel(name="auto", has_config=False, instances=3))
    seen = sweep(server, store, variants=[Variant(instances=2), Variant(max_batch_size=4)])
    assert server.events == [
        *("start", "load auto", "unload auto", "load auto as 2", "trial auto", "unload auto"),
        *("load auto", "unload auto", "load auto as 3", "trial auto", "unload auto"),
    ]
    assert [m.instances for m in seen.measurements] == [2, 3]


def test_variants_largest_batch_needs_no_configuration(store: Store) -> None:
    """What the variant says itself rules batches out, without a note: the job has told that before."""
    server = FakeServer(FakeModel(name="auto", has_config=False))
    seen = sweep(server, store, closed_loop(1, batches=(1, 4)), variants=[Variant(max_batch_size=2)])
    assert outcomes(seen) == [("auto", 1, 1, "ok")]
    assert seen.notes == []


def test_unknown_configuration_of_a_model_that_cannot_load_is_one_row(store: Store) -> None:
    """The load that should have told it has failed; it is not tried again."""
    server = FakeServer(FakeModel(name="auto", has_config=False, load_error="no weights here"))
    seen = sweep(server, store, closed_loop(1, 2, batches=(1, 2)))
    assert [(m.status, m.cause) for m in seen.measurements] == [(Status.LOAD_FAILED, "no weights here")]
    assert server.events == ["start", "load auto", "unload auto"]


@pytest.mark.parametrize("fault", [Fault.CRASH, Fault.SILENT_CRASH])
def test_server_that_dies_while_it_is_asked_for_a_configuration_is_replaced(store: Store, fault: Fault) -> None:
    """The first trial goes on, on a new server, with a repetition of its own: the third load succeeds here.

    A death that the device showed first ended the sweep.
    """
    server = FakeServer(FakeModel(name="auto", has_config=False, load_faults={1: fault, 2: fault}))
    seen = sweep(server, store, closed_loop(1, batches=(1, 2)))
    assert outcomes(seen) == [("auto", 1, 1, "ok"), ("auto", 2, 1, "ok")]
    assert server.starts == 3


# --- what the store has


def test_second_sweep_measures_only_what_is_missing(store: Store) -> None:
    """Two of three trials are found, and are told as found; the model is loaded for the third."""
    first = sweep(FakeServer(FakeModel(name="m")), store, closed_loop(1, 2))
    server = FakeServer(FakeModel(name="m"))
    seen = sweep(server, store, closed_loop(1, 2, 4))
    assert server.events == ["start", "load m", "trial m", "unload m"]
    assert seen.found == [True, True, False]
    assert seen.measurements[:2] == first.measurements


def test_model_that_is_measured_is_not_loaded(store: Store) -> None:
    """A sweep that finds everything loads nothing, however its models are searched."""
    climb = Strategy(method=SearchMethod.CLIMB, max_concurrency=8, max_instances=4)
    first = sweep(FakeServer(FakeModel(name="m")), store, climb)
    server = FakeServer(FakeModel(name="m"))
    seen = sweep(server, store, climb)
    assert server.events == ["start"]
    assert seen.measurements == first.measurements
    assert seen.search_results == first.search_results
    assert all(seen.found)


def test_variant_of_an_unknown_configuration_is_only_asked_for_its_largest_batch(store: Store) -> None:
    """Which of its trials are found is not known before; the model is loaded and unloaded for that, and not again."""
    strategy, variants = closed_loop(1, batches=(1, 16)), [Variant(instances=2)]
    sweep(FakeServer(FakeModel(name="auto", has_config=False)), store, strategy, variants=variants)
    server = FakeServer(FakeModel(name="auto", has_config=False))
    assert sweep(server, store, strategy, variants=variants).found == [True]
    assert server.events == ["start", "load auto", "unload auto"]


def test_interrupted_sweep_goes_on_where_it_was(store: Store) -> None:
    """The trial before the interrupt is in the store."""
    with pytest.raises(KeyboardInterrupt):
        sweep(FakeServer(FakeModel(name="m")), store, closed_loop(1, 2), observer=Following(interrupt_after=1))
    assert sweep(FakeServer(FakeModel(name="m")), store, closed_loop(1, 2)).found == [True, False]


def test_failed_trial_is_tried_again(store: Store) -> None:
    """Its row is in the store, but a figure may be had next time; it takes the row's place then."""
    sweep(FakeServer(FakeModel(name="m", trial_faults=TWICE_DEAD)), store)
    seen = sweep(FakeServer(FakeModel(name="m")), store)
    assert seen.found == [False]
    assert [m.status for m in store.measurements()] == [Status.OK]


def test_fresh_sweep_measures_everything_again(store: Store) -> None:
    """What the store has is replaced."""
    sweep(FakeServer(FakeModel(name="m")), store, closed_loop(1, 2))
    slower = FakeServer(FakeModel(name="m", service_s=0.02))
    assert sweep(slower, store, closed_loop(1, 2), fresh=True).found == [False, False]
    assert [m.throughput_infer_per_s for m in store.measurements()] == [50.0, 50.0]


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (StoppingRule(), True),
        (StoppingRule(throughput_ci=0.01), False),
        (StoppingRule(latency_p99_ci=0.02), False),
        (StoppingRule(max_trial_s=60.0), False),
        (StoppingRule(request_timeout_s=5.0), True),
    ],
)
def test_figures_of_another_precision_are_measured_again(store: Store, rule: StoppingRule, *, found: bool) -> None:
    """Only what a figure depends on counts: when to give up on a server is not part of it."""
    sweep(FakeServer(FakeModel(name="m")), store)
    assert sweep(FakeServer(FakeModel(name="m")), store, rule=rule).found == [found]


def test_changed_model_is_measured_again(store: Store) -> None:
    """Its files have another hash."""
    sweep(FakeServer(FakeModel(name="m")), store)
    seen = sweep(FakeServer(FakeModel(name="m")), store, change=lambda model: _with_hash(model, "other"))
    assert seen.found == [False]


@pytest.mark.parametrize(("alike", "found"), [((), False), (("GPU-7",), False), (("GPU-7", "GPU-1"), True)])
def test_figures_of_like_devices_count(store: Store, alike: Sequence[str], *, found: bool) -> None:
    """Of devices that are named as alike, and of no others."""
    sweep(FakeServer(FakeModel(name="m"), uuid="GPU-1"), store)
    seen = sweep(FakeServer(FakeModel(name="m"), uuid="GPU-0"), store, alike=alike)
    assert seen.found == [found]
    assert seen.measurements[0].provenance.device_uuid == ("GPU-1" if found else "GPU-0")


@pytest.mark.parametrize(
    ("flags", "cause"),
    [
        ({}, "no response for 30 s (`request_timeout_s`)"),
        ({"request_timeout_s": "request-timeout"}, "no response for 30 s (--request-timeout)"),
    ],
)
def test_causes_speak_the_callers_language(store: Store, flags: Mapping[str, str], cause: str) -> None:
    """On the command line an option is its flag, in Python its name: as told and as stored."""
    seen = sweep(FakeServer(FakeModel(name="m", trial_faults={1: Fault.HANG})), store, flags=flags)
    assert [m.cause for m in seen.measurements] == [cause]
    assert [m.cause for m in store.measurements()] == [cause]


def _with_error(model: Model, error: str) -> Model:
    return replace(model, error=error)


def _with_hash(model: Model, content_hash: str) -> Model:
    return replace(model, content_hash=content_hash)
