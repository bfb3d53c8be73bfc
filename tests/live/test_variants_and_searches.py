"""Test `analyze` with variants, request rates, searches, ensembles and models without a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.servers.health import serves_nothing
from analyzer.servers.local import LocalServer
from tests.builders.model_repositories import write_caller, write_ensemble, write_model, write_without_config
from tests.live.analysis import PRECISE, analyze, outcome, rows

pytestmark = pytest.mark.usefixtures("local_server")
HOLD_64_MIB = "self.held = np.ones(64 << 17)"  # float64


def test_variants_are_every_combination_and_take_effect(repository: Path) -> None:
    """Two instances of a model that sleeps have twice its throughput; dynamic batching joins an instance's requests."""
    # A request of any size takes 10 ms: 100 requests/s per instance, and 8 joined requests take no longer.
    write_model(repository, "m", execute="pass", finalize="pass")
    file = repository / "m" / "1" / "model.py"
    file.write_text(
        file.read_text().replace("        responses = []", "        time.sleep(0.010)\n        responses = []")
    )
    before = sorted(path.stat().st_mtime_ns for path in repository.rglob("*"))
    joined = ("--instances", "1,2", "--dynamic-batching", "off,on:100us")
    analyze(repository, *PRECISE, "--concurrency", "8", *joined, "--export")
    rates = {row["variant"]: float(row["throughput_infer_per_s"]) for row in rows(repository)}
    one, one_joined = rates["instances=1;dynamic_batching=off"], rates["instances=1;dynamic_batching=on:100us"]
    two = rates["instances=2;dynamic_batching=off"]
    assert len(rates) == 4
    assert one < 100
    assert 1.5 * one < two < 200
    assert one_joined > 3 * one
    assert [row["instances"] for row in rows(repository)] == ["1", "1", "2", "2"]
    assert sorted(path.stat().st_mtime_ns for path in repository.rglob("*")) == before
    again = analyze(repository, *PRECISE, "--concurrency", "8", "--instances", "2", "--dynamic-batching", "off")
    assert again.stderr.count("(from the store)") == 1


def test_sweep_file_gives_models_values_of_their_own(repository: Path) -> None:
    """A model's section wins over the top of the file; a smaller max_batch_size leaves batches out."""
    write_model(repository, "a")
    write_model(repository, "b")
    sweep = repository.parent / "sweep.yaml"
    sweep.write_text("batch: [1, 2]\nexport: true\nmodels:\n  b: {concurrency: 3, max-batch-size: [1, 2]}\n")
    done = analyze(repository, "--config", str(sweep))
    points = [(row["model"], row["variant"], row["batch"], row["concurrency"]) for row in rows(repository)]
    assert points == [
        ("a", "default", "1", "1"),
        ("a", "default", "2", "1"),
        ("b", "max_batch_size=1", "1", "3"),
        ("b", "max_batch_size=2", "1", "3"),
        ("b", "max_batch_size=2", "2", "3"),
    ]
    assert "b (max_batch_size=1) has max_batch_size 1: left out batch 2" in done.stderr


@pytest.mark.alone
def test_a_running_server_is_measured_by_its_own_figures(repository: Path, local_server: LocalServer) -> None:
    """The metrics page is two seconds late; the second model's memory still excludes the first one's 512 MiB.

    The page shows what the whole host uses, hence the wide margins.
    """
    write_model(repository, "big", initialize="self.held = np.ones(512 << 17)")
    write_model(repository, "small")
    with local_server.serve(repository) as running:
        address, page = running.endpoint.http, running.endpoint.metrics_url or ""
        where = ("--launch-mode", "remote", "--url", address, "--metrics-url", page)
        analyze(repository, *PRECISE, *where, "--model-names", "big,small", "--export")
        assert serves_nothing(address)  # models are unloaded, and the server still runs
    own = {row["model"]: float(row["model_memory_mib"]) for row in rows(repository)}
    steady = {
        row["model"]: float(row["steady_memory_mib"]) - float(row["server_memory_mib"]) for row in rows(repository)
    }
    assert 400 < steady["big"] <= own["big"] + 0.01  # the CSV has six digits
    assert own["big"] < 900
    assert own["small"] < 250


