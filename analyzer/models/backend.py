"""Find out which backend a model needs."""

from __future__ import annotations

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
