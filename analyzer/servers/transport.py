"""The calls of Triton's control protocol, which `HttpTransport` and `GrpcTransport` send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from analyzer.errors import AccessError
from analyzer.servers.address import ServerAddress

CONNECT_TIMEOUT_S = 5.0


class Transport(Protocol):
    """Sends control requests to one address: HttpTransport, GrpcTransport.

    Documents are those of the HTTP protocol, with the names and numbers that they have there. Every call raises
    ModelError if Triton refuses it, with Triton's reason, AccessError if the server does not let this client in, and
    NoAnswerError if there is no answer.
    """

    def live(self) -> bool: ...
    def ready(self) -> bool: ...
    def version(self) -> str:
        """Return Triton's version; ServerError if what answers is not Triton."""

    def index(self) -> list[dict[str, Any]]:
        """Return every version of every model of the repository, with its state."""

    def config(self, name: str) -> dict[str, Any]: ...
    def statistics(self, name: str = "") -> list[dict[str, Any]]:
        """Return the statistics of each version of a model, or of every model that is loaded."""

    def load(self, name: str, parameters: Mapping[str, str | bytes]) -> None: ...
    def unload(self, name: str, *, dependents: bool) -> None: ...
    def regions(self) -> list[str]:
        """Return the names of the system shared memory regions."""

    def register_region(self, name: str, byte_size: int) -> None: ...
    def unregister_region(self, name: str) -> None: ...
    def close(self) -> None: ...


def refused(address: ServerAddress, said: str) -> AccessError:
    """Return the error for a server that does not let this client in; what it said is named without secrets."""
    given = address.access.shows_secrets
    way = "what was given is not accepted" if given else "give `token_file`, `token_env` or `headers`"
    return AccessError(f"Triton at {address} refuses access ({address.access.clean(said)}): {way}")
