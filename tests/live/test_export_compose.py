"""Test the export `compose`: docker-compose starts Tritons, Envoy and Prometheus, which unchanged clients reach."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest

from planner.placement.document import Placement
from tests.builders.model_repositories import write_ensemble, write_model
from tests.builders.placements import gpu, model, placement
from tests.conftest import wait_for
from tests.live.clients import (
    HEALTH_CHECK_S,
    PROTOCOLS,
    Load,
    check_split,
    client,
    count_of,
    infer_zeros,
    process_of,
    send,
)
from tests.live.composed import Composed, answer, composed

pytestmark = pytest.mark.docker


def plan(*rates: float) -> Placement:
    """Return a plan of two GPUs that are asked for these rates of one model."""
    return placement(
        gpu(0, model("echo", 100, rate_infer_per_s=rates[0]), model("chain", 100)),
        gpu(1, model("echo", 100, rate_infer_per_s=rates[1]), model("small", 100, serves="tiny")),
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, docker_host: str, _image_in_engine: str) -> Iterator[Composed]:
    """Run a copying model on both GPUs, one under another name, and an ensemble with a step that is not planned."""
    folder = tmp_path_factory.mktemp("compose")
    repository = folder / "models"
    for name in ("echo", "step", "small"):
        write_model(repository, name, execute="pass")
    write_ensemble(repository, "chain", ["step"])
    with composed(plan(200, 100), repository, folder, engine=docker_host, triton=_image_in_engine) as found:
        yield found


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_model_is_reached(served: Composed, protocol: str) -> None:
    """Every model of the plan answers: also one under another name, and an ensemble, whose step comes besides."""
    through = client(served, protocol)
    for name in ("echo", "chain", "tiny"):
        assert infer_zeros(through, protocol, name).get_response() is not None


@pytest.mark.alone  # else a health check that times out on a busy host leaves a server out for a while
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests_are_split_as_planned(served: Composed, protocol: str) -> None:
    """Of 2,000 requests, two thirds reach the server with twice the planned rate, within 5 %."""
    check_split(served, protocol)


def test_a_killed_server_is_left_out_and_started_again(served: Composed) -> None:
    """After SIGKILL no request fails once the server is left out; the engine starts it, and it is sent requests."""
    with Load(served) as load:
        time.sleep(0.5)
        process_of(served.servers["gpu-0"]).kill()
        killed = time.monotonic()
        time.sleep(HEALTH_CHECK_S)
        wait_for(lambda: count_of(served, "gpu-0") > 0, "the restarted server's first request", timeout_s=20)
        began = time.monotonic()
        time.sleep(1)
    assert [error for at, error in load.failed if at > killed + HEALTH_CHECK_S] == []
    assert min(load.since(began).values()) > 100
    assert served.container("gpu-0").attrs["RestartCount"] == 1


def test_prometheus_scrapes_every_server(served: Composed) -> None:
    """Both Tritons are up, and report the p99 of each model that requests were sent to."""

    def up() -> bool:
        found = json.loads(answer(served.prometheus, "/api/v1/targets") or "null")
        return found is not None and [one["health"] for one in found["data"]["activeTargets"]] == ["up", "up"]

    wait_for(up, "the first scrape, every 15 s", timeout_s=20)
    port = int(served.servers["gpu-1"].rpartition(":")[2]) + 2
    metrics = answer(f"127.0.0.1:{port}", "/metrics")
    assert re.search(r'nv_inference_request_summary_us\{[^}]*model="echo"[^}]*quantile="0.99"\} \d', metrics)


def test_a_new_export_starts_only_what_changed(served: Composed) -> None:
    """With other shares of the same models, Envoy and Prometheus are started anew, and the Tritons run on."""
    names = ("gpu-0", "gpu-1", "envoy", "prometheus")
    before = {name: served.container(name).id for name in names}
    served.start(plan(100, 100))
    assert {name for name in names if served.container(name).id != before[name]} == {"envoy", "prometheus"}
    sent = send(served, "http", requests=400)
    assert sent["gpu-0"] == pytest.approx(200, rel=0.05)


def test_down_leaves_nothing(served: Composed) -> None:
    """After `down --volumes` the engine has no container, volume or network of the project."""
    served.compose("down", "--volumes")
    of_project = {"label": f"com.docker.compose.project={served.project}"}
    assert served.client.containers.list(all=True, filters=of_project) == []
    assert served.client.volumes.list(filters=of_project) == []
    assert served.client.networks.list(filters=of_project) == []
