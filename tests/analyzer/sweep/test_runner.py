"""Test the sweep on fake servers: loads, repeated measurements, failures, memory and instances."""

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

NO_GENERATOR = cast(LoadGenerator, None)  # no request is sent: `FakeServer.measure` gives the figures
CRASH_TWICE = {1: Fault.CRASH, 2: Fault.CRASH}


@dataclass(slots=True)
class Following(Recording):
    """An observer that records whether trials were found in the store, and interrupts after some trials."""

    found: list[bool] = field(default_factory=list)
    interrupt_after: int = 1024

    def trial_ended(self, measurement: Measurement, *, found: bool) -> None:
        """Record a measurement and whether it was found in the store."""
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
    """Make the strategy of a grid of batches and concurrencies."""
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
    cores: int = 0,
    flags: Mapping[str, str] | None = None,
    observer: Following | None = None,
) -> Following:
    """Sweep all of a server's models, or those in `names`; the default strategy is batch 1 at concurrency 1."""
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
            cores=cores,
            flags=flags or {},
            observer=observer,
        ).run(job.model_variants)
    return observer


def outcomes(seen: Following) -> list[tuple[str, int, int, str]]:
    """Return model, batch, concurrency and status of each row."""
    return [(m.trial.model, m.trial.batch, m.trial.concurrency, m.status.value) for m in seen.measurements]


def test_models_are_loaded_alone_one_after_the_other(store: Store) -> None:
    """One server serves the whole sweep; each model is loaded once for all its trials, and each trial is a row."""
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
    """The idle server's memory is passed to the observer and kept in the store."""
    seen = sweep(FakeServer(FakeModel(name="m")), store)
    assert [idle.memory_bytes for idle in seen.idle] == [SERVER_BYTES]
    assert store.server_only() == tuple(seen.idle)


# --- crashes, time-outs and lost devices


def test_trial_is_repeated_once_after_a_crash(store: Store) -> None:
    """After a crash the model is loaded on a new server and the trial repeated; its row does not mention the crash."""
    server = FakeServer(FakeModel(name="m", trial_faults={1: Fault.CRASH}))
    seen = sweep(server, store)
    assert server.events == ["start", "load m", "trial m", "start", "load m", "trial m", "unload m"]
    (row,) = seen.measurements
    assert (row.status, row.cause) == (Status.OK, "")


def test_second_crash_is_a_row_and_the_next_trial_goes_on(store: Store) -> None:
    """After a second crash the row gives the cause; the next trial runs on a third server."""
    server = FakeServer(FakeModel(name="m", trial_faults=CRASH_TWICE))
    seen = sweep(server, store, closed_loop(1, 2))
    assert outcomes(seen) == [("m", 1, 1, "server_crashed"), ("m", 1, 2, "ok")]
    assert seen.measurements[0].cause == KILLED
    assert seen.measurements[0].throughput_infer_per_s is None
    assert server.events == [
        *("start", "load m", "trial m", "start", "load m", "trial m", "start", "load m", "trial m", "unload m")
    ]


def test_load_is_repeated_once_after_a_crash(store: Store) -> None:
    """After a first crash the load is repeated on a new server; after a second one the row gives the cause."""
    once = FakeModel(name="once", load_faults={1: Fault.CRASH})
    always = FakeModel(name="always", load_faults=CRASH_TWICE)
    server = FakeServer(once, always, FakeModel(name="next"))
    seen = sweep(server, store)
    assert outcomes(seen) == [("once", 1, 1, "ok"), ("always", 1, 1, "server_crashed"), ("next", 1, 1, "ok")]
    assert seen.measurements[1].cause == KILLED
    assert server.starts == 1 + 1 + 2


def test_time_out_replaces_the_server_and_is_not_repeated(store: Store) -> None:
    """After a time-out the next trial gets a new server; the trial is not repeated, because it would hang again."""
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


