"""Load one variant of a model, with the models it needs, alone on a server, record its memory, and unload it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from analyzer import __version__
from analyzer.devices import Reading
from analyzer.devices.recorder import highest
from analyzer.errors import DeviceError, ModelError, ServerError
from analyzer.measurements.record import Provenance, ServerOnly, Variant
from analyzer.models.repository import Model
from analyzer.sweep.instrumented_server import InstrumentedServer
from analyzer.sweep.model_loading import load_variant, with_needed

_LEFTOVER_BYTES = 4 << 20  # memory that a server keeps after an unload; if it is more, the server is restarted


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryAtLoad:
    """The device's memory before, during and after the load of a model; part of each of the model's measurements.

    Parameters
    ----------
    server_bytes : int or None
        Memory in use before the load.
    load_peak_bytes, steady_bytes : int or None
        Highest memory while loading, and memory at rest after it, both including the server's.
    server_process_bytes : int or None
        Memory that a GPU's driver attributed to the server's processes before the load.
    """

    server_bytes: int | None
    load_peak_bytes: int | None
    steady_bytes: int | None
    server_process_bytes: int | None = None


def memory_around(server: InstrumentedServer, before: Reading, load: Callable[[], None]) -> MemoryAtLoad:
    """Load something, and return the device's memory before, during and after it.

    Parameters
    ----------
    before : Reading
        The device before the load.
    load : callable
        Returns when everything is loaded.
    """
    recorder, lag_s = server.recorder, server.recorder.lag_s
    began_s = time.perf_counter()
    load()
    rests_s = time.perf_counter() + lag_s
    time.sleep(lag_s + max(server.rest_s, lag_s))
    return MemoryAtLoad(
        server_bytes=before.memory_bytes,
        server_process_bytes=before.process_memory_bytes,
        load_peak_bytes=highest(r.memory_bytes for r in recorder.between(began_s, rests_s)),
        steady_bytes=highest(r.memory_bytes for r in server.readings_since(rests_s)),
    )


class LoadedModel:
    """A variant that is loaded for its first trial that must be measured, and unloaded after its last.

    Parameters
    ----------
    server : InstrumentedServer
    model : Model
    variant : Variant
    idle : ServerOnly
        Figures of the server before any model was loaded.
    repository : mapping of str to Model
        Every model of the repository by its name, among them those that this one needs.
    """

    def __init__(
        self,
        server: InstrumentedServer,
        model: Model,
        variant: Variant,
        idle: ServerOnly,
        repository: Mapping[str, Model],
    ) -> None:
        self._server = server
        self._model = model
        self._variant = variant
        self._idle = idle
        self._repository = repository
        self._memory: MemoryAtLoad | None = None
        self._may_be_loaded = False  # whether the server may hold the model or one that it needs

    @property
    def model(self) -> Model:
        """The model as far as it is known: Triton completes its configuration when it is loaded."""
        return self._model

    @property
    def instances(self) -> int:
        """Instances that serve the model, as far as the number is known."""
        return self._variant.instances or self._model.instances

    @property
    def provenance(self) -> Provenance:
        """The provenance of this model's measurements."""
        return self._server.provenance(
            tool_version=__version__, model_hash=self._model.content_hash, served_by=self._model.served_by
        )

    def completed(self) -> Model:
        """Return the model with its largest batch size and inputs, read from Triton if no config.pbtxt has them."""
        if (self._model.max_batch_size is None or not self._model.inputs) and not self._model.error:
            try:
                if self._variant == Variant():
                    self.load()
                else:
                    self._read_config()
            except ModelError as error:
                self._model = replace(self._model, error=error.message)
            except ServerError:
                self.restart()  # the first trial tries again, and stores a failure as its result
            except DeviceError:
                if self._server.running.death() is None:
                    raise
                self.restart()
        return self._model

    def load(self) -> MemoryAtLoad:
        """Load the model if it is not loaded yet, and record the device's memory around the load.

        Of a model that others loaded on a remote server, and that stays as it is, the memory at a load is not known.

        Raises
        ------
        ModelError, ServerError
            If the model cannot be loaded, or the server ends while loading it.
        """
        if self._memory is not None:
            return self._memory
        if self._model.error:
            raise ModelError(self._model.error)
        if self._variant != Variant() and self._model.config is None:
            self._read_config()
        if self._server.control.keeps(self._model.name):
            self._load_as(self._variant)
            self._memory = MemoryAtLoad(server_bytes=None, load_peak_bytes=None, steady_bytes=None)
            return self._memory
        self._server.control.set_aside(self._model.name)
        time.sleep(self._server.recorder.lag_s)  # else the reading may still include the model that was unloaded
        before = self._server.read_now()
        if (before.memory_bytes or 0) - (self._idle.memory_bytes or 0) > _LEFTOVER_BYTES:
            self._server.restart()
            before = self._server.read_now()
        self._memory = memory_around(self._server, before, lambda: self._load_as(self._variant))
        return self._memory

    def restart(self) -> None:
        """Restart the server; the model is loaded again when it is needed. A remote server is only unloaded."""
        self.abandon()
        self._server.restart()

    def unload(self) -> None:
        """Unload the model and those it needs; if the server fails to, restart it."""
        if not self._may_be_loaded:
            return
        try:
            self._server.control.unload(*with_needed(self._model, self._repository))
        except (ModelError, ServerError):
            self._server.restart()
        self._memory, self._may_be_loaded = None, False

    def abandon(self) -> None:
        """Stop using the server: try to unload from a remote one; one that this tool started ends with its models."""
        if self._may_be_loaded and self._server.running.endpoint.process_id is None:
            with suppress(ModelError, ServerError):  # the reason for abandoning it is reported instead
                self._server.control.unload(*with_needed(self._model, self._repository))
        self._memory, self._may_be_loaded = None, False

    def _read_config(self) -> None:
        """Load the unchanged model only to read its configuration: a variant changes that."""
        self._load_as(Variant())
        self._server.control.unload(*with_needed(self._model, self._repository))
        self._may_be_loaded = False

    def _load_as(self, variant: Variant) -> None:
        self._may_be_loaded = True
        try:
            self._model = load_variant(self._server.control, self._model, variant, self._repository)
        except ModelError:
            self._may_be_loaded = False
            raise
