"""Target `triton`: a model repository and a start script for each GPU or slice, and systemd units.           [pure]"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from analyzer.errors import UsageError
from planner.export.files import Export, ExportFile, ExportLink
from planner.export.names import dns_label, unique
from planner.export.overlay import overlay
from planner.export.serving import LOOPBACK, ServingPlan, TritonServer
from planner.export.settings import ExportSettings
from planner.export.start_scripts import START, start_all_script, start_script, systemd_unit


@dataclass(frozen=True, slots=True, kw_only=True)
class _Visible:
    """What a server sees as its GPU: CUDA_VISIBLE_DEVICES, and why that is not sure; None where it is not known."""

    gpu: str | None
    doubt: str = ""


def export(plan: ServingPlan, settings: ExportSettings) -> Export:
    """Return the repositories, scripts and units of all hosts.

    Raises
    ------
    UsageError
        If the model repository is not given, or a unit cannot name the folder.
    """
    if not plan.repository:
        raise UsageError("the scripts serve the models of a repository: give it with `model_folder`")
    assert settings.output is not None, "the settings ask for it"
    root = str(settings.output.resolve())
    if not root.isprintable() or root.endswith("\\"):
        raise UsageError(f"a systemd unit cannot name the folder {root!r}: choose another `output`")
    hosts = plan.hosts()
    folders = unique(hosts, dns_label) if len(hosts) > 1 else dict.fromkeys(hosts, "")
    files: list[ExportFile] = []
    links: list[ExportLink] = []
    doubts: list[str] = []
    for host, servers in hosts.items():
        base = f"{folders[host]}/" if folders[host] else ""
        for server, visible in zip(servers, _visible(servers), strict=True):
            doubts += [visible.doubt] if visible.doubt else []
            parts = overlay(plan, server, f"{base}{server.name}/models")
            files += [*parts[0], *_scripts(plan, server, visible, root, base)]
            links += parts[1]
        text = start_all_script(plan.header("triton"), [server.name for server in servers])
        files.append(ExportFile(path=f"{base}{START}", text=text, executable=True))
    return Export(
        files=tuple(files),
        links=tuple(links),
        not_expressed=(*plan.not_expressed, *doubts, *_one_host(plan)),
        usage=tuple(line for host in hosts for line in _usage(host, folders[host])),
    )


def _scripts(plan: ServingPlan, server: TritonServer, visible: _Visible, root: str, base: str) -> list[ExportFile]:
    header, folder = plan.header("triton"), f"{base}{server.name}"
    names = [model.name for model in server.models]
    script = start_script(
        header,
        server,
        # Triton 24.10 does not decode percent-encoded paths, so only these names can be asked for over HTTP
        ready=[f"/v2/models/{name}/ready" for name in names if quote(name, safe="") == name],
        visible=visible.gpu,
    )
    unit = systemd_unit(header, server, f"{root}/{folder}")
    return [
        ExportFile(path=f"{folder}/{START}", text=script, executable=True),
        ExportFile(path=f"{base}systemd/triton-{server.name}.service", text=unit),
    ]


def _visible(servers: Sequence[TritonServer]) -> list[_Visible]:
    """Return what each server of a host sees; a GPU without a UUID by its number there, a slice not at all."""
    numbers = {gpu: k for k, gpu in enumerate(dict.fromkeys(server.gpu for server in servers))}
    found = []
    for server in servers:
        if server.uuid is not None:
            found.append(_Visible(gpu=server.uuid))
        elif server.slice is not None:
            where = f"the slice {server.slice.profile} at {server.slice.start} of {server.gpu}"
            doubt = f"{where} has no UUID yet: give it with `inventory`, or set CUDA_VISIBLE_DEVICES for {server.name}"
            found.append(_Visible(gpu=None, doubt=doubt))
        else:
            known = server.real.index if server.real else None
            number = numbers[server.gpu] if known is None else known
            doubt = f"{server.gpu} has no UUID and is taken to be number {number} of its host: give it with `inventory`"
            found.append(_Visible(gpu=str(number), doubt=doubt))
    return found


def _one_host(plan: ServingPlan) -> tuple[str, ...]:
    """Say that GPUs of different nodes are started on one host, where that is so."""
    nodes = {(server.type, server.node) for server in plan.servers if server.node is not None}
    if len(nodes) < 2 or any(server.real for server in plan.servers):
        return ()
    return (f"the plan has its GPUs on {len(nodes)} nodes, and the scripts start all on one: give `inventory`",)


def _usage(host: str, folder: str) -> list[str]:
    if not folder:
        return [f"./{START}", 'sudo systemctl link "$PWD"/systemd/*.service']
    return [f"ADDRESS=0.0.0.0 ./{folder}/{START}  # on {host}; {LOOPBACK} without ADDRESS"]
