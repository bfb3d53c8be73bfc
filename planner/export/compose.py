"""Target `compose`: the Tritons of a host as containers, with Envoy in front of them and Prometheus beside.   [pure]

All containers use the host's network, so ports and configurations are those of the targets `triton`, `envoy` and
`prometheus`. Of several hosts each has a folder with a compose.yaml for its Tritons, and the compose.yaml beside these
folders has Envoy and Prometheus.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from analyzer.errors import UsageError
from planner.export import envoy, prometheus
from planner.export.files import Export, ExportFile, ExportLink
from planner.export.hosts import VisibleGpu, host_folders, one_host, visible_gpus
from planner.export.names import dns_label, identifier
from planner.export.overlay import overlay
from planner.export.serving import LOOPBACK, ServingPlan, TritonServer
from planner.export.settings import ExportSettings
from planner.export.start_scripts import ANSWERS, GRACE_S, READY_TIMEOUT_S, arguments, ready_paths
from planner.export.yaml_text import yaml_text

COMPOSE = "compose.yaml"
_MODELS = "/overlay"  # where a container has its model repository
_ADDRESS = f"${{ADDRESS:-{LOOPBACK}}}"  # filled in by compose
_SHARED_MEMORY = "1gb"  # of /dev/shm, for the Python backend's tensors
_HEALTH_CHECK = f"""\
own_address=$1 http_port=$2
shift 2
{ANSWERS}
for path in /v2/health/ready "$@"; do
  answers "$path" || exit 1
