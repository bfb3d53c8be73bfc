"""Read real inputs from a file or a folder, in perf_analyzer's formats."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyzer.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorValues:
    """The values of one input in one step.

    Parameters
    ----------
    values : sequence or bytes
        Flat in row-major order; bytes are little-endian, with each element of BYTES after its length in 4 bytes.
    shape : tuple of int or None
        None where the file gives none.
    where : str
        Where the values were read from, for messages.
    text_lines : bool
        Whether bytes for an input of type BYTES are text with one element per line.
    """

    values: Sequence[Any] | bytes
    shape: tuple[int, ...] | None
    where: str
    text_lines: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class InputData:
    """Real inputs: streams of steps, each step with the values of every input.

    A plain list of steps in a file is one stream; several streams are sequences, for models that keep state.
    """

    source: str
    streams: tuple[tuple[Mapping[str, TensorValues], ...], ...]

    @property
    def digest(self) -> str:
        """SHA-256 over the values and shapes, independent of where they were read from."""
        content = [[[(n, e.values, e.shape) for n, e in step.items()] for step in stream] for stream in self.streams]
        return hashlib.sha256(repr(content).encode()).hexdigest()


def read_input_data(path: Path) -> InputData:
    """Read perf_analyzer's JSON, or a folder with one raw file per input, named after it.

    Source of the format: perf_analyzer's documentation, "Input Data". As there, a folder's file for an input of type
    BYTES is text with one element per line.

    Raises
    ------
    UsageError
        If `path` cannot be read or has another format; the message names the place in it.
    """
    try:
        return _read_folder(path) if path.is_dir() else _read_json(path)
    except OSError as error:
        raise UsageError(f"`input_data` {error.filename or path} cannot be read: {error.strerror}") from None


def _read_folder(path: Path) -> InputData:
    files = [file for file in sorted(path.iterdir()) if file.is_file() and not file.name.startswith(".")]
    if not files:
        raise UsageError(f"`input_data` {path} holds no file; put one named after each input in it")
    step = {f.name: TensorValues(values=f.read_bytes(), shape=None, where=str(f), text_lines=True) for f in files}
    return InputData(source=str(path), streams=((step,),))


def _read_json(path: Path) -> InputData:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise UsageError(f"`input_data` {path} is not JSON: too deeply nested") from None
    except ValueError as error:
        raise UsageError(f"`input_data` {path} is not JSON: {error}") from None
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list) or not data:
        raise UsageError(f'`input_data` {path} needs a list "data" with at least one entry')
    if all(isinstance(stream, list) for stream in data):
        streams = [
            tuple(_read_step(step, f"{path}: data[{i}][{j}]") for j, step in enumerate(stream))
            for i, stream in enumerate(data)
        ]
        for i, stream in enumerate(streams):
            if not stream:
                raise UsageError(f"{path}: data[{i}] is an empty sequence; give it a step or leave it out")
    else:
        streams = [tuple(_read_step(step, f"{path}: data[{i}]") for i, step in enumerate(data))]
    return InputData(source=str(path), streams=tuple(streams))


def _read_step(step: Any, where: str) -> dict[str, TensorValues]:
    if not isinstance(step, dict) or not step:
        raise UsageError(f'{where} is not an object of inputs, such as {{"INPUT": [1, 2]}}')
    return {name: _read_values(value, f"{where}.{name}") for name, value in step.items()}


def _read_values(value: Any, where: str) -> TensorValues:
    shape = None
    if isinstance(value, dict) and "content" in value:
        shape = _read_shape(value.get("shape"), f"{where}.shape")
        value = value["content"]
    if isinstance(value, dict):
        return TensorValues(values=_read_base64(value, where), shape=shape, where=where)
    values = _flatten(value) if isinstance(value, list) else [value]
    return TensorValues(values=values, shape=shape, where=where)


def _read_shape(shape: Any, where: str) -> tuple[int, ...] | None:
    if shape is None:
        return None
    if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
        raise UsageError(f"{where} is {shape!r}; give a list of lengths, such as [3, 224]")
    return tuple(shape)


def _read_base64(value: dict[str, Any], where: str) -> bytes:
    if set(value) != {"b64"}:
        raise UsageError(f'{where} has the keys {", ".join(map(repr, value))}; give a list, {{"b64": …}} or "content"')
    try:
        return base64.b64decode(value["b64"], validate=True)
    except (ValueError, TypeError):
        raise UsageError(f"{where}.b64 is not base64") from None


def _flatten(values: list[Any]) -> list[Any]:
    if not any(isinstance(value, list) for value in values):
        return values
    return [leaf for value in values for leaf in (_flatten(value) if isinstance(value, list) else [value])]
