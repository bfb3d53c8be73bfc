"""Test every kind of server with a real Triton: what it serves, how it ends, and that nothing is left behind."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from analyzer.errors import ServerError
from analyzer.servers import Server, guard
from analyzer.servers.docker import DockerServer, connect, find_or_pull, read_pull
from analyzer.servers.docker_container import OWNER_LABEL
from analyzer.servers.health import serves_nothing
from analyzer.servers.local import LocalServer
from analyzer.servers.log import has_ended, last_error, read_end
from analyzer.servers.orphans import owner_mark
from analyzer.servers.remote import RemoteServer
from tests.conftest import LIVE, wait_for
from tests.fakes.registry import serve_image

if TYPE_CHECKING:
    from docker.models.containers import Container

DOCKER = pytest.param("docker", marks=pytest.mark.docker)


def ask(address: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Send one request of the KServe protocol; return the status and the decoded answer."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None
    finally:
        connection.close()


def echo(address: str) -> list[float]:
    """Send one inference to the model `echo`; return its output."""
    tensor = {"name": "IN", "datatype": "FP32", "shape": [1, 2], "data": [3.0, 4.0]}
    status, answer = ask(address, "POST", "/v2/models/echo/infer", {"inputs": [tensor]})
    assert status == 200, answer
    values: list[float] = answer["outputs"][0]["data"]
    return values


def digest(folder: Path) -> dict[str, str]:
    """Hash every file under a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def traces_of(process_id: int) -> Callable[[], list[str]]:
    """Return a function that lists what a local server left on this host: shared memory, and its folder.

    Other servers may run here at the same time, so its own are found by its command line and working directory.
    """
    process = psutil.Process(process_id)
    (prefix,) = (word.partition("prefix-name=")[2] for word in process.cmdline() if "prefix-name=" in word)
    assert prefix.startswith("tritonpack_")
    folder = Path(process.cwd())

    def left() -> list[str]:
        return [*map(str, Path("/dev/shm").glob(f"{prefix}*")), *([str(folder)] if folder.exists() else [])]

    return left


def containers() -> list[Container]:
    """List the tool's containers in the test's engine, running or not."""
    import docker

    client = docker.from_env(timeout=30)
    return client.containers.list(all=True, filters={"label": OWNER_LABEL})


@pytest.fixture(params=["local", DOCKER, "remote"])
def server(request: pytest.FixtureRequest, echo_repository: Path) -> Iterator[Server]:
    """Yield each kind of server; the remote one is a local one that is known by its address only."""
    if request.param == "docker":
        yield DockerServer(request.getfixturevalue("triton_image"))
        return
    local: LocalServer = request.getfixturevalue("local_server")
    if request.param == "local":
        yield local
        return
    with local.serve(echo_repository) as running:
        yield RemoteServer(running.endpoint.http, metrics_url=running.endpoint.metrics_url)


def test_server_is_ready_without_models_and_loads_on_request(server: Server, echo_repository: Path) -> None:
    """No model is loaded until asked for; a loaded one infers; the repository is unchanged."""
    before = digest(echo_repository)
    with server.serve(echo_repository) as running:
        address = running.endpoint.http
        assert ask(address, "POST", "/v2/repository/index") == (200, [{"name": "echo"}])
        assert ask(address, "POST", "/v2/repository/models/echo/load", {})[0] == 200
        assert echo(address) == [3.0, 4.0]
        assert running.death() is None
    assert digest(echo_repository) == before


def test_server_names_its_version_and_metrics(server: Server, echo_repository: Path) -> None:
    """The endpoint has Triton's version, and the metrics page is Prometheus text."""
    with server.serve(echo_repository) as running:
        assert running.endpoint.server.split()[0].count(".") == 2
        assert running.endpoint.metrics_url is not None
        where, path = running.endpoint.metrics_url.removeprefix("http://").split("/", 1)
        connection = http.client.HTTPConnection(where, timeout=10)
        connection.request("GET", f"/{path}")
        assert b"# HELP nv_" in connection.getresponse().read()
        connection.close()


@pytest.mark.parametrize("kind", ["local", DOCKER])
def test_own_server_leaves_nothing_after_an_exception(
    kind: str, request: pytest.FixtureRequest, echo_repository: Path
) -> None:
    """An exception inside the ``with`` block is passed on, and everything that was started is removed."""
    with pytest.raises(ZeroDivisionError), own_server(kind, request).serve(echo_repository) as running:
        ask(running.endpoint.http, "POST", "/v2/repository/models/echo/load", {})
        assert running.endpoint.process_id is not None
        root = psutil.Process(running.endpoint.process_id)
        family = [root, *root.children(recursive=True)]
        left = traces_of(root.pid) if kind == "local" else containers
        assert left()
        raise ZeroDivisionError
    assert not any(map(runs, family))
    assert left() == []


