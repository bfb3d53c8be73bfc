"""Placement files: written whole and only if they follow the schema, read only if they do."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from analyzer.errors import TritonpackError, UsageError
from analyzer.formats.files import write_whole
from planner.placement.document import Placement


def to_json(placement: Placement) -> str:
    """Write a placement as text, a GPU a line, so that it reads well and compares well line by line.

    A document that does not follow the schema is our own mistake and keeps its traceback.
    """
    fault = first_fault(placement)
    assert fault is None, fault
    parts = [f" {json.dumps(key)}: {_value(value)}" for key, value in placement.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def write_placement(placement: Placement, path: Path) -> None:
    """Write a placement file whole or not at all.

    Raises
    ------
    TritonpackError
        If the file cannot be written.
    """
    text = to_json(placement)
    try:
        write_whole(path, text)
    except OSError as error:
        raise TritonpackError(f"{path} cannot be written: {error.strerror}; give another file with -o") from None


def read_placement(path: Path) -> dict[str, Any]:
    """Read a placement file of this version of the schema or an earlier one.

    Raises
    ------
    UsageError
        If there is no such file, it is no JSON, of a newer schema, or does not follow it.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; make it with plan solve -o {path}") from None
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}; make it again with plan solve -o {path}") from None
    found = document.get("schema_version") if isinstance(document, dict) else None
    if isinstance(found, str) and not found.startswith("1."):
        raise UsageError(f"{path} has schema version {found}; this tool reads 1.x: update it")
    fault = first_fault(document)
    if fault:
        raise UsageError(f"{path} is no placement: {fault}; make it again with plan solve -o {path}")
    return dict(document)


def first_fault(document: object) -> str | None:
    """Say where a document leaves the schema; None where it follows it.

    GPUs that differ in nothing but their id are checked once: fleets have thousands of them.
    """
    from jsonschema import Draft202012Validator

    if isinstance(document, Mapping) and isinstance(document.get("gpus"), list):
        document = {**document, "gpus": list(_distinct(document["gpus"]))}
    for error in Draft202012Validator(_schema()).iter_errors(document):
        where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path).lstrip(".")
        return f"{where or 'the document'}: {error.message[:200]}"
    return None


@cache
def _schema() -> Mapping[str, Any]:
    schema: Mapping[str, Any] = json.loads(files("planner").joinpath("data/placement.schema.json").read_text("utf-8"))
    return schema


def _distinct(gpus: Iterable[object]) -> Iterable[object]:
    seen = set()
    for gpu in gpus:
        named = isinstance(gpu, Mapping) and isinstance(gpu.get("id"), str)
        key = json.dumps({**gpu, "id": ""} if named else gpu, sort_keys=True)  # type: ignore[dict-item]
        if key not in seen:
            seen.add(key)
            yield gpu


def _value(value: object) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"  {json.dumps(item, ensure_ascii=False)}" for item in value) + "\n ]"
    return json.dumps(value, ensure_ascii=False)
