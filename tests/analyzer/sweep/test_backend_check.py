"""Test what is said before a sweep starts about backends that are missing, and about those that run by ourselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.errors import UsageError
from analyzer.models.dependencies import dependencies_to_load
from analyzer.servers.docker import DockerServer, triton_image
from analyzer.servers.local import Installation, LocalServer
from analyzer.servers.onnx_backend import describe_backend
from analyzer.servers.remote import RemoteServer
from analyzer.sweep.backend_check import check_backends
from analyzer.sweep.job import Job, build_job
from analyzer.sweep.settings import SweepSettings
from tests.builders.model_repositories import write_ensemble, write_model
from tests.conftest import missing

VLLM = DockerServer(triton_image("24.10-vllm-python-py3"))
FOR_GPUS = 'backend: "onnxruntime" max_batch_size: 8 instance_group [{ kind: KIND_GPU count: 2 gpus: [ 0 ] }] '


@pytest.fixture(autouse=True)
def models(repository: Path) -> None:
    """Write two models, of which one needs the backend onnxruntime, and an ensemble of both."""
    write_model(repository, "plain")
    write_onnx_config(repository, "onnx", FOR_GPUS)
    write_ensemble(repository, "whole", ["plain", "onnx"])


def write_onnx_config(repository: Path, name: str, config: str) -> None:
    """Write a model without its network, which is not read before the sweep starts."""
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(config)


def job_of(repository: Path, *names: str) -> Job:
    """Build a job of these models, or of all."""
    return build_job(SweepSettings(model_folder=repository, model_names=names))


def local_with_onnxruntime() -> LocalServer:
    """Return the server of nvidia-pytriton, where onnxruntime is installed."""
    installation = Installation.find()
    if installation is None or installation.package is None or describe_backend() is None:
        missing("no Triton of nvidia-pytriton with onnxruntime: pip install 'tritonpack[local,onnx]'")
    return LocalServer()


def test_missing_backend_is_named_with_what_the_server_has(repository: Path) -> None:
    """Models that need the backend, or a model that does, are marked; the others are measured."""
    job = job_of(repository)
    marked = check_backends(job, VLLM)
    errors = {model.name: model.error.partition(";")[0] for model in marked.models if model.error}
    assert errors == {
        "onnx": f"its backend, onnxruntime, is missing: Triton ({VLLM.describe()}) has python, vllm",
        "whole": f"the backend of onnx, onnxruntime, is missing: Triton ({VLLM.describe()}) has python, vllm",
    }
    assert [note.partition(":")[0] for note in marked.notes] == ["onnx cannot be loaded", "whole cannot be loaded"]
    assert marked.points == job.points - 2
    # their rows are no points, so that counting rows would find the last trial too early
    assert (job.exact_points, marked.exact_points) == (job.points, None)


def test_sample_models_without_their_backend_are_left_out(repository: Path) -> None:
    """Nobody asked for them by name, so that they are no failures."""
    left = check_backends(job_of(repository), VLLM, leave_out=True)
    assert [model.name for model in left.models] == ["plain"]
    assert left.notes[0].startswith("onnx is left out: its backend, onnxruntime, is missing")
    assert left.exact_points == 1


def test_backends_that_are_there_or_not_known_mark_nothing(repository: Path) -> None:
    """NVIDIA's standard image has onnxruntime; what a server elsewhere has is not known."""
    job = job_of(repository)
    for server in (DockerServer(triton_image("24.10-py3")), RemoteServer("127.0.0.1:8000", metrics_url=None)):
        checked = check_backends(job, server)
        assert (list(checked.models), checked.notes) == (list(job.models), job.notes)


def test_backend_whose_name_begins_another_ones_is_missing(repository: Path) -> None:
    """NVIDIA's image for TensorRT-LLM has tensorrtllm, and no tensorrt."""
    write_onnx_config(repository, "engine", 'backend: "tensorrt"')
    with pytest.raises(UsageError, match="engine: its backend, tensorrt, is missing"):
        check_backends(job_of(repository, "engine"), DockerServer(triton_image("24.10-trtllm-python-py3")))


def test_sweep_without_a_model_that_can_be_loaded_is_refused(repository: Path) -> None:
    """Nothing is started where every model needs a backend that is missing."""
    with pytest.raises(UsageError, match=r"onnx: its backend, onnxruntime, is missing: .* has it: use"):
        check_backends(job_of(repository, "onnx"), VLLM)


def test_onnx_models_say_what_runs_them(repository: Path) -> None:
    """So does an ensemble with one; their instances are on the CPU, by a configuration that is sent with the load."""
    job = check_backends(job_of(repository), local_with_onnxruntime())
    found = {model.name: model for model in job.models}
    by = describe_backend()
    assert {name: model.served_by for name, model in found.items()} == {"onnx": by, "plain": "", "whole": by}
    assert {name: model.sends_config for name, model in job.repository.items()} == {
        "onnx": True,
        "plain": False,
        "whole": False,
    }
    assert (found["onnx"].config or {})["instance_group"] == [{"kind": "KIND_CPU", "count": 2}]
    assert job.notes == (
        f"onnx, whole: run by {by}, in place of Triton's backend onnxruntime",
        "onnx: KIND_GPU has no effect there",
    )
    # Triton itself would load the step as its file has it, for a GPU
    assert dependencies_to_load(found["whole"], job.repository) == ("onnx",)


def test_onnx_model_that_needs_more_than_the_python_backend_is_refused(repository: Path) -> None:
    """The line says what it is, and which image does it."""
    write_onnx_config(repository, "ragged", 'backend: "onnxruntime" input [{ name: "X" allow_ragged_batch: true }]')
    with pytest.raises(UsageError, match=r"ragged: its inputs are batched ragged .* NVIDIA's image .* has it"):
        check_backends(job_of(repository, "ragged"), local_with_onnxruntime())
