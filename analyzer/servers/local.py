"""Run Triton as a process of this host: a tritonserver on PATH, else the one in the package nvidia-pytriton."""

from __future__ import annotations

import importlib.util
import os
import select
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from analyzer.errors import ServerError
from analyzer.servers import Endpoint, RunningServer
from analyzer.servers.health import serves_nothing, triton_version, wait_until_ready
from analyzer.servers.log import exit_cause, has_ended, read_end
from analyzer.servers.onnx_backend import install_backend
from analyzer.servers.ports import LOOPBACK, START_TIMEOUT_S, Ports, start_on_ports, triton_flags

GRACE_S = 3.0  # between SIGTERM and SIGKILL; tritonserver takes 0.5 s unless it hangs


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A Triton that is installed on this host.

    Parameters
    ----------
    binary : Path
        The tritonserver executable.
    package : Path or None
        The folder ``pytriton/tritonserver`` of nvidia-pytriton; None for a Triton with its own backends.
    """

    binary: Path
    package: Path | None

    @classmethod
    def find(cls) -> Self | None:
        """Find a tritonserver on PATH, else in nvidia-pytriton (without importing it); None if there is none."""
        if found := shutil.which("tritonserver"):
            return cls(binary=Path(found), package=None)
        spec = importlib.util.find_spec("pytriton")
        for location in (spec.submodule_search_locations or []) if spec else []:
            package = Path(location) / "tritonserver"
            if (package / "bin" / "tritonserver").is_file():
                return cls(binary=package / "bin" / "tritonserver", package=package)
        return None

    def describe(self) -> str:
        """Say where the tritonserver comes from."""
        return "the package nvidia-pytriton" if self.package else str(self.binary)


class LocalServer:
    """Runs Triton as a process of this host, on loopback ports.

    Parameters
    ----------
    http_port, grpc_port, metrics_port : int or None
        Ports to listen on; None for a free one.
    start_timeout_s : float
        How long the server may take until it is ready, in seconds.
    """

    def __init__(
        self,
        *,
        http_port: int | None = None,
        grpc_port: int | None = None,
        metrics_port: int | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        self._ports = (http_port, grpc_port, metrics_port)
        self._start_timeout_s = start_timeout_s

    def describe(self) -> str:
        """Describe the server in a few words."""
        installation = Installation.find()
        return f"local, {installation.describe() if installation else 'no tritonserver found'}"

    @contextmanager
    def serve(self, repository: Path, *, gpus: Sequence[str] = ()) -> Iterator[RunningServer]:
        """Yield a ready server without models; see `Server.serve`."""
        installation = Installation.find()
        if installation is None:
            raise ServerError(
                "no Triton on this host (no tritonserver on PATH, no package nvidia-pytriton): "
                "pip install 'tritonpack[local]'"
            )
        if not repository.is_dir():
            raise ServerError(f"the model repository {repository} is not a folder")
        with tempfile.TemporaryDirectory(prefix="tritonpack-", ignore_cleanup_errors=True) as name:
            server = self._start(installation, repository, Path(name), gpus)
            try:
                yield server
            finally:
                server.stop()

    def _start(
        self, installation: Installation, repository: Path, directory: Path, gpus: Sequence[str]
    ) -> LocalProcess:
        environment = dict(os.environ, CUDA_VISIBLE_DEVICES=",".join(gpus))
        flags = prepare_package(installation.package, directory, environment) if installation.package else []
        models = directory / "models"
        try:
            _mirror(repository.resolve(), models, above=())
        except OSError as error:
            raise ServerError(f"the model repository {repository} cannot be read: {error}") from error

        def make(ports: Ports) -> LocalProcess:
            return LocalProcess(installation.binary, flags, models, ports, directory, environment)

        return start_on_ports(make, *self._ports, timeout_s=self._start_timeout_s)


class LocalProcess:
    """A tritonserver run by guard.py, in a session of its own so that Ctrl-C reaches only this process."""

    def __init__(
        self,
        binary: Path,
        flags: Sequence[str],
        repository: Path,
        ports: Ports,
        directory: Path,
        environment: dict[str, str],
    ) -> None:
        self._log = directory / "triton.log"
        self._ports = ports
        prefix = f"tritonpack_{uuid.uuid4().hex[:12]}_"
        guard = [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py"))]
        guard += [str(os.getpid()), str(directory), prefix, str(GRACE_S)]
        command = [str(binary), *triton_flags(str(repository), ports, shm_prefix=prefix), *flags]
        with self._log.open("a+b") as log:  # the guard reads it too, and keeps its end only
            self._guard = subprocess.Popen(
                guard + command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
                cwd=directory,
                start_new_session=True,
            )
        self._process_id: int | None = None
        self._version = ""
        self._started = 0  # bytes of log written before it was ready: errors in them do not explain a later end

    def start(self, timeout_s: float) -> None:
        """Return once Triton is ready; raise ServerError with the log's last error otherwise."""
        self._process_id = self._read_process_id(timeout_s)
        wait_until_ready(self._ports, timeout_s=timeout_s, death=self.death, log=self._read_log)
        self._version = triton_version(f"{LOOPBACK}:{self._ports.http}")
        self._started = self._log.stat().st_size

    def _read_process_id(self, timeout_s: float) -> int:
        assert self._guard.stdout is not None  # noqa: S101 - opened above
        ready, _, _ = select.select([self._guard.stdout], [], [], timeout_s)
        line = self._guard.stdout.readline() if ready else b""
        if not line:
            raise ServerError(f"tritonserver could not be run: {self._read_log().strip()[-500:] or 'no answer'}")
        return int(line)

    @property
    def endpoint(self) -> Endpoint:
        """The server's addresses and version."""
        return self._ports.endpoint(self._process_id, self._version)

    def death(self) -> str | None:
        """Return in one line why the server ended; None while it runs."""
        status = self._guard.poll()
        if status is None and not has_ended(self._process_id):
            return None
        status = self._guard.wait()  # the guard cleans up after the server, which takes some milliseconds
        # when the guard is killed, so is the server, by the same signal
        return exit_cause(status if status >= 0 else 128 - status, self._read_log())

    def stop(self) -> None:
        """End the server, its stubs and its shared memory; return when they are gone."""
        assert self._guard.stdin is not None  # noqa: S101 - opened above
        assert self._guard.stdout is not None  # noqa: S101 - opened above
        if serves_nothing(f"{LOOPBACK}:{self._ports.http}"):
            with suppress(BrokenPipeError):
                self._guard.stdin.write(b"now")  # no model needs an orderly end, which takes Triton a second
        with suppress(BrokenPipeError):
            self._guard.stdin.close()
        try:
            self._guard.wait()
        finally:  # a second Ctrl-C ends this wait; the guard continues and ends the server
            self._guard.stdout.close()

    def _read_log(self) -> str:
        return read_end(self._log, since=self._started)