def test_server_that_ran_out_of_memory_is_replaced_for_the_next_trial(store: Store) -> None:
    """The trial is not repeated, and the next one gets a new server.

    It once was sent to the dead server, so that every later trial was `out_of_memory` too, and a knee was narrowed
    down on such rows.
    """
    server = FakeServer(FakeModel(name="m", trial_faults={2: Fault.MEMORY_CRASH}))
    seen = sweep(server, store, closed_loop(1, 2, 3))
    assert outcomes(seen) == [("m", 1, 1, "ok"), ("m", 1, 2, "out_of_memory"), ("m", 1, 3, "ok")]
    assert server.events == [
        *("start", "load m", "trial m", "trial m", "start", "load m", "trial m", "unload m"),
    ]


def test_end_of_the_load_generator_costs_one_repetition(store: Store) -> None:
    """If the load generator ends, the trial is repeated once; the second time the row has the generator's error."""
    once = FakeModel(name="once", trial_faults={1: Fault.GENERATOR_ENDED})
    twice = FakeModel(name="twice", trial_faults={1: Fault.GENERATOR_ENDED, 2: Fault.GENERATOR_ENDED})
    seen = sweep(FakeServer(once, twice), store)
    assert outcomes(seen) == [("once", 1, 1, "ok"), ("twice", 1, 1, "server_crashed")]
    assert seen.measurements[1].cause == GENERATOR_ENDED


@pytest.mark.parametrize("faults", ["load_faults", "trial_faults"])
def test_death_that_the_sampler_notices_first_is_a_crash(store: Store, faults: str) -> None:
    """If the sampler is the first to miss the server's process, the row still gives the cause of the server's death."""
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
    """A new server would not find the device either: earlier rows are stored, and the error is raised."""
    server = FakeServer(FakeModel(name="before"), lost, FakeModel(name="after"))
    with pytest.raises(DeviceError, match="fallen off the bus"):
        sweep(server, store, closed_loop(1, batches=(1, 2)))
    assert server.starts == 1
    assert [m.trial.model for m in store.measurements()] == ["before", "before"]


def test_server_that_cannot_be_started_again_ends_the_sweep(store: Store) -> None:
    """If no new server starts, the error is raised and earlier rows are stored."""
    server = FakeServer(FakeModel(name="m", trial_faults={2: Fault.CRASH}), most_starts=1)
    with pytest.raises(ServerError, match="does not answer"):
        sweep(server, store, closed_loop(1, 2))
    assert [m.trial.concurrency for m in store.measurements()] == [1]


# --- models that cannot be loaded


def test_load_failure_is_one_row_and_the_other_models_are_measured(store: Store) -> None:
    """The model's other trials are left out; the row has Triton's error and no figures."""
    server = FakeServer(FakeModel(name="bad", load_error="no weights here"), FakeModel(name="good"))
    seen = sweep(server, store, closed_loop(1, 2, batches=(1, 2)))
    assert outcomes(seen) == [
        ("bad", 1, 1, "load_failed"),
        *(("good", batch, concurrency, "ok") for batch in (1, 2) for concurrency in (1, 2)),
    ]
    assert seen.measurements[0].cause == "no weights here"
    assert seen.measurements[0].throughput_infer_per_s is None
    assert server.events[:4] == ["start", "load bad", "unload bad", "load good"]


def test_load_failure_for_lack_of_memory_is_out_of_memory(store: Store) -> None:
    """PyTorch's message is recognized; larger batches are not tried, and the server continues to serve."""
    big = FakeModel(name="big", load_error="CUDA out of memory. Tried to allocate 20.00 GiB")
    server = FakeServer(big, FakeModel(name="next"))
    seen = sweep(server, store, closed_loop(1, batches=(1, 2)))
    assert outcomes(seen) == [("big", 1, 1, "out_of_memory"), ("next", 1, 1, "ok"), ("next", 2, 1, "ok")]
    assert server.starts == 1


