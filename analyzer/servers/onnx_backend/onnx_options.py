"""Read the options of a model configuration that are meant for the backend onnxruntime.                   [pure]

Names and values are those of NVIDIA's backend (https://github.com/triton-inference-server/onnxruntime_backend).
Only the standard library is imported, since Triton's Python stub imports this module as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_LEVELS = {-1: "ORT_ENABLE_BASIC", 0: "ORT_ENABLE_ALL", 1: "ORT_ENABLE_EXTENDED", 2: "ORT_DISABLE_ALL"}
_SESSION_ENTRIES = ("session.use_device_allocator_for_initializers",)
_RUN_ENTRIES = ("memory.enable_memory_arena_shrinkage",)
_OF_GPUS = ("arena_extend_strategy", "cudnn_conv_algo_search", "do_copy_in_default_stream", "gpu_mem_limit")
_SHARED = "share_session_between_instances"


@dataclass(frozen=True)
class SessionOptions:
    """Options of an InferenceSession, by the names that onnxruntime's Python API has for them.

    Parameters
    ----------
    attributes : mapping of str to object
        Attributes of onnxruntime.SessionOptions whose values are plain.
    graph_optimization_level, execution_mode : str
        Names of members of onnxruntime.GraphOptimizationLevel and onnxruntime.ExecutionMode.
    entries, run_entries : mapping of str to str
        Configuration entries of the session and of each run.
    libraries : tuple of str
        Libraries with operators of the user's own.
    """

    attributes: Mapping[str, Any]
    graph_optimization_level: str
    execution_mode: str
    entries: Mapping[str, str]
    run_entries: Mapping[str, str]
    libraries: tuple[str, ...]


def session_options(config: Mapping[str, Any]) -> SessionOptions:
    """Return what a model configuration, in JSON form, asks of the session.

    Raises
    ------
    ValueError
        If a value is not valid; the message is one line.
    """
    given = _parameters(config)
    attributes: dict[str, Any] = {}
    for name, attribute in (
        ("intra_op_thread_count", "intra_op_num_threads"),
        ("inter_op_thread_count", "inter_op_num_threads"),
    ):
        if (count := _integer(given, name)) > 0:
            attributes[attribute] = count
    for name, attribute in (("enable_mem_arena", "enable_cpu_mem_arena"), ("enable_mem_pattern", "enable_mem_pattern")):
        if name in given:
            attributes[attribute] = _flag(given, name)
    mode = _integer(given, "execution_mode")
    if mode not in (0, 1):
        raise ValueError(f"parameter execution_mode is {mode}: 0 is sequential, 1 is parallel")
    level = int(config.get("optimization", {}).get("graph", {}).get("level", 0))
    return SessionOptions(
        attributes=attributes,
        graph_optimization_level=_LEVELS.get(level, _LEVELS[0]),
        execution_mode="ORT_PARALLEL" if mode else "ORT_SEQUENTIAL",
        entries={name: given[name] for name in _SESSION_ENTRIES if name in given},
        run_entries={name: given[name] for name in _RUN_ENTRIES if name in given},
        libraries=tuple(config.get("model_operations", {}).get("op_library_filename", ())),
    )


def not_honoured(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Name what a configuration asks of NVIDIA's backend and this one does not do, in a few words each.

    Each instance is a process of its own, so sessions are not shared; everything runs on the processor.
    """
    return tuple(dict.fromkeys(_not_honoured(config)))


def unsupported(config: Mapping[str, Any]) -> str:
    """Name in one line what of a configuration the Python backend cannot serve; "" if there is nothing."""
    if any(entry.get("allow_ragged_batch") for entry in config.get("input", ())):
        return "its inputs are batched ragged (allow_ragged_batch)"
    for key in ("batch_input", "batch_output"):
        if config.get(key):
            return f"it has {key}"
    if config.get("sequence_batching", {}).get("state"):
        return "Triton keeps its state (sequence_batching.state)"
    return ""


def _not_honoured(config: Mapping[str, Any]) -> Iterator[str]:
    for group in config.get("instance_group", ()):
        if group.get("kind") == "KIND_GPU":
            yield "KIND_GPU"
    optimization = config.get("optimization", {})
    for accelerators in optimization.get("execution_accelerators", {}).values():
        for accelerator in accelerators:
            yield f"execution accelerator {accelerator.get('name', '')}"
    if optimization.get("cuda"):
        yield "optimization.cuda"
    given = _parameters(config)
    yield from (name for name in _OF_GPUS if name in given)
    if _SHARED in given and given[_SHARED].lower() not in ("false", "0", "off"):
        yield _SHARED


def _parameters(config: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value.get("string_value", "")) for name, value in config.get("parameters", {}).items()}


def _integer(given: Mapping[str, str], name: str) -> int:
    try:
        return int(given.get(name, "0"))
    except ValueError:
        raise ValueError(f"parameter {name} is {given[name]!r}: it must be an integer") from None


def _flag(given: Mapping[str, str], name: str) -> bool:
    value = given[name].lower()
    if value not in ("true", "1", "on", "false", "0", "off"):
        raise ValueError(f"parameter {name} is {given[name]!r}: it must be true or false")
    return value in ("true", "1", "on")
