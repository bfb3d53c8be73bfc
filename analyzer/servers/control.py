"""Load and unload models, read their configuration and register shared memory on a Triton."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from analyzer.errors import ModelError, ServerError
from analyzer.servers.address import ServerAddress
from analyzer.servers.health import loaded_models
from analyzer.servers.transports import open_transport

_POLL_S = 0.01
_IN_USE = "in use"  # in Triton's reason for not unregistering shared memory
_IN_USE_S = 5.0
_UNLOAD_TIMEOUT_S = 15.0  # Triton 24.10 may never unload a model that failed under concurrent requests


class ControlClient:
    """A client for the model control of one server.

    Parameters
    ----------
    address : ServerAddress or str
        ``host:port`` for plain HTTP.
    timeout_s : float
        Longest time of a call, in seconds; loading a large model takes longest.
    """

    def __init__(self, address: ServerAddress | str, *, timeout_s: float = 600.0) -> None:
        where = ServerAddress.read(address) if isinstance(address, str) else address
        self._transport = open_transport(where, timeout_s=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._transport.close()

    def load(self, name: str, config: str | None = None, *, files: Mapping[str, bytes] | None = None) -> None:
        """Load a model and return when it is ready; `config`, in JSON, replaces its whole configuration.

        Parameters
        ----------
        files : mapping of str to bytes, optional
            What the model consists of instead of its own files, by ``file:<version>/<name>``; only with `config`.

        Raises
        ------
        ModelError
            If Triton cannot load the model; the message has Triton's reason.
        ServerError
            If the server cannot be reached any more.
        """
        with _short_reasons():
            self._transport.load(name, {**({} if config is None else {"config": config}), **(files or {})})

    def unload(self, *names: str) -> None:
        """Unload a model, then those it needs; return when the memory of all of them is released."""
        with _short_reasons():
            for name in names:
                self._transport.unload(name, dependents=True)
        self._wait_until_gone(names)

    def wait_while_unloading(self) -> None:
        """Return when no model is being unloaded any more, such as a part of an ensemble."""
        self._wait_until_gone((), also="UNLOADING")

    def _wait_until_gone(self, names: Iterable[str], *, also: str = "") -> None:
        """Return when none of these models is loaded, and no model is in the state `also`."""
        deadline = time.perf_counter() + _UNLOAD_TIMEOUT_S
        while True:
            index = self._transport.index()
            left = loaded_models(index).intersection(names) | {e["name"] for e in index if e.get("state") == also}
            if not left:
                return
            if time.perf_counter() > deadline:
                raise ServerError(f"model {min(left)} was not unloaded within {_UNLOAD_TIMEOUT_S:.0f} s")
            time.sleep(_POLL_S)

    def loaded(self) -> set[str]:
        """Return the names of the models that are loaded now, or are being loaded or unloaded."""
        return loaded_models(self._transport.index())

    def failed(self) -> set[str]:
        """Return the names of the models whose last load failed."""
        index = self._transport.index()
        return {e["name"] for e in index if e.get("state") == "UNAVAILABLE" and e.get("reason") != "unloaded"}

    def config(self, name: str) -> dict[str, Any]:
        """Return a loaded model's whole configuration, completed by Triton."""
        with _short_reasons():
            return self._transport.config(name)

    def executions(self, *names: str) -> dict[int, tuple[int, float]]:
        """Return the executions of models so far, by batch size: how many, and their seconds together."""
        found: dict[int, tuple[int, float]] = {}
        for name in names:
            for version in self._transport.statistics(name):
                for batch in version["batch_stats"]:
                    size, infer = batch["batch_size"], batch["compute_infer"]
                    count, total_s = found.get(size, (0, 0.0))
                    found[size] = (count + infer["count"], total_s + infer["ns"] / 1e9)
        return found

    def keeps(self, name: str) -> bool:
        """Return False: every model on this server is this run's."""
        return False

    def set_aside(self, name: str) -> None:
        """Do nothing: every model on this server is this run's."""

    def check_single_server(self) -> None:
        """Do nothing: this server is this run's, and it is one."""

    def memory_regions(self) -> list[str]:
        """Return the names of the shared memory objects that are registered at the server."""
        return self._transport.regions()

    def register_memory(self, name: str, byte_size: int) -> None:
        """Register a POSIX shared memory object at the server, under its own name."""
        self._transport.register_region(name, byte_size)

    def unregister_memory(self, name: str) -> None:
        """Unregister a shared memory object at the server, when no request uses it any more.

        Triton refuses while one is in flight, and for a moment after its response.

        Raises
        ------
        ModelError
            If a request still uses it after some seconds.
        ServerError
            If the server cannot be reached.
        """
        deadline_s = time.monotonic() + _IN_USE_S
        while True:
            try:
                return self._transport.unregister_region(name)
            except ModelError as error:
                if _IN_USE not in error.message or time.monotonic() > deadline_s:
                    raise
                time.sleep(_POLL_S)


@contextmanager
def _short_reasons() -> Iterator[None]:
    """Cut what Triton writes around the reason for which it does not load a model."""
    try:
        yield
    except ModelError as error:
        raise ModelError(_one_line(error.message)) from error


def _one_line(text: str) -> str:
    """Return the reason in a message, without Triton's prefix and without a Python stub's traceback after it."""
    line = " ".join(text.split())
    line = re.sub(r"^load failed for model '[^']*': version \d+ is at \w+ state: (\w+: )?", "", line)
    return line.removeprefix("TritonModelException: ").split(" At: ")[0]
