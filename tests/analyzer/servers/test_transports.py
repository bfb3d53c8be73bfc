"""Test control requests and metrics pages at a fake server that asks for a token."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from analyzer.devices.prometheus import fetch
from analyzer.errors import AccessError, DeviceError
from analyzer.servers.access import Access
from analyzer.servers.address import ServerAddress
from analyzer.servers.tls import Tls
from analyzer.servers.transports import open_transport
from tests.builders.certificates import make_certificates


class _Guarded(BaseHTTPRequestHandler):
    """Lets in who shows the token that is in a file now; it repeats what others showed."""

    token: Path
    replace_by: str = ""

    def do_GET(self) -> None:
        shown = self.headers.get("Authorization", "nothing")
        if self.replace_by:  # between the moment at which the client read it and its request
            self.token.write_text(self.replace_by)
            type(self).replace_by = ""
        if shown == f"Bearer {self.token.read_text()}":
            self._answer(200, b'{"version": "2.51.0"}')
        elif self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/v2")
            self.end_headers()
        else:
            self._answer(401, f'{{"error": "you showed {shown}"}}'.encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[ServerAddress]:
    """Yield the address of a server with TLS, with the token that it wants in a file."""
    make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    _Guarded.token, _Guarded.replace_by = tmp_path / "token", ""
    _Guarded.token.write_text("first-token")
    access = Access(tls=Tls(ca=tmp_path / "ca.pem"), token_file=_Guarded.token)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Guarded) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield ServerAddress.read(f"https://127.0.0.1:{server.server_address[1]}", access=access)
        server.shutdown()


def test_token_that_was_replaced_meanwhile_is_read_again(guarded: ServerAddress) -> None:
    """A request that is refused because the token was replaced is sent once more, with the new one."""
    transport = open_transport(guarded, timeout_s=5)
    assert transport.version() == "2.51.0"
    _Guarded.replace_by = "second-token"
    assert transport.version() == "2.51.0"


def test_refusal_does_not_repeat_the_token(guarded: ServerAddress, tmp_path: Path) -> None:
    """What the server says is shown without the token; the way out depends on whether one was given."""
    (tmp_path / "wrong").write_text("wrong-token")
    tls = guarded.access.tls
    for access, fact in (
        (Access(tls=tls, token_file=tmp_path / "wrong"), "you showed [secret]): what was given is not accepted"),
        (Access(tls=tls), "you showed nothing): give `token_file`, `token_env` or `headers`"),
    ):
        with pytest.raises(AccessError) as caught:
            open_transport(ServerAddress.read(str(guarded), access=access), timeout_s=5).version()
        assert fact in caught.value.message
        assert "wrong-token" not in caught.value.message


def test_metrics_page_is_read_with_tls_and_token(guarded: ServerAddress) -> None:
    """The page gets what control requests get; a redirect, which could lead elsewhere, is not followed."""
    page = f"{guarded}/metrics"
    assert "2.51.0" in fetch(page, access=guarded.access_at(page))
    with pytest.raises(DeviceError, match="401"):
        fetch(page, access=guarded.access_at(page).without_secrets())
    with pytest.raises(DeviceError, match="302"):
        fetch(f"{guarded}/moved", access=guarded.access.without_secrets())
    with pytest.raises(DeviceError, match="give the certificate of its authority with `ssl_ca`"):
        fetch(page)
