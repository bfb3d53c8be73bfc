"""The Kubernetes objects of one kind of Triton: its configurations, Deployment and Service.                 [pure]"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from analyzer.models.config_file import CONFIG_FILE
from planner.export.model_source import MOUNT, ModelSource
from planner.export.names import dns_label, unique
from planner.export.serving import ServingPlan, TritonServer, model_arguments

OVERLAY = "/overlay"
CONFIGS = "/configs"
PART_OF = {"app.kubernetes.io/part-of": "tritonpack"}
# objects of an earlier plan that are no longer needed go
APPLY = "kubectl apply -k . --prune -l app.kubernetes.io/part-of=tritonpack"
_PORTS = {"http": 8000, "grpc": 8001, "metrics": 8002}
_USER = 1000  # triton-server in NVIDIA's image


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterNames:
    """Legal names of a plan's parts in a cluster.

    Parameters
    ----------
    plan : str
        Name of the plan, from its digest.
    models : mapping of str to str
        A label for each model.
    """

    plan: str
    models: Mapping[str, str]

    @classmethod
    def of(cls, plan: ServingPlan) -> ClusterNames:
        """Return the names for a plan."""
        models = {model.name for server in plan.servers for model in server.models}
        return cls(plan=f"plan-{plan.digest[:8]}", models=unique(sorted(models), dns_label, most=50))

    def model_label(self, model: str) -> str:
        """Key of the label that pods with a model have."""
        return f"model.tritonpack/{self.models[model]}"

    def service(self, model: str) -> str:
        """Name of the Service that reaches all pods with a model."""
        return f"model-{self.models[model]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRequest:
    """How pods get their GPUs: entries of the container and of the pod's specification, and objects besides."""

    container: Mapping[str, Any]
    pod: Mapping[str, Any]
    objects: tuple[Mapping[str, Any], ...] = ()


def metadata(name: str, namespace: str, names: ClusterNames, **more: Any) -> dict[str, Any]:
    """Return the metadata of an object of the plan."""
    labels = {"app.kubernetes.io/name": "triton", **PART_OF, "tritonpack/plan": names.plan}
    return {"name": name, "namespace": namespace, "labels": labels, **more}


def config_name(names: ClusterNames, server: TritonServer) -> str:
    """Return the name under which a server reads its configurations from an object store."""
    return f"{names.plan}-{server.name}"


def config_map(server: TritonServer, namespace: str, names: ClusterNames) -> dict[str, Any]:
    """Return the ConfigMap with a server's `repository_files`."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(server.name, namespace, names),
        "data": repository_files(server, names),
    }


def repository_files(server: TritonServer, names: ClusterNames) -> dict[str, str]:
    """Return a server's configurations by their file names, and the script that lays its repository out."""
    configs = {f"{names.models[model.name]}.pbtxt": model.config for model in server.models if model.config is not None}
    return {"overlay.sh": _overlay_script(server, names), **configs}


def _overlay_script(server: TritonServer, names: ClusterNames) -> str:
    """Return the script of the init container: links to the version folders, configurations as measured."""
    lines = ["set -eu"]
    for model in server.models:
        source, target = shlex.quote(f"{MOUNT}/{model.source}"), shlex.quote(f"{OVERLAY}/{model.name}")
        lines.append(f"mkdir -p {target}")
        lines.append(f"ln -s {source}/* {target}/")
        if model.config is not None:
            lines.append(f"rm -f {target}/{CONFIG_FILE}")
            lines.append(f"cp {CONFIGS}/{names.models[model.name]}.pbtxt {target}/{CONFIG_FILE}")
    lines += [
        f"ln -s {shlex.quote(f'{MOUNT}/{name}')} {shlex.quote(f'{OVERLAY}/{name}')}" for name in server.dependencies
    ]
    return "\n".join(lines) + "\n"


