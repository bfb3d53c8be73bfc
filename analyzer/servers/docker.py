"""Triton in a container of the Docker engine on this host."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from analyzer.errors import ServerError
from analyzer.servers import Endpoint, RunningServer
from analyzer.servers.launch import (
    LOOPBACK,
    START_TIMEOUT_S,
    Ports,
    exit_cause,
    has_ended,
    start_on_ports,
    triton_flags,
    triton_version,
    wait_until_ready,
)
from analyzer.servers.owner import is_orphan, our_mark
from analyzer.servers.pull_progress import show_pull

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

REPOSITORY = "nvcr.io/nvidia/tritonserver"  # https://catalog.ngc.nvidia.com/orgs/nvidia/containers/tritonserver
PING_TIMEOUT_S = 1.5  # an engine that does not answer must be told within 2 s
ANSWER_TIMEOUT_S = 60.0  # for everything after that; creating a container on a cold disk takes its time
OWNER_LABEL = "tritonpack.owner"


def triton_image(version: str) -> str:
    """Name NVIDIA's image of a release, such as ``24.10-py3``."""
    return f"{REPOSITORY}:{version}"


def connect() -> DockerClient:
    """Connect to the engine that the environment names (DOCKER_HOST, else the default socket).

    Raises
    ------
    ServerError
        If no engine answers there, or it is on another host, where our loopback ports would be.
    """
    import docker

    host = os.environ.get("DOCKER_HOST", "")
    address = urlsplit(host)
    if address.scheme in ("tcp", "http", "https", "ssh") and address.hostname not in ("localhost", LOOPBACK, "::1"):
        raise ServerError(
            f"the Docker engine at {host} is on another host: start Triton there and use --launch-mode remote --url"
        )
    try:
        client = docker.from_env(timeout=PING_TIMEOUT_S)  # type: ignore[arg-type]  # seconds; floats work
    except (docker.errors.DockerException, OSError) as error:
        raise ServerError(
            f"no Docker engine answers at {host or 'its default socket'} ({_cause(error)}): start it, "
            "or use --launch-mode local"
        ) from error
    client.api.timeout = ANSWER_TIMEOUT_S  # type: ignore[assignment]
    return client


class DockerServer:
    """A Triton container of our own, on loopback ports of the host's network.

    Parameters
    ----------
    image : str
        The image to run; pulled where the engine does not have it.
    http_port, grpc_port, metrics_port : int or None
        Ports to listen on; None takes free ones.
    start_timeout_s : float
        How long the server may take until it is ready, in seconds.
    shm_bytes : int
        Size of the container's shared memory; the Python backend passes tensors through it.
    """

    def __init__(
        self,
        image: str,
        *,
        http_port: int | None = None,
        grpc_port: int | None = None,
        metrics_port: int | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
        shm_bytes: int = 1 << 30,
    ) -> None:
        self._image = image
        self._ports = (http_port, grpc_port, metrics_port)
        self._start_timeout_s = start_timeout_s
        self._shm_bytes = shm_bytes

    def describe(self) -> str:
        """Say in a few words what will serve."""
        return f"docker, {self._image}"

    @contextmanager
    def serve(self, repository: Path, *, gpus: Sequence[str] = ()) -> Iterator[RunningServer]:
        """Yield a ready server without models; see `Server.serve`."""
        if not repository.is_dir():
            raise ServerError(f"the model repository {repository} is not a folder")
        client = connect()
        try:
            remove_orphans(client)
            digest = find_or_pull(client, self._image)

            def start(ports: Ports) -> TritonContainer:
                options = container_options(self._image, repository.resolve(), gpus, ports, self._shm_bytes)
                container = TritonContainer(client, options, ports, digest)
                try:
                    container.start(self._start_timeout_s)
                except BaseException:  # Ctrl-C while it starts
                    container.stop()
                    raise
                return container

            server = start_on_ports(start, *self._ports)
            try:
                yield server
            finally:
                server.stop()
        finally:
            client.close()


def container_options(
    image: str, repository: Path, gpus: Sequence[str], ports: Ports, shm_bytes: int
) -> dict[str, Any]:
    """List what `docker create` is asked for: as few rights as Triton can run with.

    The process runs as the user who asked (as the repository's owner where that is root), so it reads what he can
    read; its root file system is read-only but for /tmp, where models may compile, hence ``exec``.
    """
    from docker.types import DeviceRequest, Mount

    owner = repository.stat() if os.getuid() == 0 else None
    user, group = (owner.st_uid, owner.st_gid) if owner else (os.getuid(), os.getgid())
    return {
        "image": image,
        "command": ["tritonserver", *triton_flags("/models", ports, shm_prefix="tritonpack_")],
        "name": f"tritonpack-{uuid.uuid4().hex[:8]}",
        "labels": {"tritonpack": "server", OWNER_LABEL: our_mark()},
        "network_mode": "host",
        "ipc_mode": "private",
        "shm_size": shm_bytes,
        "mounts": [Mount("/models", str(repository), type="bind", read_only=True)],
        "read_only": True,
        "tmpfs": {"/tmp": "exec,mode=1777"},  # noqa: S108 - the container's own
        "user": f"{user}:{group}",
        "group_add": [str(number) for number in os.getgroups()] if os.getuid() else [],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "environment": {"HOME": "/tmp"},  # noqa: S108
        "device_requests": [DeviceRequest(device_ids=list(gpus), capabilities=[["gpu"]])] if gpus else None,
    }


