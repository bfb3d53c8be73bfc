"""Placement files: written whole and valid, read only if valid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from analyzer.errors import UsageError
from planner.placement.file import first_fault, read_placement, to_json, write_placement


def minimal() -> dict[str, Any]:
    """The least that a placement says: the fields of the first version."""
    return {
        "schema_version": "1.0",
        "status": "optimal",
        "mode": "memory",
        "objective": {"gpus": 2, "lower_bound": 2, "gap": 0},
        "thresholds": {"memory_pct": 100, "utilization_pct": None, "memory_utilization_pct": None},
        "gpus": [
            {
                "id": f"gpu-{n}",
                "type": "T4",
                "memory_capacity_mib": 15000,
                "memory_mib": 1309,
                "utilization_pct": None,
                "memory_utilization_pct": None,
                "models": [
                    {
                        "name": "<script>",
                        "batch": 2,
                        "concurrency": 4,
                        "instances": 1,
                        "memory_mib": 1000,
                        "throughput_infer_per_s": None,
                    }
                ],
            }
            for n in range(2)
        ],
        "unplaced": [],
        "provenance": {"tool": "tritonpack", "tool_version": "0.1.0"},
    }


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """A file of the first version's fields alone is valid, and comes back as it was."""
    write_placement(minimal(), tmp_path / "placement.json")
    assert read_placement(tmp_path / "placement.json") == minimal()


def test_document_off_the_schema_is_refused(tmp_path: Path) -> None:
    """The message names the place; also where only a later one of like GPUs is wrong."""
    document = minimal()
    document["gpus"][1]["memory_mib"] = -1
    path = tmp_path / "placement.json"
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"gpus\[1\].memory_mib: -1 is less than the minimum"):
        read_placement(path)
    with pytest.raises(AssertionError):
        to_json(document)


def test_id_that_is_no_text_is_found_among_like_gpus() -> None:
    """Like GPUs are checked once, but not an id that is none."""
    document = minimal()
    document["gpus"][1]["id"] = 7
    assert first_fault(document) == "gpus[1].id: 7 is not of type 'string'"


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is no JSON"), ("[]", "is no placement"), ('{"schema_version": "2.0"}', "reads 1.x: update it")],
)
def test_foreign_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    """No JSON, another document, a newer major version."""
    path = tmp_path / "placement.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_placement(path)
