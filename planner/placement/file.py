"""Read and write placement files; every file is checked against the JSON Schema both times."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from analyzer.errors import TritonpackError, UsageError
from analyzer.formats.files import write_whole
from analyzer.formats.json_keys import TEXT, key, nested, read_record, several, word, write_record
from planner.formulation.candidates import Mode
from planner.formulation.rules import RULES_KEYS, Rules
from planner.inputs.demand import REQUIREMENT_KEYS, Requirement
from planner.placement.document import (
    GPU_TYPE,
    MOVE_KEYS,
    OBJECTIVE,
    PROVENANCE_KEYS,
    THRESHOLD_KEYS,
    UNPLACED_KEYS,
    CountedThresholds,
    Move,
    Placement,
    PlanProvenance,
    UnplacedModel,
)
from planner.placement.placed_gpu import GPU_KEYS, PlacedGpu
from planner.problem.plan import Status

SCHEMA_VERSION = "1.1"  # 1.1: demand[].group_max
PLACEMENT_KEYS = (
    key("schema_version", TEXT),
    key("status", word(Status)),
    key("mode", word(Mode)),
    key("objective", OBJECTIVE),
    key("thresholds", nested(CountedThresholds, THRESHOLD_KEYS)),
    key("gpus", several(nested(PlacedGpu, GPU_KEYS))),
    key("unplaced", several(nested(UnplacedModel, UNPLACED_KEYS))),
    key("gpu_types", several(GPU_TYPE), absent=(), left_out=True),
    key("demand", several(nested(Requirement, REQUIREMENT_KEYS)), absent=(), left_out=True),
    key("rules", nested(dict, RULES_KEYS), absent=None, left_out=True),
    key("moves", several(nested(Move, MOVE_KEYS)), absent=None, left_out=True),
    key("provenance", nested(PlanProvenance, PROVENANCE_KEYS)),
)


def to_json(placement: Placement) -> str:
    """Write a placement as JSON text with one line for each GPU, so that two files can be compared line by line.

    A placement that does not follow the schema is a bug of this package and raises AssertionError.
    """
    document = write_record(placement, PLACEMENT_KEYS)
    fault = first_fault(document)
    assert fault is None, fault
    parts = [f" {json.dumps(name)}: {_lines(value)}" for name, value in document.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def write_placement(placement: Placement, path: str | Path) -> None:
    """Write a placement file, either completely or not at all.

    Raises
    ------
    TritonpackError
        If the file cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from planner import plan, read_placement, write_placement
    >>> result = plan("tests/data/case-study.csv", gpu_memory_mib=16384)
    >>> with TemporaryDirectory() as folder:
    ...     write_placement(result.placement, f"{folder}/placement.json")
    ...     read_placement(f"{folder}/placement.json") == result.placement
    True
    """
    text = to_json(placement)
    try:
        write_whole(Path(path), text)
    except OSError as error:
        raise TritonpackError(f"{path} cannot be written: {error.strerror}; give another file with `output`") from None


def read_placement(path: str | Path) -> Placement:
    """Read a placement file of this version of the schema or an earlier one.

    Raises
    ------
    UsageError
        If the file cannot be read, is no JSON, has a newer major version of the schema, or does not follow it.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from planner import plan, read_placement, write_placement
    >>> result = plan("tests/data/case-study.csv", gpu_memory_mib=16384, mode="memory")
    >>> with TemporaryDirectory() as folder:
    ...     write_placement(result.placement, f"{folder}/placement.json")
    ...     placement = read_placement(f"{folder}/placement.json")
    >>> placement.gpus[0].type, len(placement.gpus), placement.objective.lower_bound
    ('16-GB GPU', 4, 4)
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; make it with plan solve -o {path}") from None
    except ValueError as error:
        raise UsageError(f"{path} is no JSON: {error}; make it again with plan solve -o {path}") from None
    found = document.get("schema_version") if isinstance(document, dict) else None
    if isinstance(found, str) and not found.startswith("1."):
        raise UsageError(f"{path} has schema version {found}; this tool reads 1.x: update it")
    fault = first_fault(document, newer=_is_newer(found))
    if fault:
        raise UsageError(f"{path} is no placement: {fault}; make it again with plan solve -o {path}")
    return from_document(document)


def from_document(document: Mapping[str, Any]) -> Placement:
    """Make a placement from a parsed JSON document that follows the schema."""
    fields: dict[str, Any] = read_record(dict, document, PLACEMENT_KEYS)
    if fields["rules"] is not None:
        objective = fields["objective"].kind
        fields["rules"] = Rules(**fields["rules"], mode=fields["mode"], objective=objective)
    return Placement(**fields)


def _is_newer(version: object) -> bool:
    minor = version.removeprefix("1.") if isinstance(version, str) else ""
    return minor.isdecimal() and int(minor) > int(SCHEMA_VERSION.removeprefix("1."))


def first_fault(document: object, *, newer: bool = False) -> str | None:
    """Say where a document does not follow the schema first; None where it follows it.

    A file of a `newer` 1.x may have keys that are unknown here; they are ignored when it is read. GPUs that differ only
    in their id are checked once, because fleets have thousands of them.
    """
    from jsonschema import Draft202012Validator

    if isinstance(document, Mapping) and isinstance(document.get("gpus"), list):
        document = {**document, "gpus": list(_distinct(document["gpus"]))}
    for error in Draft202012Validator(schema()).iter_errors(document):
        if newer and error.validator == "additionalProperties":
            continue
        where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path).lstrip(".")
        return f"{where or 'the document'}: {error.message[:200]}"
    return None


@cache
def schema() -> Mapping[str, Any]:
    """Read the JSON Schema of placement files."""
    found: Mapping[str, Any] = json.loads(files("planner").joinpath("data/placement.schema.json").read_text("utf-8"))
    return found


def _distinct(gpus: Iterable[object]) -> Iterable[object]:
    seen = set()
    for gpu in gpus:
        named = isinstance(gpu, Mapping) and isinstance(gpu.get("id"), str)
        content = json.dumps({**gpu, "id": ""} if named else gpu, sort_keys=True)  # type: ignore[dict-item]
        if content not in seen:
            seen.add(content)
            yield gpu


def _lines(value: object) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"  {json.dumps(item, ensure_ascii=False)}" for item in value) + "\n ]"
    return json.dumps(value, ensure_ascii=False)
