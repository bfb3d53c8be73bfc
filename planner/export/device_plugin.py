"""Export how the GPUs of a plan are shared, for NVIDIA's Kubernetes device plugin: time slicing or MPS.

It is for clusters that run each model in a pod of its own: a GPU is offered as often as it has models. The other
Kubernetes targets run one Triton on each GPU, which needs no sharing. The file follows the plugin's api/config/v1.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from analyzer.errors import UsageError
from planner.export.files import Export, ExportFile
from planner.export.hosts import one_host
from planner.export.names import WHOLE_GPU, gpu_resource
from planner.export.serving import ServingPlan, TritonServer
from planner.export.settings import ExportSettings
from planner.export.yaml_text import yaml_text

MPS = "mps"


def export(plan: ServingPlan, settings: ExportSettings) -> Export:
    """Return the ConfigMap with a configuration for each kind of node, and the labels of the nodes."""
    facts: list[str] = [*one_host(plan)]
    sharing = settings.sharing or "time-slicing"
    configs: dict[str, str] = {}  # name of each text
    any_shared = False
    of_node: dict[str, str] = {}
    for node, servers in plan.hosts().items():
        shares = _shares(node, servers, facts)
        if sharing == MPS and any(resource != WHOLE_GPU for resource in shares):
            raise UsageError(
                f"{_of(node)} has MIG slices, which the device plugin cannot share by MPS: use `sharing='time-slicing'`"
            )
        shared = {resource: count for resource, count in shares.items() if count > 1}
        any_shared |= bool(shared)
        text = yaml_text("", _config(sharing, shared, mig=any(resource != WHOLE_GPU for resource in shares)))
        # also for a node that shares nothing: one without a label would take the only configuration that there is
        of_node[node] = configs.setdefault(text, f"plan-{plan.digest[:8]}-{len(configs)}")
    if not any_shared:
        raise UsageError("no GPU or slice of the plan has more than one model: there is nothing to share")
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "device-plugin-config", "namespace": settings.namespace},
        "data": {name: text for text, name in configs.items()},
    }
    files = [ExportFile(path="configmap.yaml", text=yaml_text(plan.header("device-plugin"), config_map))]
    labels = "".join(
        f"kubectl label node {shlex.quote(node)} nvidia.com/device-plugin.config={name} --overwrite\n"
        for node, name in of_node.items()
        if node
    )
    if labels:
        script = f"#!/bin/sh\n{plan.header('device-plugin')}set -e\n{labels}"
        files.append(ExportFile(path="label-nodes.sh", text=script, executable=True))
    facts.append("the device plugin does not know the models: it shares a GPU, and limits neither memory nor time")
    return Export(files=tuple(files), not_expressed=tuple(facts), usage=("kubectl apply -f configmap.yaml",))


def _shares(node: str, servers: Sequence[TritonServer], facts: list[str]) -> dict[str, int]:
    """Return how often each resource of a node is offered: the largest number of models on one of its kind."""
    models: dict[str, list[int]] = defaultdict(list)
    for server in servers:
        models[gpu_resource(server.slice)].append(sum(model.replicas for model in server.models))
    for resource, counts in models.items():
        if len(set(counts)) > 1:
            facts.append(
                f"{_of(node)} has {resource} with {min(counts)} to {max(counts)} replicas; the device plugin offers "
                f"all of them {max(counts)} times"
            )
    return {resource: max(counts) for resource, counts in sorted(models.items())}


def _config(sharing: str, shared: dict[str, int], *, mig: bool) -> dict[str, Any]:
    resources = [{"name": resource, "replicas": count} for resource, count in shared.items()]
    slicing = {"renameByDefault": False, "failRequestsGreaterThanOne": True, "resources": resources}
    kind = {MPS: {"resources": resources}} if sharing == MPS else {"timeSlicing": slicing}
    flags = {"flags": {"migStrategy": "mixed"}} if mig else {}
    return {"version": "v1", **flags, **({"sharing": kind} if resources else {})}


def _of(node: str) -> str:
    return f"the node {node}" if node else "the node"
