"""Run Triton in a container of the Docker engine on this host."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from analyzer.errors import ServerError
from analyzer.servers import RunningServer
from analyzer.servers.docker_container import (
    ANSWER_TIMEOUT_S,
    OWNER_LABEL,
    TritonContainer,
    answering,
    cause,
    container_options,
    remove_segments,
)
from analyzer.servers.orphans import is_orphan
from analyzer.servers.ports import LOOPBACK, START_TIMEOUT_S, Ports, start_on_ports

if TYPE_CHECKING:
    from docker import DockerClient

REPOSITORY = "nvcr.io/nvidia/tritonserver"  # https://catalog.ngc.nvidia.com/orgs/nvidia/containers/tritonserver
PRIVATE_SHM_BYTES = 1 << 30
FollowPull = Callable[[str, Iterable[Mapping[str, Any]]], str | None]
PING_TIMEOUT_S = 1.5  # that no engine answers must be reported within 2 s


def triton_image(version: str) -> str:
    """Return the name of NVIDIA's image of a release, such as ``24.10-py3``."""
    return f"{REPOSITORY}:{version}"


def connect() -> DockerClient:
    """Connect to the engine that the environment names (DOCKER_HOST, else the default socket).

    Raises
    ------
    ServerError
        If no engine answers there, or it is on another host: the server's loopback ports would be there too.
    """
    import docker

    host = os.environ.get("DOCKER_HOST", "")
    address = urlsplit(host)
    if address.scheme in ("tcp", "http", "https", "ssh") and address.hostname not in ("localhost", LOOPBACK, "::1"):
        raise ServerError(
            f"the Docker engine at {host} is on another host: start Triton there and use "
            "`launch_mode='remote'` with `url`"
        )
    try:
        client = docker.from_env(timeout=PING_TIMEOUT_S)  # type: ignore[arg-type]  # seconds; floats work
    except (docker.errors.DockerException, OSError) as error:
        raise ServerError(
            f"no Docker engine answers at {host or 'its default socket'} ({cause(error)}): start it, "
            "or use `launch_mode='local'`"
        ) from error
    client.api.timeout = ANSWER_TIMEOUT_S  # type: ignore[assignment]
    return client


class DockerServer:
    """Runs Triton in a container, on loopback ports of the host's network.

    Parameters
    ----------
    image : str
        The image to run; pulled if the engine does not have it.
    http_port, grpc_port, metrics_port : int or None
        Ports to listen on; None for a free one.
    start_timeout_s : float
        How long the server may take until it is ready, in seconds.
    shm_bytes : int or None
        Size of the container's shared memory; the Python backend passes tensors through it. None shares this host's.
    follow_pull : callable, optional
        Reads the events of a pull and shows its progress; by default `read_pull`, which shows nothing.
    """

    def __init__(
        self,
        image: str,
        *,
        http_port: int | None = None,
        grpc_port: int | None = None,
        metrics_port: int | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
        shm_bytes: int | None = PRIVATE_SHM_BYTES,
        follow_pull: FollowPull | None = None,
    ) -> None:
        self._image = image
        self._ports = (http_port, grpc_port, metrics_port)
        self._start_timeout_s = start_timeout_s
        self._shm_bytes = shm_bytes
        self._follow_pull = follow_pull or read_pull

    @property
    def image(self) -> str:
        """The image that it runs."""
        return self._image

    def describe(self) -> str:
        """Describe the server in a few words."""
        return f"docker, {self._image}"

    @contextmanager
    def serve(self, repository: Path, *, gpus: Sequence[str] = ()) -> Iterator[RunningServer]:
        """Yield a ready server without models; see `Server.serve`."""
        if not repository.is_dir():
            raise ServerError(f"the model repository {repository} is not a folder")
        client = connect()
        try:
            with answering():
                remove_orphans(client)
            digest = find_or_pull(client, self._image, self._follow_pull)

            def make(ports: Ports) -> TritonContainer:
                options = container_options(self._image, repository.resolve(), gpus, ports, self._shm_bytes)
                return TritonContainer(client, options, ports, digest)

            server = start_on_ports(make, *self._ports, timeout_s=self._start_timeout_s)
            try:
                yield server
            except BaseException:
                with suppress(ServerError):  # what ended the run is the cause to report
                    server.stop()
                raise
            server.stop()
        finally:
            client.close()


def find_or_pull(client: DockerClient, image: str, follow_pull: FollowPull) -> str:
    """Return the image's digest (its id if it comes from no registry), after pulling it if it is missing.

    Raises
    ------
    ServerError
        If the image is not on this host and cannot be pulled.
    """
    import docker

    try:
        try:
            found = client.images.get(image)
        except docker.errors.ImageNotFound:
            pull(client, image, follow_pull)
            found = client.images.get(image)
    except (docker.errors.DockerException, OSError) as error:
        raise ServerError(
            f"the image {image} is not on this host and cannot be pulled ({cause(error)}): correct "
            "`triton_version`, name an image with `triton_image`, or use `launch_mode='local'`"
        ) from error
    digests: list[str] = found.attrs.get("RepoDigests") or []
    return digests[0].rpartition("@")[2] if digests else str(found.id)


def pull(client: DockerClient, image: str, follow_pull: FollowPull) -> None:
    """Pull an image.

    Raises
    ------
    docker.errors.DockerException
        If the registry refuses or fails.
    """
    import docker
    from docker.utils import parse_repository_tag

    name, tag = parse_repository_tag(image)
    failure = follow_pull(image, client.api.pull(name, tag=tag or "latest", stream=True, decode=True))
    if failure:
        raise docker.errors.DockerException(failure)


def read_pull(image: str, events: Iterable[Mapping[str, Any]]) -> str | None:
    """Read the events of a pull to the end; return its error message, None if it succeeded.

    Parameters
    ----------
    image : str
        Name of the image.
    events : iterable of mapping
        As the engine's API streams them for ``POST /images/create``.
    """
    return next((str(event["error"]) for event in events if "error" in event), None)


def remove_orphans(client: DockerClient) -> None:
    """Remove this tool's containers whose owner is gone: killed together with its watcher, or ended by a reboot."""
    import docker

    for container in client.containers.list(all=True, filters={"label": OWNER_LABEL}, ignore_removed=True):
        if is_orphan(container.labels[OWNER_LABEL], running=container.status == "running"):
            with suppress(docker.errors.APIError):  # another run of this tool is removing it
                container.remove(force=True, v=True)
                remove_segments(container.name or "")