def test_model_with_malformed_files_is_a_row_and_is_not_loaded(store: Store) -> None:
    """The row has the error that was found when the repository was read."""
    server = FakeServer(FakeModel(name="m", has_config=False))
    seen = sweep(server, store, closed_loop(1, batches=(1, 2)), change=lambda m: _with_error(m, "config.pbtxt: line 3"))
    assert outcomes(seen) == [("m", 1, 1, "load_failed")]
    assert seen.measurements[0].cause == "config.pbtxt: line 3"
    assert server.events == ["start"]


def test_variant_that_a_model_cannot_have_is_a_row(store: Store) -> None:
    """A variant with two instances is a failed row for an ensemble, which has no instances of its own."""
    whole = FakeModel(name="whole", steps=["step"], memory_bytes=0)
    seen = sweep(FakeServer(FakeModel(name="step"), whole), store, variants=[Variant(instances=2)])
    assert outcomes(seen) == [("step", 1, 1, "ok"), ("whole", 1, 1, "load_failed")]
    assert "no instances of its own" in seen.measurements[1].cause


# --- a sweep that ends early


def test_own_server_that_is_left_early_is_not_asked_to_unload(store: Store) -> None:
    """The server ends with the sweep; the unload of a busy model would delay that."""
    server = FakeServer(FakeModel(name="m"))
    with pytest.raises(KeyboardInterrupt):
        sweep(server, store, closed_loop(1, 2), observer=Following(interrupt_after=1))
    assert server.events == ["start", "load m", "trial m"]


def test_remote_server_that_is_left_early_is_left_empty(store: Store) -> None:
    """A remote server continues to run, so the model is unloaded."""
    server = FakeServer(FakeModel(name="m"), remote=True)
    with pytest.raises(KeyboardInterrupt):
        sweep(server, store, closed_loop(1, 2), observer=Following(interrupt_after=1))
    assert server.events == ["start", "load m", "trial m", "unload m"]


@pytest.mark.parametrize("fault", [Fault.INTERRUPT, Fault.DEVICE_LOST])
def test_remote_server_that_is_left_during_a_load_is_left_empty(store: Store, fault: Fault) -> None:
    """An interrupted load may have loaded the model, so it is unloaded; it once stayed on the server."""
    server = FakeServer(FakeModel(name="m", load_faults={1: fault}), remote=True)
    with pytest.raises((KeyboardInterrupt, DeviceError)):
        sweep(server, store)
    assert server.loaded == set()


def test_interrupt_is_raised_if_the_remote_server_died_too(store: Store) -> None:
    """The failed unload does not replace the interrupt, which ended the sweep; it once did."""
    server = FakeServer(FakeModel(name="m"), remote=True)

    @dataclass(slots=True)
    class Killing(Following):
        def trial_ended(self, measurement: Measurement, *, found: bool) -> None:
            server.kill()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(server, store, observer=Killing())


def test_remote_server_that_hangs_is_unloaded_before_the_next_load(store: Store) -> None:
    """A new connection does not unload the model, whose memory was once counted as the server's."""
    server = FakeServer(FakeModel(name="m", trial_faults={2: Fault.HANG}), remote=True)
    seen = sweep(server, store, closed_loop(1, 2, batches=(1, 2)))
    assert outcomes(seen) == [("m", 1, 1, "ok"), ("m", 1, 2, "timed_out"), ("m", 2, 1, "ok")]
    assert server.events == [
        *("start", "load m", "trial m", "trial m", "unload m"),
        *("start", "load m", "trial m", "unload m"),
    ]
    assert [m.model_memory_bytes for m in seen.measurements] == [64 * MIB, None, 64 * MIB]


