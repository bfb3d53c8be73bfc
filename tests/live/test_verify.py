"""Test `plan verify` on a real Triton, with models that contend for the processors and models that fail together."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from analyzer.measurements.csv_file import write_measurements_csv
from analyzer.measurements.record import Status
from analyzer.measurements.store import Store
from analyzer.servers.local import Installation, LocalServer
from planner import plan as make_plan
from planner.placement.file import read_placement
from planner.verification.settings import VerifySettings
from planner.verification.verify import prepare_verification
from tests.builders.measurements import HOST, measured
from tests.builders.model_repositories import write_model
from tests.conftest import missing, wait_for
from tests.live.analysis import PLAN, analyze, plan, results_of

QUICK = ("--launch-mode", "local", "--max-trial-seconds", "1.5", "--precision", "30")
TOLERANCE = ("--tolerance", "12")  # the host has other work as well; a third model on two cores costs each a third

# Keeps a processor busy for 10 ms of processor time a request, whoever else runs.
SPIN = """until = time.process_time() + 0.01
            while time.process_time() < until:
                pass
            time.sleep(0.001)"""
# Allocates 64 MiB of a device of 100 MiB that all such models share; the process's own limit makes the kernel refuse.
ALLOCATE = """import pathlib, resource
        device = pathlib.Path({device!r})
        left = (100 << 20) - sum(int(held.read_text()) for held in device.iterdir())
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + left, resource.RLIM_INFINITY))
        self.weights = np.ones(64 << 20, np.uint8)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.held = device / self.name
        self.held.write_text(str(self.weights.nbytes))"""

RELEASE = "self.held.unlink()"

GROUPS = {  # models that a plan has together on a GPU
    "memory": ("large_a", "large_b"),
    "fatal": ("killer", "witness"),
}


def test_what_is_sent_is_said_by_options_of_a_sweep(local_server: LocalServer, tmp_path: Path) -> None:
    """Constant arrivals and the name of a prompt's input are accepted without a rate or a length beside them.

    A verification once refused `arrivals`, as a sweep without a rate does.
    """
    write_measurements_csv(tmp_path / "m.csv", [measured("text_encoder", provenance=HOST)])
    placement = make_plan(tmp_path / "m.csv", mode="memory", gpu_memory_mib=4096).placement
    asked = {"arrivals": "constant", "prompt_input": "TOKENS", "launch_mode": "local"}
    prepared = prepare_verification(placement, tmp_path / "m.csv", VerifySettings(), asked)
    assert prepared.sweep.settings.arrivals == "constant"
    assert prepared.sweep.job.workload.names["text_encoder"].prompt_input == "TOKENS"


@pytest.fixture(scope="module")
def profiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the model repository of this file and measure each model alone; return the folder that holds both."""
    if Installation.find() is None:
        missing("no tritonserver here: pip install 'tritonpack[local]'")
    home = tmp_path_factory.mktemp("verify")
    device, repository = home / "device", home / "models"
    device.mkdir()
    for name in ("busy_a", "busy_b", "busy_c"):
        write_model(repository, name, execute=SPIN)
    write_model(repository, "sleeper", execute="time.sleep(0.05)")
    for name in GROUPS["memory"]:
        write_model(repository, name, initialize=ALLOCATE.format(device=str(device)), finalize=RELEASE)
    loaded = home / "witness is loaded"
    write_model(
        repository,
        "witness",
        initialize=f"open({str(loaded)!r}, 'w').close()",
        finalize=f"os.remove({str(loaded)!r})",
    )
    kill = "os.kill(os.getppid(), signal.SIGKILL)"
    write_model(repository, "killer", execute=f"os.path.exists({str(loaded)!r}) and {kill}; time.sleep(0.002)")
    analyze(repository, "--max-trial-seconds", "1.5", "--precision", "60")
    return home


@pytest.fixture
def results(profiled: Path, tmp_path: Path) -> Path:
    """Copy the store with the profiles, so that what one test learns is not known to the next."""
    return Path(shutil.copytree(results_of(profiled / "models"), tmp_path / "results"))


