"""Test the exports `triton` and `envoy`: exported scripts start two real Tritons, which unchanged clients reach."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import grpc
import numpy as np
import psutil
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from tests.builders.model_repositories import write_model
from tests.builders.placements import gpu, model, placement
from tests.conftest import wait_for
from tests.live.deployed import Deployed, deployed

pytestmark = pytest.mark.xdist_group("export")  # all share one deployment

SAMPLES = Path(__file__).parents[2] / "sample_models"
PROTOCOLS = {"http": tritonclient.http, "grpc": tritonclient.grpc}
MODELS = ("image_classifier", "segmenter", "text_encoder", "echo", "large", "a%2B,b@1")
ECHO = np.array([[1, 2]], np.float32)
HEALTH_CHECK_S = 3.0  # two checks, a second apart, and a second more


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """Deploy the sample models, a copying model on both GPUs, one for large tensors, and one with a strange name."""
    folder = tmp_path_factory.mktemp("export")
    repository = folder / "models"
    repository.mkdir()
    for path in SAMPLES.glob("*/config.pbtxt"):
        shutil.copytree(path.parent, repository / path.parent.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("echo", "large", "a%2B,b@1"):
        write_model(repository, name, execute="pass")
    config = repository / "large" / "config.pbtxt"
    config.write_text(config.read_text().replace("max_batch_size: 8", "max_batch_size: 0").replace("[ 2 ]", "[ -1 ]"))
    plan = placement(
        gpu(0, model("image_classifier", 100), model("echo", 100, rate_infer_per_s=200), model("large", 100)),
        gpu(
            1,
            model("segmenter", 100),
            model("text_encoder", 100),
            model("echo", 100, rate_infer_per_s=100),
            model("a%2B,b@1", 100),
        ),
    )
    with deployed(plan, ["gpu-0", "gpu-1"], repository, folder) as found:
        yield found


def client(served: Deployed, protocol: str) -> Any:
    """Return an unchanged client of Triton for the address of Envoy."""
    return PROTOCOLS[protocol].InferenceServerClient(served.http if protocol == "http" else served.grpc)


def infer(served_by: Any, module: ModuleType, name: str, array: np.ndarray, datatype: str = "FP32") -> np.ndarray:
    """Send one array to the first input of a copying model; return its output."""
    tensor = module.InferInput("X", array.shape, datatype)
    tensor.set_data_from_numpy(array)
    output: np.ndarray = served_by.infer(name, [tensor]).as_numpy("Y")
    return output


def counts(served: Deployed) -> dict[str, int]:
    """Return the requests of ``echo`` that each Triton has answered."""
    found = {}
    for name, address in served.servers.items():
        with urllib.request.urlopen(f"http://{address}/v2/models/echo/stats", timeout=5) as answer:
            found[name] = json.load(answer)["model_stats"][0]["inference_stats"]["success"]["count"]
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_model_is_reached(served: Deployed, protocol: str) -> None:
    """Every model of the plan answers requests for its readiness, metadata, configuration, statistics and inference."""
    module, through = PROTOCOLS[protocol], client(served, protocol)
    form = {"as_json": True} if protocol == "grpc" else {}
    for name in MODELS:
        if protocol == "http" and name == "a%2B,b@1":
            continue  # Triton does not decode a name in a path
        assert through.is_model_ready(name)
        assert through.get_model_config(name, **form)
        assert through.get_inference_statistics(name, **form)["model_stats"][0]["name"] == name
        inputs = []
        for one in through.get_model_metadata(name, **form)["inputs"]:
            shape = [1 if int(size) == -1 else int(size) for size in one["shape"]]
            inputs.append(module.InferInput(one["name"], shape, one["datatype"]))
            inputs[-1].set_data_from_numpy(np.zeros(shape, triton_to_np_dtype(one["datatype"])))
        assert through.infer(name, inputs).get_response() is not None
    assert through.is_server_ready()
    assert through.get_server_metadata(**form)["name"] == "triton"


def test_a_name_after_other_fields_is_found(served: Deployed) -> None:
    """The fields of a message may come in any order: a version (2) and an unknown field (9) before the name (1)."""
    with grpc.insecure_channel(served.grpc) as channel:
        ask = channel.unary_unary("/inference.GRPCInferenceService/ModelReady")
        assert ask(b"\x12\x011" + b"\x48\x96\x01" + b"\x0a\x04echo", timeout=5) == b"\x08\x01"  # ready: true
        for broken in (b"\x0a\x7fecho", b"\x12", b"\x0f", b""):
            with pytest.raises(grpc.RpcError) as caught:
                ask(broken, timeout=5)
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(("protocol", "said"), [("http", "404"), ("grpc", "StatusCode.UNIMPLEMENTED")])
def test_unknown_models_are_refused_at_once(served: Deployed, protocol: str, said: str) -> None:
    """A model that the plan does not have is refused by Envoy; so is loading one, which would change a server."""
    through = client(served, protocol)
    began = time.monotonic()
    for ask in (
        lambda: infer(through, PROTOCOLS[protocol], "nobody", ECHO),
        lambda: through.get_model_metadata("ech"),
        lambda: through.unload_model("echo"),
    ):
        with pytest.raises(InferenceServerException) as caught:
            ask()
        assert caught.value.status() == said
        assert "the plan has no such model" in str(caught.value)
    assert time.monotonic() - began < 1


def test_a_stream_names_its_model_in_a_header(served: Deployed) -> None:
    """A stream with the header x-model is routed; one without is refused, and says which header it lacks."""
    for headers, expected in (({"x-model": "echo"}, None), ({}, "x-model")):
        answers: list[Any] = []
        arrived = threading.Event()

        def take(result: Any, error: Any, answers: list[Any] = answers, arrived: threading.Event = arrived) -> None:
            answers.append((result, error))
            arrived.set()

        through = client(served, "grpc")
        through.start_stream(take, headers=headers)
        tensor = tritonclient.grpc.InferInput("X", ECHO.shape, "FP32")
        tensor.set_data_from_numpy(ECHO)
        with suppress(InferenceServerException):  # where the refusal has arrived already
            through.async_stream_infer("echo", [tensor])
        assert arrived.wait(10)
        through.stop_stream()
        result, error = answers[0]
        if expected is None:
            assert error is None and result.as_numpy("Y").tolist() == [[1, 2]]
        else:
            assert expected in str(error)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests_are_split_as_planned(served: Deployed, protocol: str) -> None:
    """Of 2,000 requests, two thirds reach the server with twice the planned rate, within 5 %."""
    before = counts(served)

    def send(_: int) -> None:
        through = client(served, protocol)
        for _ in range(500):
            infer(through, PROTOCOLS[protocol], "echo", ECHO)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(send, range(4)))
    sent = {name: count - before[name] for name, count in counts(served).items()}
    assert sum(sent.values()) == 2000
    assert sent["gpu-0"] == pytest.approx(2000 * 2 / 3, rel=0.05)
    assert sent["gpu-1"] == pytest.approx(2000 / 3, rel=0.05)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_large_tensors_pass_both_ways(served: Deployed, protocol: str) -> None:
    """A tensor of 16 MiB reaches the model, and comes back unchanged."""
    array = np.arange(4 * 2**20, dtype=np.float32)
    assert array.nbytes == 16 * 2**20
    assert np.array_equal(infer(client(served, protocol), PROTOCOLS[protocol], "large", array), array)


class Load:
    """Requests for ``echo`` over both protocols, one after the other on each, until the end of the ``with``."""

    def __init__(self, served: Deployed) -> None:
        self._served = served
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(protocol,)) for protocol in PROTOCOLS]
        self.answered: dict[str, list[float]] = {protocol: [] for protocol in PROTOCOLS}
        self.failed: list[tuple[float, str]] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _send(self, protocol: str) -> None:
        through = client(self._served, protocol)
        while not self._ended.is_set():
            try:
                infer(through, PROTOCOLS[protocol], "echo", ECHO)
                self.answered[protocol].append(time.monotonic())
            except (InferenceServerException, OSError) as error:
                self.failed.append((time.monotonic(), f"{protocol}: {error}"))

    def since(self, began: float) -> dict[str, int]:
        """Return how many requests of each protocol were answered since then."""
        return {protocol: sum(end > began for end in ends) for protocol, ends in self.answered.items()}


def process_of(address: str) -> psutil.Process:
    """Return the Triton that listens on this address."""
    port = int(address.rpartition(":")[2])
    listening = [
        c.pid for c in psutil.net_connections("tcp") if c.laddr.port == port and c.status == psutil.CONN_LISTEN
    ]
    return psutil.Process(listening[0])


def test_a_killed_server_is_left_out_and_comes_back(served: Deployed, tmp_path: Path) -> None:
    """After SIGKILL no request fails once the server is left out, when it is back, and when SIGTERM ends it."""
    with Load(served) as load:
        time.sleep(0.5)
        process_of(served.servers["gpu-0"]).kill()
        killed = time.monotonic()
        time.sleep(HEALTH_CHECK_S + 1.5)
        assert [error for at, error in load.failed if at > killed + HEALTH_CHECK_S] == []
        assert min(load.since(killed + HEALTH_CHECK_S).values()) > 100
        wait_for(lambda: "gpu-0: tritonserver ended with status 137" in served.log.read_text(), "the script's line")
        script = [str(served.folder / "gpu-0" / "start.sh")]
        with subprocess.Popen(script, env=served.environment, stderr=subprocess.PIPE, text=True) as again:
            try:
                wait_for(lambda: count_of(served, "gpu-0") > 0, "the restarted server's first request", timeout_s=20)
                began = time.monotonic()
                time.sleep(1)
                assert [error for at, error in load.failed if at > killed + HEALTH_CHECK_S] == []
                assert min(load.since(began).values()) > 100
                again.send_signal(signal.SIGTERM)  # Envoy leaves it out before it ends
                assert again.wait(30) == 0
            finally:
                again.kill()
        assert [error for at, error in load.failed if at > killed + HEALTH_CHECK_S] == []


def count_of(served: Deployed, name: str) -> int:
    """Return the requests of ``echo`` that a Triton has answered; 0 where it does not answer."""
    try:
        return counts(served)[name]
    except OSError:
        return 0