def test_model_that_others_loaded_is_measured_as_it_is(store: Store) -> None:
    """It is neither loaded nor unloaded, so its own memory is not known; its part of another model stays as well.

    It once was unloaded afterwards.
    """
    server = FakeServer(
        FakeModel(name="theirs"), FakeModel(name="ours", calls=["theirs"]), remote=True, kept=["theirs"]
    )
    seen = sweep(server, store, closed_loop(1, batches=(1, 2)))
    assert outcomes(seen) == [
        ("theirs", 1, 1, "ok"),
        ("theirs", 2, 1, "ok"),
        ("ours", 1, 1, "ok"),
        ("ours", 2, 1, "ok"),
    ]
    assert [m.model_memory_bytes for m in seen.measurements] == [None, None, 64 * MIB, 64 * MIB]
    assert seen.measurements[0].max_memory_bytes == SERVER_BYTES + 64 * MIB
    assert server.events == [
        "start",
        "trial theirs",
        "trial theirs",
        "load ours",
        "trial ours",
        "trial ours",
        "unload ours",
    ]
    assert server.loaded == {"theirs"}


# --- memory


@pytest.mark.parametrize(("load_peak_mib", "highest_mib"), [(32, 464), (200, 564)])
def test_memory_of_a_row_is_the_highest_of_load_idle_and_trial(
    store: Store, load_peak_mib: int, highest_mib: int
) -> None:
    """The server holds 300 MiB, the model 64 MiB, a trial 100 MiB more; the load's peak is freed before trials."""
    model = FakeModel(name="m", load_peak_bytes=load_peak_mib * MIB, run_bytes=100 * MIB)
    seen = sweep(FakeServer(model), store, closed_loop(1, 2))
    for row in seen.measurements:
        assert row.server_memory_bytes == 300 * MIB
        assert row.load_peak_memory_bytes == (364 + load_peak_mib) * MIB
        assert row.steady_memory_bytes == 364 * MIB
        assert row.run_peak_memory_bytes == 464 * MIB
        assert row.max_memory_bytes == highest_mib * MIB
        assert row.model_memory_bytes == (highest_mib - 300) * MIB


def test_memory_left_after_an_unload_causes_a_new_server(store: Store) -> None:
    """If over 4 MiB stay in use, the next model gets a new server; its memory is its own 64 + 16 MiB."""
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


def test_little_memory_left_after_an_unload_counts_as_the_servers(store: Store) -> None:
    """4 MiB that stay in use cause no new server; they count for the server, not for the next model."""
    server = FakeServer(FakeModel(name="leaky", leftover_bytes=4 * MIB), FakeModel(name="next"))
    seen = sweep(server, store)
    assert server.starts == 1
    assert seen.measurements[1].server_memory_bytes == SERVER_BYTES + 4 * MIB
    assert seen.measurements[1].model_memory_bytes == 64 * MIB


def test_memory_left_on_a_remote_server_counts_as_the_servers(store: Store) -> None:
    """A new connection does not free the memory; it does not count for the next model either."""
    server = FakeServer(FakeModel(name="leaky", leftover_bytes=64 * MIB), FakeModel(name="next"), remote=True)
    seen = sweep(server, store)
    assert server.starts == 2
    assert seen.measurements[1].server_memory_bytes == SERVER_BYTES + 64 * MIB
    assert seen.measurements[1].model_memory_bytes == 64 * MIB


# --- instances


def instances_climbed(server: FakeServer, store: Store, strategy: Strategy) -> tuple[list[tuple[int, str]], str]:
    """Sweep one model; return instances and status of its rows, and the result: the best number and its reason."""
    seen = sweep(server, store, strategy)
    (answer,) = [result for result in seen.search_results if result.sought == "instances"]
    best = "none" if answer.found is None else f"{answer.found.instances} instances"
    return [(m.instances, m.status.value) for m in seen.measurements], f"{best}: {answer.why}"