def deployment(
    servers: Sequence[TritonServer], namespace: str, names: ClusterNames, pod: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the Deployment of servers that run the same, with a replica for each.

    Parameters
    ----------
    pod : mapping
        The specification of its pods; see `pod_spec`.
    """
    first = servers[0]
    selector = {"tritonpack/server": first.name}  # not the plan: a selector can never be changed
    labels = {"app.kubernetes.io/name": "triton", **PART_OF, **selector, "tritonpack/plan": names.plan}
    labels |= {names.model_label(model.name): "true" for model in first.models}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(
            first.name,
            namespace,
            names,
            annotations={"tritonpack/gpus": ",".join(server.gpu for server in servers)},
        ),
        "spec": {
            "replicas": len(servers),
            "selector": {"matchLabels": selector},
            # a new pod needs the old one's GPU
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": labels},
                "spec": pod,
            },
        },
    }


def pod_spec(
    server: TritonServer,
    source: ModelSource,
    image: str,
    names: ClusterNames,
    *,
    container: Mapping[str, Any],
    pod: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the specification of a server's pod.

    Parameters
    ----------
    container, pod : mapping
        What gives the pod its GPU: entries of the container and of the pod's specification.
    """
    limited = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    mounts: list[dict[str, Any]] = [{"name": "shm", "mountPath": "/dev/shm"}]  # noqa: S108 - the Python backend's tensors
    volumes: list[dict[str, Any]] = [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}}]
    init: list[dict[str, Any]] = []
    if source.volume is not None:
        volumes += [
            {"name": "models", **source.volume},
            {"name": "configs", "configMap": {"name": server.name}},
            {"name": "overlay", "emptyDir": {}},
        ]
        models = {"name": "models", "mountPath": MOUNT, "readOnly": True}
        init.append(
            {
                "name": "overlay",
                "image": image,
                "command": ["sh", f"{CONFIGS}/overlay.sh"],
                "securityContext": limited,
                "volumeMounts": [
                    models,
                    {"name": "configs", "mountPath": CONFIGS, "readOnly": True},
                    {"name": "overlay", "mountPath": OVERLAY},
                ],
            }
        )
        mounts += [models, {"name": "overlay", "mountPath": OVERLAY, "readOnly": True}]
    return {
        **pod,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        **({"initContainers": init} if init else {}),
        "containers": [
            {
                "name": "triton",
                "image": image,
                "args": arguments(server, source, names),
                "ports": [{"name": name, "containerPort": port} for name, port in _PORTS.items()],
                "startupProbe": {**_probe("ready"), "periodSeconds": 5, "failureThreshold": 120},
                "readinessProbe": {**_probe("ready"), "periodSeconds": 5},
                "livenessProbe": {**_probe("live"), "periodSeconds": 10, "timeoutSeconds": 5},
                "securityContext": limited,
                "volumeMounts": mounts,
                **container,
            }
        ],
        "volumes": volumes,
    }


def arguments(server: TritonServer, source: ModelSource, names: ClusterNames) -> list[str]:
    """Return the command of a server's container."""
    named = source.volume is None and any(model.changed for model in server.models)
    return [
        "tritonserver",
        f"--model-repository={OVERLAY if source.volume is not None else source.uri}",
        *([f"--model-config-name={config_name(names, server)}"] if named else []),
        # $( would begin the name of an environment variable
        *(argument.replace("$(", "$$(") for argument in model_arguments(server)),
    ]


def _probe(what: str) -> dict[str, Any]:
    return {"httpGet": {"path": f"/v2/health/{what}", "port": "http"}}


def service(name: str, namespace: str, names: ClusterNames, selector: Mapping[str, str]) -> dict[str, Any]:
    """Return a Service of the pods with these labels, for HTTP, gRPC and metrics."""
    ports = [{"name": kind, "port": port, "targetPort": kind} for kind, port in _PORTS.items()]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(name, namespace, names),
        "spec": {"selector": dict(selector), "ports": ports},
    }