done
"""


def export(plan: ServingPlan, settings: ExportSettings) -> Export:
    """Return the repositories, and the services of all hosts.

    Raises
    ------
    UsageError
        If the model repository is not given, or two services would have one port or name.
    """
    if not plan.repository:
        raise UsageError("the containers serve the models of a repository: give it with `model_folder`")
    _check_ports(plan, settings)
    folders = host_folders(plan)
    several = len(folders) > 1
    services, files = _front(plan if several else _on_loopback(plan), settings, () if several else plan.servers)
    links: list[ExportLink] = []
    facts: list[str] = []
    for host, servers in plan.hosts().items():
        tritons: dict[str, Any] = {}
        for server, gpu in zip(servers, visible_gpus(servers, _way_out), strict=True):
            if server.name in services:
                raise UsageError(f"{server.gpu!r} is the name of another service: give the GPU another id in the plan")
            parts = overlay(plan, server, f"{folders[host]}{server.name}/models")
            tritons[server.name] = _triton(server, gpu, *parts, settings)
            files += parts[0]
            links += parts[1]
            facts += [gpu.doubt] if gpu.doubt else []
            facts += [] if settings.copy_models else _links_out(parts[1])
        if several:
            files.append(_compose_file(plan, settings, folders[host], tritons))
        else:
            services = tritons | services
    files.append(_compose_file(plan, settings, "", services))
    facts += [*one_host(plan), *envoy.not_expressed(plan), *prometheus.not_expressed(plan)]
    return Export(
        files=tuple(files),
        links=tuple(links),
        not_expressed=(*plan.not_expressed, *dict.fromkeys(facts)),
        usage=tuple(_usage(folders)),
    )


def _check_ports(plan: ServingPlan, settings: ExportSettings) -> None:
    """Raise UsageError for a port of two services, which may all be on one host."""
    together = _on_loopback(plan)
    taken = {port: f"Envoy's {name}" for name, port in envoy.ports(together, settings).items()}
    for server in plan.servers:
        taken |= dict.fromkeys((server.http_port, server.grpc_port, server.metrics_port), server.name)
    if settings.prometheus_port in taken:
        port = settings.prometheus_port
        raise UsageError(f"port {port} is that of {taken[port]}: choose another `prometheus_port`")


def _on_loopback(plan: ServingPlan) -> ServingPlan:
    """Return the plan with servers that are reached on their own host."""
    servers = tuple(
        replace(server, real=replace(server.real, address=LOOPBACK)) if server.real else server
        for server in plan.servers
    )
    return replace(plan, servers=servers)


def _front(
    plan: ServingPlan, settings: ExportSettings, servers: Sequence[TritonServer]
) -> tuple[dict[str, Any], list[ExportFile]]:
    """Return the services of Envoy and Prometheus, which wait for these servers, and their configurations."""
    header = plan.header("compose")
    routing = ExportFile(path="envoy.yaml", text=yaml_text(header, envoy.configuration(plan, settings)))
    monitoring = prometheus.configuration(plan, header)
    waits = {"depends_on": {server.name: {"condition": "service_healthy"} for server in servers}} if servers else {}
    services = {
        "envoy": {
            **_common(settings.envoy_image, [routing.text.removeprefix(header)]),
            # without hot restart several of them can be on one host
            "command": ["envoy", "-c", "/etc/envoy/envoy.yaml", "--disable-hot-restart"],
            "volumes": [_mount("./envoy.yaml", "/etc/envoy/envoy.yaml")],
            **waits,
        },
        "prometheus": {
            **_common(settings.prometheus_image, [file.text.removeprefix(header) for file in monitoring]),
            "command": [
                "--config.file=/etc/prometheus/prometheus.yml",
                "--storage.tsdb.path=/prometheus",
                f"--web.listen-address={LOOPBACK}:{settings.prometheus_port}",
            ],
            "volumes": [
                *(_mount(f"./{file.path}", f"/etc/prometheus/{file.path}") for file in monitoring),
                {"type": "volume", "source": "prometheus", "target": "/prometheus"},
            ],
            **waits,
        },
    }
    return services, [routing, *monitoring]


def _triton(
    server: TritonServer,
    gpu: VisibleGpu,
    files: Sequence[ExportFile],
    links: Sequence[ExportLink],
    settings: ExportSettings,
) -> dict[str, Any]:
    """Return the service of one Triton."""
    device = gpu.gpu if gpu.gpu is not None else f"${{{_variable(server)}:?the UUID of the MIG slice of {server.name}}}"
    sources = [] if settings.copy_models else list(dict.fromkeys(str(link.source) for link in links))
    ready = [str(server.http_port), *ready_paths(server)]
    return {
        **_common(settings.triton_image, [file.text for file in files]),
        "command": [
            "tritonserver",
            f"--model-repository={_MODELS}",
            *map(compose_text, arguments(server)),
            *(f"--{protocol}-address={_ADDRESS}" for protocol in ("http", "grpc", "metrics")),
        ],
        "init": True,  # ends the Python backend's processes with the server
        "stop_grace_period": f"{GRACE_S}s",
        "shm_size": _SHARED_MEMORY,
        "volumes": [
            _mount(f"./{server.name}/models", _MODELS),
            *(_mount(source, source) for source in sources),  # where the repository's links lead
        ],
        "healthcheck": {
            "test": ["CMD", "bash", "-c", compose_text(_HEALTH_CHECK), "ready", _ADDRESS, *map(compose_text, ready)],
            "interval": "5s",
            "timeout": "10s",
            "retries": 3,
            "start_period": f"{READY_TIMEOUT_S}s",
        },
        "deploy": {
            "resources": {
                "reservations": {"devices": [{"driver": "nvidia", "device_ids": [device], "capabilities": ["gpu"]}]}
            }
        },
    }


def _common(image: str, contents: Iterable[str]) -> dict[str, Any]:
    """Return what all services have; the label has compose start a service anew if a file of its own changed."""
    digest = hashlib.sha256("\0".join(contents).encode()).hexdigest()
    return {
        "image": compose_text(image),
        "network_mode": "host",
        "restart": "unless-stopped",
        "security_opt": ["no-new-privileges:true"],
        "labels": {"tritonpack.files": f"sha256:{digest}"},
    }


def _mount(source: str, target: str) -> dict[str, Any]:
    return {
        "type": "bind",
        "source": compose_text(source),
        "target": compose_text(target),
        "read_only": True,
        "bind": {"create_host_path": False},
    }


def compose_text(text: str) -> str:
    """Return a text in which compose finds no variables."""
    return text.replace("$", "$$")


def _compose_file(plan: ServingPlan, settings: ExportSettings, folder: str, services: dict[str, Any]) -> ExportFile:
    assert settings.output is not None, "the settings ask for it"
    name = dns_label(f"{settings.output.resolve().name}-{folder}")
    document: dict[str, Any] = {"name": name, "services": services}
    if "prometheus" in services:
        document["volumes"] = {"prometheus": {}}
    return ExportFile(path=folder + COMPOSE, text=yaml_text(plan.header("compose"), document))


def _links_out(links: Sequence[ExportLink]) -> Iterable[str]:
    """Yield where the models' own links lead out of what is mounted."""
    mounted = dict.fromkeys(link.source for link in links)
    for source in mounted:
        for path in sorted(source.rglob("*")):
            if path.is_symlink() and not any(path.resolve().is_relative_to(other) for other in mounted):
                yield f"{path} is a link out of its model, which a container does not see: use `copy_models`"


def _variable(server: TritonServer) -> str:
    return f"UUID_{identifier(server.name).upper()}"


def _way_out(server: TritonServer) -> str:
    return f"set the variable {_variable(server)}"


def _usage(folders: dict[str, str]) -> Iterable[str]:
    up = "up --detach --wait"
    if len(folders) == 1:
        yield f"docker compose {up}"
        return
    for host, folder in folders.items():
        yield f"ADDRESS=0.0.0.0 docker compose -f {folder}{COMPOSE} {up}  # on {host}"
    yield f"docker compose {up}  # on the host that clients call"
