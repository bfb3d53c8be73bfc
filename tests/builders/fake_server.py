"""A fake Triton for tests of the sweep, whose models take memory, serve and fail as `FakeModel` says.

`FakeServer` implements `Server`, has a `Control` and a `Sampler`, and measures trials in the place of `measure_trial`.
It records in `events` what it is asked to do.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from pathlib import Path
from typing import Any

from analyzer.devices import Device, Reading
from analyzer.devices.recorder import Recorder, highest
from analyzer.errors import DeviceError, ModelError, ServerError
from analyzer.load.generator import LoadGenerator
from analyzer.load.load import Load
from analyzer.measurements.record import Measurement, Provenance, Status, Trial
from analyzer.models.repository import Model, completed
from analyzer.servers import Endpoint
from analyzer.statistics.verdict import StoppingRule, is_out_of_memory
from analyzer.sweep.instrumented_server import InstrumentedServer
from analyzer.sweep.loaded_model import MemoryAtLoad

MIB = 1 << 20
SERVER_BYTES = 300 * MIB  # memory of a server without models
UNCHARGED_BYTES = 20 * MIB  # part of the device's memory that the driver charges to no process
PROCESS_ID = 4711
KILLED = "tritonserver was ended by SIGKILL"
KILLED_FOR_MEMORY = "tritonserver was ended by SIGABRT; the last error of its log: std::bad_alloc"
GENERATOR_ENDED = "a load generator process ended"
_SHOWN_TIMEOUT_S = 5.0  # only a failing test waits this long
_CONFIG = {"backend": "python", "input": [{"name": "X", "data_type": "TYPE_FP32", "dims": [2]}]}


class Fault(Enum):
    """A fault during a load or a trial."""

    CRASH = auto()  # the server dies
    SILENT_CRASH = auto()  # the server dies, and the sampler is the first to notice it
    MEMORY_CRASH = auto()  # the server dies for lack of memory
    HANG = auto()  # requests are not answered
    GENERATOR_ENDED = auto()  # the load generator has ended, the server runs
    DEVICE_LOST = auto()  # the device is lost, the server runs
    INTERRUPT = auto()  # Ctrl-C


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeModel:
    """A model of a `FakeServer`.

    Parameters
    ----------
    instances, max_batch_size : int
        Values of its configuration.
    has_config : bool
        Whether the configuration is in the repository; if not, only the server knows it.
    steps, calls : sequence of str
        Models that it needs: as an ensemble, and in its business logic.
    memory_bytes : int
        Memory of one instance.
    load_peak_bytes, run_bytes : int
        Additional memory while it loads, and while it is measured.
    leftover_bytes : int
        Memory that the server keeps after its unload.
    service_s : float
        Time that an instance takes for a request of any batch size.
    most_parallel : int
        Number of instances that can work at once.
    most_instances : int
        Largest number of instances that can be loaded.
    load_error : str
        Triton's error if it cannot be loaded; empty if it can.
    load_faults, trial_faults : mapping of int to Fault
        Fault of the n-th load or trial of this model, counted from 1 over all servers.
    """

    name: str
    instances: int = 1
    max_batch_size: int = 8
    has_config: bool = True
    steps: Sequence[str] = ()
    calls: Sequence[str] = ()
    memory_bytes: int = 64 * MIB
    load_peak_bytes: int = 0
    run_bytes: int = 0
    leftover_bytes: int = 0
    service_s: float = 0.01
    most_parallel: int = 1024
    most_instances: int = 1024
    load_error: str = ""
    load_faults: Mapping[int, Fault] = field(default_factory=dict)
    trial_faults: Mapping[int, Fault] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        """The complete configuration, as Triton gives it for a loaded model."""
        config: dict[str, Any] = {**_CONFIG, "name": self.name, "max_batch_size": self.max_batch_size}
        if self.steps:
            return {**config, "ensemble_scheduling": {"step": [{"model_name": step} for step in self.steps]}}
        if self.calls:
            config["parameters"] = {"depends_on": {"string_value": ",".join(self.calls)}}
        return {**config, "instance_group": [{"count": self.instances}]}

    def as_read(self) -> Model:
        """Make the `Model` that is read from the model repository."""
        model = Model(name=self.name, path=Path("/models") / self.name, content_hash=f"of {self.name}")
        return completed(model, self.config) if self.has_config else model


class FakeTriton:
    """A ready server: a `RunningServer` and a `Control` in one.

    Parameters
    ----------
    loads : Counter
        Number of loads of each model so far, on all servers.
    kept : sequence of str
        Models that others loaded and that stay as they are.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        models: Mapping[str, FakeModel],
        events: list[str],
        loads: Counter[str],
        kept: Sequence[str] = (),
    ) -> None:
        self.endpoint = endpoint
        self.loaded: dict[str, dict[str, Any]] = {}  # configurations by name
        self._models = models
        self._events = events
        self._loads = loads
        self._kept_bytes = SERVER_BYTES
        self._memory_bytes = SERVER_BYTES
        self._shown_bytes = 0
        self._shown = threading.Event()
        self._cause: str | None = None
        self._device_lost = False
        self._kept = frozenset(kept)
        for name in kept:
            self._load(models[name], models[name].config)

    def death(self) -> str | None:
        """See `RunningServer.death`."""
        return self._cause

    def load(self, name: str, config: str | None = None) -> None:
        """See `Control.load`."""
        self._answer()
        if name in self._kept:
            return
        told = self._models[name].config if config is None else json.loads(config)
        self._events.append(f"load {name}" if config is None else f"load {name} as {_instances(told)}")
        self._loads[name] += 1
        self._load(self._models[name], told)
        self.suffer(fault := self._models[name].load_faults.get(self._loads[name]))
        if fault is not Fault.SILENT_CRASH:
            self._answer()

    def unload(self, *names: str) -> None:
        """See `Control.unload`."""
        for name in names:
            self._answer()
            if name in self._kept:
                continue
            self._events.append(f"unload {name}")
            if self.loaded.pop(name, None) is not None:
                self._kept_bytes += self._models[name].leftover_bytes
        self._settle()

    def config(self, name: str) -> dict[str, Any]:
        """See `Control.config`."""
        return self.loaded[name]  # also on a server that died silently, which died after its last answer

    def keeps(self, name: str) -> bool:
        """See `Control.keeps`."""
        return name in self._kept

    def set_aside(self, name: str) -> None:
        """See `Control.set_aside`."""
        assert name not in self._kept

    def check_single_server(self) -> None:
        """See `Control.check_single_server`."""

    def suffer(self, fault: Fault | None) -> None:
        """Apply a fault to the server or its device, or raise it."""
        if fault is Fault.CRASH or fault is Fault.SILENT_CRASH:
            self._cause = KILLED
        elif fault is Fault.MEMORY_CRASH:
            self._cause = KILLED_FOR_MEMORY
        elif fault is Fault.DEVICE_LOST:
            self._device_lost = True
        elif fault is Fault.GENERATOR_ENDED:
            raise ServerError(GENERATOR_ENDED)
        elif fault is Fault.INTERRUPT:
            raise KeyboardInterrupt

    @contextmanager
    def using(self, more_bytes: int) -> Iterator[None]:
        """Hold more memory inside the ``with`` block."""
        self._memory_bytes += more_bytes
        try:
            yield
        finally:
            self._settle()

    def show_memory(self) -> int:
        """Return the memory in use, as the device shows it.

        Raises
        ------
        DeviceError
            If the device or the server is gone.
        """
        if self._device_lost:
            raise DeviceError("the GPU has fallen off the bus")
        if self._cause is not None:
            raise DeviceError(f"process {PROCESS_ID} is gone")
        memory_bytes = self._memory_bytes
        if memory_bytes >= self._shown_bytes:
            self._shown.set()
        return memory_bytes

    def _load(self, model: FakeModel, config: dict[str, Any]) -> None:
        for step in model.steps:
            if step not in self.loaded:
                self._load(self._models[step], self._models[step].config)
        for name in model.calls:
            if name not in self.loaded:
                raise ModelError(f"{model.name} calls {name}, which is not loaded")
        if model.load_error:
            raise ModelError(model.load_error)
        if _instances(config) > model.most_instances:
            raise ModelError(f"{_instances(config)} instances are too many")
        self.loaded[model.name] = config
        self._settle()
        if model.load_peak_bytes:
            with self.using(model.load_peak_bytes):
                self._wait_until_shown()

    def _settle(self) -> None:
        held = (_instances(config) * self._models[name].memory_bytes for name, config in self.loaded.items())
        self._memory_bytes = self._kept_bytes + sum(held)

    def _wait_until_shown(self) -> None:
        """Wait until a reading that began after this call has shown the memory in use."""
        self._shown_bytes = self._memory_bytes
        for _ in range(2):  # the first reading may have begun before
            self._shown.clear()
            self._shown.wait(_SHOWN_TIMEOUT_S)

    def _answer(self) -> None:
        if self._cause is not None:
            raise ServerError(f"Triton at {self.endpoint.http} does not answer")


