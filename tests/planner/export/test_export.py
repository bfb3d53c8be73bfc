"""Test `export_plan`, the Python form of `plan export`."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from click.testing import CliRunner

from analyzer import UsageError
from analyzer.formats.option_values import options_of
from planner import export_plan, write_placement
from planner.cli.export import command
from planner.export.settings import ExportSettings
from tests.builders.placements import gpu, model, placement


def test_every_option_is_a_keyword_with_the_same_default() -> None:
    """Each option is a keyword of the function and a flag of the command; target and folder have no default."""
    declared = options_of(ExportSettings)
    parameters = inspect.signature(export_plan).parameters
    assert parameters.keys() - {"placement"} == declared.keys()
    assert {parameter.name for parameter in command.params} - {"placement"} == declared.keys()
    for name in declared.keys() - {"to", "output"}:
        assert parameters[name].default == declared[name].default, name


def test_function_and_command_write_the_same(tmp_path: Path) -> None:
    """The same options give the same bytes, a second time too."""
    plan = placement(gpu(0, model("segmenter", 100)), gpu(1, model("segmenter", 100)))
    write_placement(plan, tmp_path / "placement.json")
    for folder in ("a", "b"):
        export_plan(plan, to="envoy", output=tmp_path / folder, first_port=8100)
    options = ["--to", "envoy", "-o", str(tmp_path / "c"), "--first-port", "8100"]
    done = CliRunner().invoke(command, [str(tmp_path / "placement.json"), *options])
    assert done.exit_code == 0, done.output
    texts = {(tmp_path / folder / "envoy.yaml").read_bytes() for folder in "abc"}
    assert len(texts) == 1


def test_strict_fails_before_anything_is_written(tmp_path: Path) -> None:
    """With `strict`, a part that is not expressed is an error, and the folder stays as it is."""
    plan = placement(gpu(0, model("a", 100, variant="instances=2", instances=2)))
    with pytest.raises(UsageError, match="envoy cannot express all of the plan: a is planned as instances=2"):
        export_plan(plan, to="envoy", output=tmp_path / "out", strict=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("namespace", ["Prod", "a_b", "-a", "a" * 64])
def test_a_namespace_is_a_name_of_kubernetes(tmp_path: Path, namespace: str) -> None:
    """A name that no cluster takes is refused before anything is written."""
    with pytest.raises(UsageError, match=f"`namespace`: '{namespace}' is no name of Kubernetes: at most 63 of a-z"):
        export_plan(placement(gpu(0, model("a", 100))), to="kubernetes", output=tmp_path / "out", namespace=namespace)