def _mirror(folder: Path, mirror: Path, *, above: tuple[Path, ...]) -> None:
    """Copy the folders of a repository, with links to its files, so that nothing is written to the repository.

    Python stubs write ``__pycache__`` beside each model (they run isolated, so PYTHONDONTWRITEBYTECODE does not
    reach them), and models may write files beside their own.
    """
    mirror.mkdir()
    above = (*above, folder)
    for path in folder.iterdir():
        if not path.is_dir():
            (mirror / path.name).symlink_to(path)
        elif path.resolve() not in above:  # a link to a folder above would never end
            _mirror(path.resolve(), mirror / path.name, above=above)


def prepare_package(package: Path, directory: Path, environment: dict[str, str]) -> list[str]:
    """Link nvidia-pytriton's Python backend under `directory`; return Triton's flags and set paths in `environment`.

    The package keeps the Python backend and its stubs (one for each Python version) in different folders; Triton
    needs them in one, and the stub needs the running Python's shared library.
    """
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = package / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.is_file():
        known = ", ".join(sorted(path.name for path in stub.parent.parent.glob("3.*")))
        raise ServerError(
            f"nvidia-pytriton has no Python backend for Python {version} (it has {known}): make the environment "
            "with one of these"
        )
    backend = directory / "backends" / "python"
    backend.mkdir(parents=True, exist_ok=True)
    for file in [*(package / "backends" / "python").iterdir(), stub]:
        if file.suffix == ".so":
            shutil.copyfile(file, backend / file.name)  # other backends in Python must find it in this very folder
        elif file.is_file():
            (backend / file.name).symlink_to(file.resolve())
    install_backend(backend.parent)
    libraries = [str(package.parent.parent / "nvidia_pytriton.libs")]
    library = f"libpython{version}.so.1.0"
    if library.encode() in stub.read_bytes():
        folder = directory / "lib"
        folder.mkdir(exist_ok=True)
        (folder / library).symlink_to(_find_libpython(library))
        libraries.append(str(folder))  # a folder with only this library: the others beside it must not shadow Triton's
    environment["LD_LIBRARY_PATH"] = os.pathsep.join([*libraries, *_split(environment.get("LD_LIBRARY_PATH"))])
    # the stub uses the first python3 on PATH, and so that Python's numpy
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), *_split(environment.get("PATH"))])
    environment.pop("PYTHONHOME", None)
    return [f"--backend-directory={backend.parent}"]


def _split(paths: str | None) -> list[str]:
    return paths.split(os.pathsep) if paths else []


def _find_libpython(library: str) -> Path:
    """Find the running Python's shared library in its own folders, else where the dynamic loader searches."""
    for folder in (sysconfig.get_config_var("LIBDIR"), f"{sys.base_prefix}/lib", sysconfig.get_config_var("LIBPL")):
        if folder and (Path(folder) / library).is_file():
            return Path(folder) / library
    multiarch = sysconfig.get_config_var("MULTIARCH")
    usual = (f"/usr/lib/{multiarch}", f"/lib/{multiarch}", "/usr/lib64", "/usr/lib", "/usr/local/lib")
    for folder in (*_split(os.environ.get("LD_LIBRARY_PATH")), *usual):
        if (Path(folder) / library).is_file():
            return Path(folder) / library
    name = library.removeprefix("lib").partition(".so")[0]
    raise ServerError(
        f"the Python backend needs {library}, which this Python does not have: install it (Debian: "
        f"apt-get install lib{name})"
    )
