"""Test that the JSON Schema of placement files and the records agree: keys, types and required keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Any

import pytest

from analyzer.formats.json_document import schema
from analyzer.formats.json_keys import REQUIRED, Key
from planner.formulation.rules import RULES_KEYS, Rules
from planner.inputs.demand import REQUIREMENT_KEYS, Requirement
from planner.inputs.fleet import Scaling
from planner.interference import fitted
from planner.placement import document as records
from planner.placement import placed_gpu
from planner.placement.file import PLACEMENT_KEYS
from tests.builders.json_schema import objects

RECORDS: list[tuple[type, Sequence[Key]]] = [
    (records.Placement, PLACEMENT_KEYS),
    (records.ObjectiveReached, records.OBJECTIVE_KEYS),
    (records.CountedThresholds, records.THRESHOLD_KEYS),
    (placed_gpu.PlacedGpu, placed_gpu.GPU_KEYS),
    (placed_gpu.PlacedModel, placed_gpu.MODEL_KEYS),
    (placed_gpu.SlicePosition, placed_gpu.SLICE_KEYS),
    (placed_gpu.GpuGeometry, placed_gpu.GEOMETRY_KEYS),
    (placed_gpu.PlacedSlice, placed_gpu.PLACED_SLICE_KEYS),
    (records.UnplacedModel, records.UNPLACED_KEYS),
    (records.GpuTypeInUse, records.GPU_TYPE_KEYS),
    (Scaling, records.SCALING_KEYS),
    (Requirement, REQUIREMENT_KEYS),
    (Rules, RULES_KEYS),
    (fitted.Interference, fitted.INTERFERENCE_KEYS),
    (fitted.ModelCost, fitted.MODEL_COST_KEYS),
    (records.Move, records.MOVE_KEYS),
    (records.PlanProvenance, records.PROVENANCE_KEYS),
    (records.SearchUsed, records.SEARCH_KEYS),
]
ELSEWHERE = {  # fields of a record that the file has in another place
    records.ObjectiveReached: {"within_moves"},  # in the text of bound_source
    records.GpuTypeInUse: {"thresholds"},  # what the mode counts of them, as `counted`
    Rules: {"mode", "objective"},  # in the placement itself
}


OPEN = {"placement", "placement.provenance", "placement.provenance.search"}  # objects in which other tools may add keys
OBJECTS = list(objects(PLACEMENT_KEYS, schema("planner", "data/placement.schema.json"), "placement"))


@pytest.mark.parametrize(("where", "keys", "part"), OBJECTS, ids=[where for where, _, _ in OBJECTS])
def test_schema_says_of_each_object_what_the_records_say(
    where: str, keys: Sequence[Key], part: Mapping[str, Any]
) -> None:
    """Schema and record have the same keys, the same required keys, and the same types."""
    assert part["properties"].keys() == {key.name for key in keys}
    assert part.get("additionalProperties", True) is (where in OPEN)
    assert set(part["required"]) == {key.name for key in keys if key.absent is REQUIRED}
    for key in keys:
        found = part["properties"][key.name]
        if "enum" in key.form.types:
            values = {None} if "null" in key.form.types else set()
            assert set(found["enum"]) - {None} == set(key.form.words), f"{where}.{key.name}"
            assert set(found["enum"]) & {None} == values, f"{where}.{key.name}"
        elif "enum" in found:
            assert key.form.types == ("string",), f"{where}.{key.name}"
        else:
            types = found["type"] if isinstance(found["type"], list) else [found["type"]]
            assert set(types) == set(key.form.types), f"{where}.{key.name}"


def test_every_object_of_the_schema_has_a_record() -> None:
    """Every object of the schema is read into a record."""
    assert {tuple(keys) for _, keys, _ in OBJECTS} == {tuple(keys) for _, keys in RECORDS}


@pytest.mark.parametrize(("record", "keys"), RECORDS, ids=[record.__name__ for record, _ in RECORDS])
def test_every_field_of_a_record_is_in_the_file(record: type, keys: Sequence[Key]) -> None:
    """Every field is written; a key that may be absent from a file has the record's default."""
    read = {key.argument: key for key in keys if key.argument}
    declared = {field.name: field for field in fields(record)}
    assert declared.keys() == read.keys() | ELSEWHERE.get(record, set())
    for name, key in read.items():
        if key.absent is REQUIRED:
            continue
        default = declared[name].default
        assert default is MISSING or key.absent == default, f"{record.__name__}.{name}"
