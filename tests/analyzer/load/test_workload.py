"""Test the requests of a trial: what each connection sends, and to which address."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import service_pb2

from analyzer.errors import ModelError
from analyzer.load.input_data import InputData, TensorValues
from analyzer.load.load import Load
from analyzer.load.sequences import SequenceRequest
from analyzer.load.workload import Workload
from analyzer.measurements.record import Trial
from analyzer.models.repository import Input, Model
from analyzer.servers import Endpoint

ENDPOINT = Endpoint(http="10.0.0.1:8000", grpc="10.0.0.1:7001", metrics_url=None, process_id=1, server="")


def model_of(**settings: Any) -> Model:
    """Make a model with one input of two integers."""
    inputs = (Input(name="X", datatype="INT32", dims=(2,)),)
    return Model(name="a b", path=Path("m"), inputs=inputs, max_batch_size=8, **settings)


def data_of(*streams: int) -> InputData:
    """Make streams with these numbers of steps; the steps are numbered 0, 1, 2, … across all streams."""
    numbers = iter(range(sum(streams)))
    made = tuple(
        tuple({"X": TensorValues(values=[next(numbers)] * 2, shape=None, where="data[0].X")} for _ in range(count))
        for count in streams
    )
    return InputData(source="f.json", streams=made)


def load_of(workload: Workload, model: Model, **point: Any) -> Load:
    """Prepare a trial's load."""
    trial = Trial(model=model.name, transport=workload.transport(model), **point)
    with workload.build_load(ENDPOINT, model, trial) as load:
        return load


def http_parts(request: bytes) -> tuple[str, dict[str, Any], bytes]:
    """Split a request as a server does: first line, JSON, binary tensors."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    fields = dict(line.split(": ") for line in lines)
    assert int(fields["Content-Length"]) == len(body)
    assert fields["Host"] == ENDPOINT.http
    length = int(fields["Inference-Header-Content-Length"])
    return first, json.loads(body[:length]), body[length:]


def grpc_parts(request: bytes) -> Any:
    """Parse a gRPC message: a flag, the length, a ModelInferRequest."""
    assert request[:1] == b"\0"
    assert int.from_bytes(request[1:5], "big") == len(request) - 5
    return service_pb2.ModelInferRequest.FromString(request[5:])


def number_of(request: bytes) -> int:
    """Read the step's number from a request: the last four bytes are its tensor's last value."""
    return int.from_bytes(request[-4:], "little")


def test_http_request_holds_the_batch_as_binary() -> None:
    """Batch 3 of two INT32 has shape 3 x 2 and 24 bytes; the model's name is quoted in the URL."""
    ((request,),) = load_of(Workload(protocol="http"), model_of(), batch=3).scripts
    first, document, binary = http_parts(request)
    assert first == "POST /v2/models/a%20b/infer HTTP/1.1"
    assert document["inputs"] == [
        {"name": "X", "shape": [3, 2], "datatype": "INT32", "parameters": {"binary_data_size": 24}}
    ]
    assert document["parameters"] == {"binary_data_output": True}
    assert len(binary) == 24


def test_grpc_message_holds_the_same_as_http() -> None:
    """The gRPC message has the same name, shape, type and bytes as the HTTP request."""
    ((over_http,),) = load_of(Workload(protocol="http"), model_of(), batch=3).scripts
    ((over_grpc,),) = load_of(Workload(protocol="grpc"), model_of(), batch=3).scripts
    message = grpc_parts(over_grpc)
    (tensor,) = message.inputs
    assert (message.model_name, tensor.name, tensor.datatype, list(tensor.shape)) == ("a b", "X", "INT32", [3, 2])
    assert list(message.raw_input_contents) == [http_parts(over_http)[2]]


def test_grpc_goes_where_the_server_says() -> None:
    """A server that the tool starts reports its gRPC address itself."""
    load = load_of(Workload(protocol="grpc"), model_of())
    assert (load.host, load.port) == ("10.0.0.1", 7001)


@pytest.mark.parametrize(("batch", "calls"), [(1, 8), (4000, 1)])
def test_small_grpc_calls_share_a_connection_and_large_ones_do_not(batch: int, calls: int) -> None:
    """A message above 16 KiB would hold up the others on its connection; over HTTP each request has its own."""
    assert load_of(Workload(protocol="grpc"), model_of(), batch=batch).calls_per_connection == calls
    assert load_of(Workload(protocol="http"), model_of(), batch=batch).calls_per_connection == 1


