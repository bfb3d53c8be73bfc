"""Test a sweep over several GPUs, with real servers and the fake driver's figures."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from analyzer.measurements.store import Store
from planner.inputs.profiles import build_profiles
from tests.builders.model_repositories import write_model
from tests.conftest import wait_for
from tests.fakes import nvml
from tests.live.analysis import analyze, command, plan, results_of, rows

pytestmark = pytest.mark.usefixtures("local_server")
MIB = 1 << 20


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Write the state of a driver with two GPUs of one type, each with 300 MiB in use, and one of another type."""
    folder = tmp_path / "nvml"
    nvml.write_driver(folder, ("Tesla T4", "Tesla T4", "NVIDIA A10"))
    return folder


def write_gpu_model(repository: Path, state: Path, name: str, memory_mib: int) -> None:
    """Write a model that takes memory on the GPU that its server sees, and records which GPU that is."""
    held = f"f'{state}/gpu' + os.environ['CUDA_VISIBLE_DEVICES'][-1] + '.d/{name}.add'"
    write_model(
        repository,
        name,
        initialize=f"self.held = {held}; open(self.held, 'w').write('{memory_mib}')",
        finalize="os.remove(self.held)",
    )


def test_sweep_over_two_gpus_gives_the_same_as_over_one(repository: Path, state: Path, nvml_library: Path) -> None:
    """Each model is measured on one of the two equal GPUs; its figures count for both and make one profile."""
    for i in range(1, 4):
        write_gpu_model(repository, state, f"m{i}", 100 * i)
    environment = nvml.environment(nvml_library, state)
    done = analyze(repository, "--batch", "1,2", "--export", environment=environment)
    assert done.stderr.count("Device: Tesla T4") == 2
    table = rows(repository)
    assert [(row["model"], row["batch"]) for row in table] == [(f"m{i}", b) for i in range(1, 4) for b in "12"]
    assert [float(row["model_memory_mib"]) for row in table] == [100, 100, 200, 200, 300, 300]
    assert {row["server_memory_mib"] for row in table} == {"300"}
    assert done.stdout.count(" on Tesla T4") == 3
    with Store.open(results_of(repository) / "measurements.sqlite") as store:
        measurements, idle = store.measurements(), store.server_only()
    assert {one.provenance.device_uuid for one in measurements} == {"GPU-0", "GPU-1"}
    profiles = build_profiles(measurements, idle)
    assert [(p.model, p.device, len(p.points)) for p in profiles] == [(f"m{i}", "Tesla T4", 2) for i in range(1, 4)]
    again = analyze(repository, "--batch", "1,2", "--gpus", "1", environment=environment)
    assert again.stderr.count("(from the store)") == 6
    other = analyze(repository, "--model-names", "m1", "--gpus", "2", environment=environment)
    assert "(from the store)" not in other.stderr


def test_verification_is_spread_over_the_gpus(repository: Path, state: Path, nvml_library: Path) -> None:
    """Two contents of a plan are measured on two equal GPUs, each on one, and are listed in the plan's order."""
    names = ("m1", "m2", "m3", "m4")
    for i, name in enumerate(names, 1):
        write_gpu_model(repository, state, name, 100 * i)
    environment = nvml.environment(nvml_library, state)
    analyze(repository, environment=environment)
    results, demand = results_of(repository), repository.parent / "demand.toml"
    apart = '\napart = ["second"]'
    groups = {"m1": '["small"]', "m2": f'["small"]{apart}', "m3": f'["large"]{apart}', "m4": '["large"]'}
    demand.write_text("\n".join(f'[[model]]\nmodel = "{m}"\nreplicas = 1\ntogether = {groups[m]}' for m in names))
    plan("solve", results, "--demand", demand, "--gpu", "T4", "-o", results / "placement.json", environment=environment)
    measuring = ("--model-folder", repository, "--launch-mode", "local", "--max-trial-seconds", 2, "--precision", 30)
    done = plan("verify", results / "placement.json", results, *measuring, "--tolerance", 50, environment=environment)
    assert done.stderr.count("Device: Tesla T4") == 2
    contents = json.loads((results / "verification.json").read_text())["contents"]
    planned = json.loads((results / "placement.json").read_text())["gpus"]
    assert [content["gpus"] for content in contents] == [[gpu["id"]] for gpu in planned]
    # the server's 300 MiB, and the two models of a content: 100 and 200, or 300 and 400
    assert sorted(content["memory"]["measured_mib"] for content in contents) == [600, 1000]
    with Store.open(results / "measurements.sqlite") as store:
        uuids = [{m.measurement.provenance.device_uuid for m in found.models} for found in store.co_locations()]
    assert sorted(uuids, key=sorted) == [{"GPU-0"}, {"GPU-1"}]


def test_gpus_of_different_types_are_refused(repository: Path, state: Path, nvml_library: Path) -> None:
    """Refused before any start, with what to do, are a T4 with an A10, and one port for two servers."""
    write_model(repository, "m")
    environment = nvml.environment(nvml_library, state)
    done = analyze(repository, "--gpus", "0,2", code=2, environment=environment)
    assert "GPU 0 is a Tesla T4 and GPU 2 a NVIDIA A10" in done.stderr
    done = analyze(repository, "--http-port", "8123", code=2, environment=environment)
    assert "--http-port" in done.stderr


def test_interrupt_of_two_sweeps_leaves_nothing_behind(repository: Path, state: Path, nvml_library: Path) -> None:
    """After Ctrl-C to the whole process group, finished trials are shown and kept, and no process remains."""
    for i in range(1, 4):
        write_gpu_model(repository, state, f"m{i}", 100)
    with subprocess.Popen(
        command(repository, "--concurrency", "1,2,3,4,5,6"),
        env=nvml.environment(nvml_library, state),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        assert process.stderr is not None
        seen = 0
        while seen < 2:
            seen += "infer/s" in process.stderr.readline()
        family = psutil.Process(process.pid).children(recursive=True)
        assert len([child for child in family if child.name() == "tritonserver"]) == 2
        for each in [process.pid, *(child.pid for child in family if child.ppid() == process.pid)]:
            psutil.Process(each).send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=40)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "Throughput" in out
    wait_for(lambda: not any(child.is_running() for child in family), "every process is gone")
