"""Test the inventory: its three forms, its errors, and which real GPU becomes which of a plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analyzer.errors import UsageError
from planner.export.inventory import RealGpu, assign, read_inventory
from planner.placement.placed_gpu import SlicePosition
from tests.builders.placements import gpu, model, placement

NVIDIA_SMI = """index, uuid, name
0, GPU-11111111-2222-3333-4444-555555555555, Tesla T4
1, GPU-aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee, NVIDIA A10
"""
NODES = {
    "items": [
        {
            "metadata": {
                "name": "node-a",
                "labels": {"nvidia.com/gpu.product": "Tesla-T4-SHARED", "nvidia.com/gpu.count": "2"},
            },
            "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.4"}]},
        },
        {"metadata": {"name": "cpu-only", "labels": {}}, "status": {}},
    ]
}


def write(path: Path, text: str) -> str:
    """Write a file and return its name."""
    path.write_text(text)
    return str(path)


def test_nvidia_smi_output_gives_uuids_and_catalogue_types(tmp_path: Path) -> None:
    """A saved CSV of one node has its GPUs with UUID, number and the catalogue's type."""
    first, second = read_inventory([f"node-a={write(tmp_path / 'smi.csv', NVIDIA_SMI)}"])
    uuid = "GPU-11111111-2222-3333-4444-555555555555"
    assert first == RealGpu(type="T4", node="node-a", uuid=uuid, index=0)
    assert (second.type, second.index) == ("A10", 1)


def test_kubectl_output_gives_nodes_with_their_cards(tmp_path: Path) -> None:
    """Labels of GPU feature discovery give type and number of cards, shared ones once; nodes without GPUs have none."""
    found = read_inventory([write(tmp_path / "nodes.json", json.dumps(NODES))])
    assert found == tuple(RealGpu(type="T4", node="node-a", address="10.0.0.4", index=k) for k in (0, 1))


def test_kubectl_and_nvidia_smi_complete_each_other(tmp_path: Path) -> None:
    """Of a node in both, the address comes from kubectl and the GPUs with their UUIDs from nvidia-smi."""
    nodes = write(tmp_path / "nodes.json", json.dumps(NODES))
    found = read_inventory([nodes, f"node-a={write(tmp_path / 'smi.csv', NVIDIA_SMI)}"])
    assert [(gpu.type, gpu.address) for gpu in found] == [("T4", "10.0.0.4"), ("A10", "10.0.0.4")]


def test_toml_pins_gpus_and_names_slices(tmp_path: Path) -> None:
    """TOML says which GPU is which of the plan, and the UUIDs of its slices."""
    text = """
[[gpu]]
id = "gpu-1"
type = "A100-40GB"
uuid = "GPU-8c6b1a6e"
slices = [{profile = "1g.5gb", start = 2, uuid = "MIG-77"}]
"""
    (found,) = read_inventory([write(tmp_path / "gpus.toml", text)])
    assert (found.id, found.uuid) == ("gpu-1", "GPU-8c6b1a6e")
    assert found.slice_uuid(SlicePosition(profile="1g.5gb", start=2)) == "MIG-77"
    assert found.slice_uuid(SlicePosition(profile="1g.5gb", start=0)) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index, name\n0, Tesla T4\n", "is no inventory"),
        ("index, uuid, name\n0, x;y, Tesla T4\n", "line 2: 'x;y' is no UUID"),
        ("index, uuid, name\n0, GPU-1\n", "line 2: 2 cells under 3 columns"),
        ("{", "is no JSON"),
        ('{"items": [{}]}', "is no output of kubectl get nodes"),
        ('{"items": [{"metadata": {"name": "a;b"}}]}', "'a;b' is no name of a host"),
        ('[[gpu]]\ntype = "T4"\nuid = "GPU-1"\n', "line 3, uid: unknown key; did you mean 'uuid'"),
        ('[[gpu]]\nuuid = "GPU-1"\n', "line 1, type: is missing"),
        ('[[gpu]]\ntype = "T4"\nuuid = "GPU-1"\n[[gpu]]\ntype = "T4"\nuuid = "GPU-1"\n', "two GPUs .* uuid GPU-1"),
        ('[[gpu]]\ntype = "T4"\nslices = 3\n', "slices: must be a list"),
    ],
)
def test_a_wrong_inventory_is_one_clear_line(tmp_path: Path, text: str, message: str) -> None:
    """What is wrong in a file is said with the file's name and the line."""
    with pytest.raises(UsageError, match=message):
        read_inventory([write(tmp_path / "inventory", text)])


def test_gpus_are_assigned_by_id_then_by_type() -> None:
    """A GPU that is named gets its plan id; the others are taken in order of the inventory, each of its type."""
    plan = placement(gpu(0, model("a", 100)), gpu(1, model("b", 100)))
    real = (RealGpu(type="T4", uuid="GPU-1"), RealGpu(type="A10"), RealGpu(type="T4", uuid="GPU-2", id="gpu-0"))
    assert {name: found.uuid for name, found in assign(plan, real).items()} == {"gpu-0": "GPU-2", "gpu-1": "GPU-1"}


def test_gpus_of_different_nodes_of_the_plan_are_on_different_nodes() -> None:
    """Replicas that are spread over nodes stay so: two planned nodes are two real ones."""
    plan = placement({**gpu(0, model("a", 100)), "nodes": [0]}, {**gpu(1, model("a", 100)), "nodes": [1]})
    real = [RealGpu(type="T4", node=node, index=k) for node in ("x", "y") for k in (0, 1)]
    assert {name: found.node for name, found in assign(plan, real).items()} == {"gpu-0": "x", "gpu-1": "y"}
    with pytest.raises(UsageError, match="on one of 2 nodes, and the inventory has 2 on its nodes"):
        assign(plan, real[:2])


def test_a_gpu_that_is_named_takes_its_node_along() -> None:
    """Where an id puts one GPU of a planned node on a host, the others of the node follow, and no other node does."""
    plan = placement({**gpu(0, model("a", 100)), "nodes": [0]}, {**gpu(1, model("a", 100)), "nodes": [1]})
    real = [RealGpu(type="T4", node="x", id="gpu-0"), RealGpu(type="T4", node="x"), RealGpu(type="T4", node="y")]
    assert {name: found.node for name, found in assign(plan, real).items()} == {"gpu-0": "x", "gpu-1": "y"}
    both = [RealGpu(type="T4", node="x", id=f"gpu-{k}") for k in (0, 1)]
    with pytest.raises(UsageError, match="of different nodes of the plan are on x"):
        assign(plan, both)


def test_too_few_gpus_are_an_error_with_the_numbers() -> None:
    """The message has the type, how many the plan needs, and how many there are."""
    plan = placement(gpu(0, model("a", 100)), gpu(1, model("b", 100)))
    with pytest.raises(UsageError, match=r"needs 2 GPUs of type T4 and the inventory has 1 \(of A10, T4\)"):
        assign(plan, (RealGpu(type="T4"), RealGpu(type="A10")))
