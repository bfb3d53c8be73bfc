"""Read and write the fits of several device types as one JSON file, checked against its JSON Schema both times."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from analyzer.errors import TritonpackError, UsageError
from analyzer.formats.files import write_whole
from analyzer.formats.json_keys import read_record, write_record
from planner.interference.fitted import INTERFERENCE_KEYS, Interference

SCHEMA_VERSION = "1.0"
_AGAIN = "write it with plan interference -o"


def to_json(fits: Iterable[Interference]) -> str:
    """Write fits as JSON text, ordered by device; one that does not follow the schema raises AssertionError."""
    ordered = sorted(fits, key=lambda fit: fit.device)
    document = {
        "schema_version": SCHEMA_VERSION,
        "devices": [write_record(fit, INTERFERENCE_KEYS) for fit in ordered],
    }
    fault = _first_fault(document)
    assert fault is None, fault
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def write_interference(fits: Iterable[Interference], path: str | Path) -> None:
    """Write the fits of several device types to a file, either completely or not at all.

    Raises
    ------
    TritonpackError
        If the file cannot be written.
    """
    text = to_json(fits)
    try:
        write_whole(Path(path), text)
    except OSError as error:
        raise TritonpackError(f"{path} cannot be written: {error.strerror}; give another file") from None


def read_interference(path: str | Path) -> dict[str, Interference]:
    """Read the fits of a file, by device type.

    Raises
    ------
    UsageError
        If the file cannot be read, is no JSON, has a newer major version of the schema, or does not follow it.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; {_AGAIN} {path}") from None
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}; {_AGAIN} {path}") from None
    version = document.get("schema_version") if isinstance(document, dict) else None
    if isinstance(version, str) and not version.startswith("1."):
        raise UsageError(f"{path} has schema version {version}; this tool reads 1.x: update it")
    fault = _first_fault(document, newer=isinstance(version, str) and version != SCHEMA_VERSION)
    if fault:
        raise UsageError(f"{path} is no file of interference: {fault}; {_AGAIN} {path}")
    fits = [read_record(Interference, found, INTERFERENCE_KEYS) for found in document["devices"]]
    return {fit.device: fit for fit in fits}


def _first_fault(document: object, *, newer: bool = False) -> str | None:
    """Say where a document does not follow the schema first; unknown keys of a `newer` 1.x are allowed."""
    from jsonschema import Draft202012Validator

    for error in Draft202012Validator(schema()).iter_errors(document):
        if newer and error.validator == "additionalProperties":
            continue
        where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path).lstrip(".")
        return f"{where or 'the document'}: {error.message[:200]}"
    devices = [found["device"] for found in document["devices"]] if isinstance(document, Mapping) else []
    twice = next((device for device in devices if devices.count(device) > 1), None)
    return None if twice is None else f"devices: {twice} is there twice"


@cache
def schema() -> Mapping[str, Any]:
    """Read the JSON Schema of files of interference."""
    found: Mapping[str, Any] = json.loads(files("planner").joinpath("data/interference.schema.json").read_text("utf-8"))
    return found
