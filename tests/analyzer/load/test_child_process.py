"""Test the start of a process of our own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from analyzer.load.child_process import start_child

SCRIPT = """
from analyzer.load.child_process import start_child
from tests.analyzer.load.test_child_process import answer

print("the script runs")
process, pipe = start_child(answer, 20, name="child")
print(pipe.recv())
process.join()
print("status", process.exitcode)
"""


def answer(pipe, number):
    """Send the number's successor."""
    pipe.send(number + 1)


def test_a_script_without_a_guard_runs_once(tmp_path: Path) -> None:
    """The process that a script starts does not run the script again."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("the script runs\n21\nstatus 0\n", "")


def test_the_main_module_is_back_after_the_start() -> None:
    """The caller keeps its main module."""
    main = sys.modules["__main__"]
    process, pipe = start_child(answer, 1, name="child")
    assert pipe.recv() == 2
    process.join()
    assert sys.modules["__main__"] is main
