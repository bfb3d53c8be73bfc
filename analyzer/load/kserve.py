"""Encode inference requests as bytes: KServe v2 over HTTP and over gRPC."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from analyzer.load.call_headers import encode_headers
from analyzer.load.grpc_http2 import GrpcExchange
from analyzer.load.response_stream import TokenOutputs
from analyzer.load.sequences import SequenceRequest

if TYPE_CHECKING:
    import numpy as np

GRPC_PREFIX_BYTES = 5
_SERVICE = "/inference.GRPCInferenceService"


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A part of a shared memory region that the server knows by name."""

    name: str
    offset: int
    byte_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InputTensor:
    """One input of a request.

    Parameters
    ----------
    datatype : str
        Triton's name of it, such as ``FP32``.
    shape : tuple of int
        With the batch dimension.
    data : bytes or Region
        The values in row-major order, or their place in shared memory.
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
class SequenceStep:
    """A request's place in a sequence: the sequence's id, and whether the request is its first or last."""

    sequence: int | str
    start: bool
    end: bool

    @property
    def parameters(self) -> dict[str, int | str | bool]:
        """The parameters that a request carries for it."""
        return {"sequence_id": self.sequence, "sequence_start": self.start, "sequence_end": self.end}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One inference request; all outputs are returned, in the reply or, if `outputs` is given, in shared memory."""

    model: str
    inputs: Sequence[InputTensor]
    outputs: Sequence[Output] = ()
    step: SequenceStep | None = None


def encode(tensors: Mapping[str, np.ndarray[Any, Any]], datatypes: Mapping[str, str]) -> list[InputTensor]:
    """Encode arrays as the inputs of a request.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        The inputs by name, with their batch dimension.
    datatypes : mapping of str to str
        Triton's name of each input's datatype.
    """
    return [
        InputTensor(name=name, datatype=datatypes[name], shape=tensor.shape, data=_to_bytes(tensor, datatypes[name]))
        for name, tensor in tensors.items()
    ]


def _to_bytes(tensor: np.ndarray[Any, Any], datatype: str) -> bytes:
    """Encode a tensor in row-major order; each element of BYTES follows its length in 4 bytes."""
    if datatype == "BYTES":
        return b"".join(len(item).to_bytes(4, "little") + item for item in tensor.ravel())
    return tensor.tobytes()


def http_request(address: str, request: Request, headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
    """Build one whole HTTP request with the binary tensor extension.

    Parameters
    ----------
    address : str
        ``host:port``, for the Host field.
    headers : mapping of str to str, optional
        Further headers.
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
    if request.step:
        document["parameters"] |= request.step.parameters
    text = json.dumps(document, separators=(",", ":")).encode()
    body = text + b"".join(binary)
    further = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = (
        f"POST /v2/models/{quote(request.model, safe='')}/infer HTTP/1.1\r\nHost: {address}\r\n"
        f"Content-Type: application/octet-stream\r\nInference-Header-Content-Length: {len(text)}\r\n"
        f"{further}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _in_region(region: Region) -> dict[str, str | int]:
    return {
        "shared_memory_region": region.name,
        "shared_memory_byte_size": region.byte_size,
        "shared_memory_offset": region.offset,
    }


def grpc_message(request: Request) -> bytes:
    """Build one ModelInferRequest with gRPC's prefix of five bytes."""
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
    if request.step:
        _set_parameters(message.parameters, request.step.parameters)
    body: bytes = message.SerializeToString()
    return b"\0" + len(body).to_bytes(4, "big") + body  # 0: not compressed


def cut_at_id(encoded: bytes, step: SequenceStep, encoded_id: bytes) -> SequenceRequest:
    """Cut an encoded request where the id of its sequence is, so that it can be sent with any other.

    Parameters
    ----------
    encoded_id : bytes
        The id in `step`, as the protocol encodes it.
    """
    before, _, after = encoded.partition(b"sequence_id")
    skipped, _, rest = after.partition(encoded_id)
    return SequenceRequest(before + b"sequence_id" + skipped, rest, starts=step.start, ends=step.end)


def _set_parameters(target: Any, values: dict[str, Any]) -> None:
    for key, value in values.items():
        kind = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
        setattr(target[key], kind, value)


def grpc_exchange(
    address: str,
    *,
    streaming: TokenOutputs | None = None,
    tls: bool = False,
    headers: Mapping[str, str] = MappingProxyType({}),
) -> partial[GrpcExchange]:
    """Return a callable that makes the `GrpcExchange` of a new connection.

    Parameters
    ----------
    address : str
        ``host:port`` of the gRPC endpoint.
    streaming : TokenOutputs or None
        If given, each request is a ModelStreamInfer call of its own, which decoupled models need.
    tls : bool
        Whether the connection has TLS.
    headers : mapping of str to str, optional
        Further headers; their names are in lower case.
    """
    fields = [
        (":method", "POST"),
        (":scheme", "https" if tls else "http"),
        (":path", f"{_SERVICE}/{'ModelInfer' if streaming is None else 'ModelStreamInfer'}"),
        (":authority", address),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "tritonpack"),
        *headers.items(),
    ]
    return partial(GrpcExchange, encode_headers(fields), streaming=streaming)