class FakeSampler:
    """A `Sampler` of the device of a `FakeTriton`."""

    min_window_s = 0.0
    lag_s = 0.0

    def __init__(self, triton: FakeTriton, device: Device, period_s: float) -> None:
        self.device = device
        self.period_s = period_s
        self._triton = triton

    def read(self) -> Reading:
        """See `Sampler.read`."""
        now_s = time.perf_counter()
        memory_bytes = self._triton.show_memory()
        return Reading(time_s=now_s, memory_bytes=memory_bytes, process_memory_bytes=memory_bytes - UNCHARGED_BYTES)

    def close(self) -> None:
        """See `Sampler.close`."""


class FakeServer:
    """A `Server` of fake models, with one Triton at a time.

    Parameters
    ----------
    remote : bool
        Whether it is a remote server: it has no process on this host, keeps its models loaded when the sweep leaves
        it, and does not run again after it died.
    kept : sequence of str
        Models that others have loaded on it.
    most_starts : int
        Number of starts after which it fails to start.
    memory_bytes, uuid : int, str
        Memory and UUID of its device.
    period_s : float
        Time between the recorder's readings.

    Attributes
    ----------
    events : list of str
        Starts, loads, unloads and trials in order: ``start``, ``load m``, ``load m as 2`` (instances, where a
        configuration is given), ``unload m``, ``trial m``.
    """

    def __init__(
        self,
        *models: FakeModel,
        remote: bool = False,
        kept: Sequence[str] = (),
        most_starts: int = 1024,
        memory_bytes: int = 16384 * MIB,
        uuid: str = "GPU-0",
        period_s: float = 0.001,
    ) -> None:
        self.events: list[str] = []
        self._models = {model.name: model for model in models}
        self._most_starts = most_starts
        self._kept = kept
        self._device = Device(name="Fake GPU", uuid=uuid, memory_bytes=memory_bytes, driver="550.54")
        self._period_s = period_s
        self._endpoint = Endpoint(
            http="127.0.0.1:8000",
            grpc=None,
            metrics_url=None,
            process_id=None if remote else PROCESS_ID,
            server="2.51.0",
        )
        self._triton: FakeTriton | None = None
        self._loads: Counter[str] = Counter()
        self._trials: Counter[str] = Counter()

    @property
    def repository(self) -> dict[str, Model]:
        """The models as read from the model repository, by name."""
        return {name: model.as_read() for name, model in self._models.items()}

    @property
    def starts(self) -> int:
        """Number of servers that were started, or connected to if remote."""
        return self.events.count("start")

    @property
    def loaded(self) -> set[str]:
        """The models that are loaded now."""
        return set() if self._triton is None else set(self._triton.loaded)

    def kill(self) -> None:
        """End the running server by a crash."""
        self._running.suffer(Fault.CRASH)

    def describe(self) -> str:
        """See `Server.describe`."""
        return "fake"

    @contextmanager
    def serve(self, repository: Path, *, gpus: Sequence[str] = ()) -> Iterator[FakeTriton]:
        """See `Server.serve`."""
        remote = self._endpoint.process_id is None
        assert remote or self._triton is None, "two servers at once"
        if self.starts == self._most_starts or (self._triton is not None and self._triton.death() is not None):
            raise ServerError(f"Triton at {self._endpoint.http} does not answer")
        self.events.append("start")
        self._triton = self._triton or FakeTriton(self._endpoint, self._models, self.events, self._loads, self._kept)
        try:
            yield self._triton
        finally:
            if not remote:
                self._triton = None

    def instrumented(self) -> InstrumentedServer:
        """Return it with a control and a recorder, without pauses between the steps."""
        return InstrumentedServer(
            self,
            Path("/models"),
            gpus=(),
            open_sampler=self._open_sampler,
            load_timeout_s=60.0,
            rest_s=0.0,
            open_control=self._open_control,
        )

    def measure(
        self,
        trial: Trial,
        load: Load,
        *,
        provenance: Provenance,
        instances: int,
        memory: MemoryAtLoad,
        generator: LoadGenerator,
        recorder: Recorder,
        death: Callable[[], str | None],
        rule: StoppingRule,
    ) -> Measurement:
        """Return a trial's figures in the place of `measure_trial`; closed loops only.

        Requests wait for a free instance: with c requests in flight on n instances that take s seconds per request,
        min(c, n) / s requests are completed per second, each after max(1, c / n) x s seconds.
        """
        model, triton = self._models[trial.model], self._running
        self.events.append(f"trial {model.name}")
        self._trials[model.name] += 1
        fault = model.trial_faults.get(self._trials[model.name])
        with triton.using(model.run_bytes):
            triton.suffer(fault)
            row = Measurement(trial=trial, provenance=provenance, status=Status.OK, instances=instances)
            if fault is not Fault.SILENT_CRASH and (why := death()) is not None:
                status = Status.OUT_OF_MEMORY if is_out_of_memory(why) else Status.SERVER_CRASHED
                return replace(row, status=status, cause=why)
            run_peak_bytes = recorder.read_now().memory_bytes
        if fault is Fault.HANG:
            cause = f"no response for {rule.request_timeout_s:g} s (`request_timeout_s`)"
            return replace(row, status=Status.TIMED_OUT, cause=cause)
        config = triton.loaded[model.name]
        assert instances == _instances(config)
        if trial.batch > max(1, config["max_batch_size"]):
            return replace(row, status=Status.INFERENCE_ERROR, cause=f"batch {trial.batch} is too large")
        working = min(instances, model.most_parallel)
        return replace(
            row,
            throughput_infer_per_s=min(trial.concurrency, working) / model.service_s * trial.batch,
            latency_p99_s=max(1.0, trial.concurrency / working) * model.service_s,
            server_memory_bytes=memory.server_bytes,
            max_memory_bytes=highest((memory.load_peak_bytes, memory.steady_bytes, run_peak_bytes)),
            load_peak_memory_bytes=memory.load_peak_bytes,
            steady_memory_bytes=memory.steady_bytes,
            run_peak_memory_bytes=run_peak_bytes,
        )

    def _open_sampler(self, endpoint: Endpoint) -> FakeSampler:
        assert endpoint is self._endpoint
        return FakeSampler(self._running, self._device, self._period_s)

    @contextmanager
    def _open_control(self, endpoint: Endpoint, timeout_s: float) -> Iterator[FakeTriton]:
        assert endpoint is self._endpoint
        yield self._running

    @property
    def _running(self) -> FakeTriton:
        assert self._triton is not None, "no server runs"
        return self._triton


def _instances(config: dict[str, Any]) -> int:
    return sum(group["count"] for group in config.get("instance_group", [{"count": 1}]))
