"""Drive a sweep: load each variant of each model alone, try its points, store what came of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from analyzer import __version__
from analyzer.errors import DeviceError, ModelError, ServerError
from analyzer.load.generator import LoadGenerator
from analyzer.load.workload import Traffic
from analyzer.measure import measure_trial
from analyzer.measurements.record import Measurement, Provenance, ServerOnly, Status, Trial, Variant
from analyzer.measurements.store import Store
from analyzer.models.repository import Model
from analyzer.rig import Rig
from analyzer.search.grid import Answer, Search
from analyzer.search.knee import more_instances
from analyzer.search.strategy import Course, search
from analyzer.statistics.verdict import Patience, is_out_of_memory
from analyzer.tenancy import Tenancy

Turn = tuple[Model, Variant]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a sweep measures.

    Parameters
    ----------
    models : sequence of Model
    repository : mapping of str to Model
        Every model by its name: those measured may need others.
    variants : mapping of str to sequence of Variant
        The variants of each model, by its name.
    courses : mapping of str to Course
        What is tried of each model, by its name.
    traffic : Traffic
        What requests carry, and how they travel.
    """

    models: Sequence[Model]
    repository: Mapping[str, Model]
    variants: Mapping[str, Sequence[Variant]]
    courses: Mapping[str, Course]
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def turns(self) -> list[Turn]:
        """Every variant of every model, each of which is loaded alone."""
        return [(model, variant) for model in self.models for variant in self.variants[model.name]]

    @property
    def points(self) -> int:
        """Trials that the sweep has at most; see `Course.points`."""
        return sum(
            self.courses[model.name].points(largest_batch(model, variant))
            for model, variant in self.turns
            if not model.error
        )


def largest_batch(model: Model, variant: Variant) -> int | None:
    """Return the largest batch that a variant takes; None where it is not known before Triton is asked."""
    return model.max_batch_size if variant.max_batch_size is None else variant.max_batch_size


class Audience(Protocol):
    """Whoever follows a sweep."""

    def watched(self, idle: ServerOnly) -> None:
        """Take the server's figures before any model."""

    def measured(self, measurement: Measurement, *, found: bool) -> None:
        """Take a measurement as it is made, or `found` in the store."""

    def answered(self, answer: Answer) -> None:
        """Take what a search was after."""

    def said(self, text: str) -> None:
        """Take a remark in one line."""


