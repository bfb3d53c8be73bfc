"""Record what a run changes at a Triton that others use, and undo it, however the run ends.

A watcher process has the record too: if the run is killed, or cannot undo everything, the watcher does it.

Run as ``python -m analyzer.servers.changes``. The first line on stdin is the server's address and the prefix of shared
memory regions, pickled: they may hold headers that a command line would show to everyone on the host. Each further
line is an entry of the record; the end of stdin without a line ``done`` means that the run was killed.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from analyzer.errors import ModelError, ServerError, TritonpackError
from analyzer.servers.address import ServerAddress
from analyzer.servers.control import ControlClient
from analyzer.servers.failed_load import clear_failure

_ANSWER_TIMEOUT_S = 20.0  # so long the end of a run may be delayed by a server that does not answer
_LOAD_TIMEOUT_S = 600.0  # an unload waits for a load of the same model that is under way
_ATTEMPTS = 12
_PAUSE_S = 5.0
_DONE = "done"


class Changes:
    """The models that this run loaded, and those of others that it set aside, at one server; a context manager.

    Parameters
    ----------
    address : ServerAddress
        Where its control requests go.
    shm_prefix : str
        Beginning of the names of this run's shared memory regions; those that are left at the end are unregistered.
    """

    def __init__(self, address: ServerAddress, *, shm_prefix: str) -> None:
        self._address = address
        self._shm_prefix = shm_prefix
        self._record: dict[str, str | None] = {}  # the configuration that a model had; None if it was not loaded
        self._watcher = subprocess.Popen(
            [sys.executable, "-m", "analyzer.servers.changes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches only this process
        )
        self._tell(pickle.dumps((address, shm_prefix)).hex())

    def __contains__(self, name: object) -> bool:
        return name in self._record

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Undo what is not undone yet.

        Raises
        ------
        ServerError
            If the server does not do it, and nothing else ended the run; the watcher tries on.
        """
        failure: TritonpackError | None = None
        try:
            with ControlClient(self._address, timeout_s=_ANSWER_TIMEOUT_S) as control:
                self.undo(control)
                _unregister_regions(control, self._shm_prefix)
        except ModelError as why:
            failure = why
        except ServerError as why:
            failure = why if self._record else None  # a server that is gone has no regions
        if failure is None:
            self._tell(_DONE)
        assert self._watcher.stdin is not None  # noqa: S101 - opened above
        with suppress(BrokenPipeError):
            self._watcher.stdin.close()
        if failure is None:
            self._watcher.wait()
        elif self._record and error is None:
            raise ServerError(
                f"Triton at {self._address} is not as it was found ({', '.join(self._record)}: {failure.message}): "
                "look at its models"
            ) from failure

    def loads(self, name: str) -> None:
        """Record a model that is about to be loaded."""
        self._add(name, None)

    def sets_aside(self, name: str, config: str) -> None:
        """Record a model of others that is about to be unloaded, with its configuration in JSON."""
        self._add(name, config)

    def undo(self, control: ControlClient) -> None:
        """Bring every model back to what it was before, the last one first.

        Raises
        ------
        ModelError, ServerError
            If the server does not do it; what is not undone stays in the record.
        """
        for name in reversed(list(self._record)):
            undo(control, name, self._record[name])
            del self._record[name]
            self._tell(json.dumps({"name": name}))

    def _add(self, name: str, config: str | None) -> None:
        if name not in self._record:
            self._record[name] = config
            self._tell(json.dumps({"name": name, "config": config}))

    def _tell(self, line: str) -> None:
        assert self._watcher.stdin is not None  # noqa: S101 - opened in __init__
        with suppress(BrokenPipeError):  # the watcher was killed; this process still undoes what it can
            self._watcher.stdin.write(f"{line}\n".encode())
            self._watcher.stdin.flush()


def undo(control: ControlClient, name: str, config: str | None) -> None:
    """Unload a model, also one that failed to load; if it was loaded before with `config`, load it again so.

    Triton keeps the models that an unloaded ensemble shares with others, or that were loaded by name.
    """
    control.unload(name)
    if config is None:
        clear_failure(control, name)
        return
    try:
        control.load(name)  # from its files: unlike a given configuration, that leaves no trace
        same = control.config(name) == json.loads(config)
    except ModelError:
        same = False
    if not same:
        control.load(name, config)


def _unregister_regions(control: ControlClient, shm_prefix: str) -> None:
    """Unregister the shared memory regions of this run that a request in flight, or a kill, has left."""
    try:
        regions = control.memory_regions()
    except ModelError:  # access to them is restricted, so this run has none
        return
    for region in regions:
        if region.startswith(shm_prefix):
            control.unregister_memory(region)


def watch(address: ServerAddress, shm_prefix: str, lines: Iterable[str]) -> None:
    """Read the record until its end; undo what is in it then, unless the run is done."""
    record: dict[str, str | None] = {}
    for line in lines:
        if line.strip() == _DONE:
            return
        with suppress(ValueError):  # a line that was cut off when the run was killed
            entry = json.loads(line)
            if "config" in entry:
                record[entry["name"]] = entry["config"]
            else:
                record.pop(entry["name"], None)
    for _ in range(_ATTEMPTS):
        with suppress(ModelError, ServerError), ControlClient(address, timeout_s=_LOAD_TIMEOUT_S) as control:
            for name in reversed(list(record)):
                with suppress(ModelError):  # the others are still brought back
                    undo(control, name, record[name])
                    del record[name]
            _unregister_regions(control, shm_prefix)
            if not record:
                return
        time.sleep(_PAUSE_S)


if __name__ == "__main__":
    if begin := sys.stdin.readline():
        where, prefix = pickle.loads(bytes.fromhex(begin))  # noqa: S301 - of the run itself
        watch(where, prefix, sys.stdin)