@pytest.mark.parametrize("kind", ["local", DOCKER])
def test_own_server_listens_on_loopback_only(kind: str, request: pytest.FixtureRequest, echo_repository: Path) -> None:
    """Its ports listen on the loopback address only."""
    with own_server(kind, request).serve(echo_repository) as running:
        assert running.endpoint.process_id is not None
        sockets = psutil.Process(running.endpoint.process_id).net_connections("tcp")
        listening = [connection.laddr.ip for connection in sockets if connection.status == psutil.CONN_LISTEN]
        assert len(listening) >= 3
        assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


@pytest.mark.parametrize("kind", ["local", DOCKER])
def test_death_of_a_killed_server_is_reported(kind: str, request: pytest.FixtureRequest, echo_repository: Path) -> None:
    """After SIGKILL with a model loaded, `death` reports the signal at once, and nothing is left behind."""
    with own_server(kind, request).serve(echo_repository) as running:
        ask(running.endpoint.http, "POST", "/v2/repository/models/echo/load", {})
        assert running.endpoint.process_id is not None
        family = psutil.Process(running.endpoint.process_id).children(recursive=True)
        assert family, "a Python model runs in a process of its own"
        left = traces_of(running.endpoint.process_id) if kind == "local" else containers
        assert left()
        os.kill(running.endpoint.process_id, signal.SIGKILL)
        wait_for(lambda: has_ended(running.endpoint.process_id), "the server's end", timeout_s=1.0)
        assert (
            running.death() == "tritonserver was ended by SIGKILL"
        )  # at once, so that no caller sees the server gone without a cause
        wait_for(lambda: not any(map(runs, family)), "the end of its stubs", timeout_s=1.0)
    assert left() == []


@pytest.mark.parametrize("kind", ["local", DOCKER])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_own_server_ends_with_the_program_that_started_it(
    kind: str, number: signal.Signals, request: pytest.FixtureRequest, echo_repository: Path
) -> None:
    """However the program ends, server, stubs, shared memory, folder and container are removed soon after."""
    server = own_server(kind, request)
    image = [server.describe().removeprefix("docker, ")] if kind == "docker" else []
    command = [sys.executable, LIVE / "serve.py", kind, echo_repository, *image]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:
        assert program.stdout is not None
        process_id, address = program.stdout.readline().split()
        assert ask(address, "POST", "/v2/repository/models/echo/load", {})[0] == 200
        root = psutil.Process(int(process_id))
        family = [root, *root.children(recursive=True)]
        assert len(family) == 2
        left = traces_of(root.pid) if kind == "local" else containers
        assert left()
        program.send_signal(number)
        program.wait(10)
    wait_for(lambda: not any(map(runs, family)), "the server's end")
    wait_for(lambda: left() == [], "the removal of its traces")


@pytest.mark.parametrize("kind", ["local", DOCKER])
def test_own_server_on_a_busy_port_is_refused_at_once(
    kind: str, request: pytest.FixtureRequest, echo_repository: Path, local_server: LocalServer
) -> None:
    """A second server on a port is refused within two seconds, with the port in the error."""
    with local_server.serve(echo_repository) as running:
        port = int(running.endpoint.http.rpartition(":")[2])
        own_server(kind, request)  # starts the engine before the time is measured
        start_s = time.perf_counter()
        with pytest.raises(ServerError, match=f"port {port} .* `http_port`"):
            second = (
                LocalServer(http_port=port)
                if kind == "local"
                else DockerServer(request.getfixturevalue("triton_image"), http_port=port)
            )
            with second.serve(echo_repository):
                pass
        assert time.perf_counter() - start_s < 2.0
        assert running.death() is None


