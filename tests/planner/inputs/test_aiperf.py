"""Test measurements from AIPerf's exports: real ones of a known schedule, changed where a test says so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from analyzer.errors import UsageError
from analyzer.measurements.csv_file import read_measurements_csv
from analyzer.measurements.record import Status
from planner import Requirement, plan, read_aiperf
from planner.cli.main import main

DATA = Path(__file__).parents[2] / "data"
FOUR, EIGHT, RATE = (DATA / f"aiperf-{load}.json" for load in ("concurrency-4", "concurrency-8", "rate-20"))
MIB = 2**20


def test_figures_are_those_of_the_known_schedule() -> None:
    """First token after 50 ms and 31 more at 10 ms, in seconds; a rate of 4 requests in flight; memory in bytes."""
    (found,) = read_aiperf([FOUR])
    stream = found.stream
    assert found.provenance.device_name == "NVIDIA H100 80GB HBM3"
    assert (stream.input_tokens_avg, stream.output_tokens_avg) == (128, 32)
    assert stream.first_response_p50_s == pytest.approx(0.05, rel=0.1)
    assert stream.itl_p99_s == pytest.approx(0.01, rel=0.05)
    assert found.latency_p50_s == pytest.approx(0.05 + 31 * 0.01, rel=0.05)
    assert found.throughput_infer_per_s == pytest.approx(4 / 0.36, rel=0.05)
    assert stream.output_tokens_per_s == pytest.approx(32 * found.throughput_infer_per_s)
    assert 71680 * MIB <= found.max_memory_bytes <= 71744 * MIB
    assert (found.max_utilization, found.max_memory_utilization) == pytest.approx((0.62, 0.41))
    assert (found.server_memory_bytes, found.memory_is_reservation) == (0, True)


def test_a_rate_is_an_open_loop() -> None:
    """A run at a rate is a trial at that rate; without telemetry, device and memory are given."""
    (found,) = read_aiperf([RATE], device="H100-80GB", memory_mib=70_000)
    assert (found.trial.concurrency, found.trial.request_rate_per_s, found.trial.arrivals) == (0, 20, "poisson")
    assert (found.provenance.device_name, found.max_memory_bytes) == ("NVIDIA H100 80GB HBM3", 70_000 * MIB)


def test_a_plan_uses_the_loads_that_were_measured() -> None:
    """55 requests/s need three replicas at concurrency 8, each with a GPU: a server reserves most of its memory."""
    wanted = Requirement(model="mock-llm", rate_requests_per_s=55, ttft_p99_s=0.2, input_length=128, output_length=32)
    found = plan(read_aiperf([FOUR, EIGHT]), demand=[wanted], gpus=["H100-80GB"], mode="memory").placement
    assert [(m.concurrency, m.replicas) for gpu in found.gpus for m in gpu.models] == [(8, 1)] * 3
    assert found.objective.gpus == 3


def changed(path: Path, change: Callable[[dict[str, Any]], object], tmp_path: Path) -> Path:
    """Write an export with a change."""
    document = json.loads(path.read_text())
    change(document)
    target = tmp_path / "profile_export_aiperf.json"
    target.write_text(json.dumps(document))
    return target


def two_gpus(document: dict[str, Any]) -> None:
    """Give the telemetry a second GPU."""
    gpus = document["telemetry_data"]["endpoints"]["127.0.0.1:18321"]["gpus"]
    gpus["gpu_1"] = {**gpus["gpu_0"], "gpu_index": 1, "gpu_uuid": "GPU-2"}


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        (RATE, lambda d: None, "has no GPU telemetry: name the GPU with `device`, or run aiperf --gpu-telemetry"),
        (FOUR, two_gpus, "has 2 GPUs: say which one the server uses with `gpu_index`"),
        (FOUR, lambda d: d.pop("request_throughput"), "is no profile_export_aiperf.json: it has no request_throughput"),
        (
            FOUR,
            lambda d: d["request_latency"].update(unit="fortnights"),
            "request_latency is in fortnights, which is not",
        ),
        (FOUR, lambda d: d["input_config"].pop("phases"), "has not the form of AIPerf's export: KeyError('phases')"),
        (FOUR, lambda d: d["input_config"]["phases"][0].pop("concurrency"), "neither a concurrency nor a request rate"),
    ],
)
def test_an_export_that_cannot_be_used_is_one_line(
    tmp_path: Path, path: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    """The message names the file, the fact and the way out."""
    with pytest.raises(UsageError) as caught:
        read_aiperf([changed(path, change, tmp_path)])
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_one_of_several_gpus_is_chosen_by_its_number(tmp_path: Path) -> None:
    """With two GPUs in the telemetry the chosen one counts."""
    (found,) = read_aiperf([changed(FOUR, two_gpus, tmp_path)], gpu_index=1)
    assert found.provenance.device_uuid == "GPU-2"


def test_older_names_of_telemetry_are_known(tmp_path: Path) -> None:
    """AIPerf wrote gpu_memory_used before nvidia_memory_used."""

    def rename(document: dict[str, Any]) -> None:
        metrics = document["telemetry_data"]["endpoints"]["127.0.0.1:18321"]["gpus"]["gpu_0"]["metrics"]
        metrics["gpu_memory_used"] = metrics.pop("nvidia_memory_used")

    (found,) = read_aiperf([changed(FOUR, rename, tmp_path)])
    assert found.max_memory_bytes > 71_000 * MIB


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda d: d.update(error_request_count={"unit": "requests", "avg": 3.0}), Status.INFERENCE_ERROR),
        (lambda d: d.update(was_cancelled=True), Status.UNSETTLED),
    ],
)
def test_failed_requests_promise_nothing(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], status: Status
) -> None:
    """A run with failed requests is no operating point; a cancelled one is not settled."""
    (found,) = read_aiperf([changed(FOUR, change, tmp_path)])
    assert found.status is status
    assert found.cause in ("3 of 63 requests failed", "the run of aiperf was cancelled")


def test_command_writes_what_plan_solve_reads(tmp_path: Path) -> None:
    """The CSV has the same measurements, and a plan is made of it; a wrong option is one line with its flag."""
    csv = tmp_path / "llm.csv"
    done = CliRunner().invoke(main, ["import", "aiperf", str(FOUR), str(EIGHT), "-o", str(csv)])
    assert done.exit_code == 0, done.output
    assert [m.trial for m in read_measurements_csv(csv)] == [m.trial for m in read_aiperf([FOUR, EIGHT])]
    demand = tmp_path / "demand.csv"
    demand.write_text("model,rate_requests_per_s,itl_p99_ms,output_length\nmock-llm,20,12,32\n")
    solve = ["solve", str(csv), "--demand", str(demand), "--gpu", "H100-80GB", "--mode", "memory"]
    planned = CliRunner().invoke(main, solve)
    assert planned.exit_code == 0, planned.output
    assert "2 GPUs" in planned.output
    wrong = CliRunner().invoke(main, ["import", "aiperf", str(RATE)])
    assert (wrong.exit_code, wrong.output.count("\n")) == (2, 1)
    assert "name the GPU with --device" in wrong.output
