"""The interfaces `Server`, which runs Triton on a model repository, and `Control`, which loads models there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from analyzer.servers.access import Access
from analyzer.servers.address import ServerAddress

DEFAULT_TRITON_VERSION = "24.10-py3"  # the release that nvidia-pytriton carries too


class LaunchMode(StrEnum):
    """Where Triton runs."""

    AUTO = "auto"
    DOCKER = "docker"
    LOCAL = "local"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The addresses, process and version of a ready server.

    Parameters
    ----------
    http, grpc : str or None
        ``host:port``, with a scheme where the connection has TLS; `http` is None for a server that is used over gRPC
        only, and `grpc` if it is not known.
    metrics_url : str or None
        Address of Triton's Prometheus page.
    process_id : int or None
        Root of the server's process tree in this host's numbering; None if it runs on another host.
    server : str
        Triton's version, with the image's digest if it runs in a container; part of the provenance.
    access : Access
        What clients show there.
    """

    http: str | None
    grpc: str | None
    metrics_url: str | None
    process_id: int | None
    server: str
    access: Access = field(default_factory=Access)

    @property
    def control(self) -> ServerAddress:
        """Where control requests go: to the HTTP endpoint, if it is used."""
        address = self.address("http") or self.address("grpc")
        assert address is not None  # noqa: S101 - a server has one of them
        return address

    def address(self, protocol: str) -> ServerAddress | None:
        """Return the address of the endpoint for ``http`` or ``grpc``; None if there is none."""
        text = self.http if protocol == "http" else self.grpc
        return None if text is None else ServerAddress.read(text, protocol=protocol, access=self.access)


class Control(Protocol):
    """Loads and unloads models on a running server: ControlClient, RemoteControl."""

    def load(self, name: str, config: str | None = None) -> None:
        """Load a model and return when it is ready; `config`, in JSON, replaces its whole configuration.

        Raises
        ------
        ModelError
            If Triton cannot load the model; the message has Triton's reason.
        ServerError
            If the server cannot be reached any more.
        """

    def unload(self, *names: str) -> None:
        """Unload a model, then those it needs; return when the memory of all of them is released.

        Raises
        ------
        ServerError
            If the server does not unload them, or cannot be reached any more.
        """

    def config(self, name: str) -> dict[str, Any]:
        """Return a loaded model's whole configuration, completed by Triton."""

    def executions(self, *names: str) -> dict[int, tuple[int, float]]:
        """Return the executions of models so far, by batch size: how many, and their seconds together."""

    def keeps(self, name: str) -> bool:
        """Whether others loaded a model on this server, so that it stays loaded as it is."""

    def set_aside(self, name: str) -> None:
        """Unload a model that others loaded, if that is allowed; `unload` loads it again as it was."""

    def check_single_server(self) -> None:
        """Raise SeveralServersError if several answer at the address of one that was running before.

        Servers that had no request before show it once they have been sent some.
        """


class RunningServer(Protocol):
    """A server that has reported that it is ready."""

    @property
    def endpoint(self) -> Endpoint: ...

    def death(self) -> str | None:
        """Return in one line why the server ended (exit status, last error of its log); None while it runs."""


class Server(Protocol):
    """Runs Triton on a model repository: DockerServer, LocalServer, RemoteServer."""

    def describe(self) -> str:
        """Describe the server in a few words, such as ``docker, <image>``."""

    def serve(self, repository: Path, *, gpus: Sequence[str] = ()) -> AbstractContextManager[RunningServer]:
        """Yield a ready server without models; on exit leave nothing behind that was not there before.

        Parameters
        ----------
        repository : Path
            The model repository; served with explicit model control and never written to.
        gpus : sequence of str
            UUIDs of the GPUs that the server may use; empty for a host without one.

        Raises
        ------
        ServerError
            If the server cannot be started or reached; the message says what to do.
        """
