"""Test the job of a sweep: which models are loaded with others, and which are named before it starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.errors import UsageError
from analyzer.models.dependencies import dependencies_to_load
from analyzer.servers.backends import known_backends
from analyzer.servers.local import Installation, LocalServer
from analyzer.servers.remote import RemoteServer
from analyzer.sweep.backend_check import mark_missing_backends
from analyzer.sweep.job import Job, build_job
from analyzer.sweep.settings import SweepSettings
from tests.builders.model_repositories import write_ensemble, write_model

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


def test_missing_backend_is_named_with_what_the_server_has(repository: Path) -> None:
    """Models that need the backend, or a model that does, are marked; the others are measured."""
    write_ensemble(repository, "whole", ["plain", "onnx"])
    job = build_job(SweepSettings(model_folder=repository))
    marked = mark_missing_backends(job, {"python", "dali"}, "local, here")
    errors = {model.name: model.error.partition(";")[0] for model in marked.models if model.error}
    assert errors == {
        "onnx": "its backend, onnxruntime, is missing: Triton (local, here) has dali, python",
        "whole": "the backend of onnx, onnxruntime, is missing: Triton (local, here) has dali, python",
    }
    assert [note.partition(":")[0] for note in marked.notes[1:]] == [
        *("onnx cannot be loaded", "whole cannot be loaded")
    ]
    assert marked.points == job.points - 2
    # their rows are no points, so that counting rows would find the last trial too early
    assert (job.exact_points, marked.exact_points) == (job.points, None)


def test_backends_that_are_there_or_not_known_mark_nothing(repository: Path) -> None:
    """Some folders of backends end in a version."""
    job = build_job(SweepSettings(model_folder=repository))
    assert mark_missing_backends(job, None, "remote") is job
    assert not any(m.error for m in mark_missing_backends(job, {"python", "onnxruntime_1"}, "local").models)


def test_sweep_without_a_model_that_can_be_loaded_is_refused(repository: Path) -> None:
    """Nothing is started where every model needs a backend that is missing."""
    job = build_job(SweepSettings(model_folder=repository, model_names=("onnx",)))
    with pytest.raises(UsageError, match=r"onnx: its backend, onnxruntime, is missing: .* use one that has it"):
        mark_missing_backends(job, {"python"}, "local")


def test_backends_are_known_of_a_triton_on_this_host() -> None:
    """The package has the Python backend; what a server elsewhere has is not known before it is asked."""
    installation = Installation.find()
    if installation is not None and installation.package is not None:
        assert "python" in (known_backends(LocalServer()) or ())
    assert known_backends(RemoteServer("127.0.0.1:8000", metrics_url=None)) is None
