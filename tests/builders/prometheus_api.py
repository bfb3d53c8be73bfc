"""A loopback HTTP server that answers queries for Prometheus as a test says, and keeps what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request: its path, its first value of each parameter, and its headers."""

    path: str
    query: dict[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer of the server."""

    body: bytes = b""
    code: int = 200
    kind: str = "application/json"
    location: str | None = None


@dataclass
class Api:
    """The server's address, and the requests that it got."""

    url: str
    asked: list[Asked] = field(default_factory=list)


def series_reply(kind: str, *series: dict[str, Any], **also: Any) -> Reply:
    """Make the answer that Prometheus gives for a query: `kind` is ``matrix`` or ``vector``."""
    document = {"status": "success", "data": {"resultType": kind, "result": list(series)}, **also}
    return Reply(body=json.dumps(document).encode())


@contextmanager
def prometheus_api(answer: Callable[[Asked], Reply]) -> Iterator[Api]:
    """Serve on a loopback port inside the ``with`` block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query).items()}
            asked = Asked(path=parts.path, query=query, headers=dict(self.headers))
            api.asked.append(asked)
            reply = answer(asked)
            self.send_response(reply.code)
            self.send_header("Content-Type", reply.kind)
            if reply.location:
                self.send_header("Location", reply.location)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: Any) -> None:
            """Say nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    api = Api(url=f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
