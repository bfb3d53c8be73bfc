"""Build the arrays of a model's requests, in its inputs' shapes and types, from random or real values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analyzer.errors import ModelError
from analyzer.load.input_data import InputData, TensorValues
from analyzer.load.prompts import PromptInputs

if TYPE_CHECKING:
    import numpy as np

    from analyzer.models.repository import Input, Model

    Array = np.ndarray[Any, Any]
    Tensors = Mapping[str, Array]

NUMPY_TYPES = {  # Triton's datatypes, from the KServe v2 protocol
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
    "BF16": "uint16",  # numpy has no such type: the upper half of a float32
    "BYTES": "object",
}
_STRING_LENGTH = 16
_INTEGERS_BELOW = 128  # valid in every integer type, and as token ids in any vocabulary


def build_steps(
    model: Model,
    batch: int,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    data: InputData | None = None,
    seed: int = 0,
    prompts: PromptInputs | None = None,
) -> list[list[Tensors]]:
    """Build a model's requests: streams of steps, each with one array per input.

    Parameters
    ----------
    model : Model
        Its configuration must be complete; see `repository.completed`.
    batch : int
        First dimension of every array, for a model that batches. A request then holds `batch` consecutive steps of
        the data; after the last step of a stream follows its first. For a model that keeps state, a request holds one
        step, repeated `batch` times.
    shapes : mapping of str to tuple of int
        For inputs with variable dimensions, by name or ``model:name``, without the batch dimension.
    data : InputData or None
        Real values; None for random ones: floats in [0, 1), integers from 0 to 127.
    prompts : PromptInputs, optional
        Values of a language model's inputs, which win over the others.

    Raises
    ------
    ModelError
        If a variable dimension has no length, or the data do not fit an input.
    """
    import numpy as np

    asked, defaults = (prompts.asked, prompts.defaults) if prompts is not None else ({}, {})
    if data is None:
        generator = np.random.default_rng(seed)
        drawn = [i for i in model.inputs if not i.optional and i.name not in asked]
        required = [(i, resolve_shape(model, i, shapes)) for i in drawn]
        random = [{i.name: _draw(generator, i, dims) for i, dims in required} for _ in range(batch)]
        return [[_stack(model, [{**defaults, **item, **asked} for item in random])]]
    streams = [
        [{**defaults, **_convert_step(step, model, shapes), **asked} for step in stream] for stream in data.streams
    ]
    if model.sequence:
        return [[_stack(model, [step] * batch) for step in stream] for stream in streams]
    return [
        [
            _stack(model, [steps[(first + i) % len(steps)] for i in range(batch)])
            for first in range(0, len(steps), batch)
        ]
        for steps in streams
    ]


def resolve_shape(model: Model, entry: Input, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return an input's dimensions; variable ones get their length from `shapes`, else from the model's warm-up sample.

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
            raise ModelError(
                f"input {entry.name} has variable dimensions; give them with `shapes`, as {entry.name}:{text}"
            )
    if given is None:
        return entry.dims
    if not _fits(given, entry.dims):
        raise ModelError(
            f"`shapes` has {entry.name}:{_joined(given)}, which does not fit the model's dims {_joined(entry.dims)}"
        )
    return given


def _fits(shape: Sequence[int], dims: Sequence[int]) -> bool:
    return len(shape) == len(dims) and all(d in (-1, n) for d, n in zip(dims, shape, strict=True))


def _warmup_dims(model: Model, name: str) -> tuple[int, ...] | None:
    """Return the dimensions in the model's own warm-up sample, which stands for a typical input."""
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
    for name, first in items[0].items():
        for item in items:
            if item.keys() != items[0].keys():
                raise ModelError("the steps of the input data have different inputs, so they cannot share a batch")
            if item[name].shape != first.shape:
                raise ModelError(
                    f"the steps of the input data have {name} as {list(first.shape)} and as {list(item[name].shape)}, "
                    "so they cannot share a batch"
                )
    return {name: np.stack([item[name] for item in items]) for name in items[0]}


def _draw(generator: np.random.Generator, entry: Input, dims: tuple[int, ...]) -> Array:
    import numpy as np

    kind = _numpy_type(entry)
    if kind == "object":
        letters = generator.integers(97, 123, size=(math.prod(dims), _STRING_LENGTH), dtype=np.uint8)
        return _of_bytes([row.tobytes() for row in letters]).reshape(dims)
    if kind == "bool":
        return generator.integers(0, 2, size=dims).astype(bool)
    if entry.datatype == "BF16":
        return _upper_halves(generator.random(size=dims, dtype=np.float32))
    if kind.startswith("float"):
        return generator.random(size=dims, dtype=np.float32).astype(kind)
    return generator.integers(0, _INTEGERS_BELOW, size=dims).astype(kind)


