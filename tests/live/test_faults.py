"""Test `analyze` with real faults of models, disks, stores and users."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.builders.model_repositories import write_model
from tests.conftest import missing, wait_for
from tests.live.analysis import analyze, command, results_of, rows

pytestmark = pytest.mark.usefixtures("local_server")


@contextlib.contextmanager
def running(sweep: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Start a command; on exit end it if it still runs."""
    with subprocess.Popen(sweep, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], text: str, *, times: int = 1) -> None:
    """Read the progress until a line holds `text`, this many times."""
    assert process.stderr is not None
    for line in process.stderr:
        times -= text in line
        if not times:
            return
    pytest.fail(f"the command ended before it said {text!r}")


def test_stub_that_kills_itself_is_a_row_and_the_rest_goes_on(repository: Path) -> None:
    """The model's process dies in every request of batch 2: those rows have the cause, all others are measured."""
    write_model(repository, "mortal", execute="if len(x) > 1: os.kill(os.getpid(), signal.SIGKILL)")
    write_model(repository, "sound")
    analyze(repository, "--batch", "1,2", "--export", code=1)
    table = {(row["model"], row["batch"]): row for row in rows(repository)}
    assert table["mortal", "1"]["status"] in ("ok", "unsettled")
    assert table["mortal", "2"]["status"] == "inference_error"
    assert "stub" in table["mortal", "2"]["cause"].lower()
    assert table["mortal", "2"]["throughput_infer_per_s"] == ""
    assert {table["sound", batch]["status"] for batch in "12"} <= {"ok", "unsettled"}


