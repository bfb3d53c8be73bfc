"""Fixtures for the real programs that tests run against: Triton, a Docker engine with a Triton image, PostgreSQL.

A test whose program is missing on this machine is skipped with the reason; with ``TRITONPACK_REQUIRE_REAL=1`` it
fails instead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from analyzer.servers.docker import triton_image as nvidia_image
from analyzer.servers.local import Installation, LocalServer
from tests.builders.ray_nodes import RayNodes, ray_nodes
from tests.fakes import nvml

# NumPy's algebra with a thread for each core slows down several times when pytest's workers use the same cores. It
# reads this when it is loaded, here and in the programs that tests start; it has not been so far.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A shell starts jobs in the background with SIGINT ignored, and programs started here would ignore it as well.
signal.signal(signal.SIGINT, signal.default_int_handler)

LIVE = Path(__file__).parent / "live"
SHARED_IN_A_FILE = {"bench", "profiled", "triton"}  # fixtures of tests/live that are made once for a file and worker
ECHO_CONFIG = """backend: "python"
max_batch_size: 8
input [{ name: "IN" data_type: TYPE_FP32 dims: [ 2 ] }]
output [{ name: "OUT" data_type: TYPE_FP32 dims: [ 2 ] }]
"""
ECHO_MODEL = """import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "IN").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUT", array)]) for array in inputs]
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of tests/checker: which seeds it draws requests from."""
    parser.addoption("--seeds", type=int, default=300, help="number of random requests that tests/checker plans")
    parser.addoption("--first-seed", type=int, default=0, help="seed of the first of them")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep tests that share an engine, a cluster or a server on one worker, and start with those that take longest."""
    for item in items:
        if "ray_cluster" in getattr(item, "fixturenames", ()) or item.get_closest_marker("ray"):
            item.add_marker(pytest.mark.xdist_group("ray"))
        elif item.get_closest_marker("docker"):
            item.add_marker(pytest.mark.xdist_group("docker"))
        elif SHARED_IN_A_FILE.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    items.sort(key=lambda item: (LIVE not in item.path.parents, item.get_closest_marker("xdist_group") is None))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let tests that are marked `alone` run while no other worker runs one: their claims rest on the host.

    A test waits at the gate while one that is to be alone waits for those that run, so that its turn comes.
    """
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None:
        return (yield)
    folder = Path(tempfile.gettempdir())
    alone = item.get_closest_marker("alone") is not None
    with (folder / f"tritonpack-{run}.gate").open("a") as gate, (folder / f"tritonpack-{run}.host").open("a") as host:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(host, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        return (yield)


def pytest_sessionfinish() -> None:
    """Remove the files of the locks between workers."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    for name in ("gate", "host") if run else ():
        Path(tempfile.gettempdir(), f"tritonpack-{run}.{name}").unlink(missing_ok=True)


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it if the real programs are required."""
    if os.environ.get("TRITONPACK_REQUIRE_REAL") == "1":
        pytest.fail(f"a real part is missing: {reason}")
    pytest.skip(reason)


def wait_for(happened: Callable[[], bool], what: str, *, timeout_s: float = 10.0) -> None:
    """Wait until the condition is true; fail the test if it is not in time."""
    deadline = time.monotonic() + timeout_s
    while not happened():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.02)


def last_line(log: Path) -> str:
    """Return a log's last line."""
    return (log.read_text(errors="replace").strip().splitlines() or ["its log is empty"])[-1]


