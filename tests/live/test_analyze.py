"""Test the command `analyze` with a real Triton on this host."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.builders.model_repositories import write_model
from tests.conftest import wait_for
from tests.live.analysis import ANALYZE, analyze, command, outcome, results_of, rows, shared_memory_of

pytestmark = pytest.mark.usefixtures("local_server")


def test_sweep_measures_every_point_and_exports_it(repository: Path) -> None:
    """Each model, batch and concurrency gets a row with throughput, latency and memory."""
    write_model(repository, "one")
    write_model(repository, "two", initialize="self.held = np.ones(64 << 17)")  # 64 MiB of float64
    done = analyze(repository, "--batch", "1,2", "--concurrency", "1,2", "--export")
    table = rows(repository)
    points = [(row["model"], row["batch"], row["concurrency"]) for row in table]
    assert points == [(m, b, c) for m in ("one", "two") for b in ("1", "2") for c in ("1", "2")]
    assert {outcome(row) for row in table} == {"measured"}
    for row in table:
        # a sleep of 2 ms per request bounds the rate: 500 requests/s, so batch size x 500 inferences/s
        assert 50 * int(row["batch"]) < float(row["throughput_infer_per_s"]) < 500 * int(row["batch"])
        assert float(row["latency_p50_ms"]) > 2.0
    memory = {row["model"]: float(row["model_memory_mib"]) for row in table}
    assert memory["two"] - memory["one"] == pytest.approx(64, abs=30)  # pages shared with other servers count partly
    assert "one" in done.stdout
    results = repository.parent / "results"
    assert (results / "metrics-server-only.csv").exists()
    assert list(results.glob("*.png"))


def test_export_is_written_while_the_last_model_is_unloaded(repository: Path) -> None:
    """The figures of both models are there when the second one ends, and none when the first one does."""
    results, seen = results_of(repository), repository.parent / "seen"
    count = f"sum(name.endswith('.png') for name in os.listdir({str(results)!r}))"
    note = f"print(self.name, {count}, file=open({str(seen)!r}, 'a'))"
    write_model(repository, "a", finalize=note)
    write_model(repository, "b", finalize=f"time.sleep(6); {note}")  # the figures take a second
    done = analyze(repository, "--export")
    assert seen.read_text() == "a 0\nb 2\n"
    assert "and 2 plots" in done.stderr


def test_one_bad_model_does_not_stop_the_others(repository: Path) -> None:
    """A model that cannot load and one that fails from batch 2 on become rows with their cause; the exit code is 1."""
    write_model(repository, "a_bad", initialize="raise ValueError('no weights here')")
    write_model(repository, "b_picky", execute="if len(x) > 1: raise ValueError('too many')")
    write_model(repository, "c_good")
    done = analyze(repository, "--batch", "1,2", "--export", code=1)
    by_point = {(row["model"], row["batch"]): row for row in rows(repository)}
    assert by_point["a_bad", "1"]["status"] == "load_failed"
    assert "no weights here" in by_point["a_bad", "1"]["cause"]
    assert outcome(by_point["b_picky", "1"]) == "measured"
    assert by_point["b_picky", "2"]["status"] == "inference_error"
    assert "too many" in by_point["b_picky", "2"]["cause"]
    assert outcome(by_point["c_good", "2"]) == "measured"
    assert by_point["a_bad", "1"]["throughput_infer_per_s"] == ""
    assert "no weights here" in done.stderr


def test_out_of_memory_prunes_only_larger_batches(repository: Path) -> None:
    """A model that cannot get its memory at batch 2 is not tried at batch 4; the next model is."""
    write_model(repository, "hungry", execute="np.empty(10**15 if len(x) > 1 else 1)")
    write_model(repository, "modest")
    analyze(repository, "--batch", "1,2,4", "--export", code=1)
    outcomes = [(row["model"], row["batch"], outcome(row)) for row in rows(repository)]
    assert outcomes == [
        ("hungry", "1", "measured"),
        ("hungry", "2", "out_of_memory"),
        ("modest", "1", "measured"),
        ("modest", "2", "measured"),
        ("modest", "4", "measured"),
    ]


def test_a_hanging_model_times_out_and_the_next_is_measured(repository: Path) -> None:
    """A server that does not answer is replaced; trials with at least the same batch and concurrency are left out."""
    write_model(repository, "asleep", execute="time.sleep(600)")
    write_model(repository, "awake")
    analyze(repository, "--batch", "1,2", "--request-timeout", "1", "--export", code=1)
    outcomes = [(row["model"], row["batch"], outcome(row)) for row in rows(repository)]
    assert outcomes == [("asleep", "1", "timed_out"), ("awake", "1", "measured"), ("awake", "2", "measured")]


def test_a_killed_server_is_restarted_and_the_trial_repeated(repository: Path) -> None:
    """After SIGKILL of tritonserver during a trial, that trial is repeated and the sweep continues."""
    mark = repository.parent / "killed"
    kill = f"if not os.path.exists({str(mark)!r}): open({str(mark)!r}, 'w'); os.kill(os.getppid(), signal.SIGKILL)"
    write_model(repository, "fatal_once", execute=kill)
    analyze(repository, "--batch", "1,2", "--export")
    assert mark.exists()
    assert [outcome(row) for row in rows(repository)] == ["measured", "measured"]


def test_a_model_that_always_kills_the_server_becomes_a_row(repository: Path) -> None:
    """After a second crash the row names the cause, and the next model gets a new server."""
    write_model(repository, "fatal", execute="os.kill(os.getppid(), signal.SIGKILL)")
    write_model(repository, "good")
    analyze(repository, "--export", code=1)
    table = {row["model"]: row for row in rows(repository)}
    assert table["fatal"]["status"] == "server_crashed"
    assert "SIGKILL" in table["fatal"]["cause"]
    assert outcome(table["good"]) == "measured"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_keeps_what_is_finished_and_leaves_nothing_running(repository: Path, number: signal.Signals) -> None:
    """Finished trials are exported and stored, no process or shared memory remains, and a second run does the rest."""
    write_model(repository, "m")
    sweep = command(repository, "--export", "--batch", "1,2,4,8", "--concurrency", "1,2,4,8")
    with subprocess.Popen(sweep, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        seen = []
        for line in process.stderr:
            seen.append(line)
            if len([one for one in seen if "infer/s" in one]) == 2:
                break
        children = psutil.Process(process.pid).children(recursive=True)
        segments = shared_memory_of(children)
        assert segments()
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    kept = rows(repository)
    assert 2 <= len(kept) < 16
    assert "Throughput" in out
    wait_for(lambda: not any(child.is_running() for child in children), "every process is gone")
    assert segments() == []
    again = analyze(repository, "--batch", "1,2,4,8", "--concurrency", "1,2,4,8", "--export")
    assert again.stderr.count("(from the store)") == len(kept)
    assert len(rows(repository)) == 16


def test_a_changed_model_is_measured_anew(repository: Path) -> None:
    """Trials in the store are not measured again until a file of the model changes."""
    file = write_model(repository, "m")
    assert "(from the store)" not in analyze(repository).stderr
    assert "(from the store)" in analyze(repository).stderr
    assert "(from the store)" not in analyze(repository, "--fresh").stderr
    file.write_text(file.read_text() + "\n# changed\n")
    assert "(from the store)" not in analyze(repository).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model-names", "mm"], "did you mean 'm'"),
        (["--batch", "1,x"], "'x' is not a whole number"),
        (["--batch", "0"], "out of range"),
        (["--batch", "16"], "takes batches up to 8"),
        (["--shape", "X"], "no shape"),
        (["--input-data", "/nowhere.json"], "/nowhere.json"),
        (["--launch-mode", "remote"], "--url"),
        (["--gpus", "7"], "7"),
        (["--store", "nonsense://x"], "store"),
    ],
)
def test_bad_input_is_one_line_and_starts_nothing(repository: Path, arguments: list[str], said: str) -> None:
    """A wrong option ends with exit code 2 and one line that names the value and what to do; no store is created."""
    write_model(repository, "m")
    started = time.monotonic()
    done = analyze(repository, *arguments, code=2)
    assert time.monotonic() - started < 4  # the limit is 2 s; the machine may be busy
    assert said in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("Error")]) == 1
    assert "Triton:" not in done.stderr


def test_a_postgresql_store_serves_the_whole_chain(repository: Path, postgresql_url: str) -> None:
    """`analyze` stores into PostgreSQL, a second run finds the trials there, and `plan` reads them."""
    write_model(repository, "m")
    url = postgresql_url.replace("postgresql+psycopg", "postgresql")
    assert "(from the store)" not in analyze(repository, "--store", url).stderr
    assert "(from the store)" in analyze(repository, "--store", url).stderr
    plan = Path(ANALYZE).with_name("plan")
    done = subprocess.run(
        [plan, "solve", url, "--mode", "memory", "--gpu-memory", "1GiB"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("1 GPU: proven")
