"""Drive a sweep: load each variant of each model alone, try its points, store what came of them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from analyzer import __version__
from analyzer.errors import DeviceError, ModelError, ServerError
from analyzer.load import LoadGenerator
from analyzer.loop import Load
from analyzer.measure import (
    LoadedModel,
    Patience,
    highest,
    is_out_of_memory,
    measure_trial,
)
from analyzer.measurement import Measurement, Provenance, ServerOnly, Status, Trial, Variant
from analyzer.payload import InputData, build_steps
from analyzer.repository import Model, completed, variant_config
from analyzer.rig import Rig
from analyzer.store import Store
from analyzer.sweep import Axes, Search, grid
from analyzer.triton import infer_request

_LEFTOVER_BYTES = 16 << 20  # memory that a server keeps after an unload, above which the next model gets a new one
_STEADY_S = 0.3  # how long a loaded model rests before its memory counts as steady
_OPEN_LOOP_CONNECTIONS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a sweep measures.

    Parameters
    ----------
    models : sequence of Model
    variants : mapping of str to sequence of Variant
        The variants of each model, by its name.
    axes : mapping of str to Axes
        The points of each model, by its name.
    shapes : mapping of str to tuple of int
        For inputs with variable dimensions; see `payload.build_steps`.
    data : InputData or None
        Real inputs; random ones without.
    seed : int
        Of random inputs and arrivals.
    """

    models: Sequence[Model]
    variants: Mapping[str, Sequence[Variant]]
    axes: Mapping[str, Axes]
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    data: InputData | None = None
    seed: int = 0
    poisson: bool = True

    @property
    def points(self) -> int:
        """Trials that the sweep has at most."""
        return sum(
            self.axes[m.name].points(m.max_batch_size) * len(self.variants[m.name]) for m in self.models if not m.error
        )


class Sweep:
    """Runs a `Job` on a `Rig`.

    Parameters
    ----------
    tell : callable
        Called with every measurement as it is made or found, and whether it was found in the store.
    """

    def __init__(
        self,
        job: Job,
        rig: Rig,
        store: Store,
        generator: LoadGenerator,
        *,
        patience: Patience,
        fresh: bool,
        tell: Callable[[Measurement, bool], None],
    ) -> None:
        self._job = job
        self._rig = rig
        self._store = store
        self._generator = generator
        self._patience = replace(patience, min_window_s=max(patience.min_window_s, rig.min_window_s))
        self._fresh = fresh
        self._tell = tell
        self._settings = f"precision={patience.throughput_ci:g},{patience.latency_p99_ci:g};s={patience.max_trial_s:g}"

    def run(self) -> ServerOnly:
        """Measure everything that is not in the store yet; return the idle server's figures.

        Raises
        ------
        ServerError, DeviceError, StoreError
            If the server cannot be restarted, the device is lost or the store takes nothing more; what was
            measured before is in the store.
        """
        self._idle = self._rig.watch_idle(tool_version=__version__)
        self._store.append_server_only(self._idle)
        for model in self._job.models:
            for variant in self._job.variants[model.name]:
                self._run_variant(model, variant)
        return self._idle

    def _run_variant(self, model: Model, variant: Variant) -> None:
        first = Trial(model=model.name, variant=variant, instances=variant.instances or model.instances)
        if self._job.shapes or self._job.data:
            first = replace(first, inputs=self._inputs_label())
        search = grid(first, self._job.axes[model.name], variant.max_batch_size or model.max_batch_size)
        tenancy = _Tenancy(self._rig, model, variant, self._idle)
        try:
            self._follow(search, tenancy)
        finally:
            search.close()
            tenancy.leave()

    def _follow(self, search: Search, tenancy: _Tenancy) -> None:
        trial = next(search, None)
        while trial is not None:
            provenance = tenancy.provenance
            found = None if self._fresh else self._store.find(trial, provenance, settings=self._settings)
            if found is None or not found.status.measured:
                found = None
                measurement = self._measure(trial, tenancy)
                self._store.append(measurement, settings=self._settings)
            else:
                measurement = found
            self._tell(measurement, found is not None)
            try:
                trial = search.send(measurement)
            except StopIteration:
                return

    def _measure(self, trial: Trial, tenancy: _Tenancy) -> Measurement:
        """Measure a trial; a crash of the server is tried once more on a new one."""
        for last in (False, True):
            measurement = self._attempt(trial, tenancy)
            if measurement.status is Status.TIMED_OUT or measurement.status is Status.SERVER_CRASHED:
                tenancy.restart()
            if last or measurement.status is not Status.SERVER_CRASHED:
                break
        return measurement

    def _attempt(self, trial: Trial, tenancy: _Tenancy) -> Measurement:
        try:
            loaded = tenancy.enter()
            trial = replace(trial, instances=trial.variant.instances or tenancy.model.instances)
            load = self._load(trial, tenancy.model)
            return measure_trial(
                trial,
                load,
                loaded,
                generator=self._generator,
                recorder=self._rig.recorder,
                death=self._rig.running.death,
                patience=self._patience,
            )
        except ModelError as error:
            status = Status.OUT_OF_MEMORY if is_out_of_memory(error.message) else Status.LOAD_FAILED
            return Measurement(trial=trial, provenance=tenancy.provenance, status=status, cause=error.message)
        except DeviceError:
            why = self._rig.running.death()  # a server's end may be seen on its device first
            if why is None:
                raise
            return Measurement(trial=trial, provenance=tenancy.provenance, status=Status.SERVER_CRASHED, cause=why)
        except ServerError as error:
            why = self._rig.running.death() or error.message
            return Measurement(trial=trial, provenance=tenancy.provenance, status=Status.SERVER_CRASHED, cause=why)

    def _load(self, trial: Trial, model: Model) -> Load:
        address = self._rig.running.endpoint.http
        host, _, port = address.rpartition(":")
        streams = build_steps(model, trial.batch, shapes=self._job.shapes, data=self._job.data, seed=self._job.seed)
        datatypes = {entry.name: entry.datatype for entry in model.inputs}
        scripts = [[infer_request(address, model.name, step, datatypes) for step in steps] for steps in streams]
        return Load(
            host=host,
            port=int(port),
            scripts=scripts,
            concurrency=trial.concurrency or _OPEN_LOOP_CONNECTIONS,
            rate_per_s=trial.request_rate_per_s,
            poisson=self._job.poisson,
            seed=self._job.seed,
        )

    def _inputs_label(self) -> str:
        parts = [f"{name}:{','.join(map(str, dims))}" for name, dims in sorted(self._job.shapes.items())]
        if self._job.data is not None:
            digest = hashlib.sha256(json.dumps(repr(self._job.data.streams)).encode()).hexdigest()[:12]
            parts.append(f"{self._job.data.source}@{digest}")
        return ";".join(parts)


