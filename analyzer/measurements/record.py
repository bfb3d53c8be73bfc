"""The records of a sweep: trials, their measurements, and the provenance of these.

The units are seconds, bytes, inferences/s, watts and fractions of one; an unmeasured figure is ``None``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

from analyzer.measurements.stream_figures import StreamFigures

UNKNOWN = "unknown"  # in a provenance that was read from a CSV file: what the file does not contain

_VARIANT_NAME = re.compile(
    r"default|"
    r"(?:(?:^|;)instances=(?P<instances>\d+))?"
    r"(?:(?:^|;)dynamic_batching=(?P<batching>on|off)(?::(?P<delay_us>\d+)us)?)?"
    r"(?:(?:^|;)max_batch_size=(?P<size>\d+))?"
)


class Status(StrEnum):
    """How a trial ended."""

    OK = "ok"
    UNSETTLED = "unsettled"  # measured, but not to the requested precision; `cause` says why
    LOAD_FAILED = "load_failed"
    INFERENCE_ERROR = "inference_error"
    SERVER_CRASHED = "server_crashed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"

    @property
    def measured(self) -> bool:
        """Whether the trial has figures."""
        return self in (Status.OK, Status.UNSETTLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A configuration of a model that differs from its config.pbtxt.

    Parameters
    ----------
    instances : int or None
        Instances in the model's instance group; None keeps the configuration's own.
    dynamic_batching : bool or None
        Whether Triton joins waiting requests into batches; None keeps the configuration's own.
    max_queue_delay_s : float
        How long the dynamic batcher waits for a batch to fill.
    max_batch_size : int or None
        Largest batch the model takes; None keeps the configuration's own.
    """

    instances: int | None = None
    dynamic_batching: bool | None = None
    max_queue_delay_s: float = 0.0
    max_batch_size: int | None = None

    @property
    def name(self) -> str:
        """The variant as a short text; ``default`` for the unchanged configuration."""
        parts = []
        if self.instances is not None:
            parts.append(f"instances={self.instances}")
        if self.dynamic_batching is not None:
            delay = f":{self.max_queue_delay_s * 1e6:.0f}us" if self.max_queue_delay_s else ""
            parts.append(f"dynamic_batching={'on' if self.dynamic_batching else 'off'}{delay}")
        if self.max_batch_size is not None:
            parts.append(f"max_batch_size={self.max_batch_size}")
        return ";".join(parts) or "default"

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the variant of a name.

        Raises
        ------
        ValueError
            If no variant has this name.
        """
        match = _VARIANT_NAME.fullmatch(name)
        if match is None or not name:
            raise ValueError(f"{name!r} names no configuration of a model")
        return cls(
            instances=None if match["instances"] is None else int(match["instances"]),
            dynamic_batching=None if match["batching"] is None else match["batching"] == "on",
            max_queue_delay_s=float(match["delay_us"] or 0) / 1e6,
            max_batch_size=None if match["size"] is None else int(match["size"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One point of a sweep.

    Parameters
    ----------
    model : str
    variant : Variant
    batch : int
        Inferences in one request.
    concurrency : int
        Requests kept in flight; 0 in an open loop.
    request_rate_per_s : float or None
        Requests sent per second in an open loop; None in a closed one.
    transport : str
        Protocol of the requests: ``http`` or ``grpc``, with ``+shm`` if tensors lie in shared memory.
    inputs : str
        Content of the requests: the given shapes, the input file with a hash of it, and a sequence length that is not
        the default; empty for random values in the shapes of the configuration.
    arrivals : str
        ``poisson`` or ``constant``: the gaps between the requests of an open loop.
    input_length, output_length : int or None
        Tokens of each request, and tokens that are asked of a language model; None where the sweep does not set them.
    """

    model: str
    variant: Variant = Variant()
    batch: int = 1
    concurrency: int = 1
    request_rate_per_s: float | None = None
    transport: str = "http"
    inputs: str = ""
    arrivals: str = "poisson"
    input_length: int | None = None
    output_length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """The device, server, tool and model files of a measurement; measurements that differ in them are never mixed.

    Parameters
    ----------
    device_name, device_uuid : str
        As the driver reports them; for a host without a GPU its processor and its machine id.
    device_memory_bytes : int
        Memory that models can use: the device's total minus what the driver reserves.
    driver : str or None
        The driver's version; None without a GPU.
    server : str
        Triton's version, with the image's digest if it ran in a container, and with what ran the model if it was none
        of Triton's backends, as ``2.51.0 with onnxruntime 1.31.1 on the CPU``.
    tool_version : str
    model_hash : str
        SHA-256 over the model's files and their paths.
    """

    device_name: str
    device_uuid: str
    device_memory_bytes: int
    driver: str | None
    server: str
    tool_version: str
    model_hash: str

    @property
    def served_by(self) -> str:
        """What ran the model in place of Triton's backend; empty if nothing did."""
        return self.server.partition(" with ")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What one trial delivered and cost over its stable window.

    Parameters
    ----------
    instances : int
        Instances that served the model: the variant's, or the configuration's own.
    cause : str
        Why `status` is not OK, in one line; if it is OK, a warning, or empty.
    throughput_infer_per_s : float
        Completed requests x batch / window.
    latency_*_s : float
        Latency seen by the client; percentiles by nearest rank.
    throughput_ci, latency_p99_ci : float
        Half width of the 95 % confidence interval as a fraction of the figure.
    server_memory_bytes : int
        Memory of the idle server without any model, on the same device.
    max_memory_bytes : int
        Highest memory, including the server's, from before the model was loaded to the end of the window.
    load_peak_memory_bytes, steady_memory_bytes, run_peak_memory_bytes : int
        Memory including the server's: highest while loading, at rest after it, and highest under load.
    max_utilization, mean_utilization : float
        Share of time in which the GPU ran a kernel, or of the host's processors in use, in [0, 1].
    max_memory_utilization : float
        Share of time in which the GPU's memory was read or written, in [0, 1].
    sm_utilization, tensor_utilization, dram_bandwidth_utilization : float
        Means over the window from GPM, as shares of the device's peak.
    power_w, sm_clock_hz : float
        Means over the window.
    requests : int
        Requests completed in the window.
    errors : int
        Requests that Triton refused or failed in the window.
    late : int
        Open loop only: requests sent more than 1 ms after they were due.
    offered : int
        Open loop only: requests that were due in the window.
    backlog_half_width : float
        Open loop only: half width of the 95 % interval of how much the backlog, the requests waiting or in flight,
        grew over the window, in requests.
    window_s, left_out_s : float
        Length of the window; and time that is left out of the trial, because a hypervisor gave the processors of the
        sending host to others.
    stream : StreamFigures
        What a decoupled model delivered response by response.
    memory_is_reservation : bool
        Whether the memory is what the backend reserves whatever the load, as vLLM does; it is no need of the model.
    """

    trial: Trial
    provenance: Provenance
    status: Status
    instances: int = 1
    cause: str = ""
    throughput_infer_per_s: float | None = None
    throughput_ci: float | None = None
    latency_avg_s: float | None = None
    latency_p50_s: float | None = None
    latency_p90_s: float | None = None
    latency_p95_s: float | None = None
    latency_p99_s: float | None = None
    latency_p99_ci: float | None = None
    server_memory_bytes: int | None = None
    max_memory_bytes: int | None = None
    load_peak_memory_bytes: int | None = None
    steady_memory_bytes: int | None = None
    run_peak_memory_bytes: int | None = None
    max_utilization: float | None = None
    mean_utilization: float | None = None
    max_memory_utilization: float | None = None
    sm_utilization: float | None = None
    tensor_utilization: float | None = None
    dram_bandwidth_utilization: float | None = None
    power_w: float | None = None
    sm_clock_hz: float | None = None
    requests: int | None = None
    errors: int | None = None
    late: int | None = None
    window_s: float | None = None
    left_out_s: float | None = None
    offered: int | None = None
    backlog_half_width: float | None = None
    stream: StreamFigures = field(default_factory=StreamFigures)
    memory_is_reservation: bool = False

    @property
    def offered_infer_per_s(self) -> float | None:
        """What was offered in an open loop: requests due in the window x batch / window."""
        return None if self.offered is None else self._rate(self.offered)

    @property
    def served_half_width_infer_per_s(self) -> float | None:
        """Half width of the 95 % interval of the throughput; in an open loop, given what was offered.

        There it has no part of the spread of the arrivals, which is no fault of the server.
        """
        if self.backlog_half_width is not None:
            return self._rate(self.backlog_half_width)
        if self.throughput_infer_per_s is None or self.throughput_ci is None:
            return None
        return self.throughput_infer_per_s * self.throughput_ci

    def _rate(self, requests: float) -> float | None:
        return requests * self.trial.batch / self.window_s if self.window_s else None

    @property
    def model_memory_bytes(self) -> int | None:
        """The model's own memory: the highest minus the idle server's; never below 0."""
        if self.max_memory_bytes is None or self.server_memory_bytes is None:
            return None
        return max(0, self.max_memory_bytes - self.server_memory_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOnly:
    """Figures of the idle server before any model is loaded; every GPU in use needs this memory once.

    Parameters
    ----------
    memory_bytes : int or None
        Memory that the server holds on the device.
    max_utilization, max_memory_utilization : float or None
        In [0, 1]; None where the device does not report it.
    """

    provenance: Provenance
    memory_bytes: int | None
    max_utilization: float | None
    max_memory_utilization: float | None
