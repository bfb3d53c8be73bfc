"""Parse and write a config.pbtxt: a model configuration, in the JSON form of Triton's load API."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from analyzer.formats.suggestions import suggest

CONFIG_FILE = "config.pbtxt"


def parse_config(text: str) -> dict[str, Any]:
    """Parse a config.pbtxt into the JSON form of Triton's load API.

    Raises
    ------
    ValueError
        If the text is not a model configuration; the message names line and key.
    """
    from google.protobuf import text_format

    message = _model_config_pb2().ModelConfig()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        where = f"line {error.GetLine()}: " if error.GetLine() else ""
        raise ValueError(where + _explain(str(error).partition(" : ")[2], message)) from None
    return _as_json(message)


def config_text(config: Mapping[str, Any]) -> str:
    """Write a model configuration as config.pbtxt; `parse_config` reads the same from it.

    Raises
    ------
    ValueError
        If it has a key or a value that a model configuration does not have.
    """
    from google.protobuf import json_format, text_format

    try:
        message = json_format.ParseDict(config, _model_config_pb2().ModelConfig())
    except json_format.ParseError as error:
        raise ValueError(str(error).replace("\n", " ")) from None
    return str(text_format.MessageToString(message))


def _explain(text: str, message: Any) -> str:
    """Return protobuf's error message in one line; for an unknown key, with the nearest known one."""
    unknown = re.match(r'Message type "([\w.]+)" has no field named "(\w+)"', text)
    if unknown is None:
        return text.replace("\n", " ")
    fields = message.DESCRIPTOR.file.pool.FindMessageTypeByName(unknown[1]).fields_by_name
    return f"unknown key '{unknown[2]}'; {suggest(unknown[2], fields)}"


@cache
def _model_config_pb2() -> Any:
    """Load only tritonclient's message types; their package would import grpc, which starts threads and takes 0.1 s."""
    package = importlib.util.find_spec("tritonclient")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("tritonclient")
    file = Path(package.submodule_search_locations[0], "grpc", "model_config_pb2.py")
    spec = importlib.util.spec_from_file_location("model_config_pb2", file)
    assert spec is not None and spec.loader is not None  # noqa: S101 - a .py file always has them
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _as_json(message: Any) -> dict[str, Any]:
    """Convert as protobuf's MessageToDict does, but keep 64-bit integers as numbers, as Triton's answers do."""
    plain: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            entry = field.message_type.fields_by_name["value"]
            plain[field.name] = {key: _as_plain(entry, value[key]) for key in value}
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            plain[field.name] = [_as_plain(field, item) for item in value]
        else:
            plain[field.name] = _as_plain(field, value)
    return plain


def _as_plain(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return _as_json(value)
    return field.enum_type.values_by_number[value].name if field.enum_type is not None else value
