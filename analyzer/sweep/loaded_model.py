"""One variant of a model, with the models it needs, alone on a server: its load, its memory, its unload."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from analyzer import __version__
from analyzer.devices.recorder import highest
from analyzer.errors import DeviceError, ModelError, ServerError
from analyzer.measurements.record import Provenance, ServerOnly, Variant
from analyzer.models.dependencies import all_dependencies, dependencies_to_load
from analyzer.models.repository import Model, completed
from analyzer.models.variants import variant_config
from analyzer.sweep.instrumented_server import InstrumentedServer

_LEFTOVER_BYTES = 4 << 20  # memory that a server keeps after an unload, above which the next model gets a new one


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryAtLoad:
    """The device's memory around the load of a model: it is part of each of the model's measurements.

    Parameters
    ----------
    server_bytes : int or None
        In use before the load.
    load_peak_bytes, steady_bytes : int or None
        Highest while loading, and at rest after it, both with the server.
    server_process_bytes : int or None
        What a GPU's driver charged to the server's processes before the load.
    """

    server_bytes: int | None
    load_peak_bytes: int | None
    steady_bytes: int | None
    server_process_bytes: int | None = None


class LoadedModel:
    """Loaded with its first trial that must be measured, unloaded after its last.

    Parameters
    ----------
    server : InstrumentedServer
    model : Model
    variant : Variant
    idle : ServerOnly
        The server before any model.
    repository : mapping of str to Model
        Where the models that it needs are found.
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
        self._parts = dependencies_to_load(model, repository)
        self._all = (model.name, *reversed(all_dependencies(model, repository)))
        self._memory: MemoryAtLoad | None = None
        self._asked = False  # whether the server may hold any of it

    @property
    def model(self) -> Model:
        """The model as far as it is known: Triton completes a configuration that is not all in the file."""
        return self._model

    @property
    def instances(self) -> int:
        """Instances that serve it, as far as that is known."""
        return self._variant.instances or self._model.instances

    @property
    def provenance(self) -> Provenance:
        """Where and with what this model is measured."""
        return self._server.provenance(tool_version=__version__, model_hash=self._model.content_hash)

    def completed(self) -> Model:
        """Return the model with its largest batch, which Triton is asked for where no file says it."""
        if self._model.max_batch_size is None and not self._model.error:
            try:
                if self._variant == Variant():
                    self.load()
                else:
                    self._read_config()
            except ModelError as error:
                self._model = replace(self._model, error=error.message)
            except ServerError:
                self.restart()  # the first trial tries again, and becomes a row
            except DeviceError:
                if self._server.running.death() is None:
                    raise
                self.restart()
        return self._model

    def load(self) -> MemoryAtLoad:
        """Load the model if it is not loaded yet, and record what the load takes of the device's memory.

        Raises
        ------
        ModelError, ServerError
            If it cannot be loaded, or the server dies of it.
        """
        if self._memory is not None:
            return self._memory
        if self._model.error:
            raise ModelError(self._model.error)
        if self._variant != Variant() and self._model.config is None:
            self._read_config()
        recorder = self._server.recorder
        lag_s = recorder.lag_s
        time.sleep(lag_s)  # else the reading may show the model that left
        before = self._server.read_now()
        if (before.memory_bytes or 0) - (self._idle.memory_bytes or 0) > _LEFTOVER_BYTES:
            self._server.restart()
            recorder = self._server.recorder
            before = self._server.read_now()
        start_s = time.perf_counter()
        self._load_as(self._variant)
        rests_s = time.perf_counter() + lag_s
        time.sleep(lag_s + max(self._server.rest_s, lag_s))
        self._memory = MemoryAtLoad(
            server_bytes=before.memory_bytes,
            server_process_bytes=before.process_memory_bytes,
            load_peak_bytes=highest(r.memory_bytes for r in recorder.between(start_s, rests_s)),
            steady_bytes=highest(r.memory_bytes for r in self._server.readings_since(rests_s)),
        )
        return self._memory

    def restart(self) -> None:
        """Get a new server, on which the model is loaded anew when it is needed; a remote one is only unloaded."""
        self.abandon()
        self._server.restart()

    def unload(self) -> None:
        """Unload the model with those it needs; a server that cannot is replaced."""
        if not self._asked:
            return
        try:
            self._server.control.unload(*self._all)
        except (ModelError, ServerError):
            self._server.restart()
        self._memory, self._asked = None, False

    def abandon(self) -> None:
        """Unload from a remote server, if it can, before it is left; one of our own ends, busy models and all."""
        if self._asked and self._server.running.endpoint.process_id is None:
            with suppress(ModelError, ServerError):  # why it is left counts, and is told
                self._server.control.unload(*self._all)
        self._memory, self._asked = None, False

    def _read_config(self) -> None:
        """Load the model as it is, only to read the configuration that Triton completed: a variant changes that."""
        self._load_as(Variant())
        self._server.control.unload(*self._all)
        self._asked = False

    def _load_as(self, variant: Variant) -> None:
        """Load the model and those it needs; the model's own configuration is known after it."""
        control, name = self._server.control, self._model.name
        override = self._override(variant)
        self._asked = True
        try:
            for part in self._parts:
                control.load(part)
            control.load(name, None if override is None else json.dumps(override))
        except ModelError:
            with suppress(ModelError, ServerError):  # its parts, and those of an ensemble's steps that did load
                control.unload(*self._all)
            self._asked = False
            raise
        as_loaded = completed(self._model, control.config(name))
        self._model = as_loaded if override is None else replace(as_loaded, config=self._model.config)

    def _override(self, variant: Variant) -> dict[str, Any] | None:
        if variant == Variant():
            return None
        assert self._model.config is not None  # noqa: S101 - from the file, or read from Triton before
        return variant_config(self._model.config, variant)
