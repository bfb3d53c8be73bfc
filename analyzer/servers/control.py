"""Triton's control plane over tritonclient: load, unload, configuration, shared memory."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import quote

from analyzer.errors import ModelError, ServerError

_POLL_S = 0.01
_UNLOAD_TIMEOUT_S = 15.0  # Triton 24.10 may never unload a model that failed under concurrent requests


class ControlClient:
    """One server's HTTP endpoint.

    Parameters
    ----------
    address : str
        ``host:port``.
    timeout_s : float
        How long a call may take; loading a large model is the slowest of them.
    """

    def __init__(self, address: str, *, timeout_s: float = 600.0) -> None:
        import tritonclient.http

        self._address = address
        self._client = tritonclient.http.InferenceServerClient(
            address, connection_timeout=5.0, network_timeout=timeout_s
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._client.close()

    def load(self, name: str, config: str | None = None) -> None:
        """Load a model, under a whole configuration in JSON where one is given; return when it is ready.

        Raises
        ------
        ModelError
            With what Triton says of a model that it cannot load.
        ServerError
            If the server cannot be reached any more.
        """
        with self._explained():
            self._client.load_model(quote(name, safe=""), config=config)

    def unload(self, *names: str) -> None:
        """Unload a model, then its parts; return when the memory of them all is given back."""
        with self._explained():
            for name in names:
                self._client.unload_model(quote(name, safe=""), unload_dependents=True)
            deadline = time.perf_counter() + _UNLOAD_TIMEOUT_S
            while leaving := [e for e in self._client.get_model_repository_index() if self._leaving(e, names)]:
                if time.perf_counter() > deadline:
                    raise ServerError(f"model {leaving[0]['name']} was not unloaded within {_UNLOAD_TIMEOUT_S:.0f} s")
                time.sleep(_POLL_S)

    @staticmethod
    def _leaving(entry: Mapping[str, Any], names: Sequence[str]) -> bool:
        # a model that was unloaded is UNAVAILABLE with the reason "unloaded" once it is really gone
        return entry.get("name") in names and entry.get("state") in ("READY", "UNLOADING", "LOADING")

    def config(self, name: str) -> dict[str, Any]:
        """Return a loaded model's whole configuration as Triton completed it."""
        with self._explained():
            return dict(self._client.get_model_config(quote(name, safe="")))

    def register_memory(self, name: str, byte_size: int) -> None:
        """Make a POSIX shared memory object known to the server, under its own name."""
        with self._explained():
            self._client.register_system_shared_memory(name, name, byte_size)

    def unregister_memory(self, name: str) -> None:
        """Make the server forget a shared memory object."""
        with self._explained():
            self._client.unregister_system_shared_memory(name)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn tritonclient's failures into ours."""
        from tritonclient.utils import InferenceServerException

        try:
            yield
        except InferenceServerException as error:
            raise ModelError(_one_line(error.message())) from error
        except (OSError, TimeoutError) as error:
            raise ServerError(f"Triton at {self._address} does not answer: {error}") from error


def _one_line(text: str | None) -> str:
    """Take the reason out of a message: without Triton's frame around it and a Python stub's traceback after it."""
    line = " ".join((text or "no reason given").split())
    return re.sub(r"^load failed for model '[^']*': version \d+ is at \w+ state: (\w+: )?", "", line).split(" At: ")[0]