@pytest.mark.parametrize("kind", ["local", DOCKER])
def test_own_server_without_a_repository_is_refused(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A missing folder is named in the error."""
    server = own_server(kind, request)
    with pytest.raises(ServerError, match="nowhere is not a folder"), server.serve(tmp_path / "nowhere"):
        pass


def test_remote_server_continues_to_run_on_exit(local_server: LocalServer, echo_repository: Path) -> None:
    """A remote server is not stopped on exit; when its owner stops it, `death` reports that."""
    with local_server.serve(echo_repository) as theirs:
        with RemoteServer(theirs.endpoint.http).serve(echo_repository) as ours:
            pass
        assert theirs.death() is None
        assert ours.death() is None
    assert ours.death() == f"Triton at {theirs.endpoint.http} no longer answers"


def test_local_server_serves_linked_folders_without_writing_to_them(
    local_server: LocalServer, echo_repository: Path, tmp_path: Path
) -> None:
    """Models in linked folders are served and not changed, also with a link to a folder above."""
    kept = echo_repository.rename(tmp_path / "kept")
    repository = tmp_path / "links"
    repository.mkdir()
    (repository / "echo").symlink_to(kept / "echo")
    (kept / "echo" / "circle").symlink_to(kept / "echo")
    before = digest(kept)
    with local_server.serve(repository) as running:
        assert ask(running.endpoint.http, "POST", "/v2/repository/models/echo/load", {})[0] == 200
        assert echo(running.endpoint.http) == [3.0, 4.0]
    assert digest(kept) == before


def test_local_server_does_not_outlive_its_guard(local_server: LocalServer, echo_repository: Path) -> None:
    """If the guard process is killed, the server is killed with it, and its stubs end."""
    with local_server.serve(echo_repository) as running:
        ask(running.endpoint.http, "POST", "/v2/repository/models/echo/load", {})
        assert running.endpoint.process_id is not None
        root = psutil.Process(running.endpoint.process_id)
        family = [root, *root.children(recursive=True)]
        assert len(family) == 2
        parent = root.parent()
        assert parent is not None
        parent.kill()
        wait_for(lambda: running.death() is not None, "the guard's death", timeout_s=1.0)
        assert running.death() == "tritonserver was ended by SIGKILL"
        wait_for(lambda: not any(map(runs, family)), "the server's end")


def runs(process: psutil.Process) -> bool:
    """Return whether a process still runs; a zombie does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_guard_kills_at_once_after_now(tmp_path: Path) -> None:
    """The guard waits 60 s for a server that ignores SIGTERM, and not at all after it receives ``now``."""
    ready = tmp_path / "ready"
    command = [sys.executable, "-I", "-S", str(Path(guard.__file__)), str(os.getpid()), str(tmp_path), "none_", "60"]
    command += ["sh", "-c", f"trap '' TERM; touch {ready}; while :; do sleep 0.1; done"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        wait_for(ready.exists, "the server")
        process.communicate(b"now", timeout=30)
    assert process.returncode == 128 + signal.SIGKILL


def test_guard_keeps_the_end_of_a_log_of_any_length(tmp_path: Path) -> None:
    """Of 100 MB on stdout and stderr less than 9 MiB stay on the disk, the last error line among them.

    The log once grew without a bound, and the whole of it was read: 2.6 GB for a model that wrote gigabytes.
    """
    error = "E1120 11:25:41.037312 17660 server.cc:241] the last words"
    script = (
        f"echo first; yes a line of a model | head -c 100000000; yes e | head -c 100000 >&2; echo '{error}' >&2; exit 3"
    )
    command = [sys.executable, "-I", "-S", str(Path(guard.__file__)), str(os.getpid()), str(tmp_path), "none_", "60"]
    with (tmp_path / "log").open("a+b") as log:
        done = subprocess.Popen(
            [*command, "sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
        )
        assert done.stdin is not None
        done.wait(60)
        done.stdin.close()
    assert done.returncode == 3
    assert (1 << 20) < (tmp_path / "log").stat().st_size <= guard.LOG_BYTES
    assert last_error(read_end(tmp_path / "log")) == "the last words"


def test_serves_nothing_only_without_loaded_models(local_server: LocalServer, echo_repository: Path) -> None:
    """`serves_nothing` is true without loaded models, and false with one or if the server does not answer."""
    with local_server.serve(echo_repository) as running:
        assert serves_nothing(running.endpoint.http)
        ask(running.endpoint.http, "POST", "/v2/repository/models/echo/load", {})
        assert not serves_nothing(running.endpoint.http)
    assert not serves_nothing(running.endpoint.http)


def test_local_server_that_hangs_is_killed(local_server: LocalServer, echo_repository: Path) -> None:
    """A stopped process does not react to SIGTERM and is killed after 3 s."""
    with local_server.serve(echo_repository) as running:
        assert running.endpoint.process_id is not None
        os.kill(running.endpoint.process_id, signal.SIGSTOP)
        assert running.death() is None
        start_s = time.perf_counter()
    assert 3.0 <= time.perf_counter() - start_s < 5.0
    assert not psutil.pid_exists(running.endpoint.process_id)


def test_local_server_that_cannot_start_gives_tritons_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, echo_repository: Path
) -> None:
    """A tritonserver on PATH is used before the package's; the error gives its exit status and last error line."""
    binary = tmp_path / "tritonserver"
    binary.write_text("#!/bin/sh\necho 'error: creating server: Internal - no disk' >&2\nexit 3\n")
    binary.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ServerError, match=r"exit status 3; .* no disk"), LocalServer().serve(echo_repository):
        pass


def test_local_server_without_the_extra_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, echo_repository: Path
) -> None:
    """Without a tritonserver on PATH or in a package, the error names the extra to install."""
    (tmp_path / "pytriton").mkdir()
    (tmp_path / "pytriton" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerError, match=r"pip install 'tritonpack\[local\]'"), LocalServer().serve(echo_repository):
        pass


