"""Test `analyze` with Triton in a container of a real Docker engine."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.builders.model_repositories import write_model
from tests.conftest import OwnEngine, wait_for

pytestmark = pytest.mark.docker
ANALYZE = str(Path(sys.executable).with_name("analyze"))
SHORT = ("--max-trial-seconds", "1", "--precision", "60")
QUICK = ("--launch-mode", "docker", *SHORT)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Make a repository with the two models of the first users' command line."""
    write_model(tmp_path / "models", "chest_xray")
    write_model(tmp_path / "models", "covid19_xray")
    return tmp_path / "models"


def containers(docker_host: str) -> list[str]:
    """List the engine's containers, stopped ones too."""
    import docker

    client = docker.DockerClient(docker_host, timeout=10)
    try:
        return [container.name for container in client.containers.list(all=True)]
    finally:
        client.close()


def test_first_users_command_line_works_unchanged(repository: Path, triton_image: str, docker_host: str) -> None:
    """Mode auto uses Docker if the engine has the image; every point is measured and the container is removed.

    Their options are taken as they were; that the trials end early is the only addition.
    """
    export = repository.parent / "export"
    command = [ANALYZE, "--batch", "1,2,4", "--concurrency", "1,2,4", "--model-names", "chest_xray,covid19_xray"]
    command += ["--triton-version", "24.10-py3", "--model-folder", str(repository)]
    command += ["--export", "--export-path", str(export), *SHORT]
    done = subprocess.run(command, cwd=repository.parent, capture_output=True, text=True, timeout=590)
    assert done.returncode == 0, done.stderr
    assert "docker" in done.stderr.splitlines()[0]
    with (export / "metrics-model.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 18
    assert {row["status"] for row in rows} <= {"ok", "unsettled"}
    assert all(float(row["model_memory_mib"]) > 0 for row in rows)
    assert (repository.parent / "results" / "measurements.sqlite").exists()
    assert containers(docker_host) == []


@pytest.mark.alone  # it looks at all of /dev/shm
def test_shared_memory_is_shared_with_a_container_of_another_user(
    repository: Path, triton_image: str, docker_host: str
) -> None:
    """The container, which runs as the repository's owner, can open the region; its own segments are removed."""
    if os.getuid() == 0:
        for path in (repository, *repository.rglob("*")):
            os.chown(path, 12345, 12345)
    command = [ANALYZE, *QUICK, "--model-folder", str(repository), "--model-names", "chest_xray"]
    command += ["--shared-memory", "system", "--export", "-o", str(repository.parent / "out")]
    before = set(Path("/dev/shm").iterdir())
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with (repository.parent / "out" / "metrics-model.csv").open(newline="") as file:
        assert [row["transport"] for row in csv.DictReader(file)] == ["http+shm"]
    assert set(Path("/dev/shm").iterdir()) == before
    assert containers(docker_host) == []


def test_a_failing_model_leaves_no_container(repository: Path, triton_image: str, docker_host: str) -> None:
    """The failing model is a row, the exit code is 1, and the container is removed."""
    write_model(repository, "bad", initialize="raise ValueError('no weights here')")
    command = [ANALYZE, "--model-folder", str(repository), "-o", str(repository.parent / "results"), *QUICK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    assert "no weights here" in done.stderr
    assert containers(docker_host) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_no_container(
    repository: Path, triton_image: str, docker_host: str, number: signal.Signals
) -> None:
    """After a signal the container is removed when the command has ended."""
    command = [ANALYZE, "--model-folder", str(repository), "-o", str(repository.parent / "results"), *QUICK]
    with subprocess.Popen([*command, "--batch", "1,2,4"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "infer/s" in line:
                break
        assert len(containers(docker_host)) == 1
        process.send_signal(number)
        process.stderr.read()
    assert process.returncode == 128 + number
    assert containers(docker_host) == []


@pytest.mark.parametrize("remover", ["watcher", "next run"])
def test_an_engine_that_is_killed_is_one_line_and_leaves_nothing_for_long(
    repository: Path, triton_image: str, own_engine: OwnEngine, remover: str
) -> None:
    """SIGKILL of the engine in a sweep: one line, exit code 1, results kept; then the container is removed.

    The watcher removes it if the engine is soon back, else the next run does.

    It once was a traceback of requests.exceptions.ConnectionError, and the server ran on.
    """
    command = [ANALYZE, "--model-folder", str(repository), "-o", str(repository.parent / "results"), *QUICK]
    command += ["--model-names", "chest_xray", "--concurrency", "1,2"]
    try:
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if "infer/s" in line:
                    break
            (name,) = containers(own_engine.host)
            (server,) = [p for p in psutil.process_iter() if p.name().startswith("tritonserver") and served_by(p, name)]
            if remover == "next run":
                for child in psutil.Process(process.pid).children():
                    if "analyzer.servers.docker_container" in child.cmdline():
                        child.kill()
            own_engine.kill()
            out, err = process.communicate(timeout=60)
        assert process.returncode == 1, err
        (line,) = [line for line in err.splitlines() if line.startswith("Error")]
        assert "Docker engine no longer answers" in line
        assert name in line
        assert "Traceback" not in err
        assert "chest_xray" in out
        wait_for(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, "the server's end")
    finally:
        own_engine.start()
    if remover == "watcher":
        wait_for(lambda: containers(own_engine.host) == [], "the removal of the container", timeout_s=20)
    else:
        assert containers(own_engine.host) == [name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "(from the store)" in done.stderr
    assert containers(own_engine.host) == []


def served_by(process: psutil.Process, container: str) -> bool:
    """Return whether a tritonserver runs in the container with this name, which its shared memory's prefix has."""
    return any(container.replace("-", "_") in word for word in process.cmdline())


def test_a_missing_image_is_one_line_at_once(repository: Path, docker_engine: str) -> None:
    """A missing image is an error of one line that names the image and what to do; no container remains."""
    command = [ANALYZE, "--model-folder", str(repository), *QUICK, "--triton-image", "127.0.0.1:9/no/such:image"]
    started = time.monotonic()
    done = subprocess.run(command, cwd=repository.parent, capture_output=True, text=True, timeout=60)
    assert time.monotonic() - started < 5  # the limit is 2 s; the machine may be busy
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert len(errors) == 1
    assert "127.0.0.1:9/no/such:image" in errors[0]
    assert containers(docker_engine) == []


def test_an_unreachable_engine_is_one_line_at_once(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an engine, mode docker gives an error that names the other modes."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{repository}/nothing-listens")
    command = [ANALYZE, "--model-folder", str(repository), *QUICK]
    started = time.monotonic()
    done = subprocess.run(command, cwd=repository.parent, capture_output=True, text=True, timeout=60)
    assert time.monotonic() - started < 5
    assert done.returncode == 1
    assert len([line for line in done.stderr.splitlines() if line.startswith("Error")]) == 1
