"""Test the loading of a model and those it needs on a fake server: order, memory, and cleanup after a failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from analyzer.errors import ModelError, ServerError
from analyzer.measurements.record import Variant
from analyzer.sweep.instrumented_server import InstrumentedServer
from analyzer.sweep.loaded_model import LoadedModel, MemoryAtLoad
from tests.builders.fake_server import MIB, SERVER_BYTES, UNCHARGED_BYTES, FakeModel, FakeServer, Fault


@contextmanager
def on(server: FakeServer, name: str, variant: Variant | None = None) -> Iterator[LoadedModel]:
    """Start a server and yield the `LoadedModel` of one of its models, which is not loaded yet."""
    with server.instrumented() as running:
        yield loaded_model(server, running, name, variant)


def loaded_model(
    server: FakeServer, running: InstrumentedServer, name: str, variant: Variant | None = None
) -> LoadedModel:
    """Make the `LoadedModel` of one of a running server's models."""
    idle = running.measure_idle(tool_version="0.1.0")
    return LoadedModel(running, server.repository[name], variant or Variant(), idle, server.repository)


def ensemble_of_three(**caller: object) -> FakeServer:
    """Make an ensemble, ``whole``, of a light model and one that calls a third in its business logic."""
    return FakeServer(
        FakeModel(name="held", memory_bytes=100 * MIB),
        FakeModel(name="caller", calls=["held"], memory_bytes=10 * MIB, **caller),  # type: ignore[arg-type]
        FakeModel(name="light", memory_bytes=1 * MIB),
        FakeModel(name="whole", steps=["light", "caller"], memory_bytes=0),
    )


# --- memory


def test_memory_is_read_before_during_and_after_the_load() -> None:
    """Two instances of 64 MiB and the server's 300 MiB are 428 MiB; the load takes 32 MiB more."""
    server = FakeServer(FakeModel(name="m", instances=2, load_peak_bytes=32 * MIB))
    with on(server, "m") as loaded:
        assert loaded.load() == MemoryAtLoad(
            server_bytes=300 * MIB,
            load_peak_bytes=460 * MIB,
            steady_bytes=428 * MIB,
            server_process_bytes=300 * MIB - UNCHARGED_BYTES,
        )


def test_costly_readings_leave_no_figure_out() -> None:
    """The memory of the idle server and of the model is read even if the recorder reads only once a minute.

    It once was not: on a host a reading may cost so much that the next one is due after the half second of an idle
    server or the pause after a load. Without the idle server's figure each model was given a new server.
    """
    server = FakeServer(FakeModel(name="m"), period_s=60.0)
    with server.instrumented() as running:
        assert running.measure_idle(tool_version="0.1.0").memory_bytes == SERVER_BYTES
        memory = loaded_model(server, running, "m").load()
    assert (memory.server_bytes, memory.steady_bytes) == (SERVER_BYTES, SERVER_BYTES + 64 * MIB)
    assert server.starts == 1


def test_memory_includes_the_models_that_are_needed() -> None:
    """The ensemble's memory is its caller's 10 MiB, the called model's 100 MiB, and the light one's 1 MiB."""
    server = ensemble_of_three()
    with on(server, "whole") as loaded:
        memory = loaded.load()
    assert (memory.server_bytes, memory.steady_bytes) == (300 * MIB, 411 * MIB)


# --- loads and their order


def test_model_is_loaded_once_and_unloaded_once() -> None:
    """A second load returns the first one's memory without loading; a model that is not loaded is not unloaded."""
    server = FakeServer(FakeModel(name="m"))
    with on(server, "m") as loaded:
        loaded.unload()
        assert loaded.load() is loaded.load()
        loaded.unload()
        loaded.unload()
    assert server.events == ["start", "load m", "unload m"]


def test_parts_are_loaded_first_and_unloaded_last() -> None:
    """Triton loads an ensemble's steps with it, but not the models that they call; it unloads none of them."""
    server = ensemble_of_three()
    with on(server, "whole") as loaded:
        loaded.load()
        assert server.loaded == {"held", "caller", "light", "whole"}
        loaded.unload()
        assert server.loaded == set()
    assert server.events == [
        *("start", "load held", "load whole"),
        *("unload whole", "unload caller", "unload held", "unload light"),
    ]


def test_load_failure_of_a_called_model_names_it() -> None:
    """Triton's reason alone does not say which of the models it is about."""
    server = FakeServer(FakeModel(name="held", load_error="no weights here"), FakeModel(name="caller", calls=["held"]))
    with on(server, "caller") as loaded:
        with pytest.raises(ModelError, match=r"^held, which is loaded with it: no weights here$"):
            loaded.load()
        assert server.loaded == set()


def test_load_failure_of_a_part_is_raised_and_leaves_nothing_loaded() -> None:
    """The parts that were loaded are unloaded at once, and only once."""
    server = ensemble_of_three(load_error="no weights here")
    with on(server, "whole") as loaded:
        with pytest.raises(ModelError, match="no weights here"):
            loaded.load()
        assert server.loaded == set()
        loaded.unload()
    assert server.events.count("unload held") == 1


def test_variant_replaces_the_models_configuration() -> None:
    """Triton loads the variant's number of instances, and the memory is theirs."""
    server = FakeServer(FakeModel(name="m", instances=2))
    with on(server, "m", Variant(instances=3)) as loaded:
        assert loaded.load().steady_bytes == SERVER_BYTES + 3 * 64 * MIB
        assert loaded.instances == 3
    assert server.events == ["start", "load m as 3"]


def test_configuration_is_known_once_triton_has_completed_it() -> None:
    """Before Triton has completed the configuration, one instance is assumed and the largest batch is unknown."""
    server = FakeServer(FakeModel(name="auto", has_config=False, instances=3, max_batch_size=4))
    with on(server, "auto") as loaded:
        assert (loaded.instances, loaded.model.max_batch_size) == (1, None)
        assert loaded.completed().max_batch_size == 4
        assert loaded.instances == 3


# --- servers that fail


def test_new_server_gets_the_same_configuration() -> None:
    """On a new server a variant is loaded with the configuration that Triton completed before, without asking again."""
    server = FakeServer(FakeModel(name="auto", has_config=False))
    with on(server, "auto", Variant(instances=2)) as loaded:
        loaded.load()
        loaded.restart()
        assert server.loaded == set()
        loaded.load()
    assert server.events == ["start", "load auto", "unload auto", "load auto as 2", "start", "load auto as 2"]


def test_server_that_cannot_unload_is_replaced() -> None:
    """If the unload fails, the server is replaced, so that the next model is measured alone."""
    server = FakeServer(FakeModel(name="m"))
    with on(server, "m") as loaded:
        loaded.load()
        server.kill()
        loaded.unload()
        assert server.starts == 2
        assert server.loaded == set()


def test_death_of_the_server_during_a_load_is_a_server_error() -> None:
    """A server that dies during a load raises ServerError, not ModelError, which is for errors in the model's files."""
    server = FakeServer(FakeModel(name="m", load_faults={1: Fault.CRASH}))
    with on(server, "m") as loaded, pytest.raises(ServerError):
        loaded.load()


@pytest.mark.parametrize(("remote", "left"), [(False, {"m"}), (True, set())])
def test_abandoned_model_is_unloaded_from_a_remote_server(*, remote: bool, left: set[str]) -> None:
    """A remote server continues to run, so the model is unloaded; a server of the tool's own ends without an unload."""
    server = FakeServer(FakeModel(name="m"), remote=remote)
    with on(server, "m") as loaded:
        loaded.load()
        loaded.abandon()
        assert server.loaded == left
