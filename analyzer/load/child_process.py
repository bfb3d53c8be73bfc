"""Start a process of our own with a pipe to it."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from threading import Lock
from types import ModuleType
from typing import Any

_script_lock = Lock()


def start_child(
    target: Callable[..., None], *arguments: Any, name: str, daemon: bool = False
) -> tuple[BaseProcess, Connection]:
    """Start a process that calls ``target(pipe, *arguments)``; return it and our end of the pipe.

    The process does not run the caller's script, as multiprocessing has it: a script that calls `analyzer.measure`
    without ``if __name__ == "__main__":`` would call it again there. So the arguments are of no class of the script's.
    """
    spawn = multiprocessing.get_context("spawn")  # no forked copy of the caller's threads and memory
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=target, args=(theirs, *arguments), name=name, daemon=daemon)
    with _script_hidden():
        process.start()
    theirs.close()
    return process, ours


@contextmanager
def _script_hidden() -> Iterator[None]:
    """Let multiprocessing find an empty main module, which it does not run in the process that it starts."""
    with _script_lock:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = script
