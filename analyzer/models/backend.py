"""Find out which backend a model needs, and whether it reserves memory."""

from __future__ import annotations

from collections.abc import Mapping

from analyzer.models.dependencies import all_dependencies
from analyzer.models.repository import Model

_OF_PLATFORM = {  # names that configurations had before Triton had backends
    "tensorrt_plan": "tensorrt",
    "onnxruntime_onnx": "onnxruntime",
    "pytorch_libtorch": "pytorch",
    "tensorflow_graphdef": "tensorflow",
    "tensorflow_savedmodel": "tensorflow",
}
_OF_FILE = {  # what Triton takes a model without a configuration for
    "model.plan": "tensorrt",
    "model.onnx": "onnxruntime",
    "model.pt": "pytorch",
    "model.graphdef": "tensorflow",
    "model.savedmodel": "tensorflow",
    "model.xml": "openvino",
    "model.py": "python",
}
_RESERVING = frozenset({"vllm", "tensorrtllm"})  # backends that take a share of the GPU's memory, whatever the load
_RESERVING_PARAMETERS = frozenset({"kv_cache_free_gpu_mem_fraction", "kv_cache_free_gpu_memory_fraction"})


def reserves_memory(model: Model, repository: Mapping[str, Model]) -> bool:
    """Whether a model, or one that it needs, holds memory that its backend reserves rather than what it needs.

    vLLM fills the GPU up to ``gpu_memory_utilization``, and TensorRT-LLM gives a share of what is free to its cache of
    keys and values (``kv_cache_free_gpu_mem_fraction``); both are 0.9 by default.

    Parameters
    ----------
    repository : mapping of str to Model
        Every model of the repository by its name.
    """
    parts = [model, *(repository[name] for name in all_dependencies(model, repository))]
    return any(
        part.backend in _RESERVING or _RESERVING_PARAMETERS & (part.config or {}).get("parameters", {}).keys()
        for part in parts
    )


def backend_to_find(model: Model) -> str | None:
    """Return the backend that a model's server must have; None if it needs none, or if that is not known.

    A model needs none of the server's if it is an ensemble, or has its backend beside it. Of a model that only a
    running server has, the files are not known.
    """
    if model.path is None:
        return None
    if model.ensemble or (model.config or {}).get("runtime") or any(model.path.rglob("libtriton_*.so")):
        return None
    if model.backend:
        return _OF_PLATFORM.get(model.backend, model.backend)
    found = {_OF_FILE[path.name] for path in model.path.glob("*/model.*") if path.name in _OF_FILE}
    return found.pop() if len(found) == 1 else None