def _numpy_type(entry: Input) -> str:
    kind = NUMPY_TYPES.get(entry.datatype)
    if kind is None:
        raise ModelError(f"input {entry.name} has the datatype {entry.datatype or 'unknown'}; no request can carry it")
    return kind


def _upper_halves(values: Array) -> Array:
    """Cut float32 to BF16, rounded towards zero as tritonclient and Triton's tests do."""
    return (values.view("uint32") >> 16).astype("uint16")


def _of_bytes(elements: list[bytes]) -> Array:
    import numpy as np

    array = np.empty(len(elements), dtype=object)  # np.array would cut elements at a zero byte
    array[:] = elements
    return array


def _convert_step(step: Mapping[str, TensorValues], model: Model, shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
    inputs = {entry.name: entry for entry in model.inputs}
    for name, entry in step.items():
        if name not in inputs:
            raise ModelError(f"{entry.where}: {model.name} has no input {name}; it has {', '.join(inputs)}")
    missing = [name for name, target in inputs.items() if not target.optional and name not in step]
    if missing:
        where = next(iter(step.values())).where.rpartition(".")[0]
        raise ModelError(f"{where or 'the input data'} has no values for {', '.join(missing)} of {model.name}")
    return {name: _convert(entry, inputs[name], model, shapes) for name, entry in step.items()}


def _convert(entry: TensorValues, target: Input, model: Model, shapes: Mapping[str, tuple[int, ...]]) -> Array:
    """Convert values to an array of their input's type and shape."""
    dims = _dims(entry, target, model, shapes)
    try:
        return _elements(entry, target).reshape(dims)
    except (ValueError, OverflowError, TypeError) as error:
        raise ModelError(f"{entry.where} does not fit {target.datatype} {list(dims)}: {error}") from None


def _dims(entry: TensorValues, target: Input, model: Model, shapes: Mapping[str, tuple[int, ...]]) -> tuple[int, ...]:
    if entry.shape is not None:
        if not _fits(entry.shape, target.dims):
            raise ModelError(f"{entry.where}.shape {list(entry.shape)} does not fit the model's {list(target.dims)}")
        return entry.shape
    try:
        return resolve_shape(model, target, shapes)
    except ModelError:
        if target.dims.count(-1) == 1:
            return target.dims  # reshape derives the variable one from the number of values
        raise


def _elements(entry: TensorValues, target: Input) -> Array:
    import numpy as np

    kind = _numpy_type(target)
    if isinstance(entry.values, bytes):
        if kind == "object":
            return _of_bytes(entry.values.splitlines() if entry.text_lines else _counted(entry.values))
        return np.frombuffer(entry.values, dtype=np.dtype(kind).newbyteorder("<"))
    if kind == "object":
        return _of_bytes([_text(value) for value in entry.values])
    _check_numbers(entry.values, "float" if target.datatype == "BF16" else kind)
    if target.datatype == "BF16":
        return _upper_halves(np.array(entry.values, dtype="float32"))
    return np.array(entry.values, dtype=kind)


def _counted(data: bytes) -> list[bytes]:
    """Split the bytes of an input of type BYTES into its elements; each follows its length in 4 bytes."""
    elements, position = [], 0
    while position < len(data):
        start = position + 4
        position = start + int.from_bytes(data[position:start], "little")
        if position > len(data):
            raise ValueError("an element ends after the data; each needs its length in 4 bytes before it")
        elements.append(data[start:position])
    return elements


def _text(value: Any) -> bytes:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a string")
    return value.encode()


def _check_numbers(values: Sequence[Any], kind: str) -> None:
    """Reject what numpy would convert silently: fractions and overflows of integers, booleans and null as numbers."""
    import numpy as np

    if kind == "bool":
        wrong = next((v for v in values if v not in (0, 1)), None)
        text = "is neither true nor false"
    elif kind.startswith("float"):
        wrong = next((v for v in values if type(v) not in (int, float)), None)
        text = "is not a number"
    else:
        low, high = int(np.iinfo(kind).min), int(np.iinfo(kind).max)
        wrong = next((v for v in values if type(v) is not int or not low <= v <= high), None)
        text = f"is not an integer from {low} to {high}"
    if wrong is not None or None in values:
        raise ValueError(f"{'null' if wrong is None else repr(wrong)} {text}")