def solve(
    results: Path, *models: str, most: int = 100, apart: Sequence[str] = (), rate_per_s: float | None = None
) -> Path:
    """Plan one copy of each model, or a rate, those of a group together, some apart; return the placement's file."""
    demand = results / "demand.toml"
    groups = {model: name for name, members in GROUPS.items() for model in members}
    lines = [
        f'[[model]]\nmodel = "{model}"\n'
        + (f"rate_infer_per_s = {rate_per_s}\n" if rate_per_s else "replicas = 1\n")
        + (f'together = ["{groups[model]}"]\n' if model in groups else "")
        + ('apart = ["apart"]\n' if model in apart else "")
        for model in models
    ]
    demand.write_text("\n".join(lines))
    plan(
        "solve",
        results,
        "--demand",
        demand,
        "--gpu-memory",
        "16GiB",
        "--max-utilization",
        most,
        "-o",
        placement(results),
    )
    return placement(results)


def placement(results: Path) -> Path:
    """Return the placement's file."""
    return results / "placement.json"


def verify_command(profiled: Path, results: Path, *arguments: str) -> list[str]:
    """Make the arguments of a verification of the placement in the results."""
    found = ["verify", str(placement(results)), str(results), "--model-folder", str(profiled / "models")]
    return [*found, *QUICK, *TOLERANCE, *arguments]


def verified(results: Path) -> list[dict[str, Any]]:
    """Return the contents in verification.json."""
    contents: list[dict[str, Any]] = json.loads((results / "verification.json").read_text())["contents"]
    return contents


def of_model(results: Path, model: str) -> dict[str, Any]:
    """Return the content in verification.json that has a model."""
    (content,) = [c for c in verified(results) if model in {m["name"] for m in c["models"]}]
    return content


def gpus_of(results: Path) -> list[set[str]]:
    """Return the models of each GPU of the placement."""
    return [{model.name for model in gpu.models} for gpu in read_placement(placement(results)).one_by_one()]


@pytest.mark.alone
def test_three_busy_models_miss_and_the_plan_that_follows_holds(profiled: Path, results: Path) -> None:
    """Two cores hold two models that each keep a core busy, with one that sleeps beside them, and not three.

    The miss is exit code 1, and the table and verification.json name it. It is never planned again.
    """
    busy = ("busy_a", "busy_b", "busy_c")
    repaired = results / "repaired.json"
    solve(results, *busy, most=150)
    assert gpus_of(results) == [set(busy)]
    arguments = ("--repair", "--rounds", "1", "-o", str(repaired))
    done = plan(*verify_command(profiled, results, *arguments), code=1)
    assert "the plan does not hold on 1 GPU" in done.stdout
    assert not repaired.exists()
    (content,) = verified(results)
    assert content["verdict"] == "misses"
    missed = [model for model in content["models"] if model["verdict"] == "misses"]
    assert missed
    for model in missed:
        assert f"{model['name']}: " in done.stdout
        assert "infer/s are served" in model["cause"]
    # three models for two cores: each takes up to 1.5 times as long, waits of 1 ms in 11 ms leave it some room, and
    # what else runs on the host takes more
    assert 1.15 < sum(model["slow_down"] for model in content["models"]) / 3 < 3
    assert content["utilization"]["measured_pct"] > 60  # what other programs of the host take is not in it

    everything = {*busy, "sleeper"}
    solve(results, *sorted(everything), most=150)
    assert sorted(len(set(busy) & models) for models in gpus_of(results)) == [1, 2]
    done = plan(*verify_command(profiled, results, "--repair", "-o", str(repaired), "--pairs", "1"))
    assert {content["verdict"] for content in verified(results)} <= {"holds", "within noise"}
    assert read_placement(repaired) == read_placement(placement(results))
    assert done.stderr.count("pair ") == 2  # four models are in two pairs
    with Store.open(results / "measurements.sqlite") as store:
        sizes = [len(found.models) for found in store.co_locations()]
    assert [sizes[0], *sizes[-2:]] == [3, 2, 2]
    fitted = plan("interference", results).stdout
    together = [size for size in sizes if size > 1]
    assert f"measured: {len(together)} contents, {sum(together)} slow-downs" in fitted
    assert all(name in fitted for name in everything)


