"""Test verification files: the schema and the records agree, what is written is read back, and tables have all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analyzer.errors import UsageError
from analyzer.formats.json_document import schema
from analyzer.formats.json_keys import REQUIRED, Key
from planner.formulation.candidates import Mode
from planner.verification.compare import compare
from planner.verification.document import (
    VERIFICATION_KEYS,
    NotTried,
    Verdict,
    Verification,
    VerificationProvenance,
    worst,
)
from planner.verification.file import CSV_FILE, JSON_FILE, read_verification, write_verification
from planner.verification.text import verification_text
from tests.builders.json_schema import objects
from tests.builders.measured_contents import expectations, figures, measured, placement

PLAN = placement()
FOUND = Verification(
    schema_version="1.0",
    mode=Mode.THROUGHPUT,
    verdict=Verdict.MISSES,
    contents=(compare(measured(PLAN, a=figures("a", served=80.0)), expectations(PLAN)),),
    not_tried=(NotTried(gpus=("gpu-1", "gpu-2"), reason="left out by `most`"),),
    provenance=VerificationProvenance(
        tool="tritonpack",
        tool_version="0.1.0",
        placement_sha256="0" * 64,
        devices=("Tesla T4",),
        server="2.51.0",
        precision_pct=5.0,
        max_trial_s=15.0,
        seed=0,
        calibrated=False,
    ),
)


OBJECTS = list(objects(VERIFICATION_KEYS, schema("planner", "data/verification.schema.json"), "verification"))


@pytest.mark.parametrize(("where", "keys", "part"), OBJECTS, ids=[where for where, _, _ in OBJECTS])
def test_schema_says_of_each_object_what_the_records_say(
    where: str, keys: Sequence[Key], part: Mapping[str, Any]
) -> None:
    """Schema and record have the same keys, the same required keys, and the same words and types."""
    assert part["properties"].keys() == {key.name for key in keys}
    assert set(part["required"]) == {key.name for key in keys if key.absent is REQUIRED}
    for key in keys:
        found = part["properties"][key.name]
        if "enum" in key.form.types:
            assert set(found["enum"]) - {None} == set(key.form.words), f"{where}.{key.name}"
        else:
            types = found["type"] if isinstance(found["type"], list) else [found["type"]]
            assert set(types) == set(key.form.types), f"{where}.{key.name}"


def test_files_are_written_and_read_back(tmp_path: Path) -> None:
    """The JSON file is read as it was written, to six decimals, and the CSV file has a row for each model."""
    write_verification(FOUND, tmp_path)
    again = read_verification(tmp_path / JSON_FILE)
    write_verification(again, tmp_path)
    assert read_verification(tmp_path / JSON_FILE) == again
    assert again.contents[0].models[0].served_infer_per_s == 80.0
    assert again.not_tried == FOUND.not_tried
    header, *rows = (tmp_path / CSV_FILE).read_text().splitlines()
    assert {"gpu", "gpu_verdict", "served_infer_per_s", "slow_down"} <= set(header.split(","))
    assert len(rows) == 2


def test_file_against_the_schema_is_refused(tmp_path: Path) -> None:
    """A file of another kind, or with a wrong figure, is refused with the place of the fault."""
    path = tmp_path / JSON_FILE
    path.write_text("{}")
    with pytest.raises(UsageError, match="is no verification"):
        read_verification(path)
    write_verification(FOUND, tmp_path)
    document = json.loads(path.read_text())
    document["contents"][0]["models"][0]["errors"] = "none"
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"contents\[0\].models\[0\].errors"):
        read_verification(path)


def test_text_says_what_misses_and_what_was_not_tried() -> None:
    """The first line has the verdict; below the tables a line for each model that misses and each GPU not tried."""
    text = verification_text(FOUND)
    assert text.startswith("the plan does not hold on 1 GPU: 1 GPU in 1 content measured; 2 GPUs not tried")
    assert "gpu-0, a: 80.0 of 100 infer/s are served" in text
    assert "not tried: gpu-1 and 1 more: left out by `most`" in text
    holds = replace(FOUND, verdict=Verdict.HOLDS, mode=Mode.MEMORY)
    assert verification_text(holds).startswith("the plan holds by memory, which is all that it promises")
    assert verification_text(replace(FOUND, contents=())).startswith("nothing of the plan was measured")


def test_worst_verdict_is_that_of_the_whole() -> None:
    """A miss is worse than a drifted host, that than what was not measured, and noise worse than what holds."""
    assert worst(Verdict) is Verdict.MISSES
    assert worst([Verdict.HOLDS, Verdict.WITHIN_NOISE]) is Verdict.WITHIN_NOISE
    assert worst([]) is Verdict.HOLDS
