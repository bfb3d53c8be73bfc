"""Serve ONNX models by onnxruntime on the processor, in the Python stub of the Triton of nvidia-pytriton.

Configurations are completed and checked as NVIDIA's backend does (src/onnxruntime.cc of
https://github.com/triton-inference-server/onnxruntime_backend). Triton imports this file by the name ``model``, from a
folder that also has ``onnx_options``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils
from onnx_options import session_options, unsupported

DEFAULT_MAX_BATCH_SIZE = 4  # Triton's, where a model can batch and nothing says how much
_TYPES = {
    "tensor(bool)": "TYPE_BOOL",
    "tensor(uint8)": "TYPE_UINT8",
    "tensor(uint16)": "TYPE_UINT16",
    "tensor(uint32)": "TYPE_UINT32",
    "tensor(uint64)": "TYPE_UINT64",
    "tensor(int8)": "TYPE_INT8",
    "tensor(int16)": "TYPE_INT16",
    "tensor(int32)": "TYPE_INT32",
    "tensor(int64)": "TYPE_INT64",
    "tensor(float16)": "TYPE_FP16",
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(string)": "TYPE_STRING",
}


class TritonPythonModel:
    """One instance of a model: a session of its own, in a process of its own."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Fill in inputs, outputs, the largest batch and dynamic batching where the configuration has none."""
        config = auto_complete_model_config.as_dict()
        if config["input"] and config["output"]:
            return auto_complete_model_config
        session = _open_session(config)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        for entry in (*inputs, *outputs):
            _data_type(entry)
        config["max_batch_size"] = _largest_batch(config, [_dims(entry) for entry in (*inputs, *outputs)])
        if config["max_batch_size"] > 1 and "sequence_batching" not in config:
            config.setdefault("dynamic_batching", {})
        for key, entries in (("input", inputs), ("output", outputs)):
            if not config[key]:
                config[key] = [_declaration(entry, batches=config["max_batch_size"] > 0) for entry in entries]
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        """Open the session, and check that the configuration fits the model."""
        config = json.loads(args["model_config"])
        if reason := unsupported(config):
            raise pb_utils.TritonModelException(f"{reason}, which this backend does not do: use NVIDIA's image")
        self._session = _open_session(config)
        self._run_options = onnxruntime.RunOptions()
        for name, value in session_options(config).run_entries.items():
            self._run_options.add_run_config_entry(name, value)
        self._batches = config["max_batch_size"] > 0
        _check_config(config, self._session)
        entries = (*self._session.get_inputs(), *self._session.get_overridable_initializers())
        self._inputs = {entry.name: entry for entry in entries}
        self._outputs = [entry["name"] for entry in config["output"]]

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Run the requests that Triton hands over, as one batch where the model batches."""
        together = [list(requests)] if self._batches else [[request] for request in requests]
        return [response for batch in together for response in self._answer(batch)]

    def _answer(self, requests: list[Any]) -> list[Any]:
        try:
            each = [self._read(request) for request in requests]
            sizes = [len(next(iter(arrays.values()))) if self._batches else 1 for arrays in each]
            feeds = each[0] if len(each) == 1 else {name: np.concatenate([a[name] for a in each]) for name in each[0]}
            outputs = self._session.run(self._outputs, feeds, self._run_options)
            return self._split(requests, sizes, dict(zip(self._outputs, outputs, strict=True)))
        except Exception as error:
            text = " ".join(str(error).split())
            return [pb_utils.InferenceResponse(error=pb_utils.TritonError(text)) for _ in requests]

    def _read(self, request: Any) -> dict[str, Any]:
        """Return a request's arrays by the names of the model's inputs; optional ones may be missing."""
        arrays = {}
        for name, entry in self._inputs.items():
            tensor = pb_utils.get_input_tensor_by_name(request, name)
            if tensor is None:
                continue
            array = tensor.as_numpy()
            if entry.type == "tensor(string)":
                array = np.array([item.decode() for item in array.ravel()], dtype=object).reshape(array.shape)
            arrays[name] = array if entry.shape else array.reshape(())
        return arrays

    def _split(self, requests: Sequence[Any], sizes: Sequence[int], outputs: dict[str, Any]) -> list[Any]:
        for name, array in outputs.items():
            if self._batches and (array.ndim == 0 or len(array) != sum(sizes)):
                raise ValueError(f"output {name} has the shape {list(array.shape)}, which is no batch of {sum(sizes)}")
        responses, end = [], 0
        for request, size in zip(requests, sizes, strict=True):
            begin, end = end, end + size
            asked = request.requested_output_names()
            tensors = [
                _tensor(name, array[begin:end] if self._batches else array)
                for name, array in outputs.items()
                if name in asked
            ]
            responses.append(pb_utils.InferenceResponse(tensors))
        return responses

    def finalize(self) -> None:
        """Release the session before the process ends."""
        del self._session


def _open_session(config: dict[str, Any]) -> Any:
    path = Path(pb_utils.get_model_dir()) / (config.get("default_model_filename") or "model.onnx")
    if path.is_dir():
        path /= "model.onnx"
    if path.is_symlink():
        path = (
            path.readlink()
        )  # to the user's repository: onnxruntime takes weights in other files only from its folder
    try:
        options = session_options(config)
    except ValueError as error:
        raise pb_utils.TritonModelException(str(error)) from None
    asked = onnxruntime.SessionOptions()
    asked.log_severity_level = 3  # warnings about the model's graph are not for Triton's log
    for name, value in options.attributes.items():
        setattr(asked, name, value)
    asked.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, options.graph_optimization_level)
    asked.execution_mode = getattr(onnxruntime.ExecutionMode, options.execution_mode)
    for name, value in options.entries.items():
        asked.add_session_config_entry(name, value)
    for library in options.libraries:
        asked.register_custom_ops_library(library)
    return onnxruntime.InferenceSession(str(path), asked, providers=["CPUExecutionProvider"])


def _dims(entry: Any) -> list[int]:
    return [n if isinstance(n, int) else -1 for n in entry.shape]  # others are names, or not known


def _data_type(entry: Any) -> str:
    if entry.type not in _TYPES:
        hint = "; with skl2onnx, convert it with zipmap=False" if entry.type.startswith("seq(map(") else ""
        raise pb_utils.TritonModelException(f"{entry.name} is a {entry.type}, which Triton does not serve{hint}")
    return _TYPES[entry.type]


def _largest_batch(config: dict[str, Any], shapes: Sequence[list[int]]) -> int:
    """Return the largest batch: a model can batch if the first dimension of every input and output is variable."""
    given: int = config["max_batch_size"]
    if all(dims[:1] == [-1] for dims in shapes):
        return given or DEFAULT_MAX_BATCH_SIZE
    if given:
        raise pb_utils.TritonModelException(
            f"the model does not support batching, and max_batch_size is {given}: not all of its inputs and outputs "
            "have a variable first dimension"
        )
    return 0


def _declaration(entry: Any, *, batches: bool) -> dict[str, Any]:
    declared = {"name": entry.name, "data_type": _data_type(entry), "dims": _dims(entry)[1 if batches else 0 :]}
    if not declared["dims"]:
        declared["dims"] = [1]
        if batches:
            declared["reshape"] = {"shape": []}
    return declared


def _check_config(config: dict[str, Any], session: Any) -> None:
    """Refuse inputs and outputs of a configuration that the model does not have, or has in another form."""
    inputs, initializers = session.get_inputs(), session.get_overridable_initializers()
    controls = {control["name"] for control in config.get("sequence_batching", {}).get("control_input", ())}
    declared = [entry["name"] for entry in config["input"]]
    missing = [entry.name for entry in inputs if entry.name not in (*declared, *controls)]
    if missing:
        raise pb_utils.TritonModelException(
            f"the configuration has no input {', '.join(missing)}, which the model needs"
        )
    _check_entries(config, "input", (*inputs, *initializers))
    _check_entries(config, "output", session.get_outputs())


def _check_entries(config: dict[str, Any], key: str, entries: Sequence[Any]) -> None:
    known = {entry.name: entry for entry in entries}
    for declared in config[key]:
        name = declared["name"]
        if name not in known:
            raise pb_utils.TritonModelException(f"the model has no {key} {name}; it has {', '.join(known)}")
        data_type = _data_type(known[name])
        if declared["data_type"] != data_type:
            raise pb_utils.TritonModelException(
                f"the configuration has {declared['data_type']} for {key} {name}, and the model has {data_type}"
            )
        dims = [int(n) for n in declared.get("reshape", {}).get("shape", declared["dims"])]
        full, own = [-1, *dims] if config["max_batch_size"] else dims, _dims(known[name])
        fits = len(full) == len(own) and all(-1 in pair or pair[0] == pair[1] for pair in zip(full, own, strict=True))
        if not fits and not (own == [] and set(dims) <= {1}):
            raise pb_utils.TritonModelException(
                f"the configuration has the shape {full} for {key} {name}, and the model has {own}"
            )


def _tensor(name: str, array: Any) -> Any:
    if array.dtype == object:
        array = np.array([item.encode() for item in array.ravel()], dtype=object).reshape(array.shape)
    return pb_utils.Tensor(name, array if array.ndim else array.reshape(1))
