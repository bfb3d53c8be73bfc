"""Test which devices of a cluster are used, and that models which differ from the driver's are refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from analyzer.devices.choose import DeviceIdentity, MeasuredDevice
from analyzer.errors import ServerError, UsageError
from analyzer.measurements.store import Store
from analyzer.models.repository import read_repository, select
from analyzer.servers.choose import Launch
from analyzer.servers.local import LocalServer
from analyzer.sweep.fleet import Fleet, Place, one_origin, places_by_type, with_backends_of
from analyzer.sweep.job import build_job
from analyzer.sweep.ray_cluster import RayNode
from analyzer.sweep.ray_nodes import NodeFacts, RepositorySource, check_models
from analyzer.sweep.ray_pool import RaySlot
from analyzer.sweep.settings import SweepSettings
from tests.builders.model_repositories import write_model
from tests.builders.stored import BASELINE

NODE = RayNode(id="n", name="gpu-7", gpus=4)
NO_SOURCE = RepositorySource(folder=None, uri=None, models={}, names=(), hashes={})
GIB = 1 << 30


def fleet(*, per_node: int | None = None, reserve_cores: int | None = None) -> Fleet:
    """Make a fleet whose cluster is never asked."""
    return Fleet(
        address="auto",
        launch=Launch(),
        source=NO_SOURCE,
        per_node=per_node,
        reserve_cores=reserve_cores,
        per_device_type=None,
    )


def facts(processors: int) -> NodeFacts:
    """Make the facts of a node with this many processors, from number 8."""
    return NodeFacts(server=LocalServer(), why="", backends=None, own={}, cores=tuple(range(8, 8 + processors)))


@pytest.mark.parametrize(
    ("gpus", "per_node", "reserve", "processors", "cores"),
    [
        (4, None, None, 8, [(), (), (), ()]),
        (4, 2, None, 8, [(), ()]),
        (4, 9, None, 1, [(), (), (), ()]),
        (2, None, 3, 8, [(8, 9, 10), (11, 12, 13)]),
        (4, None, 3, 8, [(8, 9, 10), (11, 12, 13)]),  # 8 processors are enough for two
        (0, None, None, 8, [()]),
        (0, 2, 4, 8, [(8, 9, 10, 11), (12, 13, 14, 15)]),
    ],
)
def test_a_node_has_as_many_servers_as_gpus_and_processors(
    gpus: int, per_node: int | None, reserve: int | None, processors: int, cores: list[tuple[int, ...]]
) -> None:
    """One for each GPU, one on a node without; at most --per-node, and no processor is reserved twice."""
    said: list[str] = []
    asked = fleet(per_node=per_node, reserve_cores=reserve)
    slots = asked.slots(replace(NODE, gpus=gpus), facts(processors), said.append)
    assert [slot.cores for slot in slots] == cores
    assert {slot.gpu for slot in slots} == {gpus > 0}
    fewer = (gpus, reserve) == (4, 3)
    assert said == (["node gpu-7 has 8 processors: with 3 for each, 2 of 4 workers run there"] if fewer else [])


def test_a_node_with_too_few_processors_is_refused() -> None:
    """Not even one server has the processors that are to be reserved: the node and both numbers are named."""
    with pytest.raises(UsageError, match="node gpu-7 has 2 processors, and `reserve_cores=3` asks for more"):
        fleet(reserve_cores=3).slots(NODE, facts(2), lambda _text: None)


def found(*devices: tuple[str, str, int]) -> list[tuple[RaySlot, MeasuredDevice, DeviceIdentity]]:
    """Make slots on devices of these names, UUIDs and memories."""
    return [
        (
            RaySlot(node=NODE, gpu=True),
            MeasuredDevice(gpu=None),
            DeviceIdentity(name=name, uuid=uuid, memory_bytes=memory),
        )
        for name, uuid, memory in devices
    ]


FLEET = found(("T4", "a", GIB), ("A10", "b", GIB), ("T4", "c", GIB), ("T4", "d", 2 * GIB))


def alike(places: Mapping[str, Collection[Place]]) -> dict[str, list[tuple[str, ...]]]:
    """Return the UUIDs that count as well, of each place of each type."""
    return {name: [device.alike for _, device in of_type] for name, of_type in places.items()}


def test_each_type_is_measured_on_its_own_or_one_is_chosen() -> None:
    """Devices of one name and memory are alike, and those of the name that the store has, whose node may be gone."""
    assert alike(places_by_type(FLEET, "all", {"T4": {"a", "gone"}})) == {
        "T4": [("c", "gone"), ("a", "gone"), ("a", "gone")],
        "A10": [()],
    }
    assert list(places_by_type(FLEET, "A10", {})) == ["A10"]
    assert alike(places_by_type(FLEET[:1], None, {})) == {"T4": [()]}


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (
            None,
            "2 types, T4 (3) and A10 (1), whose figures do not make one profile: measure each with `per_device_type=",
        ),
        ("A100", "`per_device_type`: the cluster has no 'A100'; did you mean 'A10'?"),
    ],
)
def test_several_types_without_a_choice_are_refused(wanted: str | None, said: str) -> None:
    """The types and their numbers are named, and what to do; so is a type that was probably meant."""
    with pytest.raises(UsageError) as caught:
        places_by_type(FLEET, wanted, {})
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"driver": "560.1"}, "its driver is 560.1, and"),
        ({"server": "2.99"}, "its Triton is 2.99, and"),
        ({"device_memory_bytes": 5}, "its memory in bytes is 5, and"),
    ],
)
def test_a_device_with_another_driver_or_server_is_refused(tmp_path: Path, change: dict[str, str], said: str) -> None:
    """Figures that would replace each other in the store are not mixed; other types and UUIDs are."""
    with Store.open(tmp_path / "store.sqlite") as opened:
        store = one_origin(opened)
        store.append_server_only(BASELINE)
        own = BASELINE.provenance
        store.append_server_only(replace(BASELINE, provenance=replace(own, device_uuid="other")))
        store.append_server_only(replace(BASELINE, provenance=replace(own, device_name="T4", driver="1")))
        with pytest.raises(ServerError) as caught:
            store.append_server_only(replace(BASELINE, provenance=replace(own, **change)))  # type: ignore[arg-type]
        assert said in caught.value.message
        assert len(opened.server_only()) == 3


def source_of(repository: Path) -> RepositorySource:
    """Make the source whose models are those of a repository."""
    models = read_repository(repository)
    return RepositorySource(
        folder=repository,
        uri=None,
        models={model.name: model for model in models},
        names=[model.name for model in models],
        hashes={model.name: model.content_hash for model in select(models)},
    )


def test_models_of_a_node_must_be_those_of_the_driver(repository: Path, tmp_path: Path) -> None:
    """A copy passes; a model that is missing, or whose code differs, and a missing folder are named."""
    copy = tmp_path / "copy"
    for folder in (repository, copy):
        write_model(folder, "a")
        write_model(folder, "b")
    source = source_of(repository)
    check_models(copy, source)
    with pytest.raises(UsageError, match=f"has no folder {tmp_path}/none: share it .* or .* `model_uri`"):
        check_models(tmp_path / "none", source)
    write_model(copy, "b", execute="pass")
    with pytest.raises(
        UsageError, match=f"has another b in {copy} than this host .content hash [0-9a-f]{{12}}, and not"
    ):
        check_models(copy, source)
    (copy / "b").rename(tmp_path / "away")
    with pytest.raises(UsageError, match=r"has another b in .*No such file"):
        check_models(copy, source)


def test_nodes_run_onnx_models_by_the_same_program(repository: Path) -> None:
    """Figures of two versions of onnxruntime make no profile; nodes with the same one say what runs the models."""
    write_model(repository, "plain")
    (repository / "net" / "1").mkdir(parents=True)
    (repository / "net" / "config.pbtxt").write_text('backend: "onnxruntime"')
    newer = {"onnxruntime": "onnxruntime 1.31.1 on the CPU"}
    other = RayNode(id="o", name="gpu-8", gpus=4)
    same = {NODE: replace(facts(2), own=newer), other: replace(facts(2), own=newer)}
    differing = {**same, other: replace(facts(2), own={"onnxruntime": "onnxruntime 1.30.0 on the CPU"})}
    said: list[str] = []
    job = build_job(SweepSettings(model_folder=repository))
    fit = with_backends_of(same, job, said.append)
    assert {model.name: model.served_by for model in fit.models} == {"plain": "", "net": newer["onnxruntime"]}
    assert said == ["net: run by onnxruntime 1.31.1 on the CPU, in place of Triton's backend onnxruntime"]
    with pytest.raises(ServerError, match=r"1.31.1 on the CPU \(gpu-7\) and .* 1.30.0 on the CPU \(gpu-8\)"):
        with_backends_of(differing, job, said.append)
    plain = build_job(SweepSettings(model_folder=repository, model_names=("plain",)))
    assert with_backends_of(differing, plain, said.append).models[0].served_by == ""
