"""Test the file of fits, its schema, and the text that shows them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from analyzer.errors import TritonpackError, UsageError
from analyzer.formats.json_document import schema
from analyzer.formats.json_keys import Key
from planner.interference.file import read_interference, to_json, write_interference
from planner.interference.fit import fit
from planner.interference.fitted import INTERFERENCE_KEYS, MODEL_COST_KEYS, Interference, ModelCost
from planner.interference.text import interference_text
from tests.builders.co_location import KnownModel


def fitted(contents: int = 30) -> Interference:
    """Return a fit of so many contents."""
    return fit(KnownModel(models=5, noise=0.05, seed=3).contents(contents), "GPU")


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Fits of several devices come back as they were, also the one that rests on nothing."""
    fits = [fitted(), Interference.uncalibrated("A100")]
    write_interference(fits, tmp_path / "interference.json")
    assert read_interference(tmp_path / "interference.json") == {fit.device: fit for fit in fits}


DEVICES = schema("planner", "data/interference.schema.json")["properties"]["devices"]["items"]
PARTS = [
    (Interference, INTERFERENCE_KEYS, DEVICES),
    (ModelCost, MODEL_COST_KEYS, DEVICES["properties"]["models"]["items"]),
]


@pytest.mark.parametrize(("record", "keys", "part"), PARTS)
def test_schema_keys_and_records_agree(record: type, keys: Sequence[Key], part: dict[str, Any]) -> None:
    """Each field of the record is a key with the types that the schema has, and each is required."""
    assert {key.argument for key in keys} == {field.name for field in fields(record)}
    assert part["required"] == [key.name for key in keys]
    for key in keys:
        types = part["properties"][key.name]["type"]
        assert set([types] if isinstance(types, str) else types) == set(key.form.types)


def of_version(version: str, **more: Any) -> dict[str, Any]:
    """Return a document of a schema version."""
    document: dict[str, Any] = json.loads(to_json([fitted()]))
    return {**document, "schema_version": version, **more}


def test_newer_file_with_other_keys_is_read(tmp_path: Path) -> None:
    """A file of version 1.7 may have keys that are unknown here; one of 1.0 may not, and 2.0 is not read."""
    path = tmp_path / "interference.json"
    path.write_text(json.dumps(of_version("1.7", more=1)))
    assert read_interference(path)["GPU"] == fitted()
    path.write_text(json.dumps(of_version("1.0", more=1)))
    with pytest.raises(UsageError, match="no file of interference"):
        read_interference(path)
    path.write_text(json.dumps(of_version("2.0")))
    with pytest.raises(UsageError, match=r"has schema version 2\.0"):
        read_interference(path)


def test_faults_of_a_file_are_said(tmp_path: Path) -> None:
    """A missing file, no JSON, a pressure below 0 and a device that is there twice are errors that name the place."""
    path = tmp_path / "interference.json"
    with pytest.raises(UsageError, match="cannot be read"):
        read_interference(path)
    path.write_text("{")
    with pytest.raises(UsageError, match="is no JSON"):
        read_interference(path)
    path.write_text("[]")
    with pytest.raises(UsageError, match="no file of interference"):
        read_interference(path)
    document = of_version("1.0")
    path.write_text(json.dumps({**document, "devices": document["devices"] * 2}))
    with pytest.raises(UsageError, match="GPU is there twice"):
        read_interference(path)
    document["devices"][0]["models"][0]["pressure"] = -1
    path.write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"devices\[0\]\.models\[0\]\.pressure"):
        read_interference(path)
    with pytest.raises(TritonpackError, match="cannot be written"):
        write_interference([], tmp_path / "none" / "file.json")


def test_text_says_who_presses_first() -> None:
    """The table begins with the model that presses hardest; margin, coverage and counts are below."""
    found = fitted()
    lines = interference_text([found]).splitlines()
    hardest = max(found.models, key=lambda cost: cost.pressure)
    header = next(i for i, line in enumerate(lines) if line.startswith("Model"))
    body = next(line for line in lines[header + 1 :] if line.startswith("m"))
    assert body.split()[:2] == [hardest.model, f"{hardest.pressure * 100:.1f}"]
    assert any(line.startswith(f"margin for 90 %: predicted x {found.margin:.3f}") for line in lines)
    assert f"measured: {found.contents} contents, {found.slow_downs} slow-downs" in lines


def test_text_says_what_is_uncalibrated() -> None:
    """Without measurements, and with too few, the text says so and prints no margin."""
    few = fitted(2)
    nothing = interference_text([Interference.uncalibrated("A100")])
    assert nothing.splitlines()[-1] == "uncalibrated: sums of busy shares; predictions have no margin"
    assert not few.calibrated
    assert "fewer than 9 slow-downs" in interference_text([few])
    assert "margin for" not in interference_text([few])
    assert interference_text([few, Interference.uncalibrated("A100")]).startswith("A100")
