"""Export a plan as Kubernetes objects: a Deployment for each kind of GPU content, Services, and a kustomization."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from planner.export.files import Export, ExportFile
from planner.export.kubernetes_objects import (
    APPLY,
    PART_OF,
    ClusterNames,
    GpuRequest,
    config_map,
    config_name,
    deployment,
    metadata,
    pod_spec,
    service,
)
from planner.export.model_source import model_source
from planner.export.names import gpu_resource
from planner.export.overlay import check_names
from planner.export.serving import ServingPlan, TritonServer
from planner.export.settings import ExportSettings
from planner.export.yaml_text import yaml_text
from planner.inputs.demand import Spread
from planner.inputs.gpu_catalogue import catalogue

_PRODUCT = "nvidia.com/gpu.product"  # set on nodes by NVIDIA's GPU feature discovery
_HOSTNAME = "kubernetes.io/hostname"


def export(plan: ServingPlan, settings: ExportSettings) -> Export:
    """Return the objects, one file for each kind of server, and the kustomization that lists them."""
    facts = [*plan.not_expressed, *lacking(plan)]
    files = objects(plan, settings, facts, target="kubernetes", groups=plan.grouped(), gpu_request=_by_device_plugin)
    return Export(
        files=tuple(files),
        not_expressed=tuple(dict.fromkeys(facts)),
        usage=(APPLY,),
    )


def objects(
    plan: ServingPlan,
    settings: ExportSettings,
    facts: list[str],
    *,
    target: str,
    groups: Sequence[Sequence[TritonServer]],
    gpu_request: Callable[[Sequence[TritonServer]], GpuRequest],
) -> list[ExportFile]:
    """Return the files of all objects; what cannot be expressed is added to `facts`.

    Parameters
    ----------
    groups : sequence of sequence of TritonServer
        Servers that are one Deployment.
    gpu_request : callable
        How the pods of servers that run the same get their GPUs.
    """
    check_names(plan)
    header, namespace, names = plan.header(target), settings.namespace, ClusterNames.of(plan)
    source = model_source(settings.model_source)
    resources: dict[str, list[Mapping[str, Any]]] = {}
    configurations: list[ExportFile] = []
    for servers in groups:
        first = servers[0]
        request = gpu_request(servers)
        placed = {**request.pod, **placing(plan, servers, names, facts)}
        pod = pod_spec(first, source, settings.triton_image, names, container=request.container, pod=placed)
        found: list[Mapping[str, Any]] = [
            *request.objects,
            deployment(servers, namespace, names, pod),
            service(first.name, namespace, names, {"tritonpack/server": first.name}),
        ]
        if source.volume is not None:
            found.insert(0, config_map(first, namespace, names))
        else:
            configurations += uploads(first, names, facts)
        resources[f"server-{first.name}.yaml"] = found
    by_model = plan.by_model()
    resources["models.yaml"] = [
        service(names.service(model), namespace, names, {names.model_label(model): "true"}) for model in by_model
    ]
    if plan.placement.rules is not None and plan.placement.rules.spare:
        resources["disruption-budget.yaml"] = [_disruption_budget(plan, namespace, names)]
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": sorted(resources),
    }
    return [
        *(ExportFile(path=path, text=yaml_text(header, *found)) for path, found in resources.items()),
        ExportFile(path="kustomization.yaml", text=yaml_text(header, kustomization)),
        *configurations,
    ]


def _by_device_plugin(servers: Sequence[TritonServer]) -> GpuRequest:
    resource = gpu_resource(servers[0].slice)
    return GpuRequest(container={"resources": {"limits": {resource: 1}}}, pod={}, objects=())


def lacking(plan: ServingPlan) -> list[str]:
    """Say what pods with a resource limit cannot ask for."""
    facts = lacking_of_services(plan)
    if any(server.uuid for server in plan.servers):
        facts.append("the device plugin chooses the GPU of a pod, so UUIDs are not used: `to='dra'` asks for them")
    return facts


def lacking_of_services(plan: ServingPlan) -> list[str]:
    """Say what neither pods nor Services of any kind can do."""
    facts = []
    if not plan.repository:
        facts.append(
            "models that planned ones call, and GPU numbers in their configurations, are not known: give `model_folder`"
        )
    if any(len({round(model.share, 6) for _, model in places}) > 1 for places in plan.by_model().values()):
        facts.append("a Service splits connections evenly over the pods of a model, not by their planned shares")
    return facts


def placing(
    plan: ServingPlan, servers: Sequence[TritonServer], names: ClusterNames, facts: list[str]
) -> dict[str, Any]:
    """Return what keeps the pods on nodes with the planned GPUs, and replicas on different nodes."""
    first = servers[0]
    terms: list[dict[str, Any]] = []
    hosts = sorted({server.host for server in servers if server.host})
    known = catalogue().get(first.type)
    if hosts:
        terms.append({"key": _HOSTNAME, "operator": "In", "values": hosts})
    elif known is not None:
        # feature discovery writes the device's name with - for spaces, and adds what the plugin is configured to
        products = [device.replace(" ", "-") for device in known.device_names]
        suffixes = ("",) if first.slice is None else ("", f"-MIG-{first.slice.profile.replace('+', '.')}")
        values = sorted({f"{product}{suffix}" for product in products for suffix in suffixes})
        terms.append({"key": _PRODUCT, "operator": "In", "values": values})
    else:
        facts.append(f"{first.type} is no type of the catalogue, so its pods may run on any GPU")
    found: dict[str, Any] = {}
    if terms:
        chosen = {"nodeSelectorTerms": [{"matchExpressions": terms}]}
        found["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": chosen}}
    spread = _spread(plan, first, names, facts)
    if spread:
        found["topologySpreadConstraints"] = spread
    return found


def _spread(plan: ServingPlan, server: TritonServer, names: ClusterNames, facts: list[str]) -> list[dict[str, Any]]:
    """Return a constraint for each model whose replicas are kept on different nodes."""
    wanted = {demand.model: demand.spread for demand in plan.placement.demand}
    by_model = plan.by_model()
    constraints = []
    for model in server.models:
        if wanted.get(model.name) is Spread.GPU and server.slice is not None:
            facts.append(f"{model.name} is spread over GPUs, and two of its pods may get slices of one GPU")
        if wanted.get(model.name) is not Spread.NODE:
            continue
        constraints.append(
            {
                "maxSkew": 1,
                # fewer nodes than this count as empty ones, so that no node gets a second pod
                "minDomains": len(by_model[model.name]),
                "topologyKey": _HOSTNAME,
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {names.model_label(model.name): "true"}},
            }
        )
    return constraints


def uploads(server: TritonServer, names: ClusterNames, facts: list[str]) -> list[ExportFile]:
    """Return the configurations that an object store must have, where Triton reads them by name."""
    found = []
    for model in server.models:
        if not model.changed or model.config is None:
            continue
        if model.name != model.source:
            facts.append(f"{model.source} is to be served as {model.name}, which needs a volume as `model_source`")
            continue
        path = f"upload/{names.models[model.name]}/configs/{config_name(names, server)}.pbtxt"
        found.append(ExportFile(path=path, text=model.config))
        facts.append(
            f"Triton reads the configuration of {model.name} from the object store: upload {path} to "
            f"{model.source}/configs/"
        )
    return found


def _disruption_budget(plan: ServingPlan, namespace: str, names: ClusterNames) -> dict[str, Any]:
    """Return the budget that lets as many pods go at once as the plan can spare GPUs."""
    assert plan.placement.rules is not None
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata("tritonpack", namespace, names),
        "spec": {
            "maxUnavailable": plan.placement.rules.spare,
            "selector": {"matchLabels": dict(PART_OF)},
        },
    }
