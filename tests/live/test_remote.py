"""Test `analyze` on a real Triton that others use: whatever happens, it is left as it was found."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import pytest

from analyzer import measure
from analyzer.servers import RunningServer
from analyzer.servers.address import ServerAddress
from analyzer.servers.changes import Changes
from analyzer.servers.control import ControlClient
from analyzer.servers.local import LocalServer
from tests.builders.model_repositories import write_ensemble, write_model
from tests.conftest import wait_for
from tests.live.analysis import ANALYZE
from tests.live.test_servers import ask

QUICK = ("--max-trial-seconds", "1", "--precision", "40")


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """Serve seven models with a real Triton for all tests of this file."""
    repository = tmp_path_factory.mktemp("remote") / "models"
    for name in ("theirs", "ours"):
        write_model(repository, name)
    write_model(repository, "slow", initialize="time.sleep(1.5)")
    write_model(repository, "late", execute="time.sleep(0.2)")
    write_model(repository, "broken", initialize="raise ValueError('no weights here')")
    write_ensemble(repository, "whole", ["theirs", "ours"])
    write_ensemble(repository, "half", ["ours", "broken"])
    with LocalServer().serve(repository) as running:
        yield running


@pytest.fixture
def address(triton: RunningServer, local_server: LocalServer) -> Iterator[str]:
    """Yield the server's address with `theirs` loaded by others; unload everything after the test."""
    load(triton.endpoint.http, "theirs")
    yield triton.endpoint.http
    for name in state(triton.endpoint.http):
        ask(triton.endpoint.http, "POST", f"/v2/repository/models/{name}/unload", {})
    wait_for(lambda: not state(triton.endpoint.http), "the unload")


def load(address: str, name: str, **changes: object) -> None:
    """Load a model as its owner does, with changes of its configuration."""
    body: dict[str, Any] = {}
    if changes:
        config = ask(address, "GET", f"/v2/models/{name}/config")[1] | changes
        body = {"parameters": {"config": json.dumps(config)}}
    assert ask(address, "POST", f"/v2/repository/models/{name}/load", body)[0] == 200


def state(address: str) -> dict[str, Any]:
    """Return the configuration of each loaded model."""
    index = ask(address, "POST", "/v2/repository/index")[1]
    names = [entry["name"] for entry in index if entry.get("state", "UNAVAILABLE") != "UNAVAILABLE"]
    return {name: ask(address, "GET", f"/v2/models/{name}/config")[1] for name in names}


def regions(address: str) -> list[Any]:
    """Return the shared memory regions that are registered at the server."""
    found: list[Any] = ask(address, "GET", "/v2/systemsharedmemory/status")[1]
    return found


def command(address: str, folder: Path, *arguments: str) -> list[str]:
    """Make the command line that measures a running server, without a model folder."""
    page = f"http://127.0.0.1:{int(address.rpartition(':')[2])}/none"  # answers 404: what the host uses does not matter
    return [ANALYZE, "--url", address, "--metrics-url", page, "-o", str(folder / "out"), *QUICK, *arguments]


