"""Test the values for the chart with Helm itself: lint, schema, and that it renders what `kubernetes` exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from helm_python.chart import Chart, lint
from helm_python.errors import HelmValuesError

from analyzer.models.repository import read_repository
from planner.export.helm import export
from planner.export.kubernetes import export as export_kubernetes
from planner.export.place_servers import serving_plan
from planner.export.serving import ServingPlan
from planner.export.settings import ExportSettings
from tests.builders.hostile_names import NAMES
from tests.builders.placements import gpu, model, placement
from tests.planner.export.test_kubernetes import SPREAD, VERSIONS, samples
from tests.planner.export.test_mig_parted import cut

CHART = Path("deploy/charts/tritonpack-serving")
RULES = {"spare": 1, "spare_of": "gpu", "proportional": False}


def settings(to: str, source: str) -> ExportSettings:
    """Return the settings of an export."""
    return ExportSettings(to=to, output=Path("unused"), model_source=source, namespace="serving")


def values(plan: ServingPlan, source: str = "pvc:models") -> dict[str, Any]:
    """Return the exported values; the chart's schema accepts them, and no version of Kubernetes gives a warning."""
    found: dict[str, Any] = yaml.safe_load(export(plan, settings("helm", source)).files[0].text)
    Chart.load(CHART).validate_schema(found)
    for version in VERSIONS:
        result = lint(CHART, found, strict=True, namespace="serving", kube_version=version)
        assert [said for said in result["messages"] if said["severity"] > 1] == [], result  # 1 is information
    return found


def rendered(found: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Render the chart and return its objects by kind and name."""
    texts = Chart.load(CHART).render(found, name="plan", namespace="serving")
    documents = [one for name, text in texts.items() if name.endswith(".yaml") for one in yaml.safe_load_all(text)]
    return {(one["kind"], one["metadata"]["name"]): one for one in documents if one}


def exported(plan: ServingPlan, source: str = "pvc:models") -> dict[tuple[str, str], dict[str, Any]]:
    """Return the objects of the `kubernetes` export by kind and name."""
    files = export_kubernetes(plan, settings("kubernetes", source)).files
    texts = [file.text for file in files if file.path.endswith(".yaml") and file.path != "kustomization.yaml"]
    return {(one["kind"], one["metadata"]["name"]): one for text in texts for one in yaml.safe_load_all(text)}


def bare(one: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the chart adds: the pull policy, and the checksum that restarts pods with new configurations."""
    if one["kind"] == "Deployment":
        pod = one["spec"]["template"]
        pod["metadata"].pop("annotations", None)
        for container in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])):
            container.pop("imagePullPolicy", None)
    return one


def repository() -> dict[str, Any]:
    """Return the sample models by name."""
    return {one.name: one for one in read_repository("sample_models")}


@pytest.mark.parametrize("source", ["pvc:models", "hostPath:/srv/models", "s3://bucket/models"])
def test_the_chart_renders_what_kubernetes_exports(source: str) -> None:
    """For plans with equal GPUs, variants, spread and spares the rendered objects are those of the other export."""
    plan = serving_plan(samples(demand=SPREAD, rules=RULES), repository=repository())
    found = rendered(values(plan, source))
    assert {key: bare(one) for key, one in found.items()} == {
        key: bare(one) for key, one in exported(plan, source).items()
    }


def test_slices_are_rendered_as_their_resource() -> None:
    """A MIG slice is asked for by its resource, beside what the user's values ask for."""
    slices = cut(0, ("3g.20gb", 0), ("3g.20gb", 4))
    found = {
        **values(serving_plan(placement(slices))),
        "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "8Gi"}},
    }
    for (kind, _), one in rendered(found).items():
        if kind == "Deployment":
            resources = one["spec"]["template"]["spec"]["containers"][0]["resources"]
            limits = {"memory": "8Gi", "nvidia.com/mig-3g.20gb": 1}
            assert resources == {"requests": {"cpu": "2"}, "limits": limits}


def test_hostile_names_are_no_templates() -> None:
    """Model names with template actions are rendered as they are."""
    plan = serving_plan(placement(gpu(0, *(model(name, 9) for name in NAMES))))
    found = rendered(values(plan))
    assert bare(found["Deployment", "gpu-0"]) == bare(exported(plan)["Deployment", "gpu-0"])


@pytest.mark.parametrize("change", [{"servers": []}, {"sevrers": []}, {"plan": {"name": "Plan"}}])
def test_the_schema_refuses_wrong_values(change: dict[str, Any]) -> None:
    """No server, a misspelled key and a name that is no plan's are refused."""
    found = {**values(serving_plan(samples(), repository=repository())), **change}
    with pytest.raises(HelmValuesError):
        Chart.load(CHART).validate_schema(found)
