"""Which server a launch mode means on this host."""

from __future__ import annotations

from dataclasses import dataclass

from analyzer.errors import ServerError, UsageError
from analyzer.servers import DEFAULT_TRITON_VERSION, LaunchMode, Server
from analyzer.servers.docker import PRIVATE_SHM_BYTES, DockerServer, FollowPull, connect, triton_image
from analyzer.servers.local import Installation, LocalServer
from analyzer.servers.ports import START_TIMEOUT_S
from analyzer.servers.remote import RemoteServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What the command line says about the server.

    Parameters
    ----------
    triton_version : str
        NVIDIA's release, such as ``24.10-py3``.
    image : str or None
        An image instead of NVIDIA's.
    url, metrics_url : str or None
        Of a server that runs already.
    http_port, grpc_port, metrics_port : int or None
        None takes free ones.
    start_timeout_s : float
        How long the server may take to be ready, in seconds.
    shared_memory : bool
        Whether a container shares this host's /dev/shm; a process of the host does so anyway.
    follow_pull : callable or None
        Shows the pull of an image; see `DockerServer`.
    """

    mode: LaunchMode = LaunchMode.AUTO
    triton_version: str = DEFAULT_TRITON_VERSION
    image: str | None = None
    url: str | None = None
    metrics_url: str | None = None
    http_port: int | None = None
    grpc_port: int | None = None
    metrics_port: int | None = None
    start_timeout_s: float = START_TIMEOUT_S
    shared_memory: bool = False
    follow_pull: FollowPull | None = None

    def __post_init__(self) -> None:
        if self.url and self.mode not in (LaunchMode.REMOTE, LaunchMode.AUTO):
            raise UsageError(f"`url` names a running server, but `launch_mode` is {self.mode}: drop one of them")
        if self.mode is LaunchMode.REMOTE and not self.url:
            raise UsageError("`launch_mode='remote'` needs the server's address: `url='host:8000'`")
        if self.metrics_url and not self.url:
            raise UsageError("`metrics_url` belongs to a running server: name it with `url='host:8000'`")


def choose_server(launch: Launch) -> tuple[Server, str]:
    """Return the server to use, and in a few words why it was taken.

    Auto takes the address that is given, else Docker where an engine answers that has the image or a GPU runtime,
    else a Triton on this host, else Docker where an engine answers at all: it can pull the image.

    Raises
    ------
    ServerError
        If auto finds neither an engine nor a Triton.
    """
    if launch.url:
        return RemoteServer(launch.url, metrics_url=launch.metrics_url), "`url` names it"
    if launch.mode is LaunchMode.DOCKER:
        return _docker(launch), "`launch_mode` asks for it"
    if launch.mode is LaunchMode.LOCAL:
        return _local(launch), "`launch_mode` asks for it"
    try:
        ready = _engine_advantage(_image(launch))
    except ServerError as error:
        if Installation.find() is None:
            raise ServerError(
                f"nothing here can run Triton: {error.message}; for a Triton without Docker: "
                "pip install 'tritonpack[local]'"
            ) from error
        return _local(launch), "no Docker engine answers"
    if ready:
        return _docker(launch), ready
    if Installation.find() is not None:
        return _local(launch), "the Docker engine has neither the image nor a GPU runtime"
    return _docker(launch), "the Docker engine can pull the image, and no tritonserver is on this host"


def _engine_advantage(image: str) -> str | None:
    """Say what the engine has ready for us, None for nothing; ServerError where there is no engine."""
    client = connect()
    try:
        if client.images.list(image):
            return f"the Docker engine has {image}"
        return "the Docker engine has a GPU runtime" if "nvidia" in client.info().get("Runtimes", {}) else None
    finally:
        client.close()


def _image(launch: Launch) -> str:
    return launch.image or triton_image(launch.triton_version)


def _docker(launch: Launch) -> Server:
    return DockerServer(
        _image(launch),
        http_port=launch.http_port,
        grpc_port=launch.grpc_port,
        metrics_port=launch.metrics_port,
        start_timeout_s=launch.start_timeout_s,
        shm_bytes=None if launch.shared_memory else PRIVATE_SHM_BYTES,
        follow_pull=launch.follow_pull,
    )


def _local(launch: Launch) -> Server:
    return LocalServer(
        http_port=launch.http_port,
        grpc_port=launch.grpc_port,
        metrics_port=launch.metrics_port,
        start_timeout_s=launch.start_timeout_s,
    )
