"""Measure models that share a server: each alone first, then all at the same time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace

from analyzer import __version__
from analyzer.errors import DeviceError, ModelError, ServerError
from analyzer.formats.units import listed
from analyzer.load.generator import LoadGenerator
from analyzer.load.workload import Workload
from analyzer.measurements.co_location import CoLocatedModel, CoLocation
from analyzer.measurements.record import Measurement, Provenance, Status, Trial, Variant
from analyzer.models.dependencies import all_dependencies
from analyzer.models.repository import Model
from analyzer.statistics.execution_times import ExecutionTimes, slow_down
from analyzer.statistics.verdict import StoppingRule, is_out_of_memory
from analyzer.sweep.instrumented_server import InstrumentedServer
from analyzer.sweep.joint_trial import JointMember, JointResult, measure_together
from analyzer.sweep.loaded_model import MemoryAtLoad, memory_around
from analyzer.sweep.model_loading import load_variant, with_needed


@dataclass(frozen=True, slots=True, kw_only=True)
class JointLoad:
    """The load of one model among those that share a server.

    Parameters
    ----------
    trial : Trial
        Its model, variant, batch and concurrency or rate.
    replicas : int
        Replicas that the load stands for.
    instances : int or None
        Instances that the model is loaded with in place of the variant's; None for those.
    """

    trial: Trial
    replicas: int = 1
    instances: int | None = None

    @property
    def loaded_as(self) -> Variant:
        """The variant that the model is loaded as."""
        variant = self.trial.variant
        return variant if self.instances is None else replace(variant, instances=self.instances)


class JointRunner:
    """Measures models together on an `InstrumentedServer`, and what each of them does alone there.

    Parameters
    ----------
    server : InstrumentedServer
    models : mapping of str to Model
        Every model of the repository by its name.
    workload : Workload
    rule : StoppingRule
    """

    def __init__(
        self,
        server: InstrumentedServer,
        models: Mapping[str, Model],
        workload: Workload,
        generator: LoadGenerator,
        *,
        rule: StoppingRule,
    ) -> None:
        self._server = server
        self._models = dict(models)
        self._workload = workload
        self._generator = generator
        self._rule = replace(rule, min_window_s=max(rule.min_window_s, server.min_window_s))
        self._alone: dict[JointLoad, JointResult] = {}
        self._loaded: list[str] = []

    def measure(self, loads: Sequence[JointLoad], *, rule: StoppingRule | None = None) -> CoLocation:
        """Measure models at the same time, after each of them alone where that was not done on this server yet.

        Parameters
        ----------
        rule : StoppingRule, optional
            When the trial of all models ends; by default as the trials of each alone do.

        Returns
        -------
        CoLocation
            Failures of models and of the server are statuses, not exceptions.

        Raises
        ------
        ServerError, DeviceError
            If the server cannot be started again, or the device is lost.
        """
        alone = [self.measure_alone(load) for load in loads]
        together = alone if len(loads) == 1 else self._run(loads, rule)
        return CoLocation(
            models=tuple(_compared(load, *both) for load, *both in zip(loads, together, alone, strict=True))
        )

    def measure_alone(self, load: JointLoad, *, fresh: bool = False) -> JointResult:
        """Measure one model alone; a result that this runner has is returned again unless it must be `fresh`."""
        if fresh or load not in self._alone:
            (self._alone[load],) = self._run([load])
        return self._alone[load]

    def _run(self, loads: Sequence[JointLoad], rule: StoppingRule | None = None) -> tuple[JointResult, ...]:
        """Load the models, send their loads and unload them."""
        try:
            memory = self._load(loads)
            results = self._send(loads, memory, rule or self._rule)
        except ModelError as error:
            self._unload()
            return self._failed(loads, error)
        except (ServerError, DeviceError) as error:
            why = self._server.running.death()
            if why is None and isinstance(error, DeviceError):
                raise
            self._restart()
            return tuple(self._without_figures(load, Status.SERVER_CRASHED, why or error.message) for load in loads)
        if self._server.running.death() is not None or any(
            r.measurement.status in (Status.TIMED_OUT, Status.SERVER_CRASHED) for r in results
        ):
            self._restart()
        else:
            self._unload()
            self._server.control.check_single_server()
        return results

    def _load(self, loads: Sequence[JointLoad]) -> MemoryAtLoad:
        """Load each model once, and record the device's memory around that."""
        time.sleep(self._server.recorder.lag_s)  # else the reading may still include models that were unloaded

        def load_each() -> None:
            for load in {one.trial.model: one for one in loads}.values():
                self._load_model(load)

        return memory_around(self._server, self._server.read_now(), load_each)

    def _load_model(self, load: JointLoad) -> None:
        name, control = load.trial.model, self._server.control
        model = self._models[name]
        if model.error:
            raise ModelError(f"{name}: {model.error}")
        control.set_aside(name)
        used = self._server.read_now().memory_bytes
        try:
            if load.loaded_as != Variant() and model.config is None:
                model = load_variant(control, model, Variant(), self._models)
                control.unload(*with_needed(model, self._models))
            self._loaded += with_needed(model, self._models)
            self._models[name] = load_variant(control, model, load.loaded_as, self._models)
        except ModelError as error:
            others = self._others(name)
            beside = f" beside {listed(others)}" if others else ""
            held = "" if used is None else f" ({used / 2**20:.0f} MiB were in use before it)"
            raise ModelError(f"{name} does not load{beside}{held}: {error.message}") from None

    def _others(self, name: str) -> list[str]:
        own = set(with_needed(self._models[name], self._models))
        return [other for other in dict.fromkeys(self._loaded) if other not in own]

    def _send(self, loads: Sequence[JointLoad], memory: MemoryAtLoad, rule: StoppingRule) -> tuple[JointResult, ...]:
        running = self._server.running
        with ExitStack() as stack:
            members = []
            for load in loads:
                model = self._models[load.trial.model]
                trial = self._as_sent(load.trial)
                built = stack.enter_context(self._workload.build_load(running.endpoint, model, trial))
                members.append(
                    JointMember(
                        trial=trial,
                        load=built,
                        provenance=self._provenance(model),
                        instances=load.loaded_as.instances or model.instances,
                        executing=all_dependencies(model, self._models) if model.ensemble else (model.name,),
                    )
                )
            return measure_together(
                members,
                memory=memory,
                generator=self._generator,
                recorder=self._server.recorder,
                executions=self._server.control.executions,
                death=running.death,
                rule=rule,
            )

    def _provenance(self, model: Model) -> Provenance:
        return self._server.provenance(
            tool_version=__version__, model_hash=model.content_hash, served_by=model.served_by
        )

    def _as_sent(self, trial: Trial) -> Trial:
        model = self._models[trial.model]
        return replace(trial, transport=self._workload.transport(model), inputs=self._workload.inputs(model))

    def _unload(self) -> None:
        """Unload everything; a server that does not is restarted."""
        names = tuple(dict.fromkeys(self._loaded))
        self._loaded = []
        try:
            if names:
                self._server.control.unload(*names)
        except (ModelError, ServerError):
            self._server.restart()

    def _restart(self) -> None:
        names = tuple(dict.fromkeys(self._loaded))
        self._loaded = []
        if names and self._server.running.endpoint.process_id is None:
            with suppress(ModelError, ServerError):  # a remote server is left as it was found
                self._server.control.unload(*names)
        self._server.restart()

    def _failed(self, loads: Sequence[JointLoad], error: ModelError) -> tuple[JointResult, ...]:
        """Say of every model why it was not measured: one of them did not load, or its requests cannot be built."""
        status = Status.OUT_OF_MEMORY if is_out_of_memory(error.message) else Status.LOAD_FAILED
        return tuple(self._without_figures(load, status, error.message) for load in loads)

    def _without_figures(self, load: JointLoad, status: Status, cause: str) -> JointResult:
        model = self._models[load.trial.model]
        return JointResult(
            measurement=Measurement(
                trial=self._as_sent(load.trial),
                provenance=self._provenance(model),
                status=status,
                instances=load.loaded_as.instances or model.instances,
                cause=cause,
            ),
            executions=ExecutionTimes(),
        )


def _compared(load: JointLoad, together: JointResult, alone: JointResult) -> CoLocatedModel:
    slower = slow_down(together.executions, alone.executions)
    return CoLocatedModel(
        measurement=together.measurement,
        replicas=load.replicas,
        busy_share=alone.measurement.mean_utilization,
        slow_down=slower[0] if slower else None,
        slow_down_half_width=slower[1] if slower else None,
    )
