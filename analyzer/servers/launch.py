"""What every server that we start ourselves shares: its ports, its flags, its health and its log."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from analyzer.errors import ServerError
from analyzer.servers import Endpoint

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 60.0  # for a server without models; generous, since it comes to bear on a broken one only
START_ATTEMPTS = 3
POLL_S = 0.005  # Triton is ready about 0.1 s after its start; a coarser poll would show in every start-up


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The loopback ports of one server."""

    http: int
    grpc: int
    metrics: int

    def endpoint(self, process_id: int | None, server: str) -> Endpoint:
        """Say where the server on these ports answers."""
        return Endpoint(
            http=f"{LOOPBACK}:{self.http}",
            grpc=f"{LOOPBACK}:{self.grpc}",
            metrics_url=f"http://{LOOPBACK}:{self.metrics}/metrics",
            process_id=process_id,
            server=server,
        )


class Startable(Protocol):
    """A server of our own that is to be started."""

    def start(self, timeout_s: float) -> None:
        """Return once it is ready; ServerError where it does not become so."""

    def stop(self) -> None:
        """End it, however far its start came."""


Started = TypeVar("Started", bound=Startable)


def choose_ports(*, http: int | None, grpc: int | None, metrics: int | None) -> Ports:
    """Take the ports that are given and free ones for those that are None.

    Raises
    ------
    ServerError
        If somebody listens on a port that was given, or one port was given twice.
    """
    with ExitStack() as held:  # all are held until the last is chosen, so that no two are the same
        numbers = [
            _bind(held, port, option)
            for port, option in ((http, "--http-port"), (grpc, "--grpc-port"), (metrics, "--metrics-port"))
        ]
    return Ports(http=numbers[0], grpc=numbers[1], metrics=numbers[2])


def _bind(held: ExitStack, port: int | None, option: str) -> int:
    listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free for a server
    try:
        listener.bind((LOOPBACK, port or 0))
        listener.listen(1)  # only this keeps a second socket with SO_REUSEADDR off the port
    except (OSError, OverflowError) as error:
        raise ServerError(
            f"port {port} on {LOOPBACK} cannot be taken ({error}): stop what listens there or "
            f"choose another with {option}"
        ) from error
    number: int = listener.getsockname()[1]
    return number


def start_on_ports(
    make: Callable[[Ports], Started], http: int | None, grpc: int | None, metrics: int | None, *, timeout_s: float
) -> Started:
    """Start a server on the ports given, None for free ones; choose anew where somebody took one before Triton did.

    Raises
    ------
    ServerError
        If it cannot be started, or is not ready in time.
    """
    for attempt in range(1, START_ATTEMPTS + 1):
        server = make(choose_ports(http=http, grpc=grpc, metrics=metrics))
        try:
            server.start(timeout_s)
        except BaseException as error:  # Ctrl-C too
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


def is_ready(address: str, *, timeout_s: float = 1.0) -> bool:
    """Ask ``host:port`` whether Triton is ready; False for whatever is not a yes."""
    return _ask(address, "/v2/health/ready", timeout_s) is not None


def is_live(address: str, *, timeout_s: float = 1.0) -> bool:
    """Ask ``host:port`` whether Triton is alive, ready or not; False for whatever is not a yes."""
    return _ask(address, "/v2/health/live", timeout_s) is not None


def triton_version(address: str, *, timeout_s: float = 2.0) -> str:
    """Ask ``host:port`` for Triton's version.

    Raises
    ------
    ServerError
        If what answers there is not Triton.
    """
    answer = _ask(address, "/v2", timeout_s)
    try:
        metadata = json.loads(answer or b"")
        return str(metadata["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise ServerError(f"what answers at {address} is not a Triton server: it names no version at /v2") from error


def takes_loads(address: str, *, timeout_s: float = 2.0) -> bool:
    """Ask ``host:port`` whether models are loaded on request (``--model-control-mode=explicit``).

    Asked is the unload of a model that cannot be there: Triton 24.10 answers 200 then, and 503 in the other modes.
    """
    return _ask(address, "/v2/repository/models/tritonpack-probe/unload", timeout_s, method="POST") is not None


def serves_nothing(address: str, *, timeout_s: float = 0.5) -> bool:
    """Ask ``host:port`` whether no model is loaded there; False for whatever is not a yes."""
    answer = _ask(address, "/v2/repository/index", timeout_s, method="POST")
    try:
        return all(entry.get("state", "UNAVAILABLE") == "UNAVAILABLE" for entry in json.loads(answer or b"null"))
    except (ValueError, TypeError, AttributeError):
        return False


def _ask(address: str, path: str, timeout_s: float, *, method: str = "GET") -> bytes | None:
    connection = http.client.HTTPConnection(address, timeout=timeout_s)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if answer.status == http.HTTPStatus.OK else None


def wait_until_ready(
    ports: Ports, *, timeout_s: float, death: Callable[[], str | None], log: Callable[[], str]
) -> None:
    """Return once Triton is ready on all of its ports.

    Raises
    ------
    ServerError
        If the server ends before that, or is not ready after `timeout_s` seconds.
    """
    deadline = time.monotonic() + timeout_s
    # the metrics page comes last, some 40 ms after the server calls itself ready
    while not (is_ready(f"{LOOPBACK}:{ports.http}") and _accepts(ports.metrics)):
        if cause := death():
            raise ServerError(f"Triton did not start: {cause}")
        if time.monotonic() > deadline:
            last = last_error(log())
            raise ServerError(
                f"Triton was not ready after {timeout_s:g} s" + (f"; the last error of its log: {last}" if last else "")
            )
        time.sleep(POLL_S)


def _accepts(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def has_ended(process_id: int | None) -> bool:
    """Tell whether a process of this host has ended, also one that its parent has not waited for yet."""
    if process_id is None:
        return False
    try:
        # pid (comm) state ...; comm may hold anything, so count from its last parenthesis
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


# glog's line: severity letter, date, time, thread, file and line, then the message
_LOG_LINE = re.compile(r"([EFIW])\d{4} \d{2}:\d{2}:\d{2}\.\d+ +\d+ \S+\] *(.*)")
# what is printed as it is: by the option parser, the loader and the Python stub
_PLAIN_ERROR = re.compile(r"error\b|unable to\b|.*(unrecognized option|error while loading|Error: )", re.IGNORECASE)


def last_error(log: str) -> str | None:
    """Find the last error in Triton's log, in one line; None where it has none."""
    found = None
    for line in log.splitlines():
        match = _LOG_LINE.match(line)
        if match and match[1] in "EF":
            found = match[2]
        elif not match and _PLAIN_ERROR.match(line):
            found = line
    return found.strip().strip('"')[:500] if found else None


def exit_cause(status: int, log: str) -> str:
    """Say in one line how a server ended: its exit status or signal, and the last error of its log."""
    number = status - 128
    if number in {known.value for known in signal.Signals}:
        how = f"tritonserver was ended by {signal.Signals(number).name}"
    else:
        how = f"tritonserver ended with exit status {status}"
    last = last_error(log)
    return f"{how}; the last error of its log: {last}" if last else how
