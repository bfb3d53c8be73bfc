"""Read what AIPerf measured at a server with an OpenAI endpoint, as measurements of a model that has a GPU to itself.

The form is that of `profile_export_aiperf.json`, schema 1.0 to 1.5; each metric has its unit beside it. AIPerf gives
no confidence intervals.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from analyzer.errors import UsageError
from analyzer.formats.units import MIB
from analyzer.measurements.record import UNKNOWN, Measurement, Provenance, Status, Trial
from analyzer.measurements.stream_figures import StreamFigures
from planner.inputs.gpu_catalogue import catalogue

_UNITS = {  # by which AIPerf writes figures, in seconds, bytes and shares of one
    "ns": 1e-9,
    "us": 1e-6,
    "ms": 1e-3,
    "sec": 1.0,
    "s": 1.0,
    "B": 1.0,
    "KB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
    "%": 0.01,
    "W": 1.0,
    "requests": 1.0,
    "tokens": 1.0,
    "requests/sec": 1.0,
    "tokens/sec": 1.0,
}
_OLDER_NAMES = {  # of telemetry before schema 1.5, or before AIPerf 0.9
    "nvidia_memory_used": "gpu_memory_used",
    "nvidia_gpu_utilization": "gpu_utilization",
    "nvidia_memory_utilization": "mem_utilization",
    "nvidia_power_usage": "gpu_power_usage",
}
_Metrics = Mapping[str, Any]


def read_aiperf(
    files: Sequence[str | Path],
    *,
    device: str | None = None,
    memory_mib: float | None = None,
    gpu_index: int | None = None,
) -> tuple[Measurement, ...]:
    """Read AIPerf's exports, one measurement for each.

    Memory, utilization and power are those of the GPU in the export's telemetry (`aiperf --gpu-telemetry`): the server
    had it to itself, so all of its memory counts as the model's, as a reservation.

    Parameters
    ----------
    files : sequence of str or Path
        Exports, or the folders that AIPerf wrote them to.
    device : str, optional
        The GPU's name as the driver gives it, or a type of the catalogue; for exports without telemetry.
    memory_mib : float, optional
        Memory of the GPU that the server takes; for exports without telemetry.
    gpu_index : int, optional
        Which GPU of the telemetry the server uses, where there are several.

    Raises
    ------
    UsageError
        If a file is no such export, or it lacks what a profile needs; the message names the file.

    Examples
    --------
    >>> from planner import read_aiperf
    >>> (found,) = read_aiperf(["tests/data/aiperf-concurrency-4.json"])
    >>> found.trial.model, found.trial.concurrency, found.trial.input_length, found.trial.output_length
    ('mock-llm', 4, 128, 32)
    """
    return tuple(
        _measurement(_read(Path(file)), _path(Path(file)), device=device, memory_mib=memory_mib, gpu_index=gpu_index)
        for file in files
    )


def _path(file: Path) -> Path:
    return file / "profile_export_aiperf.json" if file.is_dir() else file


def _read(file: Path) -> dict[str, Any]:
    path = _path(file)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}") from None
    if not isinstance(found, dict) or "request_throughput" not in found or "input_config" not in found:
        raise UsageError(f"{path} is no profile_export_aiperf.json: it has no request_throughput or no input_config")
    return found


def _measurement(
    found: dict[str, Any], path: Path, *, device: str | None, memory_mib: float | None, gpu_index: int | None
) -> Measurement:
    try:
        trial = _trial(found, path)
        gpu = _gpu(found, path, gpu_index)
        metrics: _Metrics = gpu.get("metrics", {})
        memory = _stat(metrics, "nvidia_memory_used", "max")
        status, cause = _outcome(found)
        name = device or gpu.get("gpu_name")
        if name is None:
            raise UsageError(f"{path} has no GPU telemetry: name the GPU with `device`, or run aiperf --gpu-telemetry")
        if memory_mib is not None:
            memory = memory_mib * MIB
        if memory is None:
            raise UsageError(
                f"{path} does not say how much GPU memory the server takes: give `memory_mib`, or run aiperf "
                "--gpu-telemetry"
            )
        return Measurement(
            trial=trial,
            provenance=_provenance(_device_name(str(name)), found, str(gpu.get("gpu_uuid", UNKNOWN))),
            status=status,
            cause=cause,
            throughput_infer_per_s=_stat(found, "request_throughput"),
            latency_avg_s=_stat(found, "request_latency"),
            latency_p50_s=_stat(found, "request_latency", "p50"),
            latency_p90_s=_stat(found, "request_latency", "p90"),
            latency_p95_s=_stat(found, "request_latency", "p95"),
            latency_p99_s=_stat(found, "request_latency", "p99"),
            server_memory_bytes=0,  # a server of this model alone
            max_memory_bytes=round(memory),
            memory_is_reservation=True,
            max_utilization=_stat(metrics, "nvidia_gpu_utilization", "max"),
            mean_utilization=_stat(metrics, "nvidia_gpu_utilization"),
            max_memory_utilization=_stat(metrics, "nvidia_memory_utilization", "max"),
            power_w=_stat(metrics, "nvidia_power_usage"),
            requests=round(_stat(found, "request_count") or 0),
            errors=round(_stat(found, "error_request_count") or 0),
            window_s=_stat(found, "benchmark_duration"),
            stream=_stream(found),
        )
    except (TypeError, AttributeError, KeyError, ValueError, IndexError) as error:
        raise UsageError(f"{path} has not the form of AIPerf's export: {error!r}") from None


def _trial(found: dict[str, Any], path: Path) -> Trial:
    """Return the trial of an export: the model, the load of its profiling phase, and the lengths."""
    config = found["input_config"]
    models = [str(item["name"]) for item in config["models"]["items"]]
    if len(models) != 1:
        raise UsageError(f"{path} has {len(models)} models ({', '.join(models)}): run aiperf for each by itself")
    phases = [phase for phase in config["phases"] if phase.get("kind", phase["name"]) == "profiling"]
    if len(phases) != 1:
        raise UsageError(f"{path} has {len(phases)} profiling phases: run aiperf for each load by itself")
    phase = phases[0]
    rate = phase.get("rate")
    if rate is None and "concurrency" not in phase:
        raise UsageError(f"{path} has load of type {phase.get('type')}, neither a concurrency nor a request rate")
    prompts = config["datasets"][0].get("prompts", {}) if config.get("datasets") else {}
    return Trial(
        model=models[0],
        concurrency=0 if rate is not None else int(phase["concurrency"]),
        request_rate_per_s=None if rate is None else float(rate),
        arrivals="poisson" if rate is None or phase.get("type") == "poisson" else "constant",
        transport="http",
        inputs="aiperf",
        input_length=_asked(prompts, "isl"),
        output_length=_asked(prompts, "osl"),
    )


def _asked(prompts: Mapping[str, Any], name: str) -> int | None:
    mean = prompts.get(name, {}).get("mean")
    return None if mean is None else round(mean)


def _gpu(found: dict[str, Any], path: Path, index: int | None) -> Mapping[str, Any]:
    """Return the one GPU of the telemetry; an empty mapping where there is none."""
    endpoints = (found.get("telemetry_data") or {}).get("endpoints", {})
    gpus = [gpu for endpoint in endpoints.values() for gpu in endpoint["gpus"].values()]
    if index is not None:
        gpus = [gpu for gpu in gpus if gpu.get("gpu_index") == index]
        if not gpus:
            raise UsageError(f"{path} has no GPU with the number {index}: correct `gpu_index`")
    if len(gpus) > 1:
        raise UsageError(
            f"{path} has {len(gpus)} GPUs: say which one the server uses with `gpu_index`; a model on several GPUs "
            "cannot be placed"
        )
    return gpus[0] if gpus else {}


def _stat(metrics: _Metrics, name: str, statistic: str = "avg") -> float | None:
    """Return a statistic of a metric in seconds, bytes or shares; None where the export does not have it."""
    metric = metrics.get(name) or metrics.get(_OLDER_NAMES.get(name, name))
    if metric is None or metric.get(statistic) is None:
        return None
    unit = str(metric["unit"])
    if unit not in _UNITS:
        raise ValueError(f"{name} is in {unit}, which is not known")
    return float(metric[statistic]) * _UNITS[unit]


def _outcome(found: dict[str, Any]) -> tuple[Status, str]:
    """Return how the run ended: figures of one that was cancelled, or in which requests failed, promise nothing."""
    failed = round(_stat(found, "error_request_count") or 0)
    if failed:
        answered = round(_stat(found, "request_count") or 0)
        return Status.INFERENCE_ERROR, f"{failed} of {failed + answered} requests failed"
    if found.get("was_cancelled"):
        return Status.UNSETTLED, "the run of aiperf was cancelled"
    return Status.OK, ""


def _stream(found: dict[str, Any]) -> StreamFigures:
    """Return the figures of the stream; AIPerf's times are those of the first and the following chunks."""
    ttft, gap, itl = "time_to_first_token", "inter_chunk_latency", "inter_token_latency"
    return StreamFigures(
        first_response_avg_s=_stat(found, ttft),
        first_response_p50_s=_stat(found, ttft, "p50"),
        first_response_p99_s=_stat(found, ttft, "p99"),
        response_gap_avg_s=_stat(found, gap),
        response_gap_p50_s=_stat(found, gap, "p50"),
        response_gap_p99_s=_stat(found, gap, "p99"),
        input_tokens_avg=_stat(found, "input_sequence_length"),
        output_tokens_avg=_stat(found, "output_sequence_length"),
        output_tokens_per_s=_stat(found, "output_token_throughput"),
        itl_avg_s=_stat(found, itl),
        itl_p50_s=_stat(found, itl, "p50"),
        itl_p99_s=_stat(found, itl, "p99"),
    )


def _device_name(name: str) -> str:
    """Return the driver's name of a GPU that is given by its type in the catalogue."""
    known = catalogue().get(name)
    return name if known is None else known.device_names[0]


def _provenance(device: str, found: dict[str, Any], uuid: str) -> Provenance:
    url = str(found["input_config"]["endpoint"]["urls"][0])
    return Provenance(
        device_name=device,
        device_uuid=uuid,
        device_memory_bytes=0,
        driver=None,
        server=f"OpenAI endpoint {url}",
        tool_version=f"aiperf {found.get('aiperf_version', UNKNOWN)}",
        model_hash=UNKNOWN,
    )
