"""Test the event loop over TLS, on a loopback server with real certificates."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from analyzer.load.generator import LoadGenerator
from analyzer.load.load import Load, Report
from analyzer.servers.tls import Tls
from tests.builders.certificates import make_certificates

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
LARGE = 3_000_000  # several times what the buffers of a socket hold


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an authority and the certificates that it signed."""
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@contextmanager
def serving(folder: Path, *, request_bytes: int, reply_bytes: int) -> Iterator[int]:
    """Answer requests of a size over TLS in small pieces; yield the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    reply = HEAD % reply_bytes + bytes(reply_bytes)

    def talk(plain: socket.socket) -> None:
        try:
            with context.wrap_socket(plain, server_side=True) as sock:
                received = 0
                while data := sock.recv(1 << 14):
                    received += len(data)
                    if received >= request_bytes:
                        received -= request_bytes
                        sock.sendall(reply)
        except OSError:
            plain.close()

    def accept(listener: socket.socket) -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(plain,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def send(load: Load, *, enough: int) -> list[Report]:
    """Send a load until so many requests have ended, or the server is lost."""
    reports: list[Report] = []
    with LoadGenerator(1) as generator, generator.sending(load) as stream:
        for _ in range(100):
            reports += stream.receive(0.1)
            if sum(len(r.end_s) + r.errors for r in reports) >= enough or any(r.lost for r in reports):
                break
    return reports


@pytest.mark.parametrize(("request_bytes", "reply_bytes"), [(3, 2), (LARGE, 100), (100, LARGE)])
def test_requests_of_any_size_go_over_tls(certificates: Path, request_bytes: int, reply_bytes: int) -> None:
    """Messages larger than a TLS record and than the socket's buffers are sent and received whole, none is lost."""
    with serving(certificates, request_bytes=request_bytes, reply_bytes=reply_bytes) as port:
        tls = Tls(ca=certificates / "ca.pem")
        load = Load(host="127.0.0.1", port=port, scripts=[[bytes(request_bytes)]], concurrency=4, tls=tls)
        reports = send(load, enough=12)
    assert sum(len(r.end_s) for r in reports) >= 12
    assert [r.first_error for r in reports if r.first_error] == []


def test_a_server_that_is_not_trusted_gets_no_request(certificates: Path) -> None:
    """Without its authority's certificate, or under another name, the connection ends before anything is sent."""
    with serving(certificates, request_bytes=3, reply_bytes=2) as port:
        for host, tls in (("127.0.0.1", Tls()), ("127.0.0.2", Tls(ca=certificates / "ca.pem"))):
            # 127.0.0.2 is this host too, and not in the certificate
            load = Load(host=host, port=port, scripts=[[b"abc"]], concurrency=1, tls=tls)
            reports = send(load, enough=1)
            assert sum(len(r.end_s) for r in reports) == 0
            assert any(r.lost and "cannot be reached" in r.first_error for r in reports)