def test_model_that_writes_gigabytes_needs_neither_memory_nor_disk(repository: Path) -> None:
    """A model writes 200 MB to stdout and kills the server: the row has the cause, and `analyze` stays small.

    The log was once kept whole and read into memory: `analyze` grew to 2.6 GB.
    """
    write = "[os.write(1, b'x' * 1_000_000) for _ in range(200)]"
    write_model(repository, "loud", execute=f"{write}; os.kill(os.getppid(), signal.SIGKILL)")
    with running(command(repository, "--export")) as process:
        watched, most_bytes, most_log = psutil.Process(process.pid), 0, 0
        while process.poll() is None:
            with contextlib.suppress(psutil.Error, OSError):
                most_bytes = max(most_bytes, watched.memory_info().rss)
                servers = [child for child in watched.children(recursive=True) if child.name() == "tritonserver"]
                most_log = max([most_log, *((Path(s.cwd()) / "triton.log").stat().st_size for s in servers)])
            time.sleep(0.02)
    (row,) = rows(repository)
    assert row["status"] == "server_crashed"
    assert "SIGKILL" in row["cause"]
    assert 0 < most_log <= 8 << 20
    assert most_bytes < 250 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 512 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        missing("a small disk cannot be mounted: we are not root, or may not mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk_ends_the_sweep_and_keeps_what_is_finished(repository: Path, small_disk: Path) -> None:
    """When the disk is full after the first trial, one line says so; with space again only the rest is measured."""
    write_model(repository, "m")
    sweep = command(repository, "--concurrency", "1,2,3", "-o", str(small_disk))
    with running(sweep) as process:
        read_until(process, "infer/s")
        filler = small_disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = [line for line in err.splitlines() if line.startswith("Error")]
    assert "disk is full" in line
    assert "Traceback" not in err
    assert "Throughput" in out
    kept = err.count("infer/s") + 1
    assert 1 <= kept < 3
    assert f"{kept} of 3 trials are in" in err
    filler.unlink()
    again = analyze(repository, "--concurrency", "1,2,3", "-o", str(small_disk))
    assert again.stderr.count("(from the store)") == kept


def test_two_sweeps_share_one_store(repository: Path) -> None:
    """Both sweeps succeed, and a third run finds the trials of both."""
    write_model(repository, "m")
    sweeps = [command(repository, "--batch", batches, "--precision", "90") for batches in ("1,2", "2,4")]
    with running(sweeps[0]) as one, running(sweeps[1]) as two:
        ends = [(process.communicate(timeout=120)[1], process.returncode) for process in (one, two)]
    assert [code for _, code in ends] == [0, 0], ends
    again = analyze(repository, "--batch", "1,2,4", "--precision", "90")
    assert again.stderr.count("(from the store)") == 3


@pytest.mark.parametrize("moment", ["start", "load", "trial", "export"])
def test_interrupt_at_any_time_leaves_nothing_behind(repository: Path, moment: str) -> None:
    """Ctrl-C during a server's start, a load, a trial or the drawing of plots ends with exit code 130."""
    mark = repository.parent / "reached"
    reached = f"open({str(mark)!r}, 'w').close()"
    if moment == "load":
        write_model(repository, "m", initialize=f"{reached}; time.sleep(60)")
    elif moment == "trial":
        write_model(repository, "m", execute=f"{reached}; time.sleep(60)")
    else:
        write_model(repository, "m")
    with running(command(repository, "--export")) as process:
        if moment == "start":
            read_until(process, "Device:")
        elif moment == "export":
            assert process.stdout is not None
            read_until(process, "infer/s")
            process.stdout.readline()  # the table comes before the export
        else:
            wait_for(mark.exists, f"the model's {moment}", timeout_s=30)
        family = psutil.Process(process.pid).children(recursive=True)
        servers = [child.cmdline() for child in family if child.name() == "tritonserver"]
        process.send_signal(signal.SIGINT)
        sent_s = time.monotonic()
        _, err = process.communicate(timeout=30)
    assert time.monotonic() - sent_s < 15
    # the interpreter's own end has no handler any more: the signal ends the process, which a shell calls 130
    ended = (0, 130, -signal.SIGINT) if moment == "export" else (130,)
    assert process.returncode in ended, err
    assert "Traceback" not in err
    wait_for(lambda: not any(child.is_running() for child in family), "every process is gone")
    for flags in servers:
        traces = {flag.partition("=")[0]: flag.rpartition("=")[2] for flag in flags}
        assert not Path(traces["--model-repository"]).exists()
        prefix = next(flag.rpartition("=")[2] for flag in flags if "shm-region-prefix-name=" in flag)
        assert not [path for path in Path("/dev/shm").iterdir() if path.name.startswith(prefix)]
    assert not list(results_of(repository).glob(".*.part"))
    if moment in ("load", "trial"):
        assert "m" not in {row[0] for row in stored(repository)}


def stored(repository: Path) -> list[tuple[str, str]]:
    """List the models and statuses in the store."""
    with contextlib.closing(sqlite3.connect(results_of(repository) / "measurements.sqlite")) as store:
        return list(store.execute("SELECT model, status FROM measurements"))


def test_resume_after_a_crash_measures_only_what_is_missing(repository: Path) -> None:
    """After SIGKILL of the command its server ends too, and the second run finds the finished trials."""
    write_model(repository, "m")
    with running(command(repository, "--concurrency", "1,2,3,4")) as process:
        read_until(process, "infer/s", times=2)
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
    wait_for(lambda: not any(child.is_running() for child in family), "every process is gone")
    kept = len(stored(repository))
    assert 2 <= kept < 4
    again = analyze(repository, "--concurrency", "1,2,3,4", "--export")
    assert again.stderr.count("(from the store)") == kept
    assert len(rows(repository)) == 4


def test_port_in_use_is_refused_at_once(repository: Path) -> None:
    """One line names the port and the option; the exit code is 1, within two seconds on an idle machine."""
    write_model(repository, "m")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        start_s = time.monotonic()
        done = analyze(repository, "--http-port", str(port), code=1)
        assert time.monotonic() - start_s < 4  # the limit is 2 s; the machine may be busy
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert str(port) in line
    assert "--http-port" in line


@pytest.mark.parametrize("fault", ["not a store", "newer", "no folder", "no export folder"])
def test_store_or_folder_that_cannot_be_used_starts_nothing(repository: Path, fault: str) -> None:
    """One line names the store or folder, the exit code is 1, and no server is started."""
    write_model(repository, "m")
    results, said, more = results_of(repository), "", []
    results.mkdir()
    store = results / "measurements.sqlite"
    if fault == "not a store":
        store.write_text("something else, longer than the header of a file of SQLite, which has a hundred bytes" * 3)
        said = "is not an SQLite file"
    elif fault == "newer":
        with contextlib.closing(sqlite3.connect(store)) as newer:
            newer.executescript(
                "CREATE TABLE tritonpack_schema (version INTEGER); INSERT INTO tritonpack_schema VALUES (99)"
            )
        said = "schema version 99"
    elif fault == "no folder":
        results.rmdir()
        results.write_text("a file")
        said = str(results)
    else:
        (repository.parent / "file").touch()
        more = ["--export", "--export-path", str(repository.parent / "file" / "below")]
        said = "export folder"
    done = analyze(repository, *more, code=1)
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert said in line
