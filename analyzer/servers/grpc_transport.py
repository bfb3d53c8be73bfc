"""Send Triton's control requests over gRPC, with the stubs of tritonclient."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer.errors import ModelError, NoAnswerError, ServerError
from analyzer.servers.address import ServerAddress
from analyzer.servers.protobuf_json import as_json
from analyzer.servers.transport import refused

if TYPE_CHECKING:
    import grpc

_MOST_BYTES = 2**31 - 1  # of a message, as tritonclient has it
_OPTIONS = (
    ("grpc.max_send_message_length", _MOST_BYTES),
    ("grpc.max_receive_message_length", _MOST_BYTES),
    ("grpc.use_local_subchannel_pool", 1),  # else channels to one address share a connection
    ("grpc.enable_http_proxy", 0),  # as over HTTP
)
_LIVE_TIMEOUT_S = 2.0
_SERVICE = "/inference.GRPCInferenceService"


class GrpcTransport:
    """A `Transport` over gRPC, on a connection of its own.

    Parameters
    ----------
    address : ServerAddress
    timeout_s : float
        Longest time of a call, in seconds.
    """

    def __init__(self, address: ServerAddress, *, timeout_s: float) -> None:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC writes what it also raises to stderr
        import grpc
        from tritonclient.grpc import service_pb2, service_pb2_grpc

        self._address = address
        self._timeout_s = timeout_s
        self._messages = service_pb2
        if address.certificates is None:
            self._channel = grpc.insecure_channel(address.host_port, options=_OPTIONS)
        else:
            self._channel = grpc.secure_channel(address.host_port, _credentials(address), options=_OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def live(self) -> bool:
        """Whether Triton is alive, ready or not."""
        return self._is("live", "ServerLive")

    def ready(self) -> bool:
        """Whether Triton is ready."""
        return self._is("ready", "ServerReady")

    def version(self) -> str:
        """Return Triton's version."""
        try:
            return str(self._call("ServerMetadata").version)
        except ModelError as error:
            raise ServerError(f"what answers at {self._address} is not a Triton server: {error.message}") from error

    def index(self) -> list[dict[str, Any]]:
        """Return every version of every model of the repository."""
        models = as_json(self._call("RepositoryIndex"))["models"]
        return [{key: value for key, value in each.items() if value} for each in models]  # as over HTTP

    def config(self, name: str) -> dict[str, Any]:
        """Return a loaded model's whole configuration."""
        return as_json(self._call("ModelConfig", name=name).config)

    def statistics(self, name: str = "") -> list[dict[str, Any]]:
        """Return the statistics of a model, or of every model that is loaded."""
        found: list[dict[str, Any]] = as_json(self._call("ModelStatistics", name=name))["model_stats"]
        return found

    def load(self, name: str, parameters: Mapping[str, str | bytes]) -> None:
        """Load a model; a parameter is its configuration, or a file of it."""
        kinds = {str: "string_param", bytes: "bytes_param"}
        request = self._messages.RepositoryModelLoadRequest(model_name=name)
        for key, value in parameters.items():
            setattr(request.parameters[key], kinds[type(value)], value)
        self._send("RepositoryModelLoad", request)

    def unload(self, name: str, *, dependents: bool) -> None:
        """Unload a model, and those that only it needs."""
        request = self._messages.RepositoryModelUnloadRequest(model_name=name)
        request.parameters["unload_dependents"].bool_param = dependents
        self._send("RepositoryModelUnload", request)

    def regions(self) -> list[str]:
        """Return the names of the system shared memory regions."""
        return list(self._call("SystemSharedMemoryStatus").regions)

    def register_region(self, name: str, byte_size: int) -> None:
        """Register a POSIX shared memory object under its own name."""
        self._call("SystemSharedMemoryRegister", name=name, key=name, offset=0, byte_size=byte_size)

    def unregister_region(self, name: str) -> None:
        """Unregister a shared memory object."""
        self._call("SystemSharedMemoryUnregister", name=name)

    def output_sizes(self, message: bytes) -> dict[str, int]:
        """Send an encoded ModelInferRequest; return each output's size in bytes."""
        import grpc

        reply_of = self._messages.ModelInferResponse.FromString
        infer = self._channel.unary_unary(f"{_SERVICE}/ModelInfer", response_deserializer=reply_of)
        try:
            reply = infer(message, timeout=self._timeout_s, metadata=self._metadata())
        except grpc.RpcError as error:
            raise self._error(error) from error
        return {o.name: len(raw) for o, raw in zip(reply.outputs, reply.raw_output_contents, strict=False)}

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def _is(self, state: str, method: str) -> bool:
        try:
            return bool(getattr(self._call(method), state))
        except ModelError:  # what answers is no Triton
            return False

    def _call(self, method: str, **fields: Any) -> Any:
        return self._send(method, getattr(self._messages, f"{method}Request")(**fields))

    def _send(self, method: str, request: Any) -> Any:
        import grpc

        metadata = self._metadata()
        try:
            return getattr(self._stub, method)(request, timeout=self._timeout_s, metadata=metadata)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.UNAUTHENTICATED or (again := self._metadata()) == metadata:
                raise self._error(error) from error
        try:  # a token that was replaced meanwhile
            return getattr(self._stub, method)(request, timeout=self._timeout_s, metadata=again)
        except grpc.RpcError as error:
            raise self._error(error) from error

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        return tuple(self._address.access.request_headers().items())

    def _error(self, error: grpc.RpcError) -> ModelError | ServerError:
        import grpc

        code, said = error.code(), error.details() or "no reason given"
        refusals = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
        if code in refusals or "protocol is restricted" in said:  # Triton's --grpc-restricted-protocol is UNAVAILABLE
            return refused(self._address, said)
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            said = f"not within {self._timeout_s:g} s"
        elif code is not grpc.StatusCode.UNAVAILABLE or self._answers():
            return ModelError(self._address.access.clean(said))
        return NoAnswerError(f"Triton at {self._address} does not answer: {' '.join(said.split())}")

    def _answers(self) -> bool:
        """Whether it was the server that said UNAVAILABLE, as of models, and not this client of a lost connection."""
        import grpc

        try:
            self._stub.ServerLive(
                self._messages.ServerLiveRequest(), timeout=_LIVE_TIMEOUT_S, metadata=self._metadata()
            )
        except grpc.RpcError:
            return False
        return True


def _credentials(address: ServerAddress) -> grpc.ChannelCredentials:
    """Return the certificates in the form of gRPC, which by default trusts others than this host does."""
    import grpc

    tls = address.access.tls
    tls.context()  # raises UsageError for a file that cannot be used
    trusted = tls.ca or ssl.get_default_verify_paths().cafile
    return grpc.ssl_channel_credentials(
        root_certificates=Path(trusted).read_bytes() if trusted else None,
        private_key=(tls.key or tls.certificate).read_bytes() if tls.certificate else None,
        certificate_chain=tls.certificate.read_bytes() if tls.certificate else None,
    )