def test_request_rates_are_sent_in_an_open_loop(repository: Path) -> None:
    """Requests are sent at the given rate with either distribution of gaps, which is part of the trial."""
    write_model(repository, "m")
    done = analyze(repository, *PRECISE, "--request-rate", "100", "--arrivals", "constant", "--export")
    (row,) = rows(repository)
    assert (row["concurrency"], row["request_rate_per_s"], row["arrivals"]) == ("0", "100", "constant")
    assert float(row["throughput_infer_per_s"]) == pytest.approx(100, rel=0.1)
    assert "Request rate" in done.stdout
    assert "constant arrivals" in done.stdout
    assert "(from the store)" not in analyze(repository, *PRECISE, "--request-rate", "100").stderr
    again = analyze(repository, *PRECISE, "--request-rate", "100", "--arrivals", "constant")
    assert "(from the store)" in again.stderr


def test_climb_finds_the_knee_and_is_repeatable(repository: Path) -> None:
    """Four instances that sleep 20 ms have their knee at 4 in flight, ± 1; a second run measures nothing."""
    write_model(repository, "m", execute="time.sleep(0.02)")
    climb = (*PRECISE, "--search", "climb", "--instances", "4", "--max-concurrency", "64", "--export")
    done = analyze(repository, *climb)
    (answer,) = [line for line in done.stdout.splitlines() if line.startswith("Knee of m (instances=4) at batch 1: ")]
    concurrency = int(answer.partition("concurrency ")[2].partition(",")[0])
    assert 3 <= concurrency <= 6
    assert len(rows(repository)) <= 9
    again = analyze(repository, *climb)
    assert again.stderr.count("(from the store)") == len(rows(repository))
    assert answer in again.stdout


def test_climb_raises_instances_while_throughput_grows(repository: Path) -> None:
    """A model that sleeps 20 ms serves 50/s per instance; each doubling up to the allowed 4 doubles that."""
    write_model(repository, "m", execute="time.sleep(0.02)")
    climb = (*PRECISE, "--search", "climb", "--max-concurrency", "8", "--max-instances", "4", "--export")
    done = analyze(repository, *climb)
    (answer,) = [line for line in done.stdout.splitlines() if line.startswith("Instances of m: ")]
    assert answer.startswith("Instances of m: 4 at batch 1, concurrency ")
    assert "(--max-instances is 4)" in answer
    best: dict[str, float] = {}
    for row in rows(repository):
        best[row["instances"]] = max(best.get(row["instances"], 0.0), float(row["throughput_infer_per_s"]))
    assert list(best) == ["1", "2", "4"]
    assert best["1"] < 50 < 1.7 * best["1"] < best["2"] < 100 < 1.5 * best["2"] < best["4"] < 200
    again = analyze(repository, *climb)
    assert again.stderr.count("(from the store)") == len(rows(repository))


def test_climb_leaves_an_ensemble_as_it_is(repository: Path) -> None:
    """An ensemble has no instances to raise; its step has, and if more fail, the number before is the result."""
    fails_in_pairs = (
        "if json.loads(args['model_config'])['instance_group'][0]['count'] > 1: raise ValueError('only one')"
    )
    write_model(repository, "step", initialize=f"import json\n        {fails_in_pairs}")
    write_ensemble(repository, "whole", ["step"])
    done = analyze(repository, "--search", "climb", "--max-concurrency", "2", code=1)
    answers = [line for line in done.stdout.splitlines() if line.startswith(("Knee of", "Instances of"))]
    assert [answer.partition(" at batch")[0] for answer in answers] == [
        *("Knee of step", "Knee of step (instances=2)", "Instances of step: 1", "Knee of whole")
    ]
    assert "2 instances: " in answers[2]
    assert "only one" in answers[2]


def test_peak_is_the_rate_that_keeps_the_latency(repository: Path) -> None:
    """One instance that takes 3 ms serves at most 333 requests/s, and constant arrivals hardly queue below that."""
    write_model(repository, "m", execute="time.sleep(0.003)")
    peak_search = ("--find-peak", "--latency-p99-ms", "60", "--arrivals", "constant")
    done = analyze(repository, *PRECISE, *peak_search, "--export")
    (answer,) = [line for line in done.stdout.splitlines() if line.startswith("Peak of m at batch 1: ")]
    peak = float(answer.partition("batch 1: ")[2].partition(" ")[0])
    assert 100 <= peak <= 333
    kept = [row for row in rows(repository) if row["request_rate_per_s"] == f"{peak:g}"]
    assert float(kept[0]["latency_p99_ms"]) <= 60