@pytest.mark.alone
def test_content_that_runs_easily_at_its_rates_holds(profiled: Path, results: Path) -> None:
    """Two models at a quarter of what they serve alone hold, although 50 Poisson arrivals are not exactly as planned.

    Such a content was once within noise: the spread of the arrivals counted as that of the served rate.
    """
    solve(results, "busy_a", "busy_b", rate_per_s=25)
    done = plan(*verify_command(profiled, results, "--max-trial-seconds", "2"))
    assert "the plan holds: 1 GPU" in done.stdout
    (content,) = verified(results)
    for model in content["models"]:
        assert (model["verdict"], model["planned_infer_per_s"]) == ("holds", 25)
        assert model["served_infer_per_s"] == pytest.approx(model["offered_infer_per_s"], rel=0.1)


@pytest.mark.alone
def test_overloaded_content_misses_what_was_offered(profiled: Path, results: Path) -> None:
    """Three models at 70 requests/s of 10 ms need 2.1 of two cores: a backlog grows, and the cause has both rates."""
    busy = ("busy_a", "busy_b", "busy_c")
    solve(results, *busy, most=200, rate_per_s=70)
    assert gpus_of(results) == [set(busy)]
    done = plan(*verify_command(profiled, results, "--max-trial-seconds", "2", "--tolerance", "5"), code=1)
    (content,) = verified(results)
    missed = [model for model in content["models"] if model["verdict"] == "misses"]
    assert missed
    for model in missed:
        assert model["served_infer_per_s"] < 0.95 * model["offered_infer_per_s"]
        assert "infer/s that were offered are served" in model["cause"]
        assert model["cause"] in done.stdout


def test_contents_that_fail_are_named_and_the_next_is_measured(profiled: Path, results: Path) -> None:
    """A model that does not fit beside another, and a server that dies under a mix, are findings; others go on."""
    wanted = [min(GROUPS["memory"]), min(GROUPS["fatal"]), "busy_c"]
    solve(results, *GROUPS["memory"], *GROUPS["fatal"], "busy_a", "busy_b", "busy_c", most=60, apart=wanted)
    found = gpus_of(results)
    numbers = [next(i for i, models in enumerate(found) if name in models) for name in wanted]
    gpus = [read_placement(placement(results)).one_by_one()[number].id for number in numbers]
    done = plan(*verify_command(profiled, results, "--gpu", ",".join(gpus)), code=1)
    large = of_model(results, "large_a")
    assert large["verdict"] == "misses"
    for model in large["models"]:
        assert model["status"] == Status.OUT_OF_MEMORY
        assert "does not load beside large_" in model["cause"]
        assert "MiB were in use before it" in model["cause"]
        assert "Unable to allocate 64.0 MiB" in model["cause"]
    dead = of_model(results, "killer")
    assert dead["verdict"] == "misses"
    assert {model["status"] for model in dead["models"]} == {Status.SERVER_CRASHED}
    assert all("SIGKILL" in model["cause"] for model in dead["models"])
    assert of_model(results, "busy_c")["verdict"] in ("holds", "within noise", "host drifted")  # other tests run
    for said in ("does not load beside large_", "SIGKILL", "left out by --gpu"):
        assert said in done.stdout


def test_interrupt_keeps_what_was_measured_and_leaves_nothing_behind(profiled: Path, results: Path) -> None:
    """Ctrl-C in the second content: exit code 130, the first is in the store, no process and no file is left."""
    solve(results, "busy_a", "busy_b", "busy_c", most=60)
    assert len(gpus_of(results)) == 3
    before = {file: file.stat().st_mtime_ns for file in (profiled / "models").rglob("*")}
    with subprocess.Popen(
        [PLAN, *verify_command(profiled, results, "--most", "2")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if line.startswith("2 of 2"):
                    break
            family = psutil.Process(process.pid).children(recursive=True)
            servers = [child.cmdline() for child in family if child.name() == "tritonserver"]
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert len(servers) == 1
    wait_for(lambda: not any(child.is_running() for child in family), "every process is gone")
    (prefix,) = [flag.rpartition("=")[2] for flag in servers[0] if "shm-region-prefix-name=" in flag]
    assert not [path for path in Path("/dev/shm").iterdir() if path.name.startswith(prefix)]
    assert {file: file.stat().st_mtime_ns for file in (profiled / "models").rglob("*")} == before
    with Store.open(results / "measurements.sqlite") as store:
        (first,) = store.co_locations()
    assert first.measured
    assert {model.tolerance for model in first.models} == {0.12}
