"""Inference requests as bytes, built once and sent as they are: KServe v2 over HTTP and over gRPC."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from analyzer.load.grpc_http2 import GrpcExchange, header_block

if TYPE_CHECKING:
    import numpy as np

_SERVICE = "/inference.GRPCInferenceService"


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A part of a shared memory region that the server knows by name."""

    name: str
    offset: int
    byte_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """One input of a request.

    Parameters
    ----------
    datatype : str
        Triton's name of it.
    shape : tuple of int
        With the batch dimension.
    data : bytes or Region
        In row-major order, as Triton takes it; or where it lies in shared memory.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where the server writes an output."""

    name: str
    region: Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A request's place in a sequence: its id, and whether it is the first or the last."""

    sequence: int
    start: bool
    end: bool

    @property
    def parameters(self) -> dict[str, int | bool]:
        """As a request carries it."""
        return {"sequence_id": self.sequence, "sequence_start": self.start, "sequence_end": self.end}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of a model in one request; every output is returned, in the reply or to `outputs`."""

    model: str
    inputs: Sequence[Content]
    outputs: Sequence[Output] = ()
    turn: Turn | None = None


def encode(tensors: Mapping[str, np.ndarray[Any, Any]], datatypes: Mapping[str, str]) -> list[Content]:
    """Turn arrays into the inputs of a request.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        The inputs by name, with their batch dimension.
    datatypes : mapping of str to str
        Triton's name of each input's datatype.
    """
    return [
        Content(name=name, datatype=datatypes[name], shape=tensor.shape, data=_to_bytes(tensor, datatypes[name]))
        for name, tensor in tensors.items()
    ]


def _to_bytes(tensor: np.ndarray[Any, Any], datatype: str) -> bytes:
    """Lay a tensor out as Triton takes it: row-major, and each element of BYTES after its length in 4 bytes."""
    if datatype == "BYTES":
        return b"".join(len(item).to_bytes(4, "little") + item for item in tensor.ravel())
    return tensor.tobytes()


def http_request(address: str, request: Request) -> bytes:
    """Build one whole HTTP request with the binary tensor extension.

    Parameters
    ----------
    address : str
        ``host:port``, for the Host field.
    """
    inputs, binary = [], []
    for content in request.inputs:
        if isinstance(content.data, Region):
            parameters = _in_region(content.data)
        else:
            parameters = {"binary_data_size": len(content.data)}
            binary.append(content.data)
        shape = list(content.shape)
        inputs.append({"name": content.name, "shape": shape, "datatype": content.datatype, "parameters": parameters})
    document: dict[str, Any] = {"inputs": inputs, "parameters": {}}
    if request.outputs:
        document["outputs"] = [{"name": o.name, "parameters": _in_region(o.region)} for o in request.outputs]
    else:
        document["parameters"]["binary_data_output"] = True
    if request.turn:
        document["parameters"] |= request.turn.parameters
    text = json.dumps(document, separators=(",", ":")).encode()
    body = text + b"".join(binary)
    head = (
        f"POST /v2/models/{quote(request.model, safe='')}/infer HTTP/1.1\r\nHost: {address}\r\n"
        f"Content-Type: application/octet-stream\r\nInference-Header-Content-Length: {len(text)}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _in_region(region: Region) -> dict[str, str | int]:
    return {
        "shared_memory_region": region.name,
        "shared_memory_byte_size": region.byte_size,
        "shared_memory_offset": region.offset,
    }


def grpc_message(request: Request) -> bytes:
    """Build one ModelInferRequest with gRPC's five bytes before it."""
    from tritonclient.grpc import service_pb2

    message = service_pb2.ModelInferRequest(model_name=request.model)
    for content in request.inputs:
        tensor = message.inputs.add(name=content.name, datatype=content.datatype, shape=content.shape)
        if isinstance(content.data, Region):
            _set_parameters(tensor.parameters, _in_region(content.data))
        else:
            message.raw_input_contents.append(content.data)
    for output in request.outputs:
        _set_parameters(message.outputs.add(name=output.name).parameters, _in_region(output.region))
    if request.turn:
        _set_parameters(message.parameters, request.turn.parameters)
    body: bytes = message.SerializeToString()
    return b"\0" + len(body).to_bytes(4, "big") + body  # 0: not compressed


def _set_parameters(target: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        kind = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
        setattr(target[key], kind, value)


def grpc_exchange(address: str, *, streaming: bool = False) -> partial[GrpcExchange]:
    """Return what opens the exchange of a new connection.

    Parameters
    ----------
    address : str
        ``host:port`` of the gRPC endpoint.
    streaming : bool
        Whether each request is a ModelStreamInfer call of its own, as a decoupled model needs it.
    """
    fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", f"{_SERVICE}/{'ModelStreamInfer' if streaming else 'ModelInfer'}"),
        (":authority", address),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "tritonpack"),
    ]
    return partial(GrpcExchange, header_block(fields), streaming=streaming)
