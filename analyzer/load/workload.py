"""Build the load of a trial: its encoded requests, their protocol and the server's address."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from analyzer.errors import ModelError
from analyzer.load import SEQUENCE_LENGTH
from analyzer.load.fresh_prompts import OTHER, cut_at_prompt
from analyzer.load.grpc_http2 import GrpcExchange
from analyzer.load.http1 import Http1Exchange
from analyzer.load.input_data import InputData
from analyzer.load.kserve import (
    InputTensor,
    Request,
    SequenceStep,
    cut_at_id,
    encode,
    grpc_exchange,
    grpc_message,
    http_request,
)
from analyzer.load.load import Load
from analyzer.load.prompts import FreshPrompt, LanguageNames, PromptInputs, prompt_inputs, token_outputs
from analyzer.load.sequences import first_id, id_as_digits, id_as_text, id_as_varint
from analyzer.load.shared_memory import in_shared_memory
from analyzer.load.tensors import build_steps
from analyzer.measurements.record import Trial
from analyzer.models.repository import Model
from analyzer.servers import Endpoint
from analyzer.servers.address import ServerAddress

if TYPE_CHECKING:
    from analyzer.load.tensors import Tensors

_OPEN_LOOP_CONNECTIONS = 256
# perf_analyzer's default; with more sequences each would get steps too rarely, and Triton drops idle sequences
_OPEN_LOOP_SEQUENCES = 4
# tritonclient shares a channel among up to 6 clients by default (TRITON_CLIENT_GRPC_CHANNEL_MAX_SHARE_COUNT), and
# perf_analyzer with it. A large message would hold up the others on its connection.
_CALLS_PER_GRPC_CONNECTION = 8
_LARGEST_SHARED_MESSAGE_BYTES = 1 << 14
_CONNECT_TIMEOUT_S = 2.0
_STARTS = 16  # places in the data at which connections start


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What the requests of a sweep carry, and over which protocol they are sent.

    Parameters
    ----------
    protocol : str or None
        ``http`` or ``grpc``; None is gRPC for decoupled models, which Triton serves over nothing else, and else HTTP.
    shared_memory : bool
        Whether tensors lie in system shared memory.
    shapes : mapping of str to tuple of int
        For inputs with variable dimensions; see `tensors.build_steps`.
    data : InputData or None
        Real inputs; None for random ones.
    sequence_length : int
        Requests in a sequence of random inputs, for models that keep state.
    seed : int
        Seed of random inputs and arrivals.
    names : mapping of str to LanguageNames
        What models call the inputs and outputs of a language model, by the model's name.
    """

    protocol: str | None = None
    shared_memory: bool = False
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    data: InputData | None = None
    sequence_length: int = SEQUENCE_LENGTH
    seed: int = 0
    names: Mapping[str, LanguageNames] = field(default_factory=dict)

    def transport(self, model: Model) -> str:
        """Return the protocol of requests to a model, in the form of `Trial.transport`."""
        protocol = self.protocol or ("grpc" if model.decoupled else "http")
        return f"{protocol}+shm" if self.shared_memory else protocol

    def inputs(self, model: Model) -> str:
        """Return what requests to a model carry, in the form of `Trial.inputs`."""
        parts = [f"{name}:{','.join(map(str, dims))}" for name, dims in sorted(self.shapes.items())]
        if self.data is not None:
            parts.append(f"{self.data.source}@{self.data.digest[:12]}")
        elif model.sequence and self.sequence_length != SEQUENCE_LENGTH:
            parts.append(f"sequence_length={self.sequence_length}")
        return ";".join([*parts, *self._names(model).given])

    def prompts(self, model: Model, trial: Trial) -> PromptInputs:
        """Return the inputs by which a trial's requests are those of a language model.

        Raises
        ------
        ModelError
            If the trial has lengths, and the model no inputs for them.
        """
        return prompt_inputs(
            model,
            trial.input_length,
            trial.output_length,
            self._names(model),
            seed=self.seed,
            has_data=self.data is not None,
        )

    def check_names(self, model: Model, trial: Trial) -> None:
        """Check that a model has the inputs and outputs that a trial's lengths and the user's names need.

        Raises
        ------
        ModelError
            For the first one that it does not have.
        """
        self.prompts(model, trial)
        token_outputs(model, self._names(model))

    def _names(self, model: Model) -> LanguageNames:
        return self.names.get(model.name, LanguageNames())

    @contextmanager
    def build_load(self, endpoint: Endpoint, model: Model, trial: Trial) -> Iterator[Load]:
        """Build a trial's load; a shared memory region that it needs exists inside the ``with`` block.

        Raises
        ------
        ModelError
            If the inputs do not fit the model, or the model is not served over this protocol.
        """
        protocol, _, memory = trial.transport.partition("+")
        if model.decoupled and protocol == "http":
            raise ModelError(f"{model.name} is decoupled, and Triton serves such models over gRPC: `protocol='grpc'`")
        connections = trial.concurrency or (_OPEN_LOOP_SEQUENCES if model.sequence else _OPEN_LOOP_CONNECTIONS)
        prompts = self.prompts(model, trial)
        streams = build_steps(model, trial.batch, shapes=self.shapes, data=self.data, seed=self.seed, prompts=prompts)
        if model.sequence and self.data is None:
            streams = [streams[0] * self.sequence_length]
        address = _address(endpoint, protocol)
        headers = address.access.request_headers()
        encode_request = grpc_message if protocol == "grpc" else _http_encoder(address, headers)
        with ExitStack() as stack:
            scripts: Sequence[Sequence[Request]] = _scripts(model, streams, connections)
            if memory:
                scripts = stack.enter_context(in_shared_memory(scripts, connections, endpoint))
            load = Load(
                host=address.host,
                port=address.port,
                concurrency=connections,
                open_exchange=self._exchange(address, headers, model) if protocol == "grpc" else Http1Exchange,
                tls=address.certificates,
                clean=address.access.clean,
            )
            load = self._fill(load, model, trial, scripts, encode_request)
            if prompts.fresh is not None and not memory and not model.sequence:
                load = _with_fresh_prompts(load, scripts[0][0], prompts.fresh, encode_request)
            yield load

    def _exchange(self, address: ServerAddress, headers: Mapping[str, str], model: Model) -> Callable[[], GrpcExchange]:
        streaming = token_outputs(model, self._names(model)) if model.decoupled else None
        return grpc_exchange(address.host_port, streaming=streaming, tls=address.tls, headers=headers)

    def _fill(
        self,
        load: Load,
        model: Model,
        trial: Trial,
        scripts: Sequence[Sequence[Request]],
        encode_request: Callable[[Request], bytes],
    ) -> Load:
        """Return a load with the requests of a trial."""
        over_grpc = trial.transport.startswith("grpc")
        distinct = {id(request): request for script in scripts for request in script}
        # scripts share requests: each is encoded, and pickled, once
        built = {key: encode_request(request) for key, request in distinct.items()}
        shared = over_grpc and not model.decoupled
        shared = shared and all(len(message) <= _LARGEST_SHARED_MESSAGE_BYTES for message in built.values())
        load = replace(
            load,
            rate_per_s=trial.request_rate_per_s,
            poisson=trial.arrivals == "poisson",
            seed=self.seed,
            calls_per_connection=_CALLS_PER_GRPC_CONNECTION if shared else 1,
        )
        if not model.sequence:
            return replace(load, scripts=[[built[id(request)] for request in script] for script in scripts])
        number = id_as_varint if over_grpc else id_as_digits
        encode_id = id_as_text if _has_text_ids(model) else number
        cut = {
            key: cut_at_id(built[key], request.step, encode_id(int(request.step.sequence)))
            for key, request in distinct.items()
            if request.step is not None
        }
        sequences = [[cut[id(request)] for request in script] for script in scripts]
        return replace(load, sequences=sequences, sequence_id=encode_id)


