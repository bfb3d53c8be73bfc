"""A small server on a loopback socket that answers requests of a fixed size."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 3\r\n\r\nbad"
LAST = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

Answer = Callable[["FakeServer", int], bytes]


@dataclass
class FakeServer:
    """Answers requests of a fixed size, each connection in a thread of its own."""

    answer: Answer
    request_bytes: int
    requests: list[tuple[int, bytes]] = field(default_factory=list)  # number of the connection, and the request
    connections: int = 0
    port: int = 0

    def talk(self, sock: socket.socket, number: int) -> None:
        """Serve one connection until the client closes it or an answer ends it."""
        with sock:
            while data := _exactly(sock, self.request_bytes):
                self.requests.append((number, data))
                reply = self.answer(self, len(self.requests))
                sock.sendall(reply)
                if reply in (LAST, b""):
                    return


def _exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        try:
            piece = sock.recv(min(1 << 18, size - len(data)))
        except ConnectionError:
            return b""
        if not piece:
            return b""
        data += piece
    return bytes(data)


@contextmanager
def serving(answer: Answer, *, request_bytes: int = 3) -> Iterator[FakeServer]:
    """Serve on a loopback port inside the ``with`` block."""
    server = FakeServer(answer, request_bytes)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.port = listener.getsockname()[1]

        def accept() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                server.connections += 1
                threading.Thread(target=server.talk, args=(sock, server.connections), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
