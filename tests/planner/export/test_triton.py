"""Test the export of start scripts and systemd units: checked by shellcheck and systemd-analyze, and run by bash."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from analyzer.errors import UsageError
from analyzer.models.config_file import parse_config
from analyzer.models.repository import read_repository
from planner.export.files import Export, write_export
from planner.export.inventory import RealGpu
from planner.export.place_servers import serving_plan
from planner.export.settings import ExportSettings
from planner.export.triton import export
from planner.placement.document import Placement
from planner.placement.placed_gpu import SlicePosition
from tests.builders.hostile_names import HOSTILE
from tests.builders.placements import gpu, model, placement
from tests.conftest import missing, wait_for
from tests.live.deployed import free_ports
from tests.planner.export.test_mig_parted import cut

# A server that writes its arguments and environment to a file, answers any path with 200 once it is told to, and
# ends as it is told to.
FAKE = """#!{python}
import http.server, json, os, signal, sys, time
flags = [word.partition("=")[::2] for word in sys.argv[1:]]
with open({seen!r}, "w") as file:
    json.dump({{"flags": flags, "gpu": os.environ["CUDA_VISIBLE_DEVICES"], "pid": os.getpid()}}, file)
behaviour = os.environ["BEHAVIOUR"]
if behaviour == "fails":
    sys.exit(7)
signal.signal(signal.SIGTERM, signal.SIG_IGN if behaviour == "hangs" else lambda *_: os._exit(3))
if behaviour == "loads for ever":
    time.sleep(60)
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if behaviour == "is not ready" and "models" in self.path else 200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("127.0.0.1", int(dict(flags)["--http-port"])), Answer).serve_forever()
"""


def write_foreign(repository: Path, name: str) -> None:
    """Write a model of a backend that runs no shell."""
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "1" / "model.onnx").write_bytes(b"")
    (repository / name / "config.pbtxt").write_text('backend: "onnxruntime"\nmax_batch_size: 8\n')


def exported(
    plan: Placement, repository: Path, output: Path, *, inventory: tuple[RealGpu, ...] = (), first_port: int = 8000
) -> Export:
    """Export a placement of the repository's models, and write it to `output`."""
    models = {one.name: one for one in read_repository(repository)}
    serving = serving_plan(plan, repository=models, inventory=inventory, first_port=first_port)
    found = export(serving, ExportSettings(to="triton", output=output))
    write_export(found, output)
    return found


