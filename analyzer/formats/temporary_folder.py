"""Make a temporary folder that is removed also when the process that made it is killed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Waits until the process that holds its stdin is gone, however that ended, on its own so that no signal to a group or
# to children reaches it. Others that have ended with that process may write for some seconds more.
_REMOVE = """import os, shutil, sys, time
if os.fork() == 0:
    os.setsid()
    sys.stdin.buffer.read()
    for _ in range(20):
        shutil.rmtree(sys.argv[1], ignore_errors=True)
        time.sleep(0.5)
        if not os.path.exists(sys.argv[1]):
            break
"""


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Yield a new folder whose name begins with `prefix`, which is removed in the end."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    remover = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _REMOVE, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert remover.stdin is not None  # noqa: S101 - opened above
    try:
        remover.wait()  # for its fork
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        remover.stdin.close()