def test_instances_are_doubled_up_to_max_instances(store: Store) -> None:
    """8 in flight keep 1, 2, 4 and 6 instances busy (100, 200, 400, 600/s); each number is loaded on its own."""
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
    """Only two instances work at once (100, 200, 200/s): 4 add nothing, and the result is 2."""
    server = FakeServer(FakeModel(name="m", most_parallel=2))
    rows, answer = instances_climbed(server, store, closed_loop(8, max_instances=16))
    assert rows == [(1, "ok"), (2, "ok"), (4, "ok")]
    assert answer == "2 instances: 4 instances changed throughput by +0%"


def test_instances_are_doubled_while_their_memory_is_free(store: Store) -> None:
    """Of 1000 MiB the server takes 300: two instances of 300 MiB fit into 700 MiB, four would need 1200."""
    server = FakeServer(FakeModel(name="m", memory_bytes=300 * MIB), memory_bytes=1000 * MIB)
    rows, answer = instances_climbed(server, store, closed_loop(8, max_instances=16))
    assert rows == [(1, "ok"), (2, "ok")]
    assert answer == "2 instances: 4 instances would need 1,200 MiB, and 700 MiB are free"


def test_instances_on_a_remote_server_are_not_bounded_by_its_memory(store: Store) -> None:
    """A remote server's free memory is unknown, so instances are raised until a load fails."""
    model = FakeModel(name="m", memory_bytes=300 * MIB, most_instances=2)
    server = FakeServer(model, memory_bytes=1000 * MIB, remote=True)
    rows, answer = instances_climbed(server, store, closed_loop(8, max_instances=16))
    assert rows == [(1, "ok"), (2, "ok"), (4, "load_failed")]
    assert answer == "2 instances: 4 instances: 4 instances are too many"


def test_number_of_instances_that_fails_leaves_the_one_before(store: Store) -> None:
    """The third load and its repetition crash the server: 4 instances are a failed row, and the result is 2."""
    server = FakeServer(FakeModel(name="m", load_faults={3: Fault.CRASH, 4: Fault.CRASH}))
    rows, answer = instances_climbed(server, store, closed_loop(8, max_instances=16))
    assert rows == [(1, "ok"), (2, "ok"), (4, "server_crashed")]
    assert answer == f"2 instances: 4 instances: {KILLED}"


def test_instances_are_not_raised_where_the_models_own_number_fails(store: Store) -> None:
    """If the model's own number of instances fails, no other number is tried."""
    seen = sweep(FakeServer(FakeModel(name="m", load_error="no weights")), store, closed_loop(8, max_instances=4))
    assert outcomes(seen) == [("m", 1, 8, "load_failed")]
    assert seen.search_results == []


def test_instances_of_an_ensemble_are_not_raised(store: Store) -> None:
    """An ensemble has no instances of its own, so no number is tried."""
    server = FakeServer(FakeModel(name="step"), FakeModel(name="whole", steps=["step"], memory_bytes=0))
    seen = sweep(server, store, closed_loop(8, max_instances=4), names=["whole"])
    assert outcomes(seen) == [("whole", 1, 8, "ok")]


def test_each_number_of_instances_is_climbed_for_its_own_knee(store: Store) -> None:
    """One instance has its knee at 1 in flight and two at 2, because every further request waits."""
    seen = sweep(
        FakeServer(FakeModel(name="m")),
        store,
        Strategy(method=SearchMethod.CLIMB, max_concurrency=16, max_instances=2),
    )
    found = [(r.sought, r.found and (r.found.instances, r.found.trial.concurrency)) for r in seen.search_results]
    assert found == [("knee", (1, 1)), ("knee", (2, 2)), ("instances", (2, 2))]


# --- configurations that Triton completes


def test_batches_that_only_triton_can_rule_out_are_left_out_with_a_note(store: Store) -> None:
    """The largest batch is known after the load; the model stays loaded for its trials."""
    server = FakeServer(FakeModel(name="auto", has_config=False, max_batch_size=4))
    seen = sweep(server, store, closed_loop(1, batches=(1, 4, 8)))
    assert outcomes(seen) == [("auto", 1, 1, "ok"), ("auto", 4, 1, "ok")]
    assert seen.notes == ["auto has max_batch_size 4: left out batch 8"]
    assert server.events == ["start", "load auto", "trial auto", "trial auto", "unload auto"]


