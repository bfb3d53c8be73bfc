"""Export a plan for Kubernetes with dynamic resource allocation (resource.k8s.io/v1) and NVIDIA's DRA driver.

Each kind of server gets a ResourceClaimTemplate, which gives every pod a whole GPU or a MIG slice of its own. With
`sharing`, each model is a Triton of its own, and those of one GPU share a ResourceClaim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from planner.export.files import Export
from planner.export.kubernetes import lacking_of_services, objects
from planner.export.kubernetes_objects import APPLY, ClusterNames, GpuRequest, metadata
from planner.export.names import dns_label, unique
from planner.export.place_servers import dependencies
from planner.export.serving import ServingPlan, TritonServer
from planner.export.settings import ExportSettings
from planner.inputs.gpu_catalogue import catalogue

_DRIVER = "gpu.nvidia.com"
_REQUEST = "gpu"
_LONGEST = 10 * 1024  # of a selector, by the API (CELSelectorExpressionMaxLength)


def export(plan: ServingPlan, settings: ExportSettings) -> Export:
    """Return the objects of `kubernetes`, with resource claims in place of resource limits."""
    facts = [*plan.not_expressed, *lacking_of_services(plan)]
    names = ClusterNames.of(plan)

    def claimed(servers: Sequence[TritonServer]) -> GpuRequest:
        name = f"{servers[0].name}-{names.plan}"  # a template cannot be changed, so the next plan has others
        template = {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceClaimTemplate",
            "metadata": metadata(name, settings.namespace, names),
            "spec": {"spec": {"devices": _devices(servers, facts)}},
        }
        return _request({"resourceClaimTemplateName": name}, (template,))

    def shared(servers: Sequence[TritonServer]) -> GpuRequest:
        name = claims[_shared_gpu(servers[0])]
        claim = {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceClaim",
            "metadata": metadata(name, settings.namespace, names),
            "spec": {"devices": {**_devices(servers[:1], facts), "config": [_sharing(settings.sharing, servers[0])]}},
        }
        first_of_gpu = servers[0].name == first_pods[_shared_gpu(servers[0])]
        return _request({"resourceClaimName": name}, (claim,) if first_of_gpu else ())

    if settings.sharing is None:
        files = objects(plan, settings, facts, target="dra", groups=plan.grouped(), gpu_request=claimed)
    else:
        plan = replace(plan, servers=tuple(_one_model_each(plan)))
        first_pods = {_shared_gpu(server): server.name for server in reversed(plan.servers)}
        labels = unique(first_pods, dns_label, most=50)
        claims = {gpu: f"{label}-{names.plan}" for gpu, label in labels.items()}
        facts.append(
            "pods that share a GPU have a Triton each, whose memory the plan counts once for each GPU; sharing needs a "
            "feature gate of the DRA driver"
        )
        groups = [(one,) for one in plan.servers]
        files = objects(plan, settings, facts, target="dra", groups=groups, gpu_request=shared)
    return Export(files=tuple(files), not_expressed=tuple(dict.fromkeys(facts)), usage=(APPLY,))


def _one_model_each(plan: ServingPlan) -> Iterable[TritonServer]:
    """Yield a server for each model on a server, with the models that it calls."""
    wanted = [f"{server.name}-{model.name}" for server in plan.servers for model in server.models]
    labels = unique(wanted, dns_label, most=50)
    for server in plan.servers:
        for model in server.models:
            called, load = dependencies((model,), plan.repository)
            name = labels[f"{server.name}-{model.name}"]
            yield replace(server, name=name, models=(model,), dependencies=called, load=load)


def _shared_gpu(server: TritonServer) -> str:
    return f"share-{server.gpu}" if server.slice is None else f"share-{server.gpu}-{server.slice.name}"


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
    listed = f"{_attribute('uuid' if first.slice is None else 'parentUUID')} in {_list(uuids)}"
    complete = len(uuids) == len({server.gpu for server in servers})
    if complete and len(listed) > _LONGEST:
        facts.append(
            f"the {len(uuids)} UUIDs of {first.name} are too many for a selector, so any GPU of the type will do"
        )
    if complete and len(listed) <= _LONGEST:
        found.append(listed)
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
