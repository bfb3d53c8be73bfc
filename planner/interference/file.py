"""Read and write the fits of several device types as one JSON file, checked against its JSON Schema both times."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from analyzer.errors import UsageError
from analyzer.formats.json_document import JsonDocument
from analyzer.formats.json_keys import read_record, write_record
from planner.interference.fitted import INTERFERENCE_KEYS, Interference

SCHEMA_VERSION = "1.0"
DOCUMENT = JsonDocument(
    name="file of interference",
    package="planner",
    schema_file="data/interference.schema.json",
    version=SCHEMA_VERSION,
    made_with="plan interference -o",
)


def to_json(fits: Iterable[Interference]) -> str:
    """Write fits as JSON text, ordered by device; one that does not follow the schema raises AssertionError."""
    ordered = sorted(fits, key=lambda fit: fit.device)
    document = {
        "schema_version": SCHEMA_VERSION,
        "devices": [write_record(fit, INTERFERENCE_KEYS) for fit in ordered],
    }
    twice = _device_twice(document)
    assert twice is None, twice
    return DOCUMENT.checked_text(document, json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def write_interference(fits: Iterable[Interference], path: str | Path) -> None:
    """Write the fits of several device types to a file, either completely or not at all.

    Raises
    ------
    TritonpackError
        If the file cannot be written.
    """
    DOCUMENT.write(to_json(fits), path)


def read_interference(path: str | Path) -> dict[str, Interference]:
    """Read the fits of a file, by device type.

    Raises
    ------
    UsageError
        If the file cannot be read, is no JSON, has a newer major version of the schema, or does not follow it.
    """
    document = DOCUMENT.read(path)
    twice = _device_twice(document)
    if twice is not None:
        raise UsageError(f"{path} is no {DOCUMENT.name}: devices: {twice} is there twice")
    fits = [read_record(Interference, found, INTERFERENCE_KEYS) for found in document["devices"]]
    return {fit.device: fit for fit in fits}


def _device_twice(document: Mapping[str, Any]) -> str | None:
    devices = [found["device"] for found in document["devices"]]
    return next((device for device in devices if devices.count(device) > 1), None)
