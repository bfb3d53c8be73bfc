"""Test what a placement becomes on servers: configurations, instances, names, ports and weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from analyzer.errors import UsageError
from analyzer.models.config_file import parse_config
from analyzer.models.repository import Model, read_repository
from planner.export.inventory import RealGpu
from planner.export.place_servers import serving_plan
from tests.builders.placements import gpu, model, placement

SLICED = {
    **gpu(
        0,
        model("a", 100, slice={"profile": "1g.5gb", "start": 0}),
        model("b", 100, slice={"profile": "1g.5gb", "start": 1}),
    ),
    "geometry": {
        "name": "2 x 1g.5gb",
        "slices": [
            {"profile": "1g.5gb", "start": start, "memory_capacity_mib": 4864, "memory_mib": 500, "utilization_pct": 20}
            for start in (0, 1)
        ],
    },
}


def samples() -> dict[str, Model]:
    """Return the sample models by name."""
    return {found.name: found for found in read_repository("sample_models")}


def test_each_slice_and_each_whole_gpu_is_one_server() -> None:
    """A cut GPU has a server for each slice in use, with the slice's memory."""
    plan = serving_plan(placement(SLICED, gpu(1, model("c", 100))))
    assert [server.name for server in plan.servers] == ["gpu-0-1g-5gb-0", "gpu-0-1g-5gb-1", "gpu-1"]
    assert [[served.name for served in server.models] for server in plan.servers] == [["a"], ["b"], ["c"]]
    assert plan.servers[0].memory_bytes == 500 * 2**20


def test_replicas_on_one_server_are_instances_of_one_model() -> None:
    """Two replicas with two instances each become four instances in the configuration that is written."""
    placed = model("segmenter", 300, replicas=2, instances=2, variant="instances=2;dynamic_batching=on:100us")
    (server,) = serving_plan(placement(gpu(0, placed)), repository=samples()).servers
    (served,) = server.models
    assert served.config is not None
    written = parse_config(served.config)
    assert written["instance_group"] == [{"count": 4, "kind": "KIND_CPU"}]
    assert written["dynamic_batching"] == {"max_queue_delay_microseconds": 100}
    assert (served.instances, served.changed) == (4, True)


def test_a_model_that_runs_in_place_of_another_is_served_under_its_name() -> None:
    """Clients call the model of the demand; the files are those of the model that was chosen for it."""
    (server,) = serving_plan(placement(gpu(0, model("segmenter", 300, serves="vision"))), repository=samples()).servers
    (served,) = server.models
    assert (served.name, served.source) == ("vision", "segmenter")
    assert parse_config(served.config or "")["name"] == "vision"


def test_gpus_of_a_configuration_become_the_only_one_that_is_visible() -> None:
    """An instance group on GPU 3 is on GPU 0 of a server that sees one GPU."""
    own = samples()["segmenter"]
    config = {**(own.config or {}), "instance_group": [{"count": 1, "kind": "KIND_GPU", "gpus": [3]}]}
    repository = {"segmenter": replace(own, config=config)}
    (server,) = serving_plan(placement(gpu(0, model("segmenter", 300))), repository=repository).servers
    assert parse_config(server.models[0].config or "")["instance_group"][0]["gpus"] == [0]


def test_ports_are_counted_on_each_host() -> None:
    """The first server of each host has the first port, the next one of the host is 10 above."""
    plan = placement(*(gpu(k, model("a", 100)) for k in range(3)))
    real = [RealGpu(type="T4", node=node, address=f"10.0.0.{k}") for k, node in enumerate(("x", "y", "x"))]
    servers = serving_plan(plan, inventory=real, first_port=9000).servers
    assert [(server.address, server.http_port) for server in servers] == [
        ("10.0.0.0", 9000),
        ("10.0.0.1", 9000),
        ("10.0.0.2", 9010),
    ]
    with pytest.raises(UsageError, match="ports from 65530 on do not suffice"):
        serving_plan(plan, first_port=65530)


def test_the_share_of_a_server_is_its_planned_rate() -> None:
    """Where rates are planned, requests are split by them; else by throughput."""
    plan = serving_plan(
        placement(gpu(0, model("a", 100, rate_infer_per_s=30)), gpu(1, model("a", 100, rate_infer_per_s=10)))
    )
    assert [served.share for _, served in plan.by_model()["a"]] == [30, 10]


def test_equal_servers_are_grouped() -> None:
    """Servers that run the same are one group, wherever they are."""
    plan = serving_plan(placement(gpu(0, model("a", 100)), gpu(1, model("b", 100)), gpu(2, model("a", 100))))
    assert [[server.name for server in group] for group in plan.grouped()] == [["gpu-0", "gpu-2"], ["gpu-1"]]


def test_without_the_repository_a_variant_cannot_be_said() -> None:
    """A plan with a variant, exported without the model repository, says what is missing."""
    plan = serving_plan(placement(gpu(0, model("a", 100, variant="instances=2", instances=2))))
    assert "a is planned as instances=2" in plan.not_expressed[0]


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([model("nobody", 100)], "has nobody, which the model repository does not have"),
        ([model("segmenter", 9), model("segmenter", 9, variant="instances=2")], "gpu-0 has segmenter in two config"),
        ([], "no GPU with a model"),
    ],
)
def test_a_plan_that_does_not_fit_is_refused(models: list[dict[str, object]], message: str) -> None:
    """A model that the repository lacks, and one in two configurations on one server, are errors."""
    with pytest.raises(UsageError, match=message):
        serving_plan(placement(gpu(0, *models)), repository=samples())


def test_a_called_model_is_loaded_first(repository: Path) -> None:
    """A model that another calls is loaded before it, also where the plan does not have it."""
    for name, code in (("caller", 'InferenceRequest(model_name="callee")'), ("callee", "")):
        (repository / name / "1").mkdir(parents=True)
        (repository / name / "1" / "model.py").write_text(code)
        (repository / name / "config.pbtxt").write_text('backend: "python"\n')
    found = {one.name: one for one in read_repository(repository)}
    (server,) = serving_plan(placement(gpu(0, model("caller", 100))), repository=found).servers
    assert server.load == ("callee", "caller")
    assert server.dependencies == ("callee",)
