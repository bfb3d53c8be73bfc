"""Test the RayJob that measures on several nodes: its structure, its pods by Kubernetes' schemas, its command."""

from __future__ import annotations

import copy
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from analyzer.cli.main import main as analyze
from analyzer.cli.option_types import typed
from tests.deploy.test_analyze_chart import VERSIONS

FILE = Path("deploy/rayjob.yaml")
JOB: dict[str, Any] = yaml.safe_load(FILE.read_text())
_WHOLE, _TEXT = {"type": "integer", "minimum": 0}, {"type": "string"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_POD = {
    "type": "object",
    "required": ["spec"],
    "properties": {"metadata": {}, "spec": {}},
    "additionalProperties": False,
}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


# The fields of KubeRay's types RayJobSpec and RayClusterSpec (ray-operator/apis/ray/v1) that the manifest may have.
SCHEMA = _object(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata={"type": "object", "required": ["name"]},
    spec=_object(
        ["entrypoint", "rayClusterSpec"],
        entrypoint=_TEXT,
        submissionMode={"enum": ["K8sJobMode", "HTTPMode", "InteractiveMode"]},
        backoffLimit=_WHOLE,
        submitterConfig=_object([], backoffLimit=_WHOLE),
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=_WHOLE,
        activeDeadlineSeconds=_WHOLE,
        rayClusterSpec=_object(
            ["headGroupSpec"],
            rayVersion=_TEXT,
            headGroupSpec=_object(["rayStartParams", "template"], rayStartParams=_TEXTS, template=_POD),
            workerGroupSpecs={
                "type": "array",
                "items": _object(
                    ["groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"],
                    groupName=_TEXT,
                    replicas=_WHOLE,
                    minReplicas=_WHOLE,
                    maxReplicas=_WHOLE,
                    rayStartParams=_TEXTS,
                    template=_POD,
                ),
            },
        ),
    ),
)


def templates(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the pod template of the head, and that of each group of workers."""
    cluster = job["spec"]["rayClusterSpec"]
    workers = {group["groupName"]: group["template"] for group in cluster["workerGroupSpecs"]}
    return {"head": cluster["headGroupSpec"]["template"], **workers}


def validate_pods(job: dict[str, Any], folder: Path, version: str) -> subprocess.CompletedProcess[str]:
    """Check the pods against the schemas of a version of Kubernetes."""
    file = folder / "pods.yaml"
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, **template.get("metadata", {})},
            "spec": template["spec"],
        }
        for name, template in templates(job).items()
    ]
    file.write_text(yaml.safe_dump_all(pods))
    command = [Path(sys.executable).with_name("kubernetes-validate"), "--strict", "-k", version, file]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_structure_is_that_of_a_ray_job() -> None:
    """Every key is one of KubeRay's, at its place and with its type; parameters of `ray start` are texts."""
    jsonschema.validate(JOB, SCHEMA)


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        (("spec",), "entryPoint", "analyze"),
        (("spec",), "submissionMode", "Job"),
        (("spec", "rayClusterSpec"), "workers", []),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams"), "num-cpus", 0),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0), "replicas", "2"),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "template"), "containers", []),
    ],
)
def test_a_wrong_key_or_type_is_found(path: tuple[str | int, ...], key: str, value: object) -> None:
    """The schema refuses a misspelled key, a word that is none, and a number for a text."""
    job: Any = copy.deepcopy(JOB)
    place = job
    for step in path:
        place = place[step]
    place[key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job, SCHEMA)


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[-1]])
def test_pods_are_valid(tmp_path: Path, version: str) -> None:
    """The oldest and the newest version of Kubernetes take all pods without a warning, and find a misspelled key."""
    done = validate_pods(JOB, tmp_path, version)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warn" not in (done.stdout + done.stderr).lower()
    wrong: Any = copy.deepcopy(JOB)
    templates(wrong)["t4"]["spec"]["containers"][0]["volumeMount"] = []
    assert validate_pods(wrong, tmp_path, version).returncode != 0


def test_pods_have_no_privileges_and_their_mounts() -> None:
    """Every container runs as a user on a root that it cannot write to; what it mounts is there."""
    for template in templates(JOB).values():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] and spec["automountServiceAccountToken"] is False
        assert not any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
        volumes = {volume["name"] for volume in spec["volumes"]}
        for container in spec["containers"]:
            context = container["securityContext"]
            assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_command_is_one_of_analyze_for_the_models_and_processors_of_the_pods() -> None:
    """Its options are read; folders are mounted, and each GPU's server can have the processors that it reserves."""
    program, *arguments = shlex.split(JOB["spec"]["entrypoint"])
    assert program == "analyze"
    context = analyze.make_context("analyze", arguments)
    options = typed(context, context.params)
    assert (options["ray"], options["per_device_type"]) == ("auto", "all")
    mounts = {
        name: {m["mountPath"] for m in t["spec"]["containers"][0]["volumeMounts"]} for name, t in templates(JOB).items()
    }
    assert {str(options["model_folder"]), str(options["output"])} <= mounts["head"]
    (worker,) = templates(JOB)["t4"]["spec"]["containers"]
    assert str(options["model_folder"]) in mounts["t4"]
    limits = worker["resources"]["limits"]
    assert limits["nvidia.com/gpu"] * options["reserve_cores"] <= int(limits["cpu"])
