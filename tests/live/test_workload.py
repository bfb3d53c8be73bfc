"""Test every kind of request on a real Triton: HTTP, gRPC, sequences, decoupled models, shared memory, faults."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analyzer.errors import ModelError
from analyzer.load.input_data import InputData, read_input_data
from analyzer.load.load import Load
from analyzer.load.shared_memory import PREFIX
from analyzer.load.workload import Workload
from analyzer.measurements.record import Trial
from analyzer.servers.local import LocalServer
from tests.builders.model_repositories import write_model
from tests.conftest import wait_for
from tests.live.bench import bench_on

TRANSPORTS = ("http", "grpc", "http+shm", "grpc+shm")
SEQUENCE = """sequence_batching { oldest { max_candidate_sequences: 16 } control_input [
  { name: "START" control [{ kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] }] },
  { name: "END" control [{ kind: CONTROL_SEQUENCE_END fp32_false_true: [ 0, 1 ] }] },
  { name: "ID" control [{ kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 }] } ] }
"""
COUNT_STEPS = """
            start, end, key = (
                pb_utils.get_input_tensor_by_name(request, n).as_numpy().ravel()[0] for n in ("START", "END", "ID")
            )
            steps = self.__dict__.setdefault("steps", {})
            steps[key] = 1 if start else steps[key] + 1
            if end and steps.pop(key) != LENGTH: raise ValueError("a sequence of another length")
"""
STREAMING = """import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "X").as_numpy()
            sender = request.get_response_sender()
            for i in range(3):
                bad = x.min() < 0 and i == 1
                error = pb_utils.TritonError("negative") if bad else None
                sender.send(pb_utils.InferenceResponse([] if bad else [pb_utils.Tensor("Y", x)], error=error))
            sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