def _address(endpoint: Endpoint, protocol: str) -> ServerAddress:
    """Return where requests go, once its certificates are read; check that a server of others has gRPC there."""
    address = endpoint.address(protocol)
    if address is None:
        raise ModelError(f"{endpoint.control} has no known address for {protocol}: use the other `protocol`")
    if address.certificates is not None:
        address.certificates.context()  # raises what the load generator could not report
    if protocol == "grpc" and endpoint.process_id is None:
        try:
            address.connect(timeout_s=_CONNECT_TIMEOUT_S).close()
        except OSError as error:
            raise ModelError(
                f"no gRPC at {address} ({error.strerror or error}): name it with `grpc_url`, or use `protocol='http'`"
            ) from None
    return address


def _http_encoder(address: ServerAddress, headers: Mapping[str, str]) -> Callable[[Request], bytes]:
    return lambda request: http_request(address.host_port, request, headers)


def _with_fresh_prompts(load: Load, request: Request, fresh: FreshPrompt, encode: Callable[[Request], bytes]) -> Load:
    """Return a load of which every request has a prompt that none had before."""
    span = len(fresh.encode(0))
    end = fresh.offset + span

    def with_other(entry: InputTensor) -> InputTensor:
        if entry.name != fresh.name or not isinstance(entry.data, bytes):
            return entry
        return replace(entry, data=entry.data[: fresh.offset] + fresh.encode(OTHER) + entry.data[end:])

    other = replace(request, inputs=[with_other(entry) for entry in request.inputs])
    cut = cut_at_prompt(encode(request), encode(other), span)
    return replace(load, scripts=(), sequences=[[cut]], sequence_id=fresh.encode)


def _scripts(model: Model, streams: Sequence[Sequence[Tensors]], connections: int) -> list[list[Request]]:
    datatypes = {entry.name: entry.datatype for entry in model.inputs}
    contents = {id(step): encode(step, datatypes) for stream in streams for step in stream}
    if not model.sequence:
        requests = [Request(model=model.name, inputs=contents[id(step)]) for stream in streams for step in stream]
        stride = -(-len(requests) // min(connections, _STARTS))
        return [requests[start:] + requests[:start] for start in range(0, len(requests), stride)]
    placeholder = first_id()  # the load generator puts another id in its place
    known: dict[tuple[int, bool, bool], Request] = {}
    scripts = []
    for i in range(min(connections, len(streams))):
        script = []
        for stream in streams[i::connections]:
            for j, step in enumerate(stream):
                key = (id(step), j == 0, j == len(stream) - 1)
                if key not in known:
                    sequence = id_as_text(placeholder).decode() if _has_text_ids(model) else placeholder
                    place = SequenceStep(sequence=sequence, start=key[1], end=key[2])
                    known[key] = Request(model=model.name, inputs=contents[id(step)], step=place)
                script.append(known[key])
        scripts.append(script)
    return scripts


def _has_text_ids(model: Model) -> bool:
    """Whether the ids of a model's sequences are texts: Triton then makes no tensor of a number."""
    controls = (model.config or {}).get("sequence_batching", {}).get("control_input", [])
    return any(
        control.get("kind") == "CONTROL_SEQUENCE_CORRID" and control.get("data_type") == "TYPE_STRING"
        for entry in controls
        for control in entry.get("control", [])
    )
