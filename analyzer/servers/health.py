"""Ask a Triton that this tool starts for its state and version over plain HTTP, and wait until it is ready."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from analyzer.errors import ServerError
from analyzer.servers.log import last_error
from analyzer.servers.ports import LOOPBACK, Ports

POLL_S = 0.005  # Triton is ready about 0.1 s after its start; a longer interval would delay every start


def is_ready(address: str, *, timeout_s: float = 1.0) -> bool:
    """Ask ``host:port`` whether Triton is ready; False for any other answer, or none."""
    return ask(address, "/v2/health/ready", timeout_s) is not None


def triton_version(address: str, *, timeout_s: float = 2.0) -> str:
    """Ask ``host:port`` for Triton's version.

    Raises
    ------
    ServerError
        If what answers there is not Triton.
    """
    answer = ask(address, "/v2", timeout_s)
    try:
        metadata = json.loads(answer or b"")
        return str(metadata["version"])
    except (ValueError, KeyError, TypeError) as error:
        raise ServerError(f"what answers at {address} is not a Triton server: it names no version at /v2") from error


def serves_nothing(address: str, *, timeout_s: float = 0.5) -> bool:
    """Ask ``host:port`` whether no model is loaded there; False for any other answer, or none."""
    answer = ask(address, "/v2/repository/index", timeout_s, method="POST")
    try:
        return answer is not None and not loaded_models(json.loads(answer))
    except (ValueError, TypeError, KeyError, AttributeError):
        return False


def loaded_models(index: Iterable[Mapping[str, Any]]) -> set[str]:
    """Return the names of the models of an index that are loaded, or are being loaded or unloaded."""
    # the state becomes UNAVAILABLE, with the reason "unloaded", only when the unload is complete
    return {str(entry["name"]) for entry in index if entry.get("state") in ("READY", "UNLOADING", "LOADING")}


def ask(address: str, path: str, timeout_s: float, *, method: str = "GET") -> bytes | None:
    """Send one request without a body to ``host:port``; return the answer, None for a status other than 200 or none."""
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
