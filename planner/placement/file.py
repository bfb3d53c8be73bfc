"""Read and write placement files; every file is checked against the JSON Schema both times."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from analyzer.formats.json_document import JsonDocument, by_lines
from analyzer.formats.json_keys import TEXT, key, nested, read_record, several, word, write_record
from planner.formulation.candidates import Mode
from planner.formulation.rules import RULES_KEYS, Rules
from planner.inputs.demand import REQUIREMENT_KEYS, Requirement
from planner.interference.fitted import INTERFERENCE_KEYS, Interference
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

# 1.1: demand[].group_max; 1.2: gpus[].models[].predicted_slow_down, interference; 1.3: demand[].rates_by_hour...;
# 1.4: lengths and latencies of streams in demand[] and gpus[].models[]
SCHEMA_VERSION = "1.4"
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
    key("interference", several(nested(Interference, INTERFERENCE_KEYS)), absent=(), left_out=True),
    key("moves", several(nested(Move, MOVE_KEYS)), absent=None, left_out=True),
    key("provenance", nested(PlanProvenance, PROVENANCE_KEYS)),
)


def to_json(placement: Placement) -> str:
    """Write a placement as JSON text with one line for each GPU, so that two files can be compared line by line.

    A placement that does not follow the schema is a bug of this package and raises AssertionError.
    """
    document = write_record(placement, PLACEMENT_KEYS)
    return DOCUMENT.checked_text(document, by_lines(document))


def sha256(placement: Placement) -> str:
    """Return the SHA-256 of a placement as `to_json` writes it, by which a verification names it."""
    return hashlib.sha256(to_json(placement).encode()).hexdigest()


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
    DOCUMENT.write(to_json(placement), path)


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
    return from_document(DOCUMENT.read(path))


def from_document(document: Mapping[str, Any]) -> Placement:
    """Make a placement from a parsed JSON document that follows the schema."""
    fields: dict[str, Any] = read_record(dict, document, PLACEMENT_KEYS)
    if fields["rules"] is not None:
        objective = fields["objective"].kind
        fields["rules"] = Rules(**fields["rules"], mode=fields["mode"], objective=objective)
    return Placement(**fields)


def _shortened(document: object) -> object:
    """Return a document with only one of the GPUs that differ in their ids, because fleets have thousands of them."""
    if isinstance(document, Mapping) and isinstance(document.get("gpus"), list):
        return {**document, "gpus": list(_distinct(document["gpus"]))}
    return document


def _distinct(gpus: Iterable[object]) -> Iterable[object]:
    seen = set()
    for gpu in gpus:
        named = isinstance(gpu, Mapping) and isinstance(gpu.get("id"), str)
        content = json.dumps({**gpu, "id": ""} if named else gpu, sort_keys=True)  # type: ignore[dict-item]
        if content not in seen:
            seen.add(content)
            yield gpu


DOCUMENT = JsonDocument(
    name="placement",
    package="planner",
    schema_file="data/placement.schema.json",
    version=SCHEMA_VERSION,
    made_with="plan solve -o",
    shortened=_shortened,
)
