"""Test the export for NVIDIA's device plugin, against its configuration (api/config/v1: unknown keys are errors)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from analyzer.errors import UsageError
from planner.export.device_plugin import export
from planner.export.inventory import RealGpu
from planner.export.place_servers import serving_plan
from planner.export.settings import ExportSettings
from tests.builders.placements import gpu, model, placement
from tests.planner.export.test_mig_parted import cut

RESOURCES = {
    "type": "array",
    "minItems": 1,
    "items": {
        "type": "object",
        "additionalProperties": False,
        "required": ["name", "replicas"],
        "properties": {
            "name": {"type": "string", "pattern": r"^nvidia\.com/(gpu|mig-\d+g\.\d+gb(\.me)?)$"},
            "replicas": {"type": "integer", "minimum": 2},
        },
    },
}
SLICING = {
    "type": "object",
    "additionalProperties": False,
    "required": ["resources"],
    "properties": {
        "renameByDefault": {"type": "boolean"},
        "failRequestsGreaterThanOne": {"type": "boolean"},
        "resources": RESOURCES,
    },
}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["version"],
    "properties": {
        "version": {"const": "v1"},
        "flags": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"migStrategy": {"enum": ["none", "single", "mixed"]}},
        },
        "sharing": {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,  # time slicing and MPS exclude each other
            "additionalProperties": False,
            "properties": {
                "timeSlicing": SLICING,
                "mps": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["resources"],
                    "properties": {"resources": RESOURCES},
                },
            },
        },
    },
}


def exported(
    *gpus: dict[str, Any], sharing: str = "time-slicing", inventory: tuple[RealGpu, ...] = ()
) -> tuple[dict[str, Any], dict[str, str], tuple[str, ...]]:
    """Return the configurations by name, the files' texts, and what is not expressed; checked against the schema."""
    settings = ExportSettings(to="device-plugin", output=Path("unused"), sharing=sharing)
    found = export(serving_plan(placement(*gpus), inventory=inventory), settings)
    texts = {file.path: file.text for file in found.files}
    configs = {name: yaml.safe_load(text) for name, text in yaml.safe_load(texts["configmap.yaml"])["data"].items()}
    for config in configs.values():
        jsonschema.validate(config, SCHEMA)
    return configs, texts, found.not_expressed


def test_a_gpu_is_offered_as_often_as_it_has_replicas() -> None:
    """Two models, one of them with two replicas, are three pods on one GPU."""
    configs, _, _ = exported(gpu(0, model("a", 100), model("b", 100, replicas=2)))
    resources = [{"name": "nvidia.com/gpu", "replicas": 3}]
    assert [config["sharing"]["timeSlicing"]["resources"] for config in configs.values()] == [resources]


def test_gpus_of_one_node_with_different_numbers_are_said() -> None:
    """A node offers all of its GPUs equally often, so a GPU with fewer models is offered too often."""
    _, _, facts = exported(gpu(0, model("a", 100), model("b", 100)), gpu(1, model("a", 100)))
    assert facts[0].startswith("the node has nvidia.com/gpu with 1 to 2 replicas")


def test_nodes_are_labelled_with_what_they_need() -> None:
    """Nodes that share have one configuration; one whose GPUs have a model each is labelled with that of no sharing."""
    inventory = tuple(RealGpu(type="T4", node=node) for node in ("a", "b", "c"))
    two = (model("a", 100), model("b", 100))
    configs, texts, _ = exported(gpu(0, *two), gpu(1, model("a", 100)), gpu(2, *two), inventory=inventory)
    shared, single = configs
    assert ("sharing" in configs[shared], "sharing" in configs[single]) == (True, False)
    assert [line for line in texts["label-nodes.sh"].splitlines() if line.startswith("kubectl")] == [
        f"kubectl label node {node} nvidia.com/device-plugin.config={name} --overwrite"
        for node, name in (("a", shared), ("b", single), ("c", shared))
    ]
    assert all(len(name) <= 63 for name in configs)  # as values of labels


def test_slices_can_be_shared_in_time_but_not_by_mps() -> None:
    """MPS shares whole GPUs only; a node that has slices is refused."""
    sliced = cut(0, ("3g.20gb", 0), ("3g.20gb", 4))
    sliced["models"].append(model("second", 100, slice={"profile": "3g.20gb", "start": 0}))
    configs, _, _ = exported(sliced)
    assert [config["flags"] for config in configs.values()] == [{"migStrategy": "mixed"}]
    with pytest.raises(UsageError, match="which the device plugin cannot share by MPS"):
        exported(sliced, sharing="mps")


def test_a_plan_without_sharing_is_refused() -> None:
    """A plan with one model on each GPU has nothing to share."""
    with pytest.raises(UsageError, match="there is nothing to share"):
        exported(gpu(0, model("a", 100)))