class _Tenancy:
    """One variant of a model alone on the server, from its first trial that must be measured to its last."""

    def __init__(self, rig: Rig, model: Model, variant: Variant, idle: ServerOnly) -> None:
        self.model = model
        self._rig = rig
        self._variant = variant
        self._idle = idle
        self._loaded: LoadedModel | None = None

    @property
    def provenance(self) -> Provenance:
        """Where and with what this model is measured."""
        return self._rig.provenance(tool_version=__version__, model_hash=self.model.content_hash)

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
        before = self._rig.memory_now()
        if before is not None and before - (self._idle.memory_bytes or 0) > _LEFTOVER_BYTES:
            self._rig.restart()
            before = self._rig.memory_now()
        start_s = time.perf_counter()
        self._load()
        loaded_s = time.perf_counter()
        time.sleep(_STEADY_S)
        now_s = time.perf_counter()
        recorder = self._rig.recorder
        self._loaded = LoadedModel(
            provenance=self.provenance,
            server_memory_bytes=before,
            load_peak_memory_bytes=highest(r.memory_bytes for r in recorder.between(start_s, loaded_s)),
            steady_memory_bytes=highest(r.memory_bytes for r in recorder.between(loaded_s, now_s)),
        )
        return self._loaded

    def _load(self) -> None:
        triton, name = self._rig.triton, self.model.name
        if self._variant == Variant() or self.model.config is None:
            triton.load(name)
            self.model = completed(self.model, triton.config(name))
        if self._variant != Variant():
            assert self.model.config is not None  # noqa: S101 - read from the file, or completed by Triton just now
            triton.load(name, json.dumps(variant_config(self.model.config, self._variant)))
            self.model = replace(completed(self.model, triton.config(name)), config=self.model.config)

    def restart(self) -> None:
        """Get a new server, on which the model is loaded anew."""
        self._loaded = None
        self._rig.restart()

    def leave(self) -> None:
        """Unload the model; a server that cannot is replaced."""
        if self._loaded is None:
            return
        try:
            self._rig.triton.unload(self.model.name)
        except (ModelError, ServerError):
            self.restart()
        self._loaded = None
