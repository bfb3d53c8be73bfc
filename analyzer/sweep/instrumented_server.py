"""A running server with its control client and a recorder on its device; a restart replaces all three."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Self

from analyzer.devices import Reading, Sampler
from analyzer.devices.process import available_bytes
from analyzer.devices.recorder import Recorder, highest
from analyzer.measurements.record import Provenance, ServerOnly
from analyzer.servers import Control, Endpoint, RunningServer, Server
from analyzer.servers.control import ControlClient

REST_S = 0.3
OpenControl = Callable[[Endpoint, float], AbstractContextManager[Control]]


def open_control(endpoint: Endpoint, timeout_s: float) -> AbstractContextManager[Control]:
    """Open the control client of a Triton."""
    return ControlClient(endpoint.control, timeout_s=timeout_s)


class InstrumentedServer:
    """A context manager: inside, `running`, `control` and `recorder` belong to one live server.

    Parameters
    ----------
    server : Server
    repository : Path
    gpus : sequence of str
        UUIDs of the GPUs that the server may use.
    open_sampler : callable
        Opens the sampler of the device that the server at an endpoint runs on.
    load_timeout_s : float
        How long a model may take to load.
    rest_s : float
        How long a loaded model rests before its memory counts as steady.
    open_control : callable, optional
        Opens the control client of the server at an endpoint; its second argument is `load_timeout_s`.
    """

    running: RunningServer
    control: Control
    recorder: Recorder

    def __init__(
        self,
        server: Server,
        repository: Path,
        *,
        gpus: Sequence[str],
        open_sampler: Callable[[Endpoint], Sampler],
        load_timeout_s: float,
        rest_s: float = REST_S,
        open_control: OpenControl = open_control,
    ) -> None:
        self._server = server
        self._repository = repository
        self._gpus = gpus
        self._open_sampler = open_sampler
        self._load_timeout_s = load_timeout_s
        self._open_control = open_control
        self.rest_s = rest_s
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.running = self._stack.enter_context(self._server.serve(self._repository, gpus=self._gpus))
        endpoint = self.running.endpoint
        self.control = self._stack.enter_context(self._open_control(endpoint, self._load_timeout_s))
        sampler = self._open_sampler(endpoint)
        self._stack.callback(sampler.close)
        self._device = sampler.device
        self._min_window_s = sampler.min_window_s
        self.recorder = self._stack.enter_context(Recorder(sampler))

    def restart(self) -> None:
        """Replace a server that ended, hangs or keeps memory."""
        self._stack.close()
        self._start()

    @property
    def min_window_s(self) -> float:
        """The shortest window that holds several of the device's own samples, in seconds."""
        return self._min_window_s

    def provenance(self, *, tool_version: str, model_hash: str = "", served_by: str = "") -> Provenance:
        """Return the provenance of a measurement on this server, or of what serves the model on it."""
        server = self.running.endpoint.server
        return Provenance(
            device_name=self._device.name,
            device_uuid=self._device.uuid,
            device_memory_bytes=self._device.memory_bytes,
            driver=self._device.driver,
            server=f"{server} with {served_by}" if served_by else server,
            tool_version=tool_version,
            model_hash=model_hash,
        )

    def measure_idle(self, *, tool_version: str) -> ServerOnly:
        """Measure the server before any model is loaded."""
        start_s = time.perf_counter()
        time.sleep(self.min_window_s)
        readings = self.readings_since(start_s)
        return ServerOnly(
            provenance=self.provenance(tool_version=tool_version),
            memory_bytes=highest(reading.memory_bytes for reading in readings),
            max_utilization=highest(reading.utilization for reading in readings),
            max_memory_utilization=highest(reading.memory_utilization for reading in readings),
        )

    def free_memory_bytes(self) -> int | None:
        """Return the free memory of the device; None if it is not known, as on another host.

        On a shared GPU, memory that other processes hold counts as free, because readings cover only the server there.
        """
        if self.running.endpoint.process_id is None:
            return None
        if self._device.driver is None:
            return available_bytes()
        used_bytes = self.read_now().memory_bytes
        return None if used_bytes is None else self._device.memory_bytes - used_bytes

    def read_now(self) -> Reading:
        """Read the device now."""
        return self.recorder.read_now()

    def readings_since(self, start_s: float) -> list[Reading]:
        """Return the readings since a time; if expensive readings left the window empty, read the device now."""
        return self.recorder.between(start_s, time.perf_counter()) or [self.read_now()]