def analyze(address: str, folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command, and check its exit code and that the server is as it was."""
    before = state(address)
    done = subprocess.run(command(address, folder, *arguments), capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert state(address) == before
    assert ask(address, "GET", "/v2/health/ready")[0] == 200
    return done


@contextlib.contextmanager
def in_use(address: str, name: str) -> Iterator[list[int]]:
    """Send requests to a model all the time; yield the list of their statuses."""
    statuses: list[int] = []
    ended = threading.Event()
    tensor = {"name": "X", "datatype": "FP32", "shape": [1, 2], "data": [3.0, 4.0]}

    def send() -> None:
        while not ended.wait(0.01):
            statuses.append(ask(address, "POST", f"/v2/models/{name}/infer", {"inputs": [tensor]})[0])

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield statuses
    finally:
        ended.set()
        sender.join()


def test_models_that_others_loaded_stay_loaded_and_answer(address: str, tmp_path: Path) -> None:
    """A loaded model, and an ensemble with it as a step, are measured while others' requests are answered.

    The loaded model was once unloaded afterwards: ready before, 400 after.
    """
    with in_use(address, "theirs") as statuses:
        done = analyze(address, tmp_path, "--model-names", "theirs,whole,ours")
    assert len(statuses) > 50
    assert set(statuses) == {200}
    assert "theirs was loaded before, and is measured as it is" in done.stderr
    assert "--allow-reload" in done.stderr
    assert "measured without memory and utilization: " in done.stderr


def test_models_come_from_the_server_without_a_folder(address: str, tmp_path: Path) -> None:
    """Every model of the server's repository is measured; those that fail leave no part of them loaded.

    A failed load makes a Triton "not ready", also after its unload: a load balancer would take it out of service.
    The models were once those of the samples: "no model 'ours' in the repository; known are image_classifier, …".
    """
    done = analyze(address, tmp_path, code=1)
    for name in ("theirs", "ours", "slow", "whole"):
        assert f"{name} batch 1 concurrency 1: " in done.stderr
    assert "no weights here" in done.stderr
    assert "2 of 7 trials have no figures" in done.stderr
    (line,) = analyze(address, tmp_path, "--model-names", "their", code=2).stderr.splitlines()
    assert "no model 'their' in the repository; did you mean 'theirs'?" in line


def test_reload_measures_other_configurations_and_restores_the_owners(address: str, tmp_path: Path) -> None:
    """Where asked, a loaded model is measured with 2 instances; its owner's 3, which no file has, come back."""
    load(address, "theirs", instance_group=[{"name": "theirs", "kind": "KIND_CPU", "count": 3}])
    load(address, "whole")
    assert state(address)["theirs"]["instance_group"][0]["count"] == 3
    (line,) = analyze(address, tmp_path, "--model-names", "theirs", "--instances", "1,2", code=2).stderr.splitlines()
    assert "--instances gives theirs another configuration" in line
    assert "--allow-reload" in line
    reload = ("--model-names", "theirs", "--instances", "2", "--allow-reload")
    done = analyze(address, tmp_path, *reload)
    assert "theirs (instances=2)" in done.stderr
    assert "ours, whole stay loaded" in done.stderr


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("load", signal.SIGINT),
        ("load", signal.SIGKILL),
        ("trial", signal.SIGTERM),
        ("trial", signal.SIGKILL),
        ("override", signal.SIGINT),
        ("override", signal.SIGKILL),
    ],
)
def test_server_is_left_as_found_however_the_run_ends(
    address: str, tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    """A signal in a load, in a trial of a model of ours or of a reloaded one is followed by the state before.

    Shared memory that was registered there is unregistered as well.
    """
    name = "slow" if moment == "load" else "theirs" if moment == "override" else "ours"
    more = {"override": ("--allow-reload", "--instances", "2"), "trial": ("--shared-memory", "system")}.get(moment, ())
    before = state(address)
    wanted = [*("--model-names", name), *more, "--max-trial-seconds", "20", "--precision", "0.1"]
    with subprocess.Popen(command(address, tmp_path, *wanted), stderr=subprocess.PIPE, text=True) as process:

        def reached() -> bool:
            index = ask(address, "POST", "/v2/repository/index")[1]
            if moment == "load":
                return any(entry == {"name": name, "version": "1", "state": "LOADING"} for entry in index)
            now = state(address)
            if moment == "trial":
                return bool(regions(address))
            return name in now and (now[name].get("instance_group", [{}])[0].get("count") == 2)

        wait_for(reached, f"the {moment}", timeout_s=20)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert process.returncode == (128 + number if number is not signal.SIGKILL else -number)
    assert "Traceback" not in err
    if number is signal.SIGKILL:  # the watcher process does it, soon after
        wait_for(lambda: state(address) == before, "the state before", timeout_s=20)
        wait_for(lambda: not regions(address), "the end of its shared memory")
    time.sleep(0.1)
    assert state(address) == before
    assert regions(address) == []


def test_python_measures_a_running_server_too(address: str, tmp_path: Path) -> None:
    """`measure(url=…)` has the same models and notes, and leaves the server as it was found."""
    before = state(address)
    found = measure(
        url=address,
        model_names=["theirs", "ours"],
        max_trial_s=1,
        precision_pct=40,
        output=tmp_path,
    )
    assert [m.status.measured for m in found] == [True, True]
    assert found[0].model_memory_bytes is None
    assert found[0].throughput_infer_per_s is not None
    assert any("`allow_reload=True`" in note for note in found.notes)
    assert state(address) == before


def test_a_shared_memory_region_that_a_request_uses_is_unregistered_after_it(address: str) -> None:
    """Triton refuses to unregister it before; the region that others registered stays."""
    load(address, "late")
    theirs, ours = (SharedMemory(name, create=True, size=64) for name in ("others_region", "tritonpack_1_region"))
    place = {"shared_memory_region": ours.name, "shared_memory_byte_size": 8}
    tensor = {"name": "X", "datatype": "FP32", "shape": [1, 2], "parameters": place}
    with ThreadPoolExecutor() as thread, ControlClient(address, timeout_s=5) as control:
        try:
            with Changes(ServerAddress.read(address), shm_prefix="tritonpack_1_"):
                for memory in (theirs, ours):
                    control.register_memory(memory.name, 64)
                reply = thread.submit(ask, address, "POST", "/v2/models/late/infer", {"inputs": [tensor]})
                time.sleep(0.1)
            assert control.memory_regions() == [theirs.name]
            assert reply.result()[0] == 200
            control.unregister_memory(theirs.name)
        finally:
            for memory in (theirs, ours):
                memory.close()
                memory.unlink()