class TritonContainer:
    """A container, and the watcher that removes it should we be killed."""

    def __init__(self, client: DockerClient, options: dict[str, Any], ports: Ports, digest: str) -> None:
        self._client = client
        self._options = options
        self._name = str(options["name"])
        self._ports = ports
        self._digest = digest
        self._container: Container | None = None
        self._process_id: int | None = None
        self._version = ""
        self._ready_at: float | None = None  # by the clock: what the log said before does not explain a later death
        self._watcher = subprocess.Popen(
            [sys.executable, "-m", "analyzer.servers.docker", self._name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches only us
        )

    def start(self, timeout_s: float) -> None:
        """Create and start the container; return once Triton is ready.

        Raises
        ------
        ServerError
            If the engine refuses, or Triton ends or is not ready in time.
        """
        import docker

        try:
            self._container = self._client.containers.create(**self._options)
            self._container.start()
        except (docker.errors.DockerException, OSError) as error:
            cause = _cause(error)
            way_out = "install NVIDIA's container toolkit on this host, or " if "device driver" in cause else ""
            raise ServerError(
                f"the Docker engine could not start {self._options['image']} ({cause}): "
                f"{way_out}use --launch-mode local"
            ) from error
        wait_until_ready(self._ports, timeout_s=timeout_s, death=self.death, log=self._read_log)
        self._version = triton_version(f"{LOOPBACK}:{self._ports.http}")
        self._container.reload()
        self._process_id = self._container.attrs["State"]["Pid"]
        self._ready_at = time.time()

    @property
    def endpoint(self) -> Endpoint:
        """Where it answers."""
        return Endpoint(
            http=f"{LOOPBACK}:{self._ports.http}",
            grpc=f"{LOOPBACK}:{self._ports.grpc}",
            metrics_url=f"http://{LOOPBACK}:{self._ports.metrics}/metrics",
            process_id=self._process_id,
            server=f"{self._version} {self._digest}",
        )

    def death(self) -> str | None:
        """Say in one line why the server is gone; None while it runs."""
        import docker

        assert self._container is not None  # noqa: S101 - started
        try:
            if has_ended(self._process_id):
                self._container.wait(timeout=ANSWER_TIMEOUT_S)  # the engine notices some milliseconds later
            self._container.reload()
            state = self._container.attrs["State"]
            if state["Running"]:
                return None
            if state.get("OOMKilled"):
                return "the container was killed because the host's memory ran out"
            return exit_cause(int(state["ExitCode"]), self._read_log())
        except docker.errors.NotFound:
            return f"the container {self._name} was removed by somebody else"
        except (docker.errors.DockerException, OSError) as error:
            return f"the Docker engine no longer answers ({_cause(error)})"

    def stop(self) -> None:
        """Remove the container; return when it is gone."""
        import docker

        # an interrupted request may still be creating it, so look twice where we never saw it
        for _ in range(1 if self._container else 5):
            with suppress(docker.errors.NotFound):
                self._client.api.remove_container(self._name, force=True, v=True)
                break
            time.sleep(0.0 if self._container else 0.1)
        assert self._watcher.stdin is not None  # noqa: S101 - opened above
        with suppress(BrokenPipeError):
            self._watcher.stdin.write(b"done\n")
            self._watcher.stdin.flush()
        with suppress(BrokenPipeError):
            self._watcher.stdin.close()
        self._watcher.wait()

    def _read_log(self) -> str:
        assert self._container is not None  # noqa: S101 - started
        return self._container.logs(since=self._ready_at, tail=200).decode(errors="replace")


def find_or_pull(client: DockerClient, image: str) -> str:
    """Return the image's digest (its id where no registry knows it), after pulling it where it is missing.

    Raises
    ------
    ServerError
        If it is neither here nor to be had.
    """
    import docker

    try:
        try:
            found = client.images.get(image)
        except docker.errors.ImageNotFound:
            pull(client, image)
            found = client.images.get(image)
    except (docker.errors.DockerException, OSError) as error:
        raise ServerError(
            f"the image {image} is not on this host and cannot be pulled ({_cause(error)}): correct "
            "--triton-version, name an image with --triton-image, or use --launch-mode local"
        ) from error
    digests: list[str] = found.attrs.get("RepoDigests") or []
    return digests[0].rpartition("@")[2] if digests else str(found.id)


def pull(client: DockerClient, image: str) -> None:
    """Pull an image, with a bar on stderr.

    Raises
    ------
    docker.errors.DockerException
        If the registry refuses or fails.
    """
    import docker
    from docker.utils import parse_repository_tag

    name, tag = parse_repository_tag(image)
    failure = show_pull(image, client.api.pull(name, tag=tag or "latest", stream=True, decode=True))
    if failure:
        raise docker.errors.DockerException(failure)


def remove_orphans(client: DockerClient) -> None:
    """Remove our containers whose owner is gone: killed, together with its watcher, or ended by a reboot."""
    import docker

    for container in client.containers.list(all=True, filters={"label": OWNER_LABEL}, ignore_removed=True):
        if is_orphan(container.labels[OWNER_LABEL], running=container.status == "running"):
            with suppress(docker.errors.APIError):  # another run of ours is removing it
                container.remove(force=True, v=True)


def watch(name: str) -> None:
    """Wait until stdin ends, and remove the container unless the word ``done`` came first: then we were killed."""
    if sys.stdin.read():
        return
    import docker

    client = docker.from_env(timeout=int(ANSWER_TIMEOUT_S))
    for _ in range(50):  # the engine may still be creating it
        with suppress(docker.errors.NotFound):
            client.api.remove_container(name, force=True, v=True)
            return
        time.sleep(0.1)


def _cause(error: BaseException) -> str:
    """Say in one line what the engine, or the way to it, complained about."""
    explanation = getattr(error, "explanation", None) or str(error)
    return " ".join(str(explanation).split())[:300]


if __name__ == "__main__":
    watch(sys.argv[1])