def test_variant_of_an_unknown_configuration_changes_what_triton_completed(store: Store) -> None:
    """The model is loaded as it is and unloaded again, then loaded as the variant."""
    server = FakeServer(FakeModel(name="auto", has_config=False, instances=3))
    seen = sweep(server, store, variants=[Variant(instances=2), Variant(max_batch_size=4)])
    assert server.events == [
        *("start", "load auto", "unload auto", "load auto as 2", "trial auto", "unload auto"),
        *("load auto", "unload auto", "load auto as 3", "trial auto", "unload auto"),
    ]
    assert [m.instances for m in seen.measurements] == [2, 3]


def test_variants_largest_batch_needs_no_configuration(store: Store) -> None:
    """A variant's own max_batch_size leaves larger batches out without a note, which the job has already given."""
    server = FakeServer(FakeModel(name="auto", has_config=False))
    seen = sweep(server, store, closed_loop(1, batches=(1, 4)), variants=[Variant(max_batch_size=2)])
    assert outcomes(seen) == [("auto", 1, 1, "ok")]
    assert seen.notes == []


def test_unknown_configuration_of_a_model_that_cannot_load_is_one_row(store: Store) -> None:
    """If the load that would give the configuration fails, the model is one row and is not loaded again."""
    server = FakeServer(FakeModel(name="auto", has_config=False, load_error="no weights here"))
    seen = sweep(server, store, closed_loop(1, 2, batches=(1, 2)))
    assert [(m.status, m.cause) for m in seen.measurements] == [(Status.LOAD_FAILED, "no weights here")]
    assert server.events == ["start", "load auto", "unload auto"]


@pytest.mark.parametrize("fault", [Fault.CRASH, Fault.SILENT_CRASH])
def test_server_that_dies_while_it_is_asked_for_a_configuration_is_replaced(store: Store, fault: Fault) -> None:
    """The first trial continues on a new server and has its own repetition, so that the third load succeeds.

    A death that the sampler noticed first once ended the sweep.
    """
    server = FakeServer(FakeModel(name="auto", has_config=False, load_faults={1: fault, 2: fault}))
    seen = sweep(server, store, closed_loop(1, batches=(1, 2)))
    assert outcomes(seen) == [("auto", 1, 1, "ok"), ("auto", 2, 1, "ok")]
    assert server.starts == 3


# --- what the store has


def test_second_sweep_measures_only_what_is_missing(store: Store) -> None:
    """Two of three trials are found in the store and reported as found; the model is loaded for the third."""
    first = sweep(FakeServer(FakeModel(name="m")), store, closed_loop(1, 2))
    server = FakeServer(FakeModel(name="m"))
    seen = sweep(server, store, closed_loop(1, 2, 4))
    assert server.events == ["start", "load m", "trial m", "unload m"]
    assert seen.found == [True, True, False]
    assert seen.measurements[:2] == first.measurements


def test_model_that_is_measured_is_not_loaded(store: Store) -> None:
    """A sweep that finds all its trials in the store loads no model, also with a climb."""
    climb = Strategy(method=SearchMethod.CLIMB, max_concurrency=8, max_instances=4)
    first = sweep(FakeServer(FakeModel(name="m")), store, climb)
    server = FakeServer(FakeModel(name="m"))
    seen = sweep(server, store, climb)
    assert server.events == ["start"]
    assert seen.measurements == first.measurements
    assert seen.search_results == first.search_results
    assert all(seen.found)


