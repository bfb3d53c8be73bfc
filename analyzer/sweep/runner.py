"""Run a job on one server: load each variant of each model alone, try its points, store what came of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from analyzer import __version__
from analyzer.errors import DeviceError, ModelError, ServerError
from analyzer.formats.option_values import in_flags
from analyzer.load.generator import LoadGenerator
from analyzer.measurements.record import Measurement, Status, Trial, Variant
from analyzer.models.backend import backend_to_find, reserves_memory
from analyzer.models.dependencies import way_out
from analyzer.models.repository import Model
from analyzer.search import SearchResult, TrialSearch
from analyzer.search.knee import more_instances
from analyzer.search.strategy import Strategy, search
from analyzer.servers.backends import explain_missing
from analyzer.statistics.verdict import StoppingRule, is_out_of_memory
from analyzer.sweep.instrumented_server import InstrumentedServer
from analyzer.sweep.job import Job, ModelVariant, largest_batch
from analyzer.sweep.loaded_model import LoadedModel
from analyzer.sweep.observer import Observer
from analyzer.sweep.trial import measure_trial
from analyzer.sweep.turns import ResultStore


class SweepRunner:
    """Measures the variants of a `Job` on an `InstrumentedServer`.

    Parameters
    ----------
    measure : callable
        Measures one trial, as `measure_trial` does.
    alike : sequence of str
        UUIDs of other devices: what the store has of them need not be measured on this one.
    fresh : bool
        Whether what the store has is measured all the same.
    flags : mapping of str to str
        The command line's names of options, for the causes that are stored; empty for Python's.
    cores : int
        Processors that are reserved for the server and its load; 0 for those of the host.
    """

    def __init__(
        self,
        job: Job,
        server: InstrumentedServer,
        store: ResultStore,
        generator: LoadGenerator,
        *,
        rule: StoppingRule,
        fresh: bool,
        measure: Callable[..., Measurement] = measure_trial,
        alike: Sequence[str] = (),
        flags: Mapping[str, str] = MappingProxyType({}),
        cores: int = 0,
        observer: Observer,
    ) -> None:
        self._job = job
        self._server = server
        self._store = store
        self._generator = generator
        self._rule = replace(rule, min_window_s=max(rule.min_window_s, server.min_window_s))
        self._fresh = fresh
        self._measure_trial = measure
        self._alike = alike
        self._flags = flags
        self._observer = observer
        self._settings = f"precision={rule.throughput_ci:g},{rule.latency_p99_ci:g};s={rule.max_trial_s:g}"
        self._settings += f";cores={cores}" if cores else ""

    def run(self, variants: Iterable[ModelVariant]) -> None:
        """Measure what is not in the store yet, one variant after the other.

        Raises
        ------
        ServerError, DeviceError, StoreError
            If the server cannot be restarted, the device is lost or the store takes nothing more; what was
            measured before is in the store.
        """
        self._idle = self._server.measure_idle(tool_version=__version__)
        self._store.append_server_only(self._idle)
        self._observer.idle_measured(self._idle)
        for model, variant in variants:
            strategy = self._job.strategies[model.name]
            levels: list[Sequence[Measurement]] = [self._run_variant(model, variant, strategy)]
            if strategy.max_instances > 1 and not model.ensemble:
                self._raise_instances(model, variant, strategy, levels)

    def _raise_instances(
        self, model: Model, variant: Variant, strategy: Strategy, levels: list[Sequence[Measurement]]
    ) -> None:
        """Climb with more and more instances while they pay; `levels` has what the model's own number gave."""
        while any(measurement.status.measured for measurement in levels[0]):
            free_bytes = self._server.free_memory_bytes()
            more = more_instances(levels, strategy.max_instances, strategy.latency_p99_s, free_bytes)
            if isinstance(more, SearchResult):
                self._observer.search_ended(more)
                return
            levels.append(self._run_variant(model, replace(variant, instances=more), strategy))

    def _run_variant(self, model: Model, variant: Variant, strategy: Strategy) -> list[Measurement]:
        """Search a variant that is alone on the server; return what was measured or found in the store."""
        loaded = LoadedModel(self._server, model, variant, self._idle, self._job.repository)
        try:
            if max(strategy.axes.batches) > 1 or self._may_be_decoupled(model):
                model = self._completed(loaded, variant, strategy)
            workload = self._job.workload
            first = Trial(
                model=model.name, variant=variant, transport=workload.transport(model), inputs=workload.inputs(model)
            )
            measurements = self._follow(search(first, strategy, largest_batch(model, variant)), loaded, strategy)
        except BaseException:
            loaded.abandon()
            raise
        loaded.unload()
        return measurements

    def _may_be_decoupled(self, model: Model) -> bool:
        """Whether only Triton can say over which protocol a model is served, as of vLLM's backend."""
        unknown = self._job.workload.protocol is None and not model.inputs and not model.error
        return unknown and backend_to_find(model) in ("python", "vllm")

    def _completed(self, loaded: LoadedModel, variant: Variant, strategy: Strategy) -> Model:
        """Ask Triton for what no file says, and say which batches are left out as too large."""
        before, model = largest_batch(loaded.model, variant), loaded.completed()
        left = set(strategy.axes.batches) - set(strategy.axes.batches_for(largest_batch(model, variant)))
        if before is None and left:
            batches = ", ".join(map(str, sorted(left)))
            self._observer.noted(f"{model.name} has max_batch_size {model.max_batch_size}: left out batch {batches}")
        return model

    def _follow(self, trials: TrialSearch, loaded: LoadedModel, strategy: Strategy) -> list[Measurement]:
        """Take a search to its end."""
        measurements = []
        try:
            trial = next(trials)
            while True:
                measurement, found = self._find_or_measure(trial, loaded, strategy)
                self._observer.trial_ended(measurement, found=found)
                measurements.append(measurement)
                trial = trials.send(measurement)
        except StopIteration as end:
            for result in end.value:
                self._observer.search_ended(result)
        return measurements

    def _find_or_measure(self, trial: Trial, loaded: LoadedModel, strategy: Strategy) -> tuple[Measurement, bool]:
        """Return a trial's measurement, and whether it was in the store."""
        rule, settings = self._rule, self._settings
        if (window_s := strategy.min_window_s(trial)) > 0:
            rule = replace(rule, min_window_s=min(max(window_s, rule.min_window_s), rule.max_trial_s))
            settings += f";window={rule.min_window_s:g}"
        found = None
        if not self._fresh:
            found = self._store.find(trial, loaded.provenance, settings=settings, alike=self._alike)
        if found is not None and found.status.measured:
            return found, True
        measurement = self._measure(trial, loaded, rule)
        cause = measurement.cause
        if measurement.status is Status.INFERENCE_ERROR:
            cause += way_out(cause, loaded.model, self._job.repository)
        measurement = replace(
            measurement,
            cause=in_flags(cause, self._flags),
            memory_is_reservation=reserves_memory(loaded.model, self._job.repository),
        )
        self._store.append(measurement, settings=settings)
        return measurement, False

    def _measure(self, trial: Trial, loaded: LoadedModel, rule: StoppingRule) -> Measurement:
        """Measure a trial; a crash of the server is tried once more on a new one."""
        for last in (False, True):
            measurement = self._attempt(trial, loaded, rule)
            if measurement.status.measured:
                self._server.control.check_single_server()
            if self._server_is_lost(measurement.status):
                loaded.restart()
            if last or measurement.status is not Status.SERVER_CRASHED:
                break
        return measurement

    def _server_is_lost(self, status: Status) -> bool:
        """Whether a trial that ended so leaves no server to go on with; want of memory may have killed it or not."""
        if status is Status.OUT_OF_MEMORY:
            return self._server.running.death() is not None
        return status is Status.TIMED_OUT or status is Status.SERVER_CRASHED

    def _attempt(self, trial: Trial, loaded: LoadedModel, rule: StoppingRule) -> Measurement:
        try:
            memory = loaded.load()
            running = self._server.running
            with self._job.workload.build_load(running.endpoint, loaded.model, trial) as load:
                return self._measure_trial(
                    trial,
                    load,
                    provenance=loaded.provenance,
                    instances=loaded.instances,
                    memory=memory,
                    generator=self._generator,
                    recorder=self._server.recorder,
                    death=running.death,
                    rule=rule,
                )
        except ModelError as error:
            status = Status.OUT_OF_MEMORY if is_out_of_memory(error.message) else Status.LOAD_FAILED
            return _without_figures(trial, loaded, status, error.message + explain_missing(error.message))
        except DeviceError:
            why = self._server.running.death()  # a server's end may be seen on its device first
            if why is None:
                raise
            return _without_figures(trial, loaded, Status.SERVER_CRASHED, why)
        except ServerError as error:
            why = self._server.running.death() or error.message
            return _without_figures(trial, loaded, Status.SERVER_CRASHED, why)


def _without_figures(trial: Trial, loaded: LoadedModel, status: Status, cause: str) -> Measurement:
    return Measurement(
        trial=trial, provenance=loaded.provenance, status=status, instances=loaded.instances, cause=cause
    )
