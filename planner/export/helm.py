"""Export a plan as values of the chart deploy/charts/tritonpack-serving."""

from __future__ import annotations

from typing import Any

from planner.export.files import Export, ExportFile
from planner.export.kubernetes import lacking, placing, uploads
from planner.export.kubernetes_objects import ClusterNames, arguments, repository_files
from planner.export.model_source import model_source
from planner.export.names import gpu_resource
from planner.export.overlay import check_names
from planner.export.serving import ServingPlan
from planner.export.settings import ExportSettings
from planner.export.yaml_text import yaml_text

CHART = "tritonpack-serving"


def export(plan: ServingPlan, settings: ExportSettings) -> Export:
    """Return values.yaml, and the configurations to upload where the models are in an object store."""
    check_names(plan)
    check_names(plan)
    names, source = ClusterNames.of(plan), model_source(settings.model_source)
    facts = [*plan.not_expressed, *lacking(plan)]
    servers: list[dict[str, Any]] = []
    configurations: list[ExportFile] = []
    for group in plan.grouped():
        first = group[0]
        server = {
            "name": first.name,
            "replicas": len(group),
            "gpus": [server.gpu for server in group],
            "gpuResource": gpu_resource(first.slice),
            "modelLabels": [names.model_label(model.name) for model in first.models],
            "arguments": arguments(first, source, names),
            "placing": placing(plan, group, names, facts),
        }
        if source.volume is not None:
            server["files"] = repository_files(first, names)
        else:
            configurations += uploads(first, names, facts)
        servers.append(server)
    rules = plan.placement.rules
    values = {
        "plan": {"name": names.plan, "digest": plan.digest},
        "image": {"name": settings.triton_image},
        "modelVolume": source.volume,
        "spare": rules.spare if rules is not None else 0,
        "servers": servers,
        "models": [
            {"name": model, "service": names.service(model), "label": names.model_label(model)}
            for model in plan.by_model()
        ],
    }
    return Export(
        files=(ExportFile(path="values.yaml", text=yaml_text(plan.header("helm"), values)), *configurations),
        not_expressed=tuple(dict.fromkeys(facts)),
        usage=(
            f"helm upgrade --install tritonpack .../deploy/charts/{CHART} --namespace {settings.namespace} "
            "--values values.yaml",
        ),
    )
