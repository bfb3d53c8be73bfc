"""What a model is asked: its inputs' shapes and values, random or from a file."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analyzer.errors import ModelError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from analyzer.repository import Input, Model

    Tensors = Mapping[str, np.ndarray[Any, Any]]

NUMPY_TYPES = {  # Triton's datatypes, from the KServe v2 protocol; BF16 travels as float32 and is cut by tritonclient
    "BOOL": "bool",
    "UINT8": "uint8",
    "UINT16": "uint16",
    "UINT32": "uint32",
    "UINT64": "uint64",
    "INT8": "int8",
    "INT16": "int16",
    "INT32": "int32",
    "INT64": "int64",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BF16": "float32",
    "BYTES": "object",
}
_STRING_LENGTH = 16
_INTEGERS_BELOW = 128  # valid in every integer type, and small enough for a vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Values of one input in a file: flat, or raw bytes, with the shape where the file gives one."""

    values: Sequence[Any] | bytes
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InputData:
    """Real inputs, in streams of steps; each step holds an entry an input.

    A plain list of steps is one stream; several streams are sequences.
    """

    source: str
    streams: tuple[tuple[Mapping[str, Entry], ...], ...]


def read_input_data(path: Path) -> InputData:
    """Read perf_analyzer's JSON, or a folder with one raw binary file an input.

    Source of the format: perf_analyzer's documentation, "Input Data".

    Raises
    ------
    UsageError
        If the file cannot be read or has another form; the message names the place in it.
    """
    if path.is_dir():
        step = {file.name: Entry(values=file.read_bytes(), shape=None) for file in sorted(path.iterdir())}
        if not step:
            raise UsageError(f"--input-data {path} is an empty folder; put one file named after each input in it")
        return InputData(source=str(path), streams=((step,),))
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--input-data {path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"--input-data {path} is not JSON: {error}") from None
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list) or not data:
        raise UsageError(f'--input-data {path} needs a list "data" with at least one entry')
    streams = data if all(isinstance(item, list) for item in data) else [data]
    return InputData(
        source=str(path),
        streams=tuple(
            tuple(_read_step(step, f"{path}: data[{i}][{j}]") for j, step in enumerate(stream))
            for i, stream in enumerate(streams)
            if stream
        ),
    )


def _read_step(step: Any, where: str) -> dict[str, Entry]:
    if not isinstance(step, dict) or not step:
        raise UsageError(f"{where} is not an object of inputs")
    return {name: _read_entry(value, f"{where}.{name}") for name, value in step.items()}


def _read_entry(value: Any, where: str) -> Entry:
    shape = None
    if isinstance(value, dict) and "content" in value:
        shape = value.get("shape")
        if shape is not None and not (isinstance(shape, list) and all(isinstance(n, int) and n >= 0 for n in shape)):
            raise UsageError(f"{where}.shape is {shape!r}; give a list of lengths")
        value = value["content"]
    if isinstance(value, dict) and set(value) == {"b64"}:
        try:
            return Entry(values=base64.b64decode(value["b64"], validate=True), shape=tuple(shape) if shape else None)
        except (ValueError, TypeError):
            raise UsageError(f"{where}.b64 is not base64") from None
    if not isinstance(value, list):
        value = [value]
    return Entry(values=_flatten(value), shape=tuple(shape) if shape is not None else None)


def _flatten(values: list[Any]) -> list[Any]:
    flat = []
    for value in values:
        flat.extend(_flatten(value) if isinstance(value, list) else [value])
    return flat


def build_steps(
    model: Model, batch: int, *, shapes: Mapping[str, tuple[int, ...]], data: InputData | None = None, seed: int = 0
) -> list[list[Tensors]]:
    """Build a model's requests: streams of steps, each with an array an input.

    Parameters
    ----------
    model : Model
        With its configuration completed.
    batch : int
        First dimension of every array of a model that batches; such a model takes as many consecutive steps of
        the data in one request.
    shapes : mapping of str to tuple of int
        For inputs with variable dimensions, by name or ``model:name``, without the batch dimension.
    data : InputData or None
        Real values; random ones in [0, 1) or 0 to 127 without.

    Raises
    ------
    ModelError
        If a variable dimension has no length, or the data do not fit an input.
    """
    import numpy as np

    if data is None:
        generator = np.random.default_rng(seed)
        dims = {i.name: resolve_shape(model, i, shapes) for i in model.inputs if not i.optional}
        items = [
            {i.name: _draw(generator, i, dims[i.name]) for i in model.inputs if not i.optional} for _ in range(batch)
        ]
        return [[_stack(model, items)]]
    by_name = {i.name: i for i in model.inputs}
    streams = []
    for stream in data.streams:
        steps = [
            {
                name: _from_entry(entry, by_name[name], model, shapes, data.source)
                for name, entry in step.items()
                if _known(name, by_name, model, data.source)
            }
            for step in stream
        ]
        count = len(steps)
        step_batch = 1 if model.sequence else batch  # a sequence's steps follow each other: they are not one batch
        streams.append(
            [
                _stack(model, [steps[(i + j * (step_batch > 1)) % count] for j in range(batch)])
                for i in range(0, count, step_batch)
            ]
        )
    return streams


