"""Test the export for nvidia-mig-parted, against its specification (api/spec/v1: unknown keys are errors)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from analyzer.errors import UsageError
from planner.export.inventory import RealGpu
from planner.export.mig_parted import export
from planner.export.place_servers import serving_plan
from planner.export.settings import ExportSettings
from tests.builders.placements import gpu, model, placement

SETTINGS = ExportSettings(to="mig-parted", output=Path("unused"), namespace="gpu-operator")
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["version", "mig-configs"],
    "properties": {
        "version": {"const": "v1"},
        "mig-configs": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["devices", "mig-enabled"],
                    "properties": {
                        "device-filter": {"type": ["string", "array"]},
                        "devices": {"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "integer"}}]},
                        "mig-enabled": {"type": "boolean"},
                        "mig-devices": {
                            "type": "object",
                            "propertyNames": {"pattern": r"^\d+g\.\d+gb(\+[a-z.]+)?$"},
                            "additionalProperties": {"type": "integer", "minimum": 0},
                        },
                    },
                },
            },
        },
    },
}


def cut(number: int, *slices: tuple[str, int], gpu_type: str = "A100-40GB") -> dict[str, Any]:
    """Make a GPU that is cut into these slices, with a model on each."""
    models = [model(f"m{start}", 100, slice={"profile": profile, "start": start}) for profile, start in slices]
    figures = {"memory_capacity_mib": 4864, "memory_mib": 400, "utilization_pct": 20}
    geometry = [{"profile": profile, "start": start, **figures} for profile, start in slices]
    return {**gpu(number, *models), "type": gpu_type, "geometry": {"name": "cut", "slices": geometry}}


def configs(
    *gpus: dict[str, Any], inventory: tuple[RealGpu, ...] = ()
) -> tuple[dict[str, Any], dict[str, str], tuple[str, ...]]:
    """Return the configurations, the texts of the files, and what is not expressed; checked against the schema."""
    found = export(serving_plan(placement(*gpus), inventory=inventory), SETTINGS)
    texts = {file.path: file.text for file in found.files}
    document = yaml.safe_load(texts["config.yaml"])
    jsonschema.validate(document, SCHEMA)
    assert yaml.safe_load(yaml.safe_load(texts["configmap.yaml"])["data"]["config.yaml"]) == document
    return document["mig-configs"], texts, found.not_expressed


def test_slices_are_counted_and_whole_gpus_are_not_cut() -> None:
    """Equal GPUs are one entry with their numbers; a whole GPU has MIG switched off."""
    slices = (("3g.20gb", 0), ("3g.20gb", 4))
    found, _, _ = configs(cut(0, *slices), gpu(1, model("a", 100)), cut(2, *slices))
    ((_, entries),) = found.items()
    assert entries == [
        {"devices": [0, 2], "mig-enabled": True, "mig-devices": {"3g.20gb": 2}},
        {"devices": [1], "mig-enabled": False},
    ]


def test_each_node_gets_the_label_of_its_configuration() -> None:
    """Nodes with the same cuts share a configuration; a script labels each node."""
    inventory = tuple(RealGpu(type="A100-40GB", node=node, index=3) for node in ("node-a", "node-b", "node-c"))
    found, texts, _ = configs(
        cut(0, ("7g.40gb", 0)), cut(1, ("3g.20gb", 0), ("3g.20gb", 4)), cut(2, ("7g.40gb", 0)), inventory=inventory
    )
    first, second = found
    assert found[first] == [{"devices": [3], "mig-enabled": True, "mig-devices": {"7g.40gb": 1}}]
    assert texts["label-nodes.sh"].splitlines()[-3:] == [
        f"kubectl label node node-a nvidia.com/mig.config={first} --overwrite",
        f"kubectl label node node-b nvidia.com/mig.config={second} --overwrite",
        f"kubectl label node node-c nvidia.com/mig.config={first} --overwrite",
    ]


def test_places_that_counts_leave_open_are_said() -> None:
    """Two 1g.5gb may be at 21 pairs of places of an A100; seven of them at one only."""
    *_, open_places = configs(cut(0, ("1g.5gb", 0), ("1g.5gb", 3)))
    assert "the driver chooses where 1g.5gb + 1g.5gb are on a A100-40GB" in open_places[1]
    *_, fixed = configs(cut(0, *(("1g.5gb", start) for start in range(7))))
    assert fixed == ("gpu-0 is taken to be number 0 of its node: give its index with `inventory`",)


def test_a_card_whose_number_is_not_known_beside_others_is_refused() -> None:
    """With the number of one card of a node, that of another is not guessed."""
    inventory = (RealGpu(type="A100-40GB", uuid="GPU-1"), RealGpu(type="A100-40GB", index=0))
    with pytest.raises(UsageError, match="the inventory has no index of gpu-0"):
        configs(cut(0, ("7g.40gb", 0)), cut(1, ("7g.40gb", 0)), inventory=inventory)


@pytest.mark.parametrize(
    ("gpus", "message"),
    [
        ([cut(0, ("3g.20gb", 0), ("3g.20gb", 4), ("1g.5gb", 6))], "cannot be cut into 3g.20gb"),
        ([cut(0, ("3g.20gb", 1))], "where a A100-40GB cannot have them"),
        ([gpu(0, model("a", 100))], "no GPU that is cut"),
    ],
)
def test_what_no_gpu_can_be_is_refused(gpus: list[dict[str, Any]], message: str) -> None:
    """Slices that do not fit together, places that do not exist, and a plan without slices are errors."""
    with pytest.raises(UsageError, match=message):
        configs(*gpus)