def test_ensemble_loads_its_parts_and_is_charged_for_them(repository: Path) -> None:
    """The memory of its steps and of a model that one of them calls counts for the ensemble; all are unloaded.

    Each part holds far more than what servers of other tests change: they share pages of libraries with this one.
    """
    write_model(repository, "held", initialize="self.held = np.ones(128 << 17)")
    write_caller(repository, "caller", "held")
    write_model(repository, "light", initialize=HOLD_64_MIB)
    write_ensemble(repository, "whole", ["light", "caller"])
    analyze(repository, "--model-names", "whole,caller,light", "--batch", "1,8", "--export")
    table = rows(repository)
    assert {row["status"] for row in table} <= {"ok", "unsettled"}
    own = {row["model"]: float(row["model_memory_mib"]) for row in table if row["batch"] == "1"}
    # light is one process and 64 MiB; the caller has two and 128 MiB, the whole three and 192 MiB; a process counts
    # less while another test's server shares its pages, and each part holds more than the tolerance
    process = own["light"] - 64
    assert own["caller"] == pytest.approx(2 * process + 128, abs=56)
    assert own["whole"] == pytest.approx(3 * process + 192, abs=56)
    assert float(table[-1]["server_memory_mib"]) < float(table[0]["server_memory_mib"]) + 16


def test_ensemble_has_no_instances_to_vary(repository: Path) -> None:
    """A variant with instances is a failed row for an ensemble; the other models are measured."""
    write_model(repository, "part")
    write_ensemble(repository, "whole", ["part"])
    analyze(repository, "--instances", "2", "--export", code=1)
    found = {row["model"]: (row["status"], row["cause"]) for row in rows(repository)}
    assert found["part"][0] in ("ok", "unsettled")
    assert found["whole"][0] == "load_failed"
    assert "no instances of its own" in found["whole"][1]


def test_part_that_cannot_load_is_the_ensembles_cause(repository: Path) -> None:
    """The parts that were loaded are unloaded, so that the next model is measured alone."""
    write_model(repository, "a_held", initialize=HOLD_64_MIB)
    write_model(repository, "b_broken", initialize="raise ValueError('no weights here')")
    write_caller(repository, "c_caller", "b_broken")
    write_ensemble(repository, "d_whole", ["a_held", "c_caller"])
    write_model(repository, "e_good")
    analyze(repository, "--model-names", "d_whole,e_good", "--export", code=1)
    whole, good = rows(repository)
    assert whole["status"] == "load_failed"
    assert "no weights here" in whole["cause"]
    assert good["status"] in ("ok", "unsettled")
    assert float(good["model_memory_mib"]) < 50


def test_model_without_batching_is_tried_at_batch_one(repository: Path) -> None:
    """With max_batch_size 0 tensors have no batch dimension, and larger batches are left out with a note."""
    write_model(repository, "plain", max_batch_size=0, execute="assert x.shape == (2,), x.shape")
    done = analyze(repository, "--batch", "1,4", "--export")
    assert [(row["batch"], outcome(row)) for row in rows(repository)] == [("1", "measured")]
    assert "plain has no batching: left out batch 4" in done.stderr


def test_model_without_a_configuration_is_completed_by_triton(repository: Path) -> None:
    """Its largest batch is known after its load, its variants can be measured, and a second run measures nothing."""
    write_without_config(repository, "auto", max_batch_size=4)
    done = analyze(repository, "--batch", "1,4,8", "--export")
    assert [row["batch"] for row in rows(repository)] == ["1", "4"]
    assert "auto has max_batch_size 4: left out batch 8" in done.stderr
    both = ("--batch", "2,4", "--instances", "2", "--max-batch-size", "2,4", "--export")
    analyze(repository, *both)
    assert [(row["variant"], row["batch"], row["instances"]) for row in rows(repository)] == [
        ("instances=2;max_batch_size=2", "2", "2"),
        ("instances=2;max_batch_size=4", "2", "2"),
        ("instances=2;max_batch_size=4", "4", "2"),
    ]
    assert analyze(repository, *both).stderr.count("(from the store)") == 3
