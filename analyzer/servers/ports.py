"""Choose the loopback ports of a server, start it on them, and list the arguments of tritonserver."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Protocol, TypeVar

from analyzer.errors import ServerError
from analyzer.servers import Endpoint

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 60.0  # for a server without models; generous, since only a broken one takes that long
START_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The loopback ports of one server."""

    http: int
    grpc: int
    metrics: int

    def endpoint(self, process_id: int | None, server: str) -> Endpoint:
        """Return the endpoint of the server on these ports."""
        return Endpoint(
            http=f"{LOOPBACK}:{self.http}",
            grpc=f"{LOOPBACK}:{self.grpc}",
            metrics_url=f"http://{LOOPBACK}:{self.metrics}/metrics",
            process_id=process_id,
            server=server,
        )


class Startable(Protocol):
    """A server that this process starts and stops."""

    def start(self, timeout_s: float) -> None:
        """Start the server and return once it is ready; ServerError if it does not become ready."""

    def stop(self) -> None:
        """End the server, also after an incomplete start."""


Started = TypeVar("Started", bound=Startable)


def choose_ports(*, http: int | None, grpc: int | None, metrics: int | None) -> Ports:
    """Return the given ports, and free ones for those that are None.

    Raises
    ------
    ServerError
        If a given port is in use, or one port is given twice.
    """
    with ExitStack() as held:  # all are kept open until the last is chosen, so that no two are the same
        numbers = [
            _bind(held, port, option)
            for port, option in ((http, "http_port"), (grpc, "grpc_port"), (metrics, "metrics_port"))
        ]
    return Ports(http=numbers[0], grpc=numbers[1], metrics=numbers[2])


def _bind(held: ExitStack, port: int | None, option: str) -> int:
    listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free for a server
    try:
        listener.bind((LOOPBACK, port or 0))
        listener.listen(1)  # without it, a second socket with SO_REUSEADDR could bind the same port
    except (OSError, OverflowError) as error:
        raise ServerError(
            f"port {port} on {LOOPBACK} cannot be used ({error}): stop what listens there or "
            f"choose another with `{option}`"
        ) from error
    number: int = listener.getsockname()[1]
    return number


def start_on_ports(
    make: Callable[[Ports], Started], http: int | None, grpc: int | None, metrics: int | None, *, timeout_s: float
) -> Started:
    """Start a server on the given ports, or on free ones; choose again if one is taken before Triton listens on it.

    Raises
    ------
    ServerError
        If the server cannot be started, or is not ready in time.
    """
    for attempt in range(1, START_ATTEMPTS + 1):
        server = make(choose_ports(http=http, grpc=grpc, metrics=metrics))
        try:
            server.start(timeout_s)
        except BaseException as error:  # Ctrl-C too
            with suppress(ServerError):  # what ended the start is the cause to report
                server.stop()
            taken = isinstance(error, ServerError) and "already in use" in error.message
            if not taken or attempt == START_ATTEMPTS:
                raise
        else:
            return server
    raise AssertionError("unreachable: the last attempt returns or raises")


def triton_flags(repository: str, ports: Ports, *, shm_prefix: str) -> list[str]:
    """List tritonserver's arguments: loopback only, no model loaded, its own shared memory prefix."""
    return [
        f"--model-repository={repository}",
        "--model-control-mode=explicit",
        f"--http-address={LOOPBACK}",
        f"--http-port={ports.http}",
        f"--grpc-address={LOOPBACK}",
        f"--grpc-port={ports.grpc}",
        f"--metrics-address={LOOPBACK}",
        f"--metrics-port={ports.metrics}",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        "--exit-timeout-secs=0",  # else it waits for idle keep-alive connections to close
    ]
