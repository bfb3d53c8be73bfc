"""Test a remote server against a fake Triton at the socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from analyzer.errors import ServerError
from analyzer.servers.remote import RemoteServer


class _PollingTriton(BaseHTTPRequestHandler):
    """Answers as Triton 24.10 does with --model-control-mode=none or poll."""

    def do_GET(self) -> None:
        self._answer(200, b'{"name":"triton","version":"2.51.0"}')

    def do_POST(self) -> None:
        self._answer(503, b'{"error":"explicit model load / unload is not allowed if polling is enabled"}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        pass


@pytest.fixture
def polling_triton() -> Iterator[str]:
    """Yield the address of a server that does not load models on request."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _PollingTriton) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_server_that_loads_no_models_on_request_is_refused_at_once(polling_triton: str, tmp_path: Path) -> None:
    """A server without explicit model control cannot measure models alone; the error says how to start it."""
    with (
        pytest.raises(ServerError, match="--model-control-mode=explicit"),
        RemoteServer(polling_triton).serve(tmp_path),
    ):
        pass
