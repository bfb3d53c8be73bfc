"""Test the exports `triton` and `envoy`: exported scripts start two real Tritons, which unchanged clients reach."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException

from tests.builders.model_repositories import write_model
from tests.builders.placements import gpu, model, placement
from tests.conftest import wait_for
from tests.live.clients import (
    ECHO,
    HEALTH_CHECK_S,
    PROTOCOLS,
    Load,
    check_split,
    client,
    count_of,
    infer,
    infer_zeros,
    process_of,
)
from tests.live.deployed import Deployed, deployed

pytestmark = pytest.mark.xdist_group("export")  # all share one deployment

SAMPLES = Path(__file__).parents[2] / "sample_models"
MODELS = ("image_classifier", "segmenter", "text_encoder", "echo", "large", "a%2B,b@1")


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


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_model_is_reached(served: Deployed, protocol: str) -> None:
    """Every model of the plan answers requests for its readiness, metadata, configuration, statistics and inference."""
    through = client(served, protocol)
    form = {"as_json": True} if protocol == "grpc" else {}
    for name in MODELS:
        if protocol == "http" and name == "a%2B,b@1":
            continue  # Triton does not decode a name in a path
        assert through.is_model_ready(name)
        assert through.get_model_config(name, **form)
        assert through.get_inference_statistics(name, **form)["model_stats"][0]["name"] == name
        assert infer_zeros(through, protocol, name).get_response() is not None
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


@pytest.mark.alone  # else a health check that times out on a busy host leaves a server out for a while
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests_are_split_as_planned(served: Deployed, protocol: str) -> None:
    """Of 2,000 requests, two thirds reach the server with twice the planned rate, within 5 %."""
    check_split(served, protocol)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_large_tensors_pass_both_ways(served: Deployed, protocol: str) -> None:
    """A tensor of 16 MiB reaches the model, and comes back unchanged."""
    array = np.arange(4 * 2**20, dtype=np.float32)
    assert array.nbytes == 16 * 2**20
    assert np.array_equal(infer(client(served, protocol), PROTOCOLS[protocol], "large", array), array)


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