def resolve_shape(model: Model, entry: Input, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return an input's dims with every variable one given a length: by `shapes`, else by the model's own warm-up.

    Raises
    ------
    ModelError
        If a length stays unknown, or contradicts the configuration.
    """
    given = shapes.get(f"{model.name}:{entry.name}", shapes.get(entry.name))
    if given is None and -1 in entry.dims:
        given = _warmup_dims(model, entry.name)
        if given is None:
            text = ",".join("?" if n < 0 else str(n) for n in entry.dims)
            raise ModelError(f"input {entry.name} has variable dimensions; give them as --shape {entry.name}:{text}")
    if given is None:
        return entry.dims
    if len(given) != len(entry.dims) or any(d not in (-1, n) for d, n in zip(entry.dims, given, strict=True)):
        raise ModelError(f"--shape {entry.name}:{_joined(given)} does not fit the model's dims {_joined(entry.dims)}")
    return given


def _warmup_dims(model: Model, name: str) -> tuple[int, ...] | None:
    """Find the lengths that the model's own warm-up sample uses: its author's word for a typical input."""
    for sample in (model.config or {}).get("model_warmup", []):
        dims = sample.get("inputs", {}).get(name, {}).get("dims")
        if dims and all(int(n) > 0 for n in dims):
            return tuple(int(n) for n in dims)
    return None


def _joined(dims: Sequence[int]) -> str:
    return ",".join(map(str, dims))


def _stack(model: Model, items: Sequence[Tensors]) -> Tensors:
    import numpy as np

    if not model.max_batch_size:
        return items[0]
    try:
        return {name: np.stack([item[name] for item in items]) for name in items[0]}
    except (ValueError, KeyError) as error:
        raise ModelError(f"the steps of the input data cannot be joined into one batch: {error}") from None


def _draw(generator: np.random.Generator, entry: Input, dims: tuple[int, ...]) -> np.ndarray[Any, Any]:
    import numpy as np

    kind = _numpy_type(entry)
    if kind == "object":
        letters = generator.integers(97, 123, size=(int(np.prod(dims)), _STRING_LENGTH), dtype=np.uint8)
        return np.array([row.tobytes() for row in letters], dtype=object).reshape(dims)
    if kind == "bool":
        return generator.integers(0, 2, size=dims).astype(bool)
    if kind.startswith("float"):
        return generator.random(size=dims, dtype=np.float32).astype(kind)
    return generator.integers(0, _INTEGERS_BELOW, size=dims).astype(kind)


def _numpy_type(entry: Input) -> str:
    kind = NUMPY_TYPES.get(entry.datatype)
    if kind is None:
        raise ModelError(
            f"input {entry.name} has the datatype {entry.datatype or 'unknown'}, which no request can carry"
        )
    return kind


def _known(name: str, by_name: Mapping[str, Input], model: Model, source: str) -> bool:
    if name not in by_name:
        raise ModelError(
            f"{source} has values for {name}, which {model.name} has not; its inputs: {', '.join(by_name)}"
        )
    return True


def _from_entry(
    entry: Entry, target: Input, model: Model, shapes: Mapping[str, tuple[int, ...]], source: str
) -> np.ndarray[Any, Any]:
    import numpy as np

    kind = _numpy_type(target)
    dims = entry.shape if entry.shape is not None else resolve_shape(model, target, shapes)
    try:
        if isinstance(entry.values, bytes):
            array = (
                np.array([entry.values], dtype=object)
                if kind == "object"
                else np.frombuffer(entry.values, dtype="uint16" if target.datatype == "BF16" else kind)
            )
        elif kind == "object":
            array = np.array([str(value).encode() for value in entry.values], dtype=object)
        else:
            array = np.array(entry.values, dtype=kind)
        return array.reshape(dims)
    except (ValueError, OverflowError, TypeError) as error:
        raise ModelError(
            f"{source}: the values of {target.name} do not fit {target.datatype} {list(dims)}: {error}"
        ) from None
