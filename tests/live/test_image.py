"""Build deploy/Dockerfile on the tests' Triton image and measure, plan and report inside it, as the chart's job does.

It takes a minute or two, so `make test` leaves it out; .ci/run runs it with ``-m image``.
"""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders.model_repositories import write_model

pytestmark = [pytest.mark.image, pytest.mark.docker]
ROOT = Path(__file__).parent.parent.parent
TAG = "tritonpack-test:image"


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done


def download_wheels(folder: Path) -> None:
    """Fetch the locked wheels that the image needs: the build in the container has no network."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["postgresql"], "setuptools>=77"]
    locked = re.findall(r"^([\w.-]+)(?:\[[a-z,]+\])?(==\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    constraints = folder.parent / "constraints.txt"
    constraints.write_text("".join(f"{name}{version}\n" for name, version in locked))
    platforms = [f"--platform=manylinux_2_{minor}_x86_64" for minor in (34, 31, 28, 27, 26, 24, 17, 12, 5)]
    run(
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", folder),
        *("--only-binary=:all:", "--python-version=3.11", "--platform=manylinux2014_x86_64", *platforms),
        *("--constraint", constraints, *wanted),
    )


@pytest.fixture
def image(tmp_path: Path, triton_image: str) -> Iterator[str]:
    """Yield the image that deploy/Dockerfile makes on the tests' Triton image."""
    context = tmp_path / "context"
    names = ("analyzer", "planner", "reports", "sample_models")
    for name in names:
        shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "requirements.lock", ".dockerignore"):
        shutil.copy(ROOT / name, context / name)
    download_wheels(context / "wheels")
    run(
        *("docker", "build", "--quiet", "--network", "none", "--file", ROOT / "deploy" / "Dockerfile"),
        *("--build-arg", f"BASE={triton_image}", "--build-arg", "PIP_ARGUMENTS=--no-index --find-links=wheels"),
        *("--tag", TAG, context),
    )
    try:
        yield TAG
    finally:
        run("docker", "image", "rm", "--force", TAG)


def test_the_image_measures_plans_and_reports_as_a_user(tmp_path: Path, image: str) -> None:
    """On a read-only root and as user 1000 the three steps of the job run, and their results are on the volume."""
    models, results = tmp_path / "models", tmp_path / "results"
    write_model(models, "echo")
    results.mkdir()
    results.chmod(0o777)

    def step(*command: str) -> str:
        mounts = ("--volume", f"{models}:/models:ro", "--volume", f"{results}:/results")
        limits = ("--read-only", "--tmpfs", "/tmp", "--shm-size", "256m", "--cap-drop", "ALL", "--network", "host")
        return run("docker", "run", "--rm", *limits, *mounts, image, *command).stdout

    measured = step(
        *("analyze", "--launch-mode", "local", "--model-folder", "/models", "-o", "/results", "--export"),
        *("--batch", "1", "--concurrency", "1,2", "--max-trial-seconds", "2", "--precision", "40"),
    )
    assert "echo" in measured
    with (results / "metrics-model.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 2
    assert (results / "measurements.sqlite").stat().st_uid == 1000
    step("plan", "solve", "/results", "--mode", "memory", "--gpu-memory", "16GiB", "-o", "/results/placement.json")
    step("report", "/results", "/results/placement.json", "-o", "/results/report")
    assert "echo" in (results / "report" / "report.html").read_text()
