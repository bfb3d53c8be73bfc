"""Ask a Triton over HTTP for its state, version and loaded models, and wait until it is ready."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable

from analyzer.errors import ServerError
from analyzer.servers.log import last_error
from analyzer.servers.ports import LOOPBACK, Ports

POLL_S = 0.005  # Triton is ready about 0.1 s after its start; a longer interval would delay every start


def is_ready(address: str, *, timeout_s: float = 1.0) -> bool:
    """Ask ``host:port`` whether Triton is ready; False for any other answer, or none."""
    return _ask(address, "/v2/health/ready", timeout_s) is not None


def is_live(address: str, *, timeout_s: float = 1.0) -> bool:
    """Ask ``host:port`` whether Triton is alive, ready or not; False for any other answer, or none."""
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


def loads_on_request(address: str, *, timeout_s: float = 2.0) -> bool:
    """Ask ``host:port`` whether models are loaded on request (``--model-control-mode=explicit``).

    The request unloads a model that does not exist: Triton 24.10 answers 200 in this mode, and 503 in the others.
    """
    return _ask(address, "/v2/repository/models/tritonpack-probe/unload", timeout_s, method="POST") is not None


def serves_nothing(address: str, *, timeout_s: float = 0.5) -> bool:
    """Ask ``host:port`` whether no model is loaded there; False for any other answer, or none."""
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
    # the metrics page comes last, some 40 ms after the server reports that it is ready
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