@pytest.mark.docker
def test_container_has_few_rights(triton_image: str, echo_repository: Path) -> None:
    """It has no capabilities or new privileges, can write only to /tmp, and mounts only the repository, read-only."""
    with DockerServer(triton_image).serve(echo_repository):
        (container,) = containers()
        host = container.attrs["HostConfig"]
        assert container.name is not None
        assert container.name.startswith("tritonpack-")
        assert container.labels["tritonpack"] == "server"
        assert not host["Privileged"]
        assert host["CapDrop"] == ["ALL"]
        assert host["SecurityOpt"] == ["no-new-privileges:true"]
        assert host["ReadonlyRootfs"]
        assert host["IpcMode"] == "private"
        assert host["ShmSize"] == 1 << 30
        assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-size": "8m", "max-file": "2"}}
        assert [(mount["Destination"], mount["RW"]) for mount in container.attrs["Mounts"]] == [("/models", False)]
        status = Path(f"/proc/{container.attrs['State']['Pid']}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
    assert containers() == []


@pytest.mark.docker
def test_container_whose_owner_is_gone_is_removed_by_the_next(triton_image: str, echo_repository: Path) -> None:
    """A container whose owner has ended is removed by the next start; one whose owner runs is kept."""
    import docker

    client = docker.from_env(timeout=30)
    boot, namespace, process_id, ticks = owner_mark().split()
    gone = f"{boot} {namespace} {process_id} {int(ticks) + 1}"  # this process id, but of an earlier process
    dead, alive = (
        client.containers.create(triton_image, ["true"], labels={OWNER_LABEL: mark}, network_mode="none")
        for mark in (gone, owner_mark())
    )
    try:
        with DockerServer(triton_image).serve(echo_repository):
            left = {container.id for container in containers()}
            assert dead.id not in left
            assert alive.id in left
    finally:
        alive.remove()


@pytest.mark.docker
@pytest.mark.usefixtures("docker_engine")
def test_image_that_cannot_be_pulled_is_an_error_at_once(echo_repository: Path) -> None:
    """If no registry has the image, the error names it and both remedies within two seconds."""
    start_s = time.perf_counter()
    with (
        pytest.raises(ServerError, match=r"tritonpack\.invalid/none:1 .* `triton_image`"),
        DockerServer("tritonpack.invalid/none:1").serve(echo_repository),
    ):
        pass
    assert time.perf_counter() - start_s < 2.0


@pytest.mark.docker
@pytest.mark.usefixtures("docker_engine")
def test_missing_image_is_pulled_and_named_by_its_digest() -> None:
    """A missing image is pulled; the provenance names the registry's digest, not the tag."""
    client = connect()
    with serve_image("tritonpack/small") as (image, digest_there):
        assert not client.images.list(image)
        assert find_or_pull(client, image, read_pull) == digest_there
        assert client.images.list(image)
    assert (
        find_or_pull(client, image, read_pull) == digest_there
    )  # the registry has ended: an image that is present is not pulled again
    client.images.remove(image)


@pytest.mark.docker
def test_engine_without_a_gpu_runtime_is_an_error(triton_image: str, echo_repository: Path) -> None:
    """If the engine has no GPU runtime, the error names the toolkit, and no container is left."""
    import docker

    if "nvidia" in docker.from_env(timeout=5).info()["Runtimes"]:
        pytest.skip("this engine can give GPUs")
    with (
        pytest.raises(ServerError, match="container toolkit"),
        DockerServer(triton_image).serve(echo_repository, gpus=["GPU-00000000-0000-0000-0000-000000000000"]),
    ):
        pass
    assert containers() == []


@pytest.mark.parametrize("kind", ["missing", "silent", "elsewhere"])
def test_engine_that_does_not_answer_is_an_error_at_once(
    kind: str, tmp_path: Path, echo_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No socket, a socket that never answers and an engine on another host each give one line within two seconds."""
    import socket

    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        hosts = {
            "missing": f"unix://{tmp_path}/none",
            "silent": f"unix://{tmp_path}/silent",
            "elsewhere": "tcp://192.0.2.1:2375",
        }
        monkeypatch.setenv("DOCKER_HOST", hosts[kind])
        start_s = time.perf_counter()
        with (
            pytest.raises(ServerError, match="`launch_mode=") as raised,
            DockerServer("own/triton:1").serve(echo_repository),
        ):
            pass
        assert time.perf_counter() - start_s < 2.0
        assert "\n" not in raised.value.message


def own_server(kind: str, request: pytest.FixtureRequest) -> Server:
    """Return a local or a Docker server on free ports."""
    if kind == "docker":
        return DockerServer(request.getfixturevalue("triton_image"))
    server: LocalServer = request.getfixturevalue("local_server")
    return server
