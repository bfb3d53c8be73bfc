"""Load and unload models on a Triton that others use, without touching what they loaded."""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any, Self

from analyzer.errors import ModelError, SeveralServersError
from analyzer.servers.address import ServerAddress
from analyzer.servers.changes import Changes
from analyzer.servers.control import ControlClient
from analyzer.servers.single_server import check_single_server, loaded_everywhere, several, unload_everywhere


class RemoteControl:
    """A `Control` of a server that was running before, and that is left as it was found.

    Parameters
    ----------
    address : ServerAddress
    changes : Changes
        The record of what this run changes there.
    allow_reload : bool
        Whether models that others loaded may be unloaded and loaded again.
    timeout_s : float
        See `ControlClient`.
    """

    def __init__(self, address: ServerAddress, changes: Changes, *, allow_reload: bool, timeout_s: float) -> None:
        self._address = address
        self._changes = changes
        self._allow_reload = allow_reload
        self._client = ControlClient(address, timeout_s=timeout_s)
        self._is_single = False  # whether a load was seen over every connection
        self._counts_agree = False  # whether every connection showed the counts of one server after requests

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.__exit__()

    def load(self, name: str, config: str | None = None) -> None:
        """Load a model; one that others loaded stays as it is. See `Control.load`.

        Raises
        ------
        ModelError
            Also if others loaded it and `config` is given.
        SeveralServersError
            If several servers answer, and only one of them has loaded it; it is unloaded there.
        """
        before = self._client.loaded()
        if name in before and name not in self._changes:
            if config is None:
                return
            raise ModelError(
                f"{name} is loaded at {self._address}, where others may use it: `allow_reload=True` measures it with "
                "another configuration"
            )
        failed = self._client.failed()
        self._changes.loads(name)
        try:
            self._client.load(name, config)
        except ModelError:
            # steps of an ensemble, which may be loaded, or have failed to, although it is not
            for step in (self._client.loaded() - before) | (self._client.failed() - failed):
                self._changes.loads(step)
            raise
        if not self._is_single:
            self._check_load(name)

    def unload(self, *names: str) -> None:
        """Unload what this run loaded, and load again what it set aside. See `Control.unload`."""
        self._changes.undo(self._client)
        self._client.wait_while_unloading()

    def config(self, name: str) -> dict[str, Any]:
        """Return a loaded model's whole configuration, completed by Triton."""
        return self._client.config(name)

    def executions(self, *names: str) -> dict[int, tuple[int, float]]:
        """Return the executions of models so far, by batch size."""
        return self._client.executions(*names)

    def keeps(self, name: str) -> bool:
        """Whether others loaded a model, and it must not be reloaded."""
        return not self._allow_reload and self._is_of_others(name)

    def set_aside(self, name: str) -> None:
        """Unload a model that others loaded, if that is allowed."""
        if self._allow_reload and self._is_of_others(name):
            self._changes.sets_aside(name, json.dumps(self._client.config(name)))
            self._client.unload(name)
            self._client.wait_while_unloading()

    def check_single_server(self) -> None:
        """See `Control.check_single_server`; after the first time it is known."""
        if not self._counts_agree:
            check_single_server(self._address)
            self._counts_agree = True

    def _check_load(self, name: str) -> None:
        self._is_single = loaded_everywhere(self._address, name)
        if not self._is_single:
            unload_everywhere(self._address, name)
            raise SeveralServersError(several(self._address, f"{name} was loaded, and only some connections show it"))

    def _is_of_others(self, name: str) -> bool:
        return name not in self._changes and name in self._client.loaded()
