"""Test the chart that measures on a GPU node: Helm's lint and schema, Kubernetes' schemas, and what it asks for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python.chart import Chart, lint
from helm_python.errors import HelmValuesError

CHART = Path("deploy/charts/tritonpack-analyze")
VERSIONS = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36", "1.37")
CLAIMS: dict[str, Any] = {"models": {"claim": "models"}, "results": {"claim": "results"}}
VALUES = {
    "claims": CLAIMS,
    "host": {"models": {"hostPath": "/srv/models"}, "networkPolicy": False},
    "store": {**CLAIMS, "store": {"secretName": "database"}, "plan": None, "report": None},
    "own": {
        **CLAIMS,
        "gpu": {"resource": "nvidia.com/mig-1g.10gb", "count": 1},
        "ttlSecondsAfterFinished": 3600,
        "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-A10"},
        "image": {"name": "images/tritonpack:1", "pullSecrets": [{"name": "images"}]},
    },
}


def rendered(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Render the chart and return its objects."""
    texts = Chart.load(CHART).render(values, name="measure", namespace="gpu")
    documents = [one for name, text in texts.items() if name.endswith(".yaml") for one in yaml.safe_load_all(text)]
    return [one for one in documents if one]


def pod(values: dict[str, Any]) -> dict[str, Any]:
    """Return the specification of the job's pod."""
    (job,) = [one for one in rendered(values) if one["kind"] == "Job"]
    found: dict[str, Any] = job["spec"]["template"]["spec"]
    return found


def steps(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the containers in the order in which they run."""
    found = pod(values)
    return [*found.get("initContainers", []), *found["containers"]]


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_objects_are_valid_in_every_supported_version(tmp_path: Path, values: dict[str, Any]) -> None:
    """Helm's strict lint has nothing to say, and no version of Kubernetes warns about the objects."""
    file = tmp_path / "objects.yaml"
    file.write_text(yaml.safe_dump_all(rendered(values)))
    for version in VERSIONS:
        found = lint(CHART, values, strict=True, namespace="gpu", kube_version=version)
        assert [said for said in found["messages"] if said["severity"] > 1] == []  # 1 is information
        command = [Path(sys.executable).with_name("kubernetes-validate"), "--strict", "-k", version, file]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "warn" not in (done.stdout + done.stderr).lower()


def test_steps_run_one_after_the_other_and_only_the_first_has_a_gpu() -> None:
    """The sweep is first and asks for the GPU; the plan and the report read what it wrote."""
    found = steps(CLAIMS)
    assert [one["name"] for one in found] == ["analyze", "plan", "report"]
    assert [one.get("resources", {}).get("limits", {}).get("nvidia.com/gpu") for one in found] == [1, None, None]
    assert found[0]["resources"]["limits"]["memory"] == "16Gi"
    assert found[1]["args"] == ["plan", "solve", "/results", "-o", "/results/placement.json", "--mode", "throughput"]
    assert found[2]["args"] == ["report", "/results", "/results/placement.json", "-o", "/results/report"]


def test_a_store_is_reached_by_a_secret_and_nothing_else_is() -> None:
    """The URL is only in the Secret; the pod may ask for names and reach the database's port."""
    (measuring,) = steps(VALUES["store"])
    place = measuring["args"].index("--store")
    assert measuring["args"][place + 1] == "$(STORE_URL)"
    assert measuring["env"][0]["valueFrom"]["secretKeyRef"] == {"name": "database", "key": "url"}
    (policy,) = [one for one in rendered(VALUES["store"]) if one["kind"] == "NetworkPolicy"]
    assert policy["spec"]["ingress"] == []
    assert [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]] == [53, 53, 5432]
    (closed,) = [one for one in rendered(CLAIMS) if one["kind"] == "NetworkPolicy"]
    assert closed["spec"]["egress"] == []


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_no_step_has_privileges(values: dict[str, Any]) -> None:
    """Every container runs as a user, with a root file system that it cannot write to and no capability."""
    found = pod(values)
    assert found["securityContext"]["runAsNonRoot"]
    assert found["automountServiceAccountToken"] is False
    assert not any(found.get(key) for key in ("hostNetwork", "hostPID", "hostIPC"))
    for one in steps(values):
        context = one["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["readOnlyRootFilesystem"]) == (False, True)
        assert context["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize(
    "change",
    [
        {"models": {"claim": "a", "hostPath": "/b"}},
        {"models": {"claim": ""}},
        {"models": {"hostPath": "relative"}},
        {"gpu": {"count": -1}},
        {"analyse": []},
        {"analyze": "--batch 1"},
    ],
)
def test_the_schema_refuses_wrong_values(change: dict[str, Any]) -> None:
    """Two sources of models or none, a relative folder, a negative count, a misspelled key and a text for a list."""
    with pytest.raises(HelmValuesError):
        Chart.load(CHART).validate_schema({**CLAIMS, **change})


def test_the_dockerfile_has_nothing_to_lint() -> None:
    """Hadolint finds nothing worse than information in deploy/Dockerfile."""
    command = [Path(sys.executable).with_name("hadolint"), "--failure-threshold", "warning", "deploy/Dockerfile"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