@pytest.fixture
def local_server() -> LocalServer:
    """Return a server of this host."""
    if Installation.find() is None:
        missing("no tritonserver here: pip install 'tritonpack[local]'")
    return LocalServer()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Make an empty model repository, alone in a folder."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def echo_repository(tmp_path: Path) -> Path:
    """Make a model repository with one model, ``echo``, that returns its input (FP32, two numbers an item)."""
    repository = tmp_path / "repository"
    version = repository / "echo" / "1"
    version.mkdir(parents=True)
    (version.parent / "config.pbtxt").write_text(ECHO_CONFIG)
    (version / "model.py").write_text(ECHO_MODEL)
    return repository


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the fake libnvidia-ml.so.1, compiled once; tests/fakes/README.md says how it is used."""
    return nvml.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(scope="session")
def ray_cluster(nvml_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    """Start a Ray cluster of three nodes with a GPU each, of one type."""
    with ray_nodes(nvml_library, tmp_path_factory.mktemp("nodes")) as cluster:
        for _ in range(3):
            cluster.add("Tesla T4")
        yield cluster


class OwnEngine:
    """A Docker engine of the tests' own, with its own data; it may be killed and started again."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="tritonpack-dockerd-"))
        self.host = f"unix://{self.home}/socket"
        self.start()

    def start(self) -> None:
        """Start the engine, and return when it listens."""
        home, log = self.home, self.home / "log"
        command = ["dockerd", "--bridge=none", "--iptables=false", "--ip-masq=false", f"--host={self.host}"]
        command += [f"--data-root={home}/data", f"--exec-root={home}/exec", f"--pidfile={home}/pid"]
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        ready = "API listen on"
        deadline = time.monotonic() + 30
        while ready not in log.read_text(errors="replace"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                missing(f"dockerd does not start: {last_line(log)}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End the engine with SIGKILL; its containers run on without it."""
        self._process.kill()
        self._process.wait(30)

    def remove(self) -> None:
        """End the engine, and remove its data."""
        self._process.terminate()
        self._process.wait(30)
        # dockerd leaves the mount that holds the host's network namespace
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{self.home}/")]):
            subprocess.run(["umount", mount], check=True)
        shutil.rmtree(self.home)


@pytest.fixture(scope="session")
def _own_engine() -> Iterator[OwnEngine | None]:
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        yield None
        return
    engine = OwnEngine()
    try:
        yield engine
    finally:
        engine.remove()


@pytest.fixture(scope="session")
def docker_host(_own_engine: OwnEngine | None) -> str:
    """Return the address of a Docker engine: a separate one with its own data if it can be started, else the host's."""
    if _own_engine is not None:
        return _own_engine.host
    import docker

    try:
        docker.from_env(timeout=2).close()
    except (docker.errors.DockerException, OSError):
        missing("no Docker engine answers, and dockerd cannot be started: it is not installed, or we are not root")
    return os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")


@pytest.fixture
def own_engine(_own_engine: OwnEngine | None) -> OwnEngine:
    """Return the tests' own Docker engine; a test that kills it starts it again."""
    if _own_engine is None:
        missing("dockerd cannot be started: it is not installed, or we are not root")
    return _own_engine


@pytest.fixture(scope="session")
def _image_in_engine(docker_host: str) -> Iterator[str]:
    import docker

    tag = nvidia_image("24.10-py3")
    with contextlib.closing(docker.DockerClient(docker_host, timeout=60)) as client:
        present = client.images.list(tag)
    if present:
        yield tag  # NVIDIA's own
        return
    build = subprocess.run(
        [LIVE / "build_triton_image.sh", tag],
        env={**os.environ, "DOCKER_HOST": docker_host, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    if build.returncode:
        missing(f"no Triton image: {(build.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    yield tag
    with contextlib.closing(docker.DockerClient(docker_host, timeout=60)) as client:
        client.images.remove(tag, force=True)  # it must not be mistaken for NVIDIA's


@pytest.fixture
def docker_engine(docker_host: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Set DOCKER_HOST to a real Docker engine, also for the commands that the test runs; return its address."""
    monkeypatch.setenv("DOCKER_HOST", docker_host)
    return docker_host


@pytest.fixture
def triton_image(docker_engine: str, _image_in_engine: str) -> str:
    """Return the name of an image with Triton, NVIDIA's for 24.10-py3, that the test's engine has."""
    return _image_in_engine


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """Yield the SQLAlchemy URL of an empty database on a new PostgreSQL server on a loopback port."""
    initdb = shutil.which("initdb") or max(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), default=None)
    if initdb is None:
        missing("no PostgreSQL here: install Debian's package postgresql")
    binaries = Path(initdb).parent
    user = _server_user()  # PostgreSQL refuses to run as root
    home = Path(tempfile.mkdtemp(prefix="tritonpack-postgresql-"))
    if user:
        os.chown(home, pwd.getpwnam(user).pw_uid, -1)
    made = subprocess.run(
        [initdb, "--pgdata", home / "data", "--username=tester", "--auth=trust", "--no-sync"],
        user=user,
        cwd=home,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        missing(f"initdb failed: {made.stderr.strip().splitlines()[-1]}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [binaries / "postgres", "-D", home / "data", "-h", "127.0.0.1", "-p", str(port), "-k", home, "-F"]
    log = home / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(command, user=user, cwd=home, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_for(lambda: b"ready to accept connections" in log.read_bytes(), "PostgreSQL's start", timeout_s=30)
        yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # its "fast" shutdown: open sessions are ended
        server.wait(30)
        shutil.rmtree(home, ignore_errors=True)


def _server_user() -> str | None:
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"
