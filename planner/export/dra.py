"""Export a plan for Kubernetes with dynamic resource allocation (resource.k8s.io/v1) and NVIDIA's DRA driver.

Each kind of server gets a ResourceClaimTemplate, which gives every pod a whole GPU or a MIG slice of its own. With
`sharing`, each model is a Triton of its own, and those of one GPU share a ResourceClaim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from planner.export.files import Export
from planner.export.kubernetes import objects
from planner.export.kubernetes_objects import ClusterNames, GpuRequest, metadata
from planner.export.names import dns_label, unique
from planner.export.serving import ServingPlan, TritonServer
from planner.export.settings import ExportSettings
from planner.inputs.gpu_catalogue import catalogue

_DRIVER = "gpu.nvidia.com"
_REQUEST = "gpu"


def export(plan: ServingPlan, settings: ExportSettings) -> Export:
    """Return the objects of `kubernetes`, with resource claims in place of resource limits."""
    facts = [*plan.not_expressed]
    names = ClusterNames.of(plan)

    def claimed(servers: Sequence[TritonServer]) -> GpuRequest:
        name = servers[0].name
        template = {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceClaimTemplate",
            "metadata": metadata(name, settings.namespace, names),
            "spec": {"spec": {"devices": _devices(servers, facts)}},
        }
        return _request({"resourceClaimTemplateName": name}, (template,))

    def shared(servers: Sequence[TritonServer]) -> GpuRequest:
        name = _claim_name(servers[0])
        claim = {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceClaim",
            "metadata": metadata(name, settings.namespace, names),
            "spec": {"devices": {**_devices(servers[:1], facts), "config": [_sharing(settings.sharing, servers[0])]}},
        }
        first_of_gpu = servers[0].name == first_pods[_claim_name(servers[0])]
        return _request({"resourceClaimName": name}, (claim,) if first_of_gpu else ())

    if settings.sharing is None:
        files = objects(plan, settings, facts, target="dra", groups=plan.grouped(), gpu_request=claimed)
    else:
        plan = replace(plan, servers=tuple(_one_model_each(plan.servers)))
        first_pods = {_claim_name(server): server.name for server in reversed(plan.servers)}
        facts.append(
            "pods that share a GPU have a Triton each, whose memory the plan counts once for each GPU; sharing needs a "
            "feature gate of the DRA driver"
        )
        groups = [(one,) for one in plan.servers]
        files = objects(plan, settings, facts, target="dra", groups=groups, gpu_request=shared)
    return Export(files=tuple(files), not_expressed=tuple(dict.fromkeys(facts)), usage=("kubectl apply -k .",))


def _one_model_each(servers: Iterable[TritonServer]) -> Iterable[TritonServer]:
    """Yield a server for each model on a server."""
    servers = tuple(servers)
    wanted = [f"{server.name}-{model.name}" for server in servers for model in server.models]
    labels = unique(wanted, dns_label, most=50)
    for server in servers:
        for model in server.models:
            others = {other.name for other in server.models if other is not model}
            yield replace(
                server,
                name=labels[f"{server.name}-{model.name}"],
                models=(model,),
                load=tuple(name for name in server.load if name not in others),
            )


def _claim_name(server: TritonServer) -> str:
    return dns_label(f"share-{server.gpu}" if server.slice is None else f"share-{server.gpu}-{server.slice.name}")


def _request(claim: dict[str, str], found: tuple[dict[str, Any], ...]) -> GpuRequest:
    return GpuRequest(
        container={"resources": {"claims": [{"name": _REQUEST}]}},
        pod={"resourceClaims": [{"name": _REQUEST, **claim}]},
        objects=found,
    )


def _devices(servers: Sequence[TritonServer], facts: list[str]) -> dict[str, Any]:
    first = servers[0]
    exactly = {"deviceClassName": "gpu.nvidia.com" if first.slice is None else "mig.nvidia.com"}
    expressions = _selectors(servers, facts)
    if expressions:
        exactly["selectors"] = [{"cel": {"expression": text}} for text in expressions]  # type: ignore[assignment]
    return {"requests": [{"name": _REQUEST, "exactly": exactly}]}


def _selectors(servers: Sequence[TritonServer], facts: list[str]) -> list[str]:
    """Return CEL expressions that a device must fulfil: the planned UUIDs, else the type; and the slice's profile."""
    first = servers[0]
    found = []
    if first.slice is not None:
        found.append(f"{_attribute('profile')} == {cel_string(first.slice.profile)}")
    uuids = sorted({server.real.uuid for server in servers if server.real and server.real.uuid})
    known = catalogue().get(first.type)
    if len(uuids) == len({server.gpu for server in servers}):
        name = "uuid" if first.slice is None else "parentUUID"
        found.append(f"{_attribute(name)} in {_list(uuids)}")
    elif known is not None:
        found.append(f"{_attribute('productName')} in {_list(known.device_names)}")
    else:
        facts.append(f"{first.type} is no type of the catalogue, so its pods may get any GPU")
    return found


def _attribute(name: str) -> str:
    return f"device.attributes['{_DRIVER}'].{name}"


def _list(texts: Iterable[str]) -> str:
    return f"[{', '.join(map(cel_string, texts))}]"


def cel_string(text: str) -> str:
    """Return a text as a string of CEL, in single quotes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    return f"'{escaped}'"


def _sharing(sharing: str | None, server: TritonServer) -> dict[str, Any]:
    """Return the driver's configuration for a GPU that pods share."""
    strategy = {"strategy": "MPS"} if sharing == "mps" else {"strategy": "TimeSlicing"}
    return {
        "requests": [_REQUEST],
        "opaque": {
            "driver": _DRIVER,
            "parameters": {
                "apiVersion": "resource.nvidia.com/v1beta1",
                "kind": "GpuConfig" if server.slice is None else "MigDeviceConfig",
                "sharing": strategy,
            },
        },
    }
