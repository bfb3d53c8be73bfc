"""The seams `Server`, somewhere Triton serves a model repository, and `Control`, what loads models there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

DEFAULT_TRITON_VERSION = "24.10-py3"  # the release that nvidia-pytriton carries too


class LaunchMode(StrEnum):
    """Where Triton is to run."""

    AUTO = "auto"
    DOCKER = "docker"
    LOCAL = "local"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a ready server answers, and what it is.

    Parameters
    ----------
    http, grpc : str
        ``host:port`` without a scheme; `grpc` is None where it is not known.
    metrics_url : str or None
        Triton's Prometheus page.
    process_id : int or None
        Root of the server's process tree as this host numbers it; None where it runs elsewhere.
    server : str
        Triton's version, with the image's digest where it runs in a container: the provenance.
    """

    http: str
    grpc: str | None
    metrics_url: str | None
    process_id: int | None
    server: str


class Control(Protocol):
    """Loads and unloads models on a running server: ControlClient."""

    def load(self, name: str, config: str | None = None) -> None:
        """Load a model, under a whole configuration in JSON where one is given; return when it is ready.

        Raises
        ------
        ModelError
            With what Triton says of a model that it cannot load.
        ServerError
            If the server cannot be reached any more.
        """

    def unload(self, *names: str) -> None:
        """Unload a model, then those it needs; return when the memory of them all is given back.

        Raises
        ------
        ServerError
            If the server does not unload them, or cannot be reached any more.
        """

    def config(self, name: str) -> dict[str, Any]:
        """Return a loaded model's whole configuration as Triton completed it."""


class RunningServer(Protocol):
    """A server that answered ready."""

    @property
    def endpoint(self) -> Endpoint: ...

    def death(self) -> str | None:
        """Say in one line why the server is gone (exit status, last error of its log); None while it runs."""


class Server(Protocol):
    """DockerServer, LocalServer, RemoteServer."""

    def describe(self) -> str:
        """Say in a few words what will serve, such as ``docker, <image>``."""

    def serve(self, repository: Path, *, gpus: Sequence[str] = ()) -> AbstractContextManager[RunningServer]:
        """Yield a ready server without models; on exit leave nothing behind that was not there before.

        Parameters
        ----------
        repository : Path
            The model repository; served with explicit model control and never written to.
        gpus : sequence of str
            UUIDs of the GPUs that the server may see; empty for a host without one.

        Raises
        ------
        ServerError
            If the server cannot be started or reached; the message says what to do.
        """
