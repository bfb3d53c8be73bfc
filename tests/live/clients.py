"""Call the models of a plan that runs behind Envoy, with unchanged clients of Triton."""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import psutil
import pytest
import tritonclient.grpc
import tritonclient.http
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

PROTOCOLS = {"http": tritonclient.http, "grpc": tritonclient.grpc}
ECHO = np.array([[1, 2]], np.float32)
HEALTH_CHECK_S = 3.0  # two checks, a second apart, and a second more


class Served(Protocol):
    """Addresses of Envoy, and the HTTP address of each Triton by its name."""

    @property
    def http(self) -> str: ...
    @property
    def grpc(self) -> str: ...
    @property
    def servers(self) -> dict[str, str]: ...


def client(served: Served, protocol: str) -> Any:
    """Return an unchanged client of Triton for the address of Envoy."""
    return PROTOCOLS[protocol].InferenceServerClient(served.http if protocol == "http" else served.grpc)


def infer(served_by: Any, module: ModuleType, name: str, array: np.ndarray, datatype: str = "FP32") -> np.ndarray:
    """Send one array to the first input of a copying model; return its output."""
    tensor = module.InferInput("X", array.shape, datatype)
    tensor.set_data_from_numpy(array)
    output: np.ndarray = served_by.infer(name, [tensor]).as_numpy("Y")
    return output


def infer_zeros(through: Any, protocol: str, name: str) -> Any:
    """Send zeros of the shapes that a model's metadata ask for; return the result."""
    form = {"as_json": True} if protocol == "grpc" else {}
    inputs = []
    for one in through.get_model_metadata(name, **form)["inputs"]:
        shape = [1 if int(size) == -1 else int(size) for size in one["shape"]]
        inputs.append(PROTOCOLS[protocol].InferInput(one["name"], shape, one["datatype"]))
        inputs[-1].set_data_from_numpy(np.zeros(shape, triton_to_np_dtype(one["datatype"])))
    return through.infer(name, inputs)


def send(served: Served, protocol: str, *, requests: int) -> dict[str, int]:
    """Send requests for ``echo`` from four clients; return how many each Triton answered."""
    before = counts(served)

    def send_part(_: int) -> None:
        through = client(served, protocol)
        for _ in range(requests // 4):
            infer(through, PROTOCOLS[protocol], "echo", ECHO)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(send_part, range(4)))
    return {name: count - before[name] for name, count in counts(served).items()}


def check_split(served: Served, protocol: str) -> None:
    """Check that of 2,000 requests two thirds reach ``gpu-0`` and one third ``gpu-1``, within 5 %."""
    sent = send(served, protocol, requests=2000)
    assert sum(sent.values()) == 2000
    assert sent["gpu-0"] == pytest.approx(2000 * 2 / 3, rel=0.05)
    assert sent["gpu-1"] == pytest.approx(2000 / 3, rel=0.05)


def counts(served: Served) -> dict[str, int]:
    """Return the requests of ``echo`` that each Triton has answered."""
    found = {}
    for name, address in served.servers.items():
        with urllib.request.urlopen(f"http://{address}/v2/models/echo/stats", timeout=5) as answer:
            found[name] = json.load(answer)["model_stats"][0]["inference_stats"]["success"]["count"]
    return found


class Load:
    """Requests for ``echo`` over both protocols, one after the other on each, until the end of the ``with``."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._send, args=(protocol,)) for protocol in PROTOCOLS]
        self.answered: dict[str, list[float]] = {protocol: [] for protocol in PROTOCOLS}
        self.failed: list[tuple[float, str]] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _send(self, protocol: str) -> None:
        through = client(self._served, protocol)
        while not self._ended.is_set():
            try:
                infer(through, PROTOCOLS[protocol], "echo", ECHO)
                self.answered[protocol].append(time.monotonic())
            except (InferenceServerException, OSError) as error:
                self.failed.append((time.monotonic(), f"{protocol}: {error}"))

    def since(self, began: float) -> dict[str, int]:
        """Return how many requests of each protocol were answered since then."""
        return {protocol: sum(end > began for end in ends) for protocol, ends in self.answered.items()}


def process_of(address: str) -> psutil.Process:
    """Return the Triton that listens on this address."""
    port = int(address.rpartition(":")[2])
    listening = [
        c.pid for c in psutil.net_connections("tcp") if c.laddr.port == port and c.status == psutil.CONN_LISTEN
    ]
    return psutil.Process(listening[0])


def count_of(served: Served, name: str) -> int:
    """Return the requests of ``echo`` that a Triton has answered; 0 where it does not answer."""
    try:
        return counts(served)[name]
    except OSError:
        return 0
