"""Test the job of a sweep: which models are loaded with others, and which cannot be loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.errors import UsageError
from analyzer.models.dependencies import dependencies_to_load
from analyzer.sweep.job import Job, build_job
from analyzer.sweep.settings import SweepSettings
from tests.builders.model_repositories import write_model

CALL = "pb_utils.InferenceRequest(model_name='add')"


@pytest.fixture(autouse=True)
def models(repository: Path) -> None:
    """Write three models, of which one calls another, and one that needs the backend onnxruntime."""
    for name in ("add", "plain"):
        write_model(repository, name)
    write_model(repository, "caller", execute=CALL)
    (repository / "onnx" / "1").mkdir(parents=True)
    (repository / "onnx" / "config.pbtxt").write_text('backend: "onnxruntime" max_batch_size: 8')


def loaded_with(job: Job) -> dict[str, tuple[str, ...]]:
    """Return what is loaded before each measured model."""
    return {model.name: dependencies_to_load(model, job.repository) for model in job.models}


def test_called_models_are_noted(repository: Path) -> None:
    """A model that is measured with another one, because its code names it, is named before the sweep starts."""
    job = build_job(SweepSettings(model_folder=repository))
    assert loaded_with(job) == {"add": (), "caller": ("add",), "onnx": (), "plain": ()}
    assert job.notes == ("caller is measured with add, which its code names",)


def test_also_load_is_for_every_measured_model_or_for_one(repository: Path) -> None:
    """A model is not loaded with itself; a single model's option wins; a model that is not measured gets none."""
    write_model(repository, "other")
    settings = SweepSettings(
        model_folder=repository,
        model_names=("plain", "add", "onnx"),
        also_load=("add",),
        per_model={"onnx": {"also_load": ("other",)}},
    )
    job = build_job(settings)
    assert loaded_with(job) == {"plain": ("add",), "add": (), "onnx": ("other",)}
    assert job.repository["caller"].also_load == ()


def test_also_load_measures_anew(repository: Path) -> None:
    """Figures of a model with another one beside it are not those of the model alone."""
    hashes = {
        build_job(SweepSettings(model_folder=repository, model_names=("plain",), also_load=also)).models[0].content_hash
        for also in ((), ("add",), ("add", "onnx"))
    }
    assert len(hashes) == 3


def test_unknown_model_to_load_is_refused(repository: Path) -> None:
    """The message has the nearest name, and the model whose option it is."""
    with pytest.raises(UsageError, match="`also_load`: no model 'ad' in the repository; did you mean 'add'"):
        build_job(SweepSettings(model_folder=repository, also_load=("ad",)))
    with pytest.raises(UsageError, match=r"'ad' .* \(model plain\)"):
        build_job(SweepSettings(model_folder=repository, per_model={"plain": {"also_load": ("ad",)}}))


def test_model_that_cannot_be_loaded_is_noted(repository: Path) -> None:
    """A wrong configuration is named before the sweep starts, and not only when the model's turn has come."""
    (repository / "add" / "config.pbtxt").write_text("max_batch_size: many")
    notes = build_job(SweepSettings(model_folder=repository)).notes
    assert notes[0].startswith("add cannot be loaded: config.pbtxt: line 1")
