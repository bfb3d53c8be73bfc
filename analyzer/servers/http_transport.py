"""Send Triton's control requests over HTTP, each on a connection of its own."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from analyzer.errors import ModelError, NoAnswerError, ServerError
from analyzer.servers.address import ServerAddress
from analyzer.servers.transport import CONNECT_TIMEOUT_S, refused

_REFUSED = (401, 403)
_KEPT_BYTES = 500  # of an answer that is no error of Triton's


class HttpTransport:
    """A `Transport` over HTTP.

    Parameters
    ----------
    address : ServerAddress
    timeout_s : float
        Longest time of a call, in seconds.
    """

    def __init__(self, address: ServerAddress, *, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s

    def live(self) -> bool:
        """Whether Triton is alive, ready or not."""
        return self._send("GET", "/v2/health/live")[0] == http.HTTPStatus.OK

    def ready(self) -> bool:
        """Whether Triton is ready."""
        return self._send("GET", "/v2/health/ready")[0] == http.HTTPStatus.OK

    def version(self) -> str:
        """Return Triton's version."""
        try:
            return str(self._call("GET", "/v2")["version"])
        except (ModelError, KeyError, TypeError) as error:
            raise ServerError(
                f"what answers at {self._address} is not a Triton server: it names no version at /v2"
            ) from error

    def index(self) -> list[dict[str, Any]]:
        """Return every version of every model of the repository."""
        index = self._call("POST", "/v2/repository/index", {})
        if not (isinstance(index, list) and all(isinstance(entry, dict) and "name" in entry for entry in index)):
            raise ServerError(f"Triton at {self._address} does not name its models: correct `url`")
        return index

    def config(self, name: str) -> dict[str, Any]:
        """Return a loaded model's whole configuration."""
        return dict(self._call("GET", f"{_model(name)}/config"))

    def statistics(self, name: str = "") -> list[dict[str, Any]]:
        """Return the statistics of a model, or of every model that is loaded."""
        return list(self._call("GET", f"{_model(name) if name else '/v2/models'}/stats").get("model_stats", []))

    def load(self, name: str, parameters: Mapping[str, str | bytes]) -> None:
        """Load a model; a parameter is its configuration, or a file of it."""
        coded = {
            key: base64.b64encode(value).decode() if isinstance(value, bytes) else value
            for key, value in parameters.items()
        }
        self._call("POST", f"{_repository(name)}/load", {"parameters": coded} if coded else {})

    def unload(self, name: str, *, dependents: bool) -> None:
        """Unload a model, and those that only it needs."""
        self._call("POST", f"{_repository(name)}/unload", {"parameters": {"unload_dependents": dependents}})

    def regions(self) -> list[str]:
        """Return the names of the system shared memory regions."""
        return [str(region["name"]) for region in self._call("GET", "/v2/systemsharedmemory/status")]

    def register_region(self, name: str, byte_size: int) -> None:
        """Register a POSIX shared memory object under its own name."""
        body = {"key": name, "offset": 0, "byte_size": byte_size}
        self._call("POST", f"/v2/systemsharedmemory/region/{quote(name, safe='')}/register", body)

    def unregister_region(self, name: str) -> None:
        """Unregister a shared memory object."""
        self._call("POST", f"/v2/systemsharedmemory/region/{quote(name, safe='')}/unregister", {})

    def close(self) -> None:
        """Do nothing: no connection is kept."""

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request and return the document in the answer; an error of Triton is a ModelError."""
        status, answer = self._send(method, path, body)
        try:
            document = json.loads(answer) if answer.strip() else {}
        except ValueError:
            document = None
        if status != http.HTTPStatus.OK:
            said = document.get("error") if isinstance(document, dict) else None
            said = said or f"HTTP status {status}: {answer[:_KEPT_BYTES].decode(errors='replace')}"
            raise ModelError(self._address.access.clean(str(said)))
        if document is None:
            raise ServerError(f"what answers at {self._address}{path} is no Triton: correct `url`")
        return document

    def _send(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Return the status and the body of the answer; a token that was replaced meanwhile is read again."""
        headers = self._address.access.request_headers()
        status, answer = self._ask(method, path, body, headers)
        if status == http.HTTPStatus.UNAUTHORIZED and (again := self._address.access.request_headers()) != headers:
            status, answer = self._ask(method, path, body, again)
        if status in _REFUSED:
            try:
                said = f"HTTP {status}: {json.loads(answer)['error']}"
            except (ValueError, KeyError, TypeError):
                said = f"HTTP {status}"
            raise refused(self._address, said)
        return status, answer

    def _ask(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(self._address.host, self._address.port)
        try:
            connection.sock = self._address.connect(timeout_s=min(CONNECT_TIMEOUT_S, self._timeout_s))
            connection.sock.settimeout(self._timeout_s)
            text = None if body is None else json.dumps(body).encode()
            connection.request(method, path, text, {"Host": self._address.host_port, "Connection": "close", **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            why = f"Triton at {self._address} does not answer: {error or type(error).__name__}"
            raise self._address.tls_failure(error) or NoAnswerError(why) from error
        finally:
            connection.close()


def _model(name: str) -> str:
    return f"/v2/models/{quote(name, safe='')}"


def _repository(name: str) -> str:
    return f"/v2/repository/models/{quote(name, safe='')}"