class Sweep:
    """Runs a `Job` on a `Rig`.

    Parameters
    ----------
    alike : sequence of str
        UUIDs of other devices: what the store has of them need not be measured on this one.
    audience : Audience
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
        alike: Sequence[str] = (),
        audience: Audience,
    ) -> None:
        self._job = job
        self._rig = rig
        self._store = store
        self._generator = generator
        self._patience = replace(patience, min_window_s=max(patience.min_window_s, rig.min_window_s))
        self._fresh = fresh
        self._alike = alike
        self._audience = audience
        self._settings = f"precision={patience.throughput_ci:g},{patience.latency_p99_ci:g};s={patience.max_trial_s:g}"

    def run(self, turns: Iterable[Turn]) -> None:
        """Measure what is not in the store yet, one variant after the other.

        Raises
        ------
        ServerError, DeviceError, StoreError
            If the server cannot be restarted, the device is lost or the store takes nothing more; what was
            measured before is in the store.
        """
        self._idle = self._rig.watch_idle(tool_version=__version__)
        self._store.append_server_only(self._idle)
        self._audience.watched(self._idle)
        for model, variant in turns:
            course = self._job.courses[model.name]
            levels: list[Sequence[Measurement]] = [self._run_variant(model, variant, course)]
            if course.max_instances > 1 and not model.ensemble:
                self._raise_instances(model, variant, course, levels)

    def _raise_instances(
        self, model: Model, variant: Variant, course: Course, levels: list[Sequence[Measurement]]
    ) -> None:
        """Climb with more and more instances while they pay; `levels` has what the model's own number gave."""
        while any(measurement.status.measured for measurement in levels[0]):
            more = more_instances(levels, course.max_instances, course.latency_p99_s, self._rig.room_bytes())
            if isinstance(more, Answer):
                self._audience.answered(more)
                return
            levels.append(self._run_variant(model, replace(variant, instances=more), course))

    def _run_variant(self, model: Model, variant: Variant, course: Course) -> list[Measurement]:
        """Take a course through a variant that is alone on the server; return what it was shown."""
        tenancy = Tenancy(self._rig, model, variant, self._idle, self._job.repository)
        try:
            if max(course.axes.batches) > 1:
                model = self._completed(tenancy, variant, course)
            first = Trial(model=model.name, variant=variant, instances=variant.instances or model.instances)
            first = replace(first, transport=self._job.traffic.transport(model), inputs=self._job.traffic.inputs(model))
            measurements = self._follow(search(first, course, largest_batch(model, variant)), tenancy, course)
        except BaseException:
            tenancy.abandon()
            raise
        tenancy.leave()
        return measurements

    def _completed(self, tenancy: Tenancy, variant: Variant, course: Course) -> Model:
        """Ask Triton for the largest batch where no file says it, and say what that leaves out."""
        before, model = largest_batch(tenancy.model, variant), tenancy.complete()
        left = set(course.axes.batches) - set(course.axes.batches_for(largest_batch(model, variant)))
        if before is None and left:
            batches = ", ".join(map(str, sorted(left)))
            self._audience.said(f"{model.name} has max_batch_size {model.max_batch_size}: left out batch {batches}")
        return model

    def _follow(self, course_of_trials: Search, tenancy: Tenancy, course: Course) -> list[Measurement]:
        measurements = []
        try:
            trial = next(course_of_trials)
            while True:
                measurement, found = self._find_or_measure(trial, tenancy, course)
                self._audience.measured(measurement, found=found)
                measurements.append(measurement)
                trial = course_of_trials.send(measurement)
        except StopIteration as end:
            for answer in end.value:
                self._audience.answered(answer)
        return measurements

    def _find_or_measure(self, trial: Trial, tenancy: Tenancy, course: Course) -> tuple[Measurement, bool]:
        """Return a trial's measurement, and whether it was in the store."""
        patience, settings = self._patience, self._settings
        if (window_s := course.min_window_s(trial)) > 0:
            patience = replace(patience, min_window_s=min(max(window_s, patience.min_window_s), patience.max_trial_s))
            settings += f";window={patience.min_window_s:g}"
        found = None if self._fresh else self._find(trial, tenancy.provenance, settings)
        if found is not None:
            return found, True
        measurement = self._measure(trial, tenancy, patience)
        self._store.append(measurement, settings=settings)
        return measurement, False

    def _find(self, trial: Trial, provenance: Provenance, settings: str) -> Measurement | None:
        """Return the figures that the store has of a trial on this device or one like it."""
        for uuid in (provenance.device_uuid, *self._alike):
            found = self._store.find(trial, replace(provenance, device_uuid=uuid), settings=settings)
            if found is not None and found.status.measured:
                return found
        return None

    def _measure(self, trial: Trial, tenancy: Tenancy, patience: Patience) -> Measurement:
        """Measure a trial; a crash of the server is tried once more on a new one."""
        for last in (False, True):
            measurement = self._attempt(trial, tenancy, patience)
            if measurement.status is Status.TIMED_OUT or measurement.status is Status.SERVER_CRASHED:
                tenancy.restart()
            if last or measurement.status is not Status.SERVER_CRASHED:
                break
        return measurement

    def _attempt(self, trial: Trial, tenancy: Tenancy, patience: Patience) -> Measurement:
        try:
            loaded = tenancy.enter()
            trial = replace(trial, instances=tenancy.model.instances)
            running = self._rig.running
            with self._job.traffic.to(running.endpoint, tenancy.model, trial) as load:
                return measure_trial(
                    trial,
                    load,
                    loaded,
                    generator=self._generator,
                    recorder=self._rig.recorder,
                    death=running.death,
                    patience=patience,
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
