"""Target `triton`: a model repository and a start script for each GPU or slice, and systemd units.           [pure]"""

from __future__ import annotations

from analyzer.errors import UsageError
from analyzer.formats.units import listed
from analyzer.models.backend import backend_to_find
from analyzer.models.dependencies import all_dependencies
from planner.export.files import Export, ExportFile, ExportLink
from planner.export.hosts import VisibleGpu, host_folders, one_host, visible_gpus
from planner.export.overlay import overlay
from planner.export.serving import LOOPBACK, ServingPlan, TritonServer
from planner.export.settings import ExportSettings
from planner.export.start_scripts import START, start_all_script, start_script, systemd_unit


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
    hosts, folders = plan.hosts(), host_folders(plan)
    files: list[ExportFile] = []
    links: list[ExportLink] = []
    doubts: list[str] = []
    for host, servers in hosts.items():
        base = folders[host]
        for server, visible in zip(servers, visible_gpus(servers, _way_out), strict=True):
            doubts += [visible.doubt] if visible.doubt else []
            parts = overlay(plan, server, f"{base}{server.name}/models")
            files += [*parts[0], *_scripts(plan, server, visible, root, base)]
            links += parts[1]
        text = start_all_script(plan.header("triton"), [server.name for server in servers])
        files.append(ExportFile(path=f"{base}{START}", text=text, executable=True))
    return Export(
        files=tuple(files),
        links=tuple(links),
        not_expressed=(*plan.not_expressed, *doubts, *one_host(plan)),
        usage=(*_needed_backends(plan), *(line for host in hosts for line in _usage(host, folders[host]))),
    )


def _scripts(plan: ServingPlan, server: TritonServer, visible: VisibleGpu, root: str, base: str) -> list[ExportFile]:
    header, folder = plan.header("triton"), f"{base}{server.name}"
    script = start_script(header, server, visible=visible.gpu)
    unit = systemd_unit(header, server, f"{root}/{folder}")
    return [
        ExportFile(path=f"{folder}/{START}", text=script, executable=True),
        ExportFile(path=f"{base}systemd/triton-{server.name}.service", text=unit),
    ]


def _needed_backends(plan: ServingPlan) -> list[str]:
    """Say which tritonserver the scripts need, if it is one with more backends than Python's."""
    models = [plan.repository[model.source] for server in plan.servers for model in server.models]
    needed = {
        backend_to_find(plan.repository[name])
        for model in models
        for name in (model.name, *all_dependencies(model, plan.repository))
    }
    backends = sorted(name for name in needed if name and name != "python")
    if not backends:
        return []
    return [
        f"# needs a tritonserver with {listed(backends)}, on PATH or named by TRITONSERVER; nvidia-pytriton's has "
        "Python's backend alone"
    ]


def _way_out(server: TritonServer) -> str:
    return f"set CUDA_VISIBLE_DEVICES for {server.name}"


def _usage(host: str, folder: str) -> list[str]:
    if not folder:
        return [f"./{START}", 'sudo systemctl link "$PWD"/systemd/*.service']
    return [f"ADDRESS=0.0.0.0 ./{folder}{START}  # on {host}; {LOOPBACK} without ADDRESS"]
