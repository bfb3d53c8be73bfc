"""Test the exports for Kubernetes with the schemas of every supported version, kustomize, and CEL."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import celpy
import pytest
import yaml

from analyzer.errors import UsageError
from analyzer.models.repository import read_repository
from planner.export.dra import cel_string
from planner.export.dra import export as export_dra
from planner.export.files import Export, write_export
from planner.export.inventory import RealGpu
from planner.export.kubernetes import export
from planner.export.place_servers import serving_plan
from planner.export.settings import ExportSettings
from planner.placement.document import Placement
from tests.builders.hostile_names import HOSTILE, NAMES
from tests.builders.placements import gpu, model, placement
from tests.planner.export.test_mig_parted import cut

VERSIONS = ("1.34", "1.35", "1.36", "1.37")  # those with resource.k8s.io/v1
BIN = Path(sys.executable).parent
SPREAD = [{"model": "image_classifier", "replicas": 2, "spread": "node"}]


def settings(to: str = "kubernetes", **more: Any) -> ExportSettings:
    """Return the settings of an export whose models are on a volume claim."""
    return ExportSettings(
        to=to, output=Path("unused"), **{"model_source": "pvc:models", "namespace": "serving", **more}
    )


def samples(*gpus: dict[str, Any], **more: Any) -> Placement:
    """Return a placement of sample models: two equal GPUs and one with a variant."""
    two = (model("image_classifier", 500), model("segmenter", 300, variant="instances=2", instances=2))
    return placement(*(gpus or (gpu(0, *two), gpu(1, *two), gpu(2, model("text_encoder", 100)))), **more)


def exported(plan: Placement, *, inventory: tuple[RealGpu, ...] = (), **more: Any) -> Export:
    """Export a placement of the sample models."""
    repository = {one.name: one for one in read_repository("sample_models")}
    chosen = settings(**more)
    serving = serving_plan(plan, repository=repository, inventory=inventory)
    return (export_dra if chosen.to == "dra" else export)(serving, chosen)


def objects(found: Export) -> list[dict[str, Any]]:
    """Return all Kubernetes objects of an export."""
    texts = [file.text for file in found.files if file.path.endswith(".yaml") and file.path != "kustomization.yaml"]
    return [one for text in texts for one in yaml.safe_load_all(text)]


def of_kind(found: Export, kind: str) -> list[dict[str, Any]]:
    """Return the objects of one kind."""
    return [one for one in objects(found) if one["kind"] == kind]


def validate(found: Export, folder: Path) -> None:
    """Check the objects against every supported version, where a warning is a failure; and let kustomize read them."""
    write_export(found, folder)
    files = [str(path) for path in sorted(folder.glob("*.yaml")) if path.name != "kustomization.yaml"]
    for version in VERSIONS:
        command = [str(BIN / "kubernetes-validate"), "--strict", "-k", version, *files]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == 0, said
        assert "warn" not in said.lower(), said  # a kind without a schema is no error of the tool
    command = [str(BIN / "kubectl"), "kustomize", str(folder)]
    built = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert len(list(yaml.safe_load_all(built))) == len(objects(found))


@pytest.mark.parametrize("to", ["kubernetes", "dra"])
def test_objects_are_valid_in_every_supported_version(tmp_path: Path, to: str) -> None:
    """A plan with equal GPUs, variants, spread, spares and MIG slices gives objects that no version warns about."""
    rules = {"spare": 1, "spare_of": "gpu", "proportional": False}
    gpus = (
        gpu(0, model("image_classifier", 500, replicas=2), model("segmenter", 300)),
        gpu(1, model("image_classifier", 500), model("text_encoder", 100)),
    )
    validate(exported(samples(*gpus, demand=SPREAD, rules=rules), to=to), tmp_path / "a")
    slices = cut(0, ("3g.20gb", 0), ("3g.20gb", 4))
    for number, placed in enumerate(slices["models"]):
        placed["name"] = ("segmenter", "text_encoder")[number]
    validate(exported(samples(slices), to=to), tmp_path / "b")


def test_equal_gpus_are_replicas_of_one_deployment() -> None:
    """Two GPUs with the same models are one Deployment with two replicas, the third a Deployment of its own."""
    found = {one["metadata"]["name"]: one for one in of_kind(exported(samples()), "Deployment")}
    assert {name: one["spec"]["replicas"] for name, one in found.items()} == {"gpu-0": 2, "gpu-2": 1}
    (container,) = found["gpu-0"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"] == {"limits": {"nvidia.com/gpu": 1}}
    assert [entry for entry in container["args"] if entry.startswith("--load")] == [
        "--load-model=image_classifier",
        "--load-model=segmenter",
    ]


def test_a_service_of_a_model_reaches_the_pods_of_every_deployment_with_it() -> None:
    """Every Service selects at least one Deployment's pods, and that of a model all pods that have it."""
    plan = samples(gpu(0, model("segmenter", 9)), gpu(1, model("segmenter", 9), model("text_encoder", 9)))
    found = exported(plan)
    pods = [(one["metadata"]["name"], one["spec"]["template"]) for one in of_kind(found, "Deployment")]
    reached = {
        one["metadata"]["name"]: [
            name for name, pod in pods if one["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        ]
        for one in of_kind(found, "Service")
    }
    assert reached == {
        "gpu-0": ["gpu-0"],
        "gpu-1": ["gpu-1"],
        "model-segmenter": ["gpu-0", "gpu-1"],
        "model-text-encoder": ["gpu-1"],
    }


def test_the_overlay_script_lays_out_the_configurations_as_measured(tmp_path: Path) -> None:
    """The init container's script, run here, gives a repository with the variant's configuration and the versions."""
    (config_map,) = [one for one in of_kind(exported(samples()), "ConfigMap") if one["metadata"]["name"] == "gpu-0"]
    configs = tmp_path / "configs"
    configs.mkdir()
    for name, text in config_map["data"].items():
        (configs / name).write_text(text)
    script = config_map["data"]["overlay.sh"]
    here = {"/models": Path("sample_models").resolve(), "/overlay": tmp_path / "overlay", "/configs": configs}
    for mounted, folder in here.items():
        script = re.sub(rf"(?<![\w/]){mounted}(?=/)", str(folder), script)
    subprocess.run(["sh", "-c", script], check=True)
    found = {one.name: one for one in read_repository(tmp_path / "overlay")}
    assert {name: one.instances for name, one in found.items()} == {"image_classifier": 1, "segmenter": 2}
    assert (tmp_path / "overlay" / "segmenter" / "1" / "model.py").is_file()


def test_replicas_that_are_spread_over_nodes_are_constrained() -> None:
    """With as many domains as replicas and a skew of one, no node gets a second pod of the model."""
    plan = samples(gpu(0, model("image_classifier", 500)), gpu(1, model("image_classifier", 500)), demand=SPREAD)
    (one,) = of_kind(exported(plan), "Deployment")
    (constraint,) = one["spec"]["template"]["spec"]["topologySpreadConstraints"]
    labels = one["spec"]["template"]["metadata"]["labels"]
    assert (constraint["maxSkew"], constraint["minDomains"], constraint["whenUnsatisfiable"]) == (1, 2, "DoNotSchedule")
    assert constraint["labelSelector"]["matchLabels"].items() <= labels.items()


def test_as_many_pods_may_go_as_the_plan_can_spare() -> None:
    """A plan that can lose a GPU has a budget for one pod; one that cannot has none."""
    rules = {"spare": 1, "spare_of": "gpu", "proportional": False}
    (budget,) = of_kind(exported(samples(rules=rules)), "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 1
    assert not of_kind(exported(samples()), "PodDisruptionBudget")


def test_nodes_of_the_inventory_are_asked_for() -> None:
    """With an inventory each node has its Deployments, else pods run on nodes that are labelled with the GPU type."""
    inventory = tuple(RealGpu(type="T4", node=node) for node in ("b", "a", "c"))
    for given, expected in (
        (inventory, {"key": "kubernetes.io/hostname", "operator": "In", "values": ["b"]}),
        ((), {"key": "nvidia.com/gpu.product", "operator": "In"}),
    ):
        first = of_kind(exported(samples(), inventory=given), "Deployment")[0]
        affinity = first["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
        (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert expected.items() <= term["matchExpressions"][0].items()


def test_an_object_store_needs_uploads_for_variants() -> None:
    """Without a volume the variant's configuration is a file to upload, under the name that Triton is given."""
    found = exported(samples(), model_source="s3://bucket/models")
    (upload,) = [file for file in found.files if file.path.startswith("upload/")]
    first = of_kind(found, "Deployment")[0]["spec"]["template"]["spec"]
    name = Path(upload.path).stem
    assert upload.path == f"upload/segmenter/configs/{name}.pbtxt"
    assert f"--model-config-name={name}" in first["containers"][0]["args"]
    assert "initContainers" not in first
    assert any("upload upload/segmenter" in fact for fact in found.not_expressed)


@pytest.mark.parametrize("source", [None, "models", "hostPath:models", "hostPath:/a/../b", "pvc:My_Claim", "ftp://x/y"])
def test_a_model_source_that_is_none_is_refused(source: str | None) -> None:
    """The message names the forms of a source."""
    with pytest.raises(UsageError, match=r"hostPath:/DIR, pvc:NAME"):
        exported(samples(), model_source=source)


@pytest.mark.parametrize("to", ["kubernetes", "dra"])
def test_hostile_names_are_legal_and_stay_names(tmp_path: Path, to: str) -> None:
    """Models with hostile names give valid objects; Triton is asked for each by its own name."""
    plan = placement(gpu(0, *(model(name, 9) for name in NAMES)))
    found = (export_dra if to == "dra" else export)(serving_plan(plan), settings(to))
    validate(found, tmp_path)
    (one,) = of_kind(found, "Deployment")
    arguments = one["spec"]["template"]["spec"]["containers"][0]["args"]
    # Kubernetes replaces $(NAME) in arguments, and $$( by $(
    loaded = [entry.removeprefix("--load-model=") for entry in arguments if entry.startswith("--load")]
    assert [name.replace("$$(", "$(") for name in loaded] == list(NAMES)
    assert not any(re.search(r"(?<!\$)\$\(", name) for name in loaded)


def test_the_next_plan_is_applied_over_this_one() -> None:
    """Deployments and Services of equal names have equal selectors, and what cannot be changed has another name."""
    first, second = (exported(samples(gpu(0, model("segmenter", memory))), to="dra") for memory in (300, 301))
    for kind in ("Deployment", "Service"):
        found = [
            [(one["metadata"]["name"], one["spec"]["selector"]) for one in of_kind(x, kind)] for x in (first, second)
        ]
        assert found[0] == found[1]
    templates = [of_kind(x, "ResourceClaimTemplate")[0]["metadata"]["name"] for x in (first, second)]
    assert templates[0] != templates[1]


@pytest.mark.parametrize("name", ["x;id>&2;#", "../../models", "a\nb"])
@pytest.mark.parametrize("to", ["kubernetes", "dra"])
def test_names_that_a_server_would_run_or_a_script_leave_its_folder_by_are_refused(to: str, name: str) -> None:
    """A model that is to be served under such a name is refused before anything is made of it."""
    with pytest.raises(UsageError, match=r"cannot serve|cannot be the name of a folder"):
        exported(samples(gpu(0, model("segmenter", 9, serves=name))), to=to)


def test_what_is_not_known_without_the_repository_is_said() -> None:
    """Called models would be lost in silence."""
    for to, write in (("kubernetes", export), ("dra", export_dra)):
        found = write(serving_plan(placement(gpu(0, model("a", 9)))), settings(to))
        assert any("models that planned ones call" in fact for fact in found.not_expressed)


def test_many_gpus_are_asked_for_by_their_type() -> None:
    """A selector of more UUIDs than the API takes is left out, and that is said."""
    gpus = [gpu(k, model("segmenter", 9)) for k in range(300)]
    inventory = tuple(RealGpu(type="T4", uuid=f"GPU-{k:036}") for k in range(300))
    found = exported(samples(*gpus), to="dra", inventory=inventory)
    (claim,) = of_kind(found, "ResourceClaimTemplate")
    assert fits(claim, attributes(productName="Tesla T4", uuid="GPU-other"))
    assert any("300 UUIDs of gpu-0 are too many" in fact for fact in found.not_expressed)


def attributes(**known: str) -> dict[str, Any]:
    """Make a device as the DRA driver describes it."""
    return {"device": {"driver": "gpu.nvidia.com", "attributes": {"gpu.nvidia.com": known}}}


def fits(claim: dict[str, Any], device: dict[str, Any]) -> bool:
    """Evaluate the selectors of a claim's request on a device."""
    spec = claim["spec"].get("spec", claim["spec"])
    (request,) = spec["devices"]["requests"]
    environment = celpy.Environment()
    context = {name: celpy.json_to_cel(value) for name, value in device.items()}
    expressions = [selector["cel"]["expression"] for selector in request["exactly"].get("selectors", [])]
    return all(environment.program(environment.compile(text)).evaluate(context) for text in expressions)


def test_claims_select_the_planned_type() -> None:
    """Without an inventory a claim takes any GPU of the type, and no other."""
    for claim in of_kind(exported(samples(), to="dra"), "ResourceClaimTemplate"):
        assert fits(claim, attributes(type="gpu", productName="Tesla T4", uuid="GPU-1"))
        assert not fits(claim, attributes(type="gpu", productName="NVIDIA A10", uuid="GPU-1"))


def test_claims_select_the_gpus_of_the_inventory() -> None:
    """With UUIDs each kind of server takes those of its GPUs only."""
    inventory = tuple(RealGpu(type="T4", uuid=f"GPU-{k}") for k in range(3))
    claims = of_kind(exported(samples(), to="dra", inventory=inventory), "ResourceClaimTemplate")
    found = {one["metadata"]["name"]: one for one in claims}
    fitting = {
        name: [k for k in range(3) if fits(claim, attributes(productName="Tesla T4", uuid=f"GPU-{k}"))]
        for name, claim in found.items()
    }
    assert {name.partition("-plan-")[0]: gpus for name, gpus in fitting.items()} == {"gpu-0": [0, 1], "gpu-2": [2]}


def test_claims_of_slices_select_the_profile() -> None:
    """A slice's claim is for the MIG device class, with the profile and the GPU's type."""
    slices = cut(0, ("3g.20gb", 0), ("3g.20gb", 4))
    for placed in slices["models"]:
        placed["name"] = "segmenter"
    (claim,) = of_kind(exported(samples(slices), to="dra"), "ResourceClaimTemplate")
    (request,) = claim["spec"]["spec"]["devices"]["requests"]
    assert request["exactly"]["deviceClassName"] == "mig.nvidia.com"
    product = "NVIDIA A100-SXM4-40GB"
    assert fits(claim, attributes(type="mig", profile="3g.20gb", productName=product))
    assert not fits(claim, attributes(type="mig", profile="1g.5gb", productName=product))


def test_sharing_gives_each_model_a_pod_and_each_gpu_one_claim() -> None:
    """With sharing the two models of a GPU are two Deployments that name one ResourceClaim."""
    found = exported(samples(gpu(0, model("segmenter", 9), model("text_encoder", 9))), to="dra", sharing="mps")
    (claim,) = of_kind(found, "ResourceClaim")
    claims = [one["spec"]["template"]["spec"]["resourceClaims"] for one in of_kind(found, "Deployment")]
    assert claims == [[{"name": "gpu", "resourceClaimName": claim["metadata"]["name"]}]] * 2
    assert claim["spec"]["devices"]["config"][0]["opaque"]["parameters"]["sharing"] == {"strategy": "MPS"}


@pytest.mark.parametrize("text", [*HOSTILE, "\r", "\t"])
def test_texts_survive_cel(text: str) -> None:
    """A text that is written as a string of CEL evaluates to itself."""
    environment = celpy.Environment()
    assert environment.program(environment.compile(cel_string(text))).evaluate({}) == text


def test_equal_plans_give_equal_bytes() -> None:
    """The same plan is written the same way each time, with its digest in every file's first lines."""
    first, second = (exported(samples()) for _ in range(2))
    assert first == second
    digest = json.dumps(serving_plan(samples()).digest).strip('"')
    assert all(digest in "".join(file.text.splitlines()[:2]) for file in first.files)
