"""One variant of a model, with its parts, alone on a server: what it costs to come in, and how it leaves."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from analyzer import __version__
from analyzer.errors import ModelError, ServerError
from analyzer.measure import LoadedModel, highest
from analyzer.measurements.record import Provenance, ServerOnly, Variant
from analyzer.models.dependencies import all_parts, parts_to_load
from analyzer.models.repository import Model, completed
from analyzer.models.variants import variant_config
from analyzer.rig import Rig

_LEFTOVER_BYTES = 4 << 20  # memory that a server keeps after an unload, above which the next model gets a new one
_STEADY_S = 0.3  # how long a loaded model rests before its memory counts as steady


class Tenancy:
    """Lasts from a variant's first trial that must be measured to its last.

    Parameters
    ----------
    rig : Rig
    model : Model
        Its attribute here gains what Triton completes.
    variant : Variant
    idle : ServerOnly
        The server before any model.
    repository : mapping of str to Model
        Where its parts are found.
    """

    def __init__(
        self, rig: Rig, model: Model, variant: Variant, idle: ServerOnly, repository: Mapping[str, Model]
    ) -> None:
        self.model = model
        self._rig = rig
        self._variant = variant
        self._idle = idle
        self._parts = parts_to_load(model, repository)
        self._all = (model.name, *reversed(all_parts(model, repository)))
        self._loaded: LoadedModel | None = None

    @property
    def provenance(self) -> Provenance:
        """Where and with what this model is measured."""
        return self._rig.provenance(tool_version=__version__, model_hash=self.model.content_hash)

    def complete(self) -> Model:
        """Return the model with its largest batch, which Triton is asked for where no file says it."""
        if self.model.max_batch_size is None and not self.model.error:
            try:
                if self._variant == Variant():
                    self.enter()
                else:
                    self._learn()
            except ModelError as error:
                self.model = replace(self.model, error=error.message)
            except ServerError:
                self.restart()  # the first trial tries again, and becomes a row
        return self.model

    def enter(self) -> LoadedModel:
        """Load the model if it is not loaded yet, and watch what the load costs.

        Raises
        ------
        ModelError, ServerError
            If it cannot be loaded, or the server dies of it.
        """
        if self._loaded is not None:
            return self._loaded
        if self.model.error:
            raise ModelError(self.model.error)
        if self._variant != Variant() and self.model.config is None:
            self._learn()
        lag_s = self._rig.recorder.lag_s
        time.sleep(lag_s)  # else the reading may show the model that left
        before = self._rig.read_now()
        if (before.memory_bytes or 0) - (self._idle.memory_bytes or 0) > _LEFTOVER_BYTES:
            self._rig.restart()
            before = self._rig.read_now()
        start_s = time.perf_counter()
        self._load(self._variant)
        loaded_s = time.perf_counter()
        rests_s = loaded_s + lag_s
        time.sleep(lag_s + max(_STEADY_S, lag_s))
        now_s = time.perf_counter()
        recorder = self._rig.recorder
        self._loaded = LoadedModel(
            provenance=self.provenance,
            server_memory_bytes=before.memory_bytes,
            server_process_bytes=before.process_memory_bytes,
            load_peak_memory_bytes=highest(r.memory_bytes for r in recorder.between(start_s, rests_s)),
            steady_memory_bytes=highest(r.memory_bytes for r in recorder.between(rests_s, now_s)),
        )
        return self._loaded

    def restart(self) -> None:
        """Get a new server, on which the model is loaded anew."""
        self._loaded = None
        self._rig.restart()

    def leave(self) -> None:
        """Unload the model with its parts; a server that cannot is replaced."""
        if self._loaded is None:
            return
        try:
            self._rig.triton.unload(*self._all)
        except (ModelError, ServerError):
            self.restart()
        self._loaded = None

    def abandon(self) -> None:
        """Leave where the sweep ends early: a server of our own ends with it, busy models and all."""
        if self._rig.running.endpoint.process_id is None:
            self.leave()

    def _learn(self) -> None:
        """Load the model as it is, only to read the configuration that Triton completed: a variant changes that."""
        self._load(Variant())
        self._rig.triton.unload(*self._all)

    def _load(self, variant: Variant) -> None:
        triton, name = self._rig.triton, self.model.name
        override = None
        if variant != Variant():
            assert self.model.config is not None  # noqa: S101 - read from the file, or learnt from Triton before
            override = json.dumps(variant_config(self.model.config, variant))
        try:
            for part in self._parts:
                triton.load(part)
            triton.load(name, override)
        except ModelError:
            with suppress(ModelError, ServerError):  # its parts, and those of an ensemble's steps that did load
                triton.unload(*self._all)
            raise
        own = self.model.config
        self.model = completed(self.model, triton.config(name))
        if override is not None:
            self.model = replace(self.model, config=own)