def test_measured_variant_is_loaded_only_for_its_configuration(store: Store) -> None:
    """Without a configuration its trials are unknown: the model is loaded once for that, then all are found."""
    strategy, variants = closed_loop(1, batches=(1, 16)), [Variant(instances=2)]
    sweep(FakeServer(FakeModel(name="auto", has_config=False)), store, strategy, variants=variants)
    server = FakeServer(FakeModel(name="auto", has_config=False))
    assert sweep(server, store, strategy, variants=variants).found == [True]
    assert server.events == ["start", "load auto", "unload auto"]


def test_interrupted_sweep_goes_on_where_it_was(store: Store) -> None:
    """After an interrupt the next sweep finds the finished trial in the store and measures the rest."""
    with pytest.raises(KeyboardInterrupt):
        sweep(FakeServer(FakeModel(name="m")), store, closed_loop(1, 2), observer=Following(interrupt_after=1))
    assert sweep(FakeServer(FakeModel(name="m")), store, closed_loop(1, 2)).found == [True, False]


def test_failed_trial_is_tried_again(store: Store) -> None:
    """A failed row in the store is measured again and replaced."""
    sweep(FakeServer(FakeModel(name="m", trial_faults=CRASH_TWICE)), store)
    seen = sweep(FakeServer(FakeModel(name="m")), store)
    assert seen.found == [False]
    assert [m.status for m in store.measurements()] == [Status.OK]


def test_fresh_sweep_measures_everything_again(store: Store) -> None:
    """With `fresh` every row in the store is measured again and replaced."""
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
    """Only settings that figures depend on count; the request time-out does not."""
    sweep(FakeServer(FakeModel(name="m")), store)
    assert sweep(FakeServer(FakeModel(name="m")), store, rule=rule).found == [found]


def test_changed_model_is_measured_again(store: Store) -> None:
    """A model whose files have another hash is measured again."""
    sweep(FakeServer(FakeModel(name="m")), store)
    seen = sweep(FakeServer(FakeModel(name="m")), store, change=lambda model: _with_hash(model, "other"))
    assert seen.found == [False]


@pytest.mark.parametrize(("alike", "found"), [((), False), (("GPU-7",), False), (("GPU-7", "GPU-1"), True)])
def test_figures_of_like_devices_count(store: Store, alike: Sequence[str], *, found: bool) -> None:
    """Figures in the store count if they are from a device of the list `alike`, and from no other device."""
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
def test_causes_name_options_as_the_caller_does(store: Store, flags: Mapping[str, str], cause: str) -> None:
    """A cause names an option by its flag on the command line and by its name in Python, shown and stored."""
    seen = sweep(FakeServer(FakeModel(name="m", trial_faults={1: Fault.HANG})), store, flags=flags)
    assert [m.cause for m in seen.measurements] == [cause]
    assert [m.cause for m in store.measurements()] == [cause]


def _with_error(model: Model, error: str) -> Model:
    return replace(model, error=error)


def _with_hash(model: Model, content_hash: str) -> Model:
    return replace(model, content_hash=content_hash)


def test_memory_that_a_backend_reserves_is_marked_and_stored(store: Store) -> None:
    """The row of a model that is loaded with one of vLLM's backend is marked, and that of another model is not."""
    server = FakeServer(FakeModel(name="a"), FakeModel(name="front"), FakeModel(name="llm"))
    changes = {"front": {"also_load": ("llm",)}, "llm": {"backend": "vllm"}}
    seen = sweep(server, store, names=["a", "front"], change=lambda m: replace(m, **changes.get(m.name, {})))
    assert [m.memory_is_reservation for m in seen.measurements] == [False, True]
    assert store.measurements() == tuple(seen.measurements)


def test_figures_with_reserved_processors_do_not_count_without(store: Store) -> None:
    """What was measured on reserved processors is found for as many, and not where all are used."""
    assert sweep(FakeServer(FakeModel(name="m")), store, cores=2).found == [False]
    assert sweep(FakeServer(FakeModel(name="m")), store, cores=2).found == [True]
    assert sweep(FakeServer(FakeModel(name="m")), store).found == [False]
