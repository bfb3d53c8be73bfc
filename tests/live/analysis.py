"""Run the commands `analyze` and `plan` as a user does, and read their output."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil

ANALYZE = str(Path(sys.executable).with_name("analyze"))
PLAN = str(Path(sys.executable).with_name("plan"))
QUICK = ("--launch-mode", "local", "--max-trial-seconds", "1", "--precision", "60")  # where no claim rests on a rate
PRECISE = ("--max-trial-seconds", "2", "--precision", "30")  # after QUICK, for claims about rates


def results_of(repository: Path) -> Path:
    """Return the output folder for runs on this repository."""
    return repository.parent / "results"


def command(repository: Path, *arguments: str) -> list[str]:
    """Make the command line that measures a repository and writes its results beside it."""
    return [ANALYZE, "--model-folder", str(repository), "-o", str(results_of(repository)), *QUICK, *arguments]


def analyze(
    repository: Path, *arguments: str, code: int = 0, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command and check its exit code."""
    done = subprocess.run(command(repository, *arguments), capture_output=True, text=True, timeout=180, env=environment)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def plan(
    *arguments: str | Path | int, code: int = 0, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command of `plan` and check its exit code."""
    done = subprocess.run([PLAN, *map(str, arguments)], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def rows(repository: Path) -> list[dict[str, str]]:
    """Read the exported CSV."""
    with (results_of(repository) / "metrics-model.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def outcome(row: Mapping[str, str]) -> str:
    """Return a row's status; ``measured`` for both ok and unsettled, because a busy machine may give either."""
    return "measured" if row["status"] in ("ok", "unsettled") else row["status"]


def shared_memory_of(children: list[psutil.Process]) -> Callable[[], list[Path]]:
    """Return a function that lists the shared memory of the tritonserver among `children`, by its prefix."""
    (server,) = [child for child in children if child.name() == "tritonserver"]
    (prefix,) = [flag.rpartition("=")[2] for flag in server.cmdline() if "shm-region-prefix-name=" in flag]
    return lambda: [path for path in Path("/dev/shm").iterdir() if path.name.startswith(prefix)]