def check(folder: Path, *, severity: str = "style") -> None:
    """Have bash read every script and, where they are installed, shellcheck every script and systemd every unit."""
    scripts, units = sorted(folder.rglob("start.sh")), sorted(folder.rglob("*.service"))
    assert len(scripts) > len(units) > 0
    for script in scripts:
        subprocess.run(["bash", "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        done = subprocess.run(
            ["shellcheck", f"--severity={severity}", *map(str, scripts)], capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, "")
    if shutil.which("systemd-analyze"):
        done = subprocess.run(["systemd-analyze", "verify", *map(str, units)], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_validators_are_installed() -> None:
    """The scripts of these tests are read by shellcheck, and the units by systemd-analyze."""
    for name in ("shellcheck", "systemd-analyze"):
        if shutil.which(name) is None:
            missing(f"no {name} here: install Debian's {'shellcheck' if name == 'shellcheck' else 'systemd'}")


@pytest.mark.parametrize(
    ("plan", "inventory"),
    [
        (placement(gpu(0, model("a", 100), model("m0", 50, replicas=3))), ()),
        (placement(gpu(0, model("a", 100)), gpu(1, model("a", 100), model("m1", 9))), ()),
        (placement(cut(0, ("1g.5gb", 0), ("1g.5gb", 1)), gpu(1, model("a", 9))), ()),
        (
            placement(gpu(0, model("a", 100)), gpu(1, model("a", 100)), gpu(2, model("m1", 1))),
            tuple(RealGpu(type="T4", node=node, uuid=f"GPU-{node}") for node in ("x.lan", "y.lan", "z.lan")),
        ),
    ],
    ids=["replicas", "two GPUs", "slices", "three hosts"],
)
def test_scripts_and_units_are_accepted(
    plan: Placement, inventory: tuple[RealGpu, ...], repository: Path, tmp_path: Path
) -> None:
    """Replicas, several GPUs, slices and several hosts give scripts and units that their readers accept."""
    for name in ("a", "m0", "m1"):
        write_foreign(repository, name)
    exported(plan, repository, tmp_path / "out %h $x", inventory=inventory)
    check(tmp_path / "out %h $x")


def test_each_host_has_a_folder_and_counts_its_own_ports(repository: Path, tmp_path: Path) -> None:
    """GPUs on two hosts are started by a script of each, and both hosts' ports begin with the first."""
    write_foreign(repository, "a")
    inventory = tuple(RealGpu(type="T4", node=node, uuid=f"GPU-{node}") for node in ("x.lan", "y.lan"))
    found = exported(
        placement(gpu(0, model("a", 1)), gpu(1, model("a", 1))), repository, tmp_path / "out", inventory=inventory
    )
    paths = {file.path: file.text for file in found.files}
    assert paths.keys() >= {"x-lan/start.sh", "x-lan/gpu-0/start.sh", "y-lan/systemd/triton-gpu-1.service"}
    assert all("http_port=8000\n" in paths[path] for path in ("x-lan/gpu-0/start.sh", "y-lan/gpu-1/start.sh"))
    assert found.not_expressed == ()


def test_gpus_are_named_by_uuid_and_doubts_are_said(repository: Path, tmp_path: Path) -> None:
    """With a UUID it is used; without, a GPU has its number and a slice waits for the UUID in the environment."""
    for name in ("a", "m0"):
        write_foreign(repository, name)
    plan = placement(gpu(0, model("a", 1)), gpu(1, model("a", 1)), cut(2, ("1g.5gb", 0)))
    slices = ((SlicePosition(profile="1g.5gb", start=0), "MIG-7"),)
    known = (
        RealGpu(type="T4", uuid="GPU-8", index=4),
        RealGpu(type="T4", index=5),
        RealGpu(type="A100-40GB", uuid="GPU-9", slices=slices),
    )
    found = exported(plan, repository, tmp_path / "a", inventory=known)
    texts = {file.path: file.text for file in found.files}
    for path, visible in (("gpu-0", "GPU-8"), ("gpu-1", "5"), ("gpu-2-1g-5gb-0", "MIG-7")):
        assert f"export CUDA_VISIBLE_DEVICES={visible}\n" in texts[f"{path}/start.sh"]
    (doubt,) = found.not_expressed
    assert "gpu-1 has no UUID and is taken to be number 5" in doubt
    found = exported(plan, repository, tmp_path / "b")
    assert "the slice 1g.5gb at 0 of gpu-2 has no UUID yet" in found.not_expressed[2]
    environment = {name: value for name, value in os.environ.items() if name != "CUDA_VISIBLE_DEVICES"}
    script = str(tmp_path / "b" / "gpu-2-1g-5gb-0" / "start.sh")
    done = subprocess.run([script], env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "set it to the UUID of the MIG slice" in done.stderr


def test_backends_that_the_scripts_need_are_said(repository: Path, tmp_path: Path) -> None:
    """A tritonserver without them would end with an error; Python's is not named, since every one has it."""
    for name in ("a", "b"):
        write_foreign(repository, name)
    (repository / "b" / "config.pbtxt").write_text('backend: "python"')
    found = exported(placement(gpu(0, model("a", 1), model("b", 1))), repository, tmp_path / "a")
    assert found.usage[0].startswith("# needs a tritonserver with onnxruntime, on PATH or named by TRITONSERVER")
    found = exported(placement(gpu(0, model("b", 1))), repository, tmp_path / "b")
    assert not any(line.startswith("#") for line in found.usage)


def test_the_model_repository_is_needed(tmp_path: Path) -> None:
    """Without the models there is nothing to start."""
    with pytest.raises(UsageError, match="give it with `model_folder`"):
        export(serving_plan(placement(gpu(0, model("a", 1)))), ExportSettings(to="triton", output=tmp_path))


@pytest.mark.parametrize("name", ["$(reboot)", "a b", "Ünïcödé", "a\nb", "..", "a/b"])
def test_names_that_a_shell_or_a_folder_would_change_are_refused(name: str, repository: Path, tmp_path: Path) -> None:
    """Triton's Python backend runs a folder's name in a shell; such a name is refused, as are names of no folder."""
    (repository / "a" / "1").mkdir(parents=True)
    (repository / "a" / "config.pbtxt").write_text('backend: "python"\n')
    with pytest.raises(UsageError, match="cannot"):
        exported(placement(gpu(0, model("a", 1, serves=name))), repository, tmp_path / "out")


@dataclass
class Started:
    """A start script that runs, and what the program that it started saw."""

    process: subprocess.Popen[str]
    seen: Path

    def wait_until_ready(self) -> None:
        """Return when the script says that the server is ready."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if ": ready: " in line:
                return
        pytest.fail("the script ended before the server was ready")

    def server(self) -> dict[str, Any]:
        """Return the server's flags, GPU and process id."""
        wait_for(lambda: self.seen.is_file() and self.seen.read_text().endswith("}"), "the server's start")
        found: dict[str, Any] = json.loads(self.seen.read_text())
        return found


@contextmanager
def started(folder: Path, script: Path, behaviour: str = "", **environment: str) -> Iterator[Started]:
    """Run a start script with a server that behaves like this; kill what is left of it in the end."""
    seen, fake = folder / "seen.json", folder / "fake"
    fake.write_text(FAKE.format(python=sys.executable, seen=str(seen)))
    fake.chmod(0o755)
    variables = {**os.environ, "TRITONSERVER": str(fake), "BEHAVIOUR": behaviour, **environment}
    with subprocess.Popen([str(script)], env=variables, stderr=subprocess.PIPE, text=True) as process:
        run = Started(process, seen)
        try:
            yield run
        finally:
            process.kill()
            if seen.is_file():
                with suppress(ProcessLookupError):
                    os.kill(run.server()["pid"], signal.SIGKILL)


@pytest.fixture
def script(repository: Path, tmp_path: Path) -> Path:
    """Export a server with one model, on free ports; return its script."""
    write_foreign(repository, "a")
    port = free_ports(*range(3))
    exported(placement(gpu(0, model("a", 1))), repository, tmp_path / "out", first_port=port)
    return tmp_path / "out" / "gpu-0" / "start.sh"


def test_servers_report_the_latencies_that_alerts_watch(script: Path, tmp_path: Path) -> None:
    """The p99 that the target `prometheus` watches is one of Triton's summaries, which a flag turns on."""
    with started(tmp_path, script) as run:
        run.wait_until_ready()
        assert dict(run.server()["flags"])["--metrics-config"] == "summary_latencies=true"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_and_its_status_is_the_scripts(script: Path, tmp_path: Path, sent: int) -> None:
    """SIGTERM and SIGINT are passed on as SIGTERM; the script ends with the server's status, here 3."""
    with started(tmp_path, script) as run:
        run.wait_until_ready()
        run.process.send_signal(sent)
        assert run.process.wait(10) == 3


def test_a_server_that_does_not_end_is_killed(script: Path, tmp_path: Path) -> None:
    """After the grace time SIGKILL ends it, and the status is 128 + 9."""
    with started(tmp_path, script, "hangs", GRACE_S="1") as run:
        run.wait_until_ready()
        run.process.terminate()
        assert run.process.wait(10) == 137


def test_a_server_that_fails_gives_its_status(script: Path, tmp_path: Path) -> None:
    """A server that ends by itself, here with 7, ends the script with that status."""
    with started(tmp_path, script, "fails") as run:
        assert run.process.wait(10) == 7


@pytest.mark.parametrize("behaviour", ["loads for ever", "is not ready"])
def test_a_server_that_is_not_ready_in_time_is_ended(script: Path, tmp_path: Path, behaviour: str) -> None:
    """A server that does not answer, and one whose model is not ready, are given up after the time limit."""
    with started(tmp_path, script, behaviour, READY_TIMEOUT_S="1", GRACE_S="2") as run:
        assert run.process.wait(10) == 1
        assert run.process.stderr is not None
        assert "is not ready after 1 s" in run.process.stderr.read()


def test_a_port_in_use_is_said(script: Path, tmp_path: Path) -> None:
    """Where something listens on the port already, no server is started."""
    port = next(
        int(line.partition("=")[2]) for line in script.read_text().splitlines() if line.startswith("grpc_port=")
    )
    with socket.create_server(("127.0.0.1", port)), started(tmp_path, script) as run:
        assert run.process.wait(10) == 1
        assert run.process.stderr is not None
        assert f"port {port} of 127.0.0.1 is in use" in run.process.stderr.read()
        assert not run.seen.exists()


def test_all_servers_of_a_host_start_and_end_together(repository: Path, tmp_path: Path) -> None:
    """One script starts both servers; SIGTERM to it ends both, and gives the status of one that failed."""
    write_foreign(repository, "a")
    port = free_ports(*range(3), *range(10, 13))
    exported(placement(gpu(0, model("a", 1)), gpu(1, model("a", 1))), repository, tmp_path / "out", first_port=port)
    with started(tmp_path, tmp_path / "out" / "start.sh") as run:
        run.wait_until_ready()
        run.wait_until_ready()
        run.process.terminate()
        assert run.process.wait(10) == 3
    for used in (port, port + 10):
        socket.create_server(("127.0.0.1", used)).close()


def test_hostile_names_reach_the_server_unchanged(repository: Path, tmp_path: Path) -> None:
    """Names with the signs of shells and templates are folders and flags as they are; nothing of them is run."""
    names = [name for name in HOSTILE if "\n" not in name and len(name) < 256]
    write_foreign(repository, "a")
    port = free_ports(*range(3))
    plan = placement(gpu(0, *(model("a", 1, serves=name) for name in names)))
    exported(plan, repository, tmp_path / "out", first_port=port)
    check(tmp_path / "out", severity="warning")  # that $( does nothing in single quotes is information, and intended
    with started(tmp_path, tmp_path / "out" / "gpu-0" / "start.sh") as run:
        run.wait_until_ready()
        flags = run.server()["flags"]
    assert [value for flag, value in flags if flag == "--load-model"] == names
    models = Path(dict(flags)["--model-repository"])
    assert sorted(path.name for path in models.iterdir()) == sorted(names)
    for name in names:
        assert parse_config((models / name / "config.pbtxt").read_text())["name"] == name
