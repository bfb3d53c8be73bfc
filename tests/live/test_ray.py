"""Test `analyze --ray` on a real Ray cluster of three nodes on this machine, with real servers on fake GPUs."""

from __future__ import annotations

import contextlib
import functools
import http.server
import json
import os
import signal
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from analyzer.measurements.store import Store
from tests.builders.model_repositories import write_model
from tests.builders.ray_nodes import RayNodes
from tests.conftest import wait_for
from tests.live.analysis import ANALYZE, QUICK, analyze, command, results_of

pytestmark = pytest.mark.usefixtures("local_server")


def processes_on_nodes(cluster: RayNodes) -> list[str]:
    """Return the command lines of servers, workers and load generators on the cluster's nodes."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            line = " ".join(process.cmdline())
            ours = any(part in line for part in ("tritonserver", "multiprocessing", "guard.py", "python_backend_stub"))
            if ours and process.environ().get("TRITONPACK_FAKE_NVML", "").startswith(str(cluster.folder)):
                found.append(line)
    return found


def measured(repository: Path) -> list[tuple[str, str]]:
    """Return model and GPU of each measurement in the store."""
    with Store.open(results_of(repository) / "measurements.sqlite") as store:
        return [(one.trial.model, one.provenance.device_uuid) for one in store.measurements()]


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the files of a folder over HTTP."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_sweep_survives_the_loss_of_a_node_with_its_server(
    ray_cluster: RayNodes, repository: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Six models of an archive, that each node fetches, are measured once though a node is killed; nothing is left."""
    for number in range(6):
        write_model(repository, f"m{number}")
    with tarfile.open(repository.parent / "models.tar.gz", "w:gz") as archive:
        archive.add(repository, "models")
    extra = ray_cluster.add("Tesla T4")
    with served(repository.parent) as address:
        sweep = [ANALYZE, "--ray", ray_cluster.address, "--model-uri", f"{address}/models.tar.gz", *QUICK]
        sweep += ["-o", str(results_of(repository))]
        with subprocess.Popen(sweep, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if "infer/s" in line and extra is not None:
                    ray_cluster.kill(extra)
                    extra = None
            out = process.stdout.read() if process.stdout else ""
        assert process.returncode == 0, said
        assert said[0].startswith("Ray: 4 nodes, Tesla T4 (4); Triton: local")
        assert [line for line in said if "is lost" in line]
        assert "raylet" not in out
        assert sorted(model for model, _ in measured(repository)) == [f"m{number}" for number in range(6)]
        assert len({uuid for _, uuid in measured(repository)}) >= 3
        wait_for(lambda: not processes_on_nodes(ray_cluster), "no process is left on a node")
        assert not list(Path("/tmp").glob("tritonpack-models-*"))


def test_each_type_of_gpu_is_measured_on_its_own(ray_cluster: RayNodes, repository: Path) -> None:
    """With an A10 beside T4s a type must be chosen; with `all`, the model is measured once on each type."""
    write_model(repository, "m")
    node = ray_cluster.add("NVIDIA A10")
    try:
        ray = ("--ray", ray_cluster.address)
        refused = analyze(repository, *ray, code=2)
        assert (
            "Tesla T4 (3) and NVIDIA A10 (1)" in refused.stderr or "NVIDIA A10 (1) and Tesla T4 (3)" in refused.stderr
        )
        assert "--per-device-type all" in refused.stderr
        done = analyze(repository, *ray, "--per-device-type", "all")
    finally:
        ray_cluster.cluster.remove_node(node)
    assert done.stdout.count("m on Tesla T4\n") == done.stdout.count("m on NVIDIA A10\n") == 1
    own = f"GPU-{len(ray_cluster.nodes) - 1}-0"
    assert sorted(uuid == own for _, uuid in measured(repository)) == [False, True]


def test_nothing_is_left_on_a_node_when_the_driver_is_killed(ray_cluster: RayNodes, repository: Path) -> None:
    """Soon after SIGKILL of the command no server, worker or load generator runs on a node."""
    for name in ("a", "b", "c"):
        write_model(repository, name)
    sweep = command(repository, "--ray", ray_cluster.address, "--concurrency", "1,2,3,4,5,6,7,8")
    with subprocess.Popen(sweep, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "infer/s" in line)
        assert any("tritonserver" in each for each in processes_on_nodes(ray_cluster))
        process.kill()
    wait_for(lambda: not processes_on_nodes(ray_cluster), "no process is left on a node", timeout_s=20)


def test_servers_of_a_node_have_processors_of_their_own_and_end_on_ctrl_c(repository: Path) -> None:
    """On a cluster of the command alone two servers run at once, each on one core; Ctrl-C ends them and it."""
    for name in ("a", "b"):
        cores = f"import json; json.dump(sorted(os.sched_getaffinity(0)), open('{repository.parent}/{name}.json', 'w'))"
        write_model(repository, name, initialize=cores)
    sweep = command(repository, "--ray", "local", "--per-node", "2", "--reserve-cores", "1", "--concurrency", "1,2,3,4")
    with subprocess.Popen(sweep, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Ray: 1 node, ")
        next(line for line in process.stderr if "infer/s" in line)
        family = psutil.Process(process.pid).children(recursive=True)
        assert {"raylet", "tritonserver"} <= {child.name() for child in family}
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=40)
    assert process.returncode == 130, err
    assert "Throughput" in out
    assert "Traceback" not in err
    wait_for(lambda: not any(child.is_running() for child in family), "every process is gone")
    seen = [json.loads((repository.parent / f"{name}.json").read_text()) for name in ("a", "b")]
    assert sorted(seen) == [[core] for core in sorted(os.sched_getaffinity(0))[:2]]
