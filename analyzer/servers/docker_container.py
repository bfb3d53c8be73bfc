"""Create, start, watch and remove one container of the Docker engine in which Triton runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer.errors import ServerError
from analyzer.servers import Endpoint
from analyzer.servers.health import triton_version, wait_until_ready
from analyzer.servers.log import exit_cause, has_ended
from analyzer.servers.orphans import owner_mark
from analyzer.servers.ports import LOOPBACK, Ports, triton_flags

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

ANSWER_TIMEOUT_S = 60.0  # creating a container on a cold disk is slow
ENGINE_BACK_S = 60.0  # how long a container waits to be removed for its engine to be started again
LOG_ENTRIES = 200  # of at most 16 KiB each, as the engine cuts longer lines
OWNER_LABEL = "tritonpack.owner"
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lives, not a temporary file


def container_options(
    image: str, repository: Path, gpus: Sequence[str], ports: Ports, shm_bytes: int | None
) -> dict[str, Any]:
    """Return the options of `docker create`, with as few rights as Triton can run with.

    The process runs as the calling user (as the repository's owner if that user is root), so it can read the same
    files, on the processors that the caller may use. Its root file system is read-only except /tmp, which is ``exec``
    because models may compile code there. The container has shared memory of its own, or this host's if `shm_bytes` is
    None.
    """
    from docker.types import DeviceRequest, LogConfig, Mount

    owner = repository.stat() if os.getuid() == 0 else None
    user, group = (owner.st_uid, owner.st_gid) if owner else (os.getuid(), os.getgid())
    name = f"tritonpack-{uuid.uuid4().hex[:8]}"
    cores = sorted(os.sched_getaffinity(0))
    return {
        "image": image,
        "command": ["tritonserver", *triton_flags("/models", ports, shm_prefix=_shm_prefix(name))],
        "name": name,
        "labels": {"tritonpack": "server", OWNER_LABEL: owner_mark()},
        "network_mode": "host",
        **({"cpuset_cpus": ",".join(map(str, cores))} if len(cores) < (os.cpu_count() or 1) else {}),
        **({"ipc_mode": "host"} if shm_bytes is None else {"ipc_mode": "private", "shm_size": shm_bytes}),
        "mounts": [Mount("/models", str(repository), type="bind", read_only=True)],
        "read_only": True,
        # of the engine's drivers this one can always be read; a model may write gigabytes
        "log_config": LogConfig(type="json-file", config={"max-size": "8m", "max-file": "2"}),
        "tmpfs": {"/tmp": "exec,mode=1777"},  # noqa: S108 - the container's own
        "user": f"{user}:{group}",
        "group_add": [str(number) for number in os.getgroups()] if os.getuid() else [],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "environment": {"HOME": "/tmp"},  # noqa: S108
        "device_requests": [DeviceRequest(device_ids=list(gpus), capabilities=[["gpu"]])] if gpus else None,
    }


def _shm_prefix(name: str) -> str:
    """Return the prefix of the names of shared memory segments that a container's Python stubs create."""
    return name.replace("-", "_") + "_"


def remove_segments(name: str) -> None:
    """Remove the shared memory segments that a killed container left on this host."""
    for segment in _SHARED_MEMORY.glob(f"{_shm_prefix(name)}*"):
        with suppress(OSError):  # already gone, or owned by a subordinate user of a rootless engine
            segment.unlink()


class TritonContainer:
    """A container, and the watcher process that removes it if this process is killed."""

    def __init__(self, client: DockerClient, options: dict[str, Any], ports: Ports, digest: str) -> None:
        self._client = client
        self._options = options
        self._name = str(options["name"])
        self._ports = ports
        self._digest = digest
        self._container: Container | None = None
        self._process_id: int | None = None
        self._version = ""
        self._ready_at: float | None = None  # Unix time: earlier errors in the log do not explain a later end
        self._watcher = subprocess.Popen(
            [sys.executable, "-m", "analyzer.servers.docker_container", self._name],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches only this process
        )

    def start(self, timeout_s: float) -> None:
        """Create and start the container; return once Triton is ready.

        Raises
        ------
        ServerError
            If the engine refuses, or Triton ends or is not ready in time.
        """
        import docker

        try:
            self._container = self._client.containers.create(**self._options)
            self._container.start()
        except (docker.errors.DockerException, OSError) as error:
            why = cause(error)
            way_out = "install NVIDIA's container toolkit on this host, or " if "device driver" in why else ""
            raise ServerError(
                f"the Docker engine could not start {self._options['image']} ({why}): {way_out}use "
                "`launch_mode='local'`"
            ) from error
        wait_until_ready(self._ports, timeout_s=timeout_s, death=self.death, log=self._read_log)
        self._version = triton_version(f"{LOOPBACK}:{self._ports.http}")
        with answering():
            self._container.reload()
        self._process_id = self._container.attrs["State"]["Pid"]
        self._ready_at = time.time()

    @property
    def endpoint(self) -> Endpoint:
        """The server's addresses and version."""
        return self._ports.endpoint(self._process_id, f"{self._version} {self._digest}")

    def death(self) -> str | None:
        """Return in one line why the server ended; None while it runs."""
        import docker

        assert self._container is not None  # noqa: S101 - started
        try:
            if has_ended(self._process_id):
                self._container.wait(timeout=ANSWER_TIMEOUT_S)  # the engine notices some milliseconds later
            self._container.reload()
            state = self._container.attrs["State"]
            if state["Running"]:
                return None
            if state.get("OOMKilled"):
                return "the container was killed because the host's memory ran out"
            return exit_cause(int(state["ExitCode"]), self._read_log())
        except docker.errors.NotFound:
            return f"the container {self._name} was removed by another program"
        except (docker.errors.DockerException, OSError) as error:
            if self._process_id is not None and not has_ended(self._process_id):
                return None  # it serves on without its engine
            return f"the Docker engine no longer answers ({cause(error)})"

    def stop(self) -> None:
        """Remove the container; return when it is gone.

        Raises
        ------
        ServerError
            If the engine does not answer. The server is ended all the same; the watcher tries on for a minute to
            remove its container, and so does the next run.
        """
        import docker

        failure = None
        # an interrupted request may still be creating the container, so try again if none was returned
        for _ in range(1 if self._container else 5):
            try:
                self._client.api.remove_container(self._name, force=True, v=True)
                break
            except docker.errors.NotFound:
                time.sleep(0.0 if self._container else 0.1)
            except (docker.errors.DockerException, OSError) as error:
                failure = error
                break
        if failure is not None and not has_ended(self._process_id) and self._process_id:
            with suppress(OSError):  # another user's, which only the engine may end
                os.kill(self._process_id, signal.SIGKILL)
        remove_segments(self._name)
        self._dismiss_watcher(b"" if failure else b"done\n")
        if failure is not None:
            raise ServerError(
                f"the Docker engine no longer answers ({cause(failure)}), so the container {self._name} was not "
                "removed: start the engine, and the next run removes it"
            ) from failure

    def _dismiss_watcher(self, word: bytes) -> None:
        assert self._watcher.stdin is not None  # noqa: S101 - opened above
        with suppress(BrokenPipeError):
            self._watcher.stdin.write(word)
            self._watcher.stdin.flush()
        with suppress(BrokenPipeError):
            self._watcher.stdin.close()
        if word:
            self._watcher.wait()

    def _read_log(self) -> str:
        import docker

        assert self._container is not None  # noqa: S101 - started
        try:
            return self._container.logs(since=self._ready_at, tail=LOG_ENTRIES).decode(errors="replace")
        except (docker.errors.DockerException, OSError):
            return ""  # how the server ended is known without it


def watch(name: str) -> None:
    """Wait until stdin ends; then remove the container, unless ``done`` was read: without it the owner was killed."""
    if sys.stdin.read():
        return
    import docker

    refused, deadline = 0, time.monotonic() + ENGINE_BACK_S
    while refused < 50 and time.monotonic() < deadline:
        try:
            client = docker.from_env(timeout=int(ANSWER_TIMEOUT_S))
            client.api.remove_container(name, force=True, v=True)
            break
        except docker.errors.APIError:  # the engine may still be creating it, or be removing it already
            refused += 1
            time.sleep(0.1)
        except (docker.errors.DockerException, OSError):  # the engine does not run
            time.sleep(1.0)
    remove_segments(name)


@contextmanager
def answering() -> Iterator[None]:
    """Turn the errors of an engine that stops answering, or refuses, into `ServerError`."""
    import docker

    try:
        yield
    except (docker.errors.DockerException, OSError) as error:
        raise ServerError(
            f"the Docker engine no longer answers ({cause(error)}): start it, and run this again, or use "
            "`launch_mode='local'`"
        ) from error


def cause(error: BaseException) -> str:
    """Return in one line the error of the engine, or of the connection to it."""
    explanation = getattr(error, "explanation", None) or str(error)
    return " ".join(str(explanation).split())[:300]


if __name__ == "__main__":
    watch(sys.argv[1])
