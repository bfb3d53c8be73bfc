"""Put tensors into POSIX shared memory, so that requests name their place instead of carrying them.

This process and the server both map the region, so the proportional set size of each counts half of it.
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

from analyzer.errors import ModelError, ServerError
from analyzer.load.kserve import GRPC_PREFIX_BYTES, InputTensor, Output, Region, Request, grpc_message, http_request
from analyzer.load.sequences import id_as_text, single_id
from analyzer.servers import Endpoint
from analyzer.servers.address import ServerAddress
from analyzer.servers.control import ControlClient

PREFIX = "tritonpack_"
_FOLDER = Path("/dev/shm")  # noqa: S108 - where Linux keeps POSIX shared memory
_ALIGNMENT = 64  # bytes, a cache line
_TIMEOUT_S = 5.0
_FIRST_REPLY_S = 30.0

Scripts = Sequence[Sequence[Request]]


@contextmanager
def in_shared_memory(scripts: Scripts, connections: int, endpoint: Endpoint) -> Iterator[Scripts]:
    """Move the tensors of requests into a shared memory region that the server knows; on exit the region is removed.

    Each distinct input is stored once. Each connection has its own place for outputs, as large as those of a first
    reply. Where there is none, because the model fails or answers only over gRPC streams, outputs stay in the replies.

    Parameters
    ----------
    scripts : sequence of sequence of Request
        The requests of each connection; see `Load`.
    connections : int
        Largest number of connections; each gets a script of its own.
    endpoint : Endpoint
        Where the server answers.

    Raises
    ------
    ModelError
        If the memory cannot be allocated, or the server does not see it.
    """
    name = f"{PREFIX}{os.getpid()}_{secrets.token_hex(4)}"
    tensors = {id(c.data): c.data for s in scripts for r in s for c in r.inputs if isinstance(c.data, bytes) and c.data}
    offsets, end = {}, 0
    for key, data in tensors.items():
        offsets[key] = end
        end += _aligned(len(data))
    sizes = _output_sizes(endpoint.control, scripts[0][0])
    slot = sum(map(_aligned, sizes.values()))
    with _region(name, max(1, end + connections * slot), endpoint) as memory:
        buffer = memory.buf
        assert buffer is not None  # noqa: S101 - it is None only after close()
        for key, data in tensors.items():
            buffer[offsets[key] : offsets[key] + len(data)] = data
        regions = {key: Region(name=name, offset=offsets[key], byte_size=len(data)) for key, data in tensors.items()}
        placed = []
        for i in range(connections if sizes else len(scripts)):
            outputs, offset = [], end + i * slot
            for output, size in sizes.items():
                outputs.append(Output(name=output, region=Region(name=name, offset=offset, byte_size=size)))
                offset += _aligned(size)
            placed.append([_placed(request, regions, outputs) for request in scripts[i % len(scripts)]])
        del buffer
        yield placed


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _placed(request: Request, regions: dict[int, Region], outputs: Sequence[Output]) -> Request:
    inputs: list[InputTensor] = [replace(c, data=regions.get(id(c.data), c.data)) for c in request.inputs]
    return replace(request, inputs=inputs, outputs=outputs)


@contextmanager
def _region(name: str, size: int, endpoint: Endpoint) -> Iterator[SharedMemory]:
    # if this process is killed, multiprocessing's resource tracker removes the region
    memory = SharedMemory(name, create=True, size=size)
    try:
        _allocate(_FOLDER / name, size)
        if os.getuid() == 0 and endpoint.process_id is not None:
            _hand_over(_FOLDER / name, endpoint.process_id)
        with _registered(name, size, endpoint.control):
            yield memory
    finally:
        memory.close()
        memory.unlink()


def _allocate(path: Path, size: int) -> None:
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)  # else a full /dev/shm ends us or the server with SIGBUS
    except OSError as error:
        text = f"{size / 2**20:.0f} MiB of shared memory cannot be allocated ({error.strerror})"
        raise ModelError(f"{text}: lower `batches` or `concurrencies`, or enlarge {_FOLDER}") from None


def _hand_over(path: Path, process_id: int) -> None:
    """Give a region to the user of the server, who is the repository's owner in a container."""
    with suppress(FileNotFoundError):  # the server has ended; the trial reports it
        server = Path(f"/proc/{process_id}").stat()
        os.chown(path, server.st_uid, server.st_gid)


@contextmanager
def _registered(name: str, size: int, address: ServerAddress) -> Iterator[None]:
    with ControlClient(address, timeout_s=_TIMEOUT_S) as triton:
        try:
            triton.register_memory(name, size)
        except ModelError as error:
            hint = "`shared_memory='system'` needs a Triton that shares this host's /dev/shm"
            raise ModelError(f"{error.message}; {hint}") from None
        try:
            yield
        finally:
            with suppress(ModelError, ServerError):  # a server that has ended has no regions
                triton.unregister_memory(name)


def _output_sizes(address: ServerAddress, request: Request) -> dict[str, int]:
    """Send one request; return each output's size in bytes, nothing if the model does not answer.

    The request of a sequence starts one of its own, which is ended.
    """
    if request.step is None:
        return _sizes_in_reply(address, request)
    number = single_id()
    of_its_own = number if isinstance(request.step.sequence, int) else id_as_text(number).decode()
    step = replace(request.step, sequence=of_its_own, start=True, end=False)
    sizes = _sizes_in_reply(address, replace(request, step=step))
    _sizes_in_reply(address, replace(request, step=replace(step, start=False, end=True)))
    return sizes


def _sizes_in_reply(address: ServerAddress, request: Request) -> dict[str, int]:
    try:
        return _sizes_over_grpc(address, request) if address.protocol == "grpc" else _sizes_over_http(address, request)
    except (OSError, ModelError, ServerError):
        return {}  # the trial reports the failure


def _sizes_over_grpc(address: ServerAddress, request: Request) -> dict[str, int]:
    from analyzer.servers.grpc_transport import GrpcTransport

    with closing(GrpcTransport(address, timeout_s=_FIRST_REPLY_S)) as transport:
        return transport.output_sizes(grpc_message(request)[GRPC_PREFIX_BYTES:])


def _sizes_over_http(address: ServerAddress, request: Request) -> dict[str, int]:
    try:
        with address.connect(timeout_s=_FIRST_REPLY_S) as sock:
            sock.sendall(http_request(address.host_port, request, address.access.request_headers()))
            response = http.client.HTTPResponse(sock)
            response.begin()
            length = response.getheader("Inference-Header-Content-Length")
            document = json.loads(response.read()[: int(length) if length else None])
    except (http.client.HTTPException, ValueError):
        return {}
    return {o["name"]: o.get("parameters", {}).get("binary_data_size", 0) for o in document.get("outputs", [])}
