"""Choose the server that a launch mode means on this host."""

from __future__ import annotations

from dataclasses import dataclass, field

from analyzer.errors import ServerError, UsageError
from analyzer.servers import DEFAULT_TRITON_VERSION, LaunchMode, Server
from analyzer.servers.access import Access
from analyzer.servers.docker import PRIVATE_SHM_BYTES, DockerServer, FollowPull, connect, triton_image
from analyzer.servers.docker_container import answering
from analyzer.servers.local import Installation, LocalServer
from analyzer.servers.ports import START_TIMEOUT_S
from analyzer.servers.remote import RemoteServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """The options for starting or reaching a server.

    Parameters
    ----------
    triton_version : str
        NVIDIA's release, such as ``24.10-py3``.
    image : str or None
        Image to use instead of NVIDIA's.
    url, grpc_url, metrics_url : str or None
        Addresses of a server that is already running.
    access : Access
        What clients show there.
    http_port, grpc_port, metrics_port : int or None
        Ports to listen on; None for a free one.
    start_timeout_s : float
        How long the server may take to be ready, in seconds.
    shared_memory : bool
        Whether a container shares this host's /dev/shm; a process of the host does so anyway.
    follow_pull : callable or None
        Shows the progress of an image pull; see `DockerServer`.
    """

    mode: LaunchMode = LaunchMode.AUTO
    triton_version: str = DEFAULT_TRITON_VERSION
    image: str | None = None
    url: str | None = None
    grpc_url: str | None = None
    metrics_url: str | None = None
    access: Access = field(default_factory=Access)
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
        for option in ("metrics_url", "grpc_url"):
            if getattr(self, option) and not self.url:
                raise UsageError(f"`{option}` belongs to a running server: name it with `url='host:8000'`")
        if self.access != Access() and not self.url:
            raise UsageError(
                "certificates, `headers` and tokens are for a running server: name it with `url='https://host'`"
            )


def choose_server(launch: Launch) -> tuple[Server, str]:
    """Return the server to use, and in a few words why it was chosen.

    ``auto`` chooses the first of these that is available: the server at `Launch.url`; Docker, if its engine has the
    image or a GPU runtime; a Triton that is installed on this host; Docker with an engine that has to pull the image.

    Raises
    ------
    ServerError
        If ``auto`` finds neither a Docker engine nor a Triton.
    """
    if launch.url:
        server = RemoteServer(
            launch.url, grpc_url=launch.grpc_url, metrics_url=launch.metrics_url, access=launch.access
        )
        return server, "`url` names it"
    if launch.mode is LaunchMode.DOCKER:
        return _docker(launch), "`launch_mode` asks for it"
    if launch.mode is LaunchMode.LOCAL:
        return _local(launch), "`launch_mode` asks for it"
    try:
        ready = _reason_for_docker(_image(launch))
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


def _reason_for_docker(image: str) -> str | None:
    """Say whether the engine has the image or a GPU runtime, None if neither; ServerError if no engine answers."""
    client = connect()
    try:
        with answering():
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
