"""Run a real process that starts children, takes memory and spends processor time on command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# A parent that runs the lines it reads on its standard input and answers each with "done".
PARENT = """
import os, subprocess, sys, time
children = []
def child(code):
    children.append(subprocess.Popen([sys.executable, "-c", code + "\\nprint('up', flush=True); input()"],
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE))
    children[-1].stdout.readline()
def end():
    process = children.pop()
    process.kill()
    process.wait()
def spin(seconds):
    end_s = time.process_time() + seconds
    while time.process_time() < end_s: pass
print("done", flush=True)
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


class Tree:
    """A real process that executes the lines of Python it is sent."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def do(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        self.wait()

    def wait(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "done\n"


@contextmanager
def tree() -> Iterator[Tree]:
    command = [sys.executable, "-c", PARENT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        started = Tree(process)
        started.wait()
        try:
            yield started
        finally:
            process.kill()
