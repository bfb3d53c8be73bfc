"""Test which models a model is loaded with: those of its configuration, those its code names, those the user names."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.models.dependencies import all_dependencies, dependencies_to_load, way_out
from analyzer.models.repository import Input, Model, read_repository, select
from tests.builders.model_repositories import write_caller, write_ensemble, write_model

CALL = "pb_utils.InferenceRequest(model_name={}, requested_output_names=['Y'], inputs=[])"


def repository_of(path: Path) -> dict[str, Model]:
    """Read the models of a repository by their names."""
    return {model.name: model for model in read_repository(path)}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (CALL.format("'add'"), ("add",)),
        ("for name in ('sub', 'add', 'gone'): " + CALL.format("name"), ("add", "sub")),
        ("from triton_python_backend_utils import InferenceRequest; InferenceRequest(model_name='add')", ("add",)),
        ("name = 'add'", ()),  # no request to a model
        ("def f(r: 'pb_utils.InferenceRequest', name: str = 'add') -> None: pass", ()),  # only a type
        (CALL.format("'calls ' + 'adder'"), ()),  # no name is part of a text
        (CALL.format("'caller'"), ()),  # itself
        ("def broken(: 'add'", ()),  # Triton says what is wrong with it
    ],
)
def test_models_that_the_code_of_a_caller_names_are_found(tmp_path: Path, code: str, found: tuple[str, ...]) -> None:
    """A Python model that makes requests needs every other model of the repository whose name its code has."""
    for name in ("add", "caller", "sub"):
        write_model(tmp_path, name)
    (tmp_path / "caller" / "1" / "model.py").write_text(code)
    models = repository_of(tmp_path)
    assert models["caller"].calls == found
    assert dependencies_to_load(models["caller"], models) == found
    assert models["add"].calls == ()


def test_names_may_be_in_another_file_of_the_model(tmp_path: Path) -> None:
    """All files are one code: the request may be made in one, and the name be in another."""
    write_model(tmp_path, "add")
    write_model(tmp_path, "caller", execute="helper.call()")
    (tmp_path / "caller" / "1" / "helper.py").write_text(CALL.format("NAME"))
    (tmp_path / "caller" / "names.py").write_text("NAME = 'add'")
    assert repository_of(tmp_path)["caller"].calls == ("add",)


def test_configuration_that_names_the_models_wins(tmp_path: Path) -> None:
    """With the parameter depends_on, the code is not searched: also where the configuration says that it needs none."""
    for name in ("add", "sub"):
        write_model(tmp_path, name)
    write_caller(tmp_path, "caller", "sub")
    (tmp_path / "caller" / "1" / "model.py").write_text(CALL.format("'add'"))
    assert repository_of(tmp_path)["caller"].needs == ("sub",)
    config = tmp_path / "caller" / "config.pbtxt"
    config.write_text(config.read_text().replace('string_value: "sub"', 'string_value: ""'))
    assert repository_of(tmp_path)["caller"].needs == ()


def test_code_outside_the_repository_is_not_read(tmp_path: Path) -> None:
    """A link that leaves the repository is an error of the model, and its code is not searched."""
    repository = tmp_path / "models"
    write_model(repository, "add")
    write_model(repository, "caller")
    (tmp_path / "code.py").write_text(CALL.format("'add'"))
    (repository / "caller" / "1" / "code.py").symlink_to(tmp_path / "code.py")
    assert repository_of(repository)["caller"].calls == ()


def test_called_models_are_loaded_with_an_ensemble_and_are_part_of_the_hash(tmp_path: Path) -> None:
    """A step that calls another model needs it before the ensemble is loaded; a change of it measures anew."""
    added = write_model(tmp_path, "add")
    write_model(tmp_path, "caller", execute=CALL.format("'add'"))
    write_ensemble(tmp_path, "whole", ["caller"])
    models = repository_of(tmp_path)
    assert all_dependencies(models["whole"], models) == ("add", "caller")
    assert dependencies_to_load(models["whole"], models) == ("add",)
    before = select(list(models.values()))
    added.write_text(added.read_text() + "# changed")
    after = select(read_repository(tmp_path))
    assert [old.content_hash != new.content_hash for old, new in zip(before, after, strict=True)] == [True] * 3


@pytest.mark.parametrize(
    ("cause", "said"),
    [
        ("Model add - Error when running inference: … Model 'add' is not ready.", "; `also_load='add'` loads it too"),
        ("Request for unknown model: 'add' is not found", "; `also_load='add'` loads it too"),
        ("Model 'xyz' is not ready.", "; no model of the repository is 'xyz': if an input names the model to call, "),
        ("Model 'loaded' is not ready.", ""),
        ("ValueError: add is not ready", ""),
    ],
)
def test_request_that_failed_for_a_model_that_is_not_loaded_says_how_to_load_it(cause: str, said: str) -> None:
    """Triton's error names the model; the random text of an input is the name of no model."""

    def model(name: str, **more: object) -> Model:
        return Model(name=name, path=Path(name), **more)  # type: ignore[arg-type]

    caller = model("caller", calls=("loaded",), inputs=(Input(name="NAME", datatype="BYTES", dims=(1,)),))
    found = way_out(cause, caller, {name: model(name) for name in ("add", "loaded")})
    assert found.startswith(said)
    assert bool(found) == bool(said)