"""


def our_memory() -> set[str]:
    """List the shared memory that this process created."""
    return {file.name for file in Path("/dev/shm").glob(f"{PREFIX}{os.getpid()}_*")}


def test_every_transport_delivers_what_was_sent_at_every_size(local_server: LocalServer, tmp_path: Path) -> None:
    """At 16 B, 100 KiB and 8 MiB the model gets its whole input (checked by its sum), and its output arrives."""
    size = "x.shape[-1]"
    check = f"assert abs(float(x.astype('float64').sum()) - {size} * 0.5) < 1e-6 * {size}, 'other values'"
    write_model(tmp_path, "echo", execute=check)
    config = tmp_path / "echo" / "config.pbtxt"
    config.write_text(config.read_text().replace("dims: [ 2 ]", "dims: [ -1 ]"))
    with bench_on(local_server, tmp_path) as bench:
        model = bench.load_model("echo")
        for count in (4, 25 * 1024, 2 * 1024 * 1024):  # FP32 values
            folder = tmp_path / f"data-{count}"
            folder.mkdir()
            (folder / "X").write_bytes(np.full(count, 0.5, "<f4").tobytes())
            data = read_input_data(folder)
            for transport in TRANSPORTS:
                protocol, _, memory = transport.partition("+")
                workload = Workload(protocol=protocol, shared_memory=bool(memory), data=data)
                sent = bench.send(model, workload)
                assert (sent.errors, sent.first_error) == (0, ""), (count, transport)
                assert sent.completed >= 1, (count, transport)
    assert our_memory() == set()


def test_outputs_really_go_to_shared_memory(local_server: LocalServer, tmp_path: Path) -> None:
    """The server writes each connection's outputs into the connection's own part of the shared region."""
    write_model(tmp_path, "next", execute="x = x + 1")
    with bench_on(local_server, tmp_path) as bench:
        model = bench.load_model("next")
        workload = Workload(shared_memory=True, protocol="grpc")
        trial = Trial(model="next", transport="grpc+shm", concurrency=2)
        with workload.build_load(bench.running.endpoint, model, trial) as load:
            assert bench.send_load(load).errors == 0
            (name,) = our_memory()
            values = np.fromfile(f"/dev/shm/{name}", "<f4", count=48).reshape(3, 16)  # 64 bytes per tensor
        assert (values[1, :2] == values[0, :2] + 1).all()
        assert (values[2, :2] == values[0, :2] + 1).all()
    assert our_memory() == set()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_errors_have_tritons_message(local_server: LocalServer, tmp_path: Path, protocol: str) -> None:
    """A failing model, a missing model and a batch too large are errors, never successes."""
    write_model(tmp_path, "picky", execute="if len(x) > 1: raise ValueError('too many: 100% %')")
    with bench_on(local_server, tmp_path) as bench:
        model = bench.load_model("picky")
        workload = Workload(protocol=protocol)
        assert bench.send(model, workload).errors == 0
        for batch, said in ((2, "too many: 100% %"), (9, "batch-size must be <= 8")):
            sent = bench.send(model, workload, batch=batch)
            assert sent.completed == 0
            assert sent.errors > 1
            assert said in sent.first_error
        sent = bench.send(replace(model, name="absent"), workload)
        assert (sent.completed, sent.errors > 1, "unknown model" in sent.first_error) == (0, True, True)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_killed_server_is_reported_as_lost(local_server: LocalServer, tmp_path: Path, protocol: str) -> None:
    """After the server is killed the load ends and reports that nothing answers at its address."""
    write_model(tmp_path, "fatal", execute="os.kill(os.getppid(), signal.SIGKILL)")
    with bench_on(local_server, tmp_path) as bench:
        sent = bench.send(bench.load_model("fatal"), Workload(protocol=protocol), concurrency=1)
        assert sent.lost
        assert sent.completed == 0
        assert "closed the connection" in sent.first_error
        sent = bench.send_load(
            Load(
                host="127.0.0.1",
                port=int(bench.running.endpoint.http.rpartition(":")[2]),
                scripts=[[b"x"]],
                concurrency=1,
            )
        )
        assert sent.lost
        assert "cannot be reached" in sent.first_error


def test_a_server_of_another_protocol_is_an_error(local_server: LocalServer, tmp_path: Path) -> None:
    """gRPC to the HTTP port, as with a wrong address, is an error at once and does not hang."""
    write_model(tmp_path, "m")
    with bench_on(local_server, tmp_path) as bench:
        model = bench.load_model("m")
        endpoint = replace(bench.running.endpoint, grpc=bench.running.endpoint.http)
        trial = Trial(model="m", transport="grpc", concurrency=1)
        with Workload(protocol="grpc").build_load(endpoint, model, trial) as load:
            sent = bench.send_load(load)
    assert sent.completed == 0
    assert sent.errors > 0


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_sequences_start_and_end_on_every_connection(local_server: LocalServer, tmp_path: Path, transport: str) -> None:
    """Each connection sends whole sequences: the model counts 20 steps from each start to each end."""
    write_model(tmp_path, "counter", execute=COUNT_STEPS.replace("LENGTH", "20").strip())
    _configure(tmp_path / "counter", SEQUENCE)
    protocol, _, memory = transport.partition("+")
    with bench_on(local_server, tmp_path) as bench:
        model = bench.load_model("counter")
        sent = bench.send(model, Workload(protocol=protocol, shared_memory=bool(memory)), concurrency=4)
        assert sent.errors == 0, sent.first_error
        assert sent.completed > 4 * 20
        wrong = bench.send(model, Workload(protocol=protocol, sequence_length=3), concurrency=4)
        assert "another length" in wrong.first_error  # shows that the model counts


def test_streams_of_a_file_are_sequences(local_server: LocalServer, tmp_path: Path) -> None:
    """Each stream of 3 steps is a sequence; on one connection they are sent one after another."""
    write_model(tmp_path, "counter", execute=COUNT_STEPS.replace("LENGTH", "3").strip())
    _configure(tmp_path / "counter", SEQUENCE)
    file = tmp_path / "data.json"
    file.write_text(
        '{"data": [[{"X": [1, 2]}, {"X": [3, 4]}, {"X": [5, 6]}], [{"X": [7, 8]}, {"X": [9, 0]}, {"X": [1, 1]}]]}'
    )
    data: InputData = read_input_data(file)
    with bench_on(local_server, tmp_path) as bench:
        sent = bench.send(bench.load_model("counter"), Workload(data=data), concurrency=1)
    assert (sent.errors, sent.first_error) == (0, "")
    assert sent.completed > 6


def test_a_decoupled_model_is_complete_with_its_last_response(local_server: LocalServer, tmp_path: Path) -> None:
    """It uses gRPC by default; an error among its responses fails the call; with HTTP the error says to use gRPC."""
    write_model(tmp_path, "stream").write_text(STREAMING)
    _configure(tmp_path / "stream", "model_transaction_policy { decoupled: true }")
    file = tmp_path / "data.json"
    file.write_text('{"data": [{"X": [-1, -1]}]}')
    with bench_on(local_server, tmp_path) as bench:
        model = bench.load_model("stream")
        assert Workload().transport(model) == "grpc"
        assert bench.send(model, Workload()).errors == 0
        assert bench.send(model, Workload(shared_memory=True)).errors == 0
        sent = bench.send(model, Workload(data=read_input_data(file)))
        assert sent.completed == 0
        assert "negative" in sent.first_error
        with pytest.raises(ModelError, match="protocol='grpc'"):
            bench.send(model, Workload(protocol="http"))


def test_too_much_shared_memory_is_an_error(local_server: LocalServer, tmp_path: Path) -> None:
    """More than /dev/shm holds is an error before anything is sent, and no region remains."""
    write_model(tmp_path, "m")
    free = os.statvfs("/dev/shm")
    with bench_on(local_server, tmp_path) as bench:
        model = bench.load_model("m")
        trial = Trial(model="m", transport="http+shm", concurrency=free.f_blocks * free.f_frsize // 64 + 1)
        with (
            pytest.raises(ModelError, match="enlarge /dev/shm"),
            Workload(shared_memory=True).build_load(bench.running.endpoint, model, trial),
        ):
            pass
    assert our_memory() == set()


def _configure(model: Path, text: str) -> None:
    config = model / "config.pbtxt"
    config.write_text(config.read_text() + text)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_shared_memory_is_gone_after_a_signal(
    local_server: LocalServer, tmp_path: Path, number: signal.Signals
) -> None:
    """No region remains after a signal, even SIGKILL; after SIGINT there is no warning of a leak."""
    repository = tmp_path / "models"
    write_model(repository, "m")
    command = [str(Path(sys.executable).with_name("analyze")), "--model-folder", str(repository), "-o", str(tmp_path)]
    command += ["--launch-mode", "local", "--shared-memory", "system", "--concurrency", "1,2,4,8", "--precision", "1"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:

        def regions() -> list[Path]:
            return list(Path("/dev/shm").glob(f"{PREFIX}{process.pid}_*"))

        wait_for(lambda: bool(regions()), "a region", timeout_s=30)
        process.send_signal(number)
        assert process.stderr is not None
        said = process.stderr.read()
    wait_for(lambda: not regions(), "the region is gone")
    assert "Traceback" not in said
    if number == signal.SIGINT:
        assert "leaked" not in said
        assert process.returncode == 130