def test_grpc_address_of_another_server_is_tried_first() -> None:
    """`grpc_url` is tried before anything is sent; if it does not answer, the error names it and the option."""
    trial, model = Trial(model="a b", transport="grpc"), model_of()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        elsewhere = replace(ENDPOINT, http="127.0.0.1:1", grpc=f"127.0.0.1:{port}", process_id=None)
        with Workload(protocol="grpc").build_load(elsewhere, model, trial) as load:
            assert (load.host, load.port) == ("127.0.0.1", port)
    with (
        pytest.raises(ModelError, match=f"no gRPC at grpc://127.0.0.1:{port} .*`grpc_url`"),
        Workload(protocol="grpc").build_load(elsewhere, model, trial),
    ):
        pass


def test_connections_start_at_different_steps_of_the_data() -> None:
    """With six steps on three connections, these start at steps 0, 2 and 4, and each sends all six."""
    load = load_of(Workload(data=data_of(4, 2)), model_of(), concurrency=3)
    assert [[number_of(request) for request in script] for script in load.scripts] == [
        [0, 1, 2, 3, 4, 5],
        [2, 3, 4, 5, 0, 1],
        [4, 5, 0, 1, 2, 3],
    ]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_sequences_of_random_values_have_their_length(protocol: str) -> None:
    """With random values, connections send sequences of four steps with flags on the first and the last."""
    load = load_of(Workload(protocol=protocol, sequence_length=4), model_of(sequence=True), concurrency=3)
    (script,) = load.sequences
    flags = [(True, False), (False, False), (False, False), (False, True)]
    assert [(request.starts, request.ends) for request in script] == flags
    assert [sequence_step(request, load, protocol)[1:] for request in script] == flags
    assert load.scripts == ()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("datatype", ["TYPE_UINT64", "TYPE_STRING"])
def test_any_id_fits_into_a_request(protocol: str, datatype: str) -> None:
    """The load generator puts a sequence's id between the two parts of a request: a number, or a text for some models.

    For a model that declares its ids as texts, Triton made a tensor with a wrong length out of a number.
    """
    control = {"kind": "CONTROL_SEQUENCE_CORRID", "data_type": datatype}
    config = {"sequence_batching": {"control_input": [{"name": "ID", "control": [control]}]}}
    load = load_of(Workload(protocol=protocol), model_of(sequence=True, config=config))
    for number in (2**61, 2**63 - 1):
        found = sequence_step(load.sequences[0][0], load, protocol, number)
        assert found == (number if datatype == "TYPE_UINT64" else str(number).zfill(128), True, False)


def sequence_step(
    request: SequenceRequest, load: Load, protocol: str, number: int = 2**61
) -> tuple[int | str, bool, bool]:
    """Read the sequence id and the start and end flags of a request, which is sent with this id."""
    sent = request.before + load.sequence_id(number) + request.after
    if protocol == "http":
        values = http_parts(sent)[1]["parameters"]
        return values["sequence_id"], values["sequence_start"], values["sequence_end"]
    parameters = grpc_parts(sent).parameters
    flags = (parameters[name].bool_param for name in ("sequence_start", "sequence_end"))
    found = parameters["sequence_id"]
    return (found.string_param or found.int64_param, *flags)


def test_streams_of_a_file_are_divided_among_connections() -> None:
    """Three sequences of 2, 1 and 3 steps on two connections: the first connection sends the first and the third."""
    load = load_of(Workload(data=data_of(2, 1, 3)), model_of(sequence=True), concurrency=2)
    assert [[number_of(request.after) for request in script] for script in load.sequences] == [[0, 1, 3, 4, 5], [2]]
    starts = [[request.starts for request in script] for script in load.sequences]
    assert starts == [[True, False, True, False, False], [True]]
    assert load.sequences[1][0].ends


def test_decoupled_models_use_grpc_by_default() -> None:
    """If HTTP is asked for, the error says to use gRPC."""
    decoupled = model_of(decoupled=True)
    assert Workload().transport(decoupled) == "grpc"
    assert Workload(shared_memory=True).transport(decoupled) == "grpc+shm"
    assert Workload().transport(model_of()) == "http"
    with pytest.raises(ModelError, match="protocol='grpc'"):
        load_of(Workload(protocol="http"), decoupled)
