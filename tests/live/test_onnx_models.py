"""Test ONNX models on the Triton of nvidia-pytriton: their answers are those of onnxruntime itself."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
import tritonclient.http as triton

from analyzer import measure
from analyzer.errors import ModelError
from analyzer.measurements import STORE_FILE
from analyzer.measurements.store import Store
from analyzer.servers.control import ControlClient
from analyzer.servers.failed_load import clear_failure
from analyzer.servers.local import Installation, LocalServer
from analyzer.servers.onnx_backend import describe_backend
from tests.builders import onnx_models
from tests.builders.model_repositories import write_ensemble, write_model
from tests.builders.onnx_models import write_onnx
from tests.conftest import missing
from tests.live.analysis import analyze, outcome, results_of, rows

onnxruntime = pytest.importorskip("onnxruntime", reason="pip install 'tritonpack[onnx]'")
SAMPLES = Path(__file__).parents[2] / "sample_models"
BATCHING = """platform: "onnxruntime_onnx"
max_batch_size: 8
dynamic_batching { max_queue_delay_microseconds: 200000 }
instance_group [{ count: 1 kind: KIND_CPU }]
"""
THREADS = """backend: "onnxruntime"
instance_group [{{ count: {instances} kind: KIND_CPU }}]
parameters {{ key: "intra_op_thread_count" value {{ string_value: "{threads}" }} }}
"""
SEQUENCE = """backend: "onnxruntime"
max_batch_size: 4
input [{ name: "X" data_type: TYPE_FP32 dims: [ 1 ] }]
output [{ name: "Y" data_type: TYPE_FP32 dims: [ 1 ] }]
sequence_batching { control_input [{
  name: "START" control [{ kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 100 ] }]
}] }
instance_group [{ count: 1 kind: KIND_CPU }]
"""
Arrays = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Running:
    """A Triton with a repository of ONNX models."""

    address: str
    control: ControlClient
    repository: Path
    process: psutil.Process

    def load(self, model: str) -> dict[str, Any]:
        """Load a model, unless it is loaded; return its configuration as Triton has completed it. It stays loaded."""
        if model not in self.control.loaded():
            self.control.load(model)
        return self.control.config(model)

    def ask(self, model: str, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """Send one request by a client of its own, since threads cannot share one; return all outputs by name."""
        sent = []
        with triton.InferenceServerClient(self.address) as client:
            for entry in client.get_model_metadata(model)["inputs"]:
                array = inputs[entry["name"]]
                sent.append(triton.InferInput(entry["name"], array.shape, entry["datatype"]))
                sent[-1].set_data_from_numpy(array)
            result = client.infer(model, sent)
            return {one["name"]: result.as_numpy(one["name"]) for one in result.get_response()["outputs"]}

    def direct(self, model: str, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """Ask onnxruntime itself."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(self.repository / model / "1" / "model.onnx", options)
        names = [entry.name for entry in session.get_outputs()]
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    def stubs(self) -> set[psutil.Process]:
        """Return the processes of the loaded models' instances."""
        return {child for child in self.process.children(recursive=True) if "stub" in child.name()}


@pytest.fixture(scope="module")
def triton_with_onnx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Serve models of every kind on one Triton."""
    installation = Installation.find()
    if installation is None or installation.package is None:
        missing("no Triton of nvidia-pytriton: pip install 'tritonpack[local]'")
    repository = tmp_path_factory.mktemp("onnx") / "models"
    write_onnx(repository, "squeezenet", onnx_models.squeezenet())
    write_onnx(repository, "encoder", onnx_models.transformer_encoder(), config='backend: "onnxruntime"')
    write_onnx(repository, "trees", onnx_models.gradient_boosted_trees(), config='platform: "onnxruntime_onnx"')
    write_onnx(repository, "strings", onnx_models.string_classifier())
    write_onnx(repository, "fixed", onnx_models.scaled(dims=(2, 3)))
    write_onnx(repository, "scalar", onnx_models.scaled(dims=()))
    write_onnx(repository, "batching", onnx_models.scaled(3.0), config=BATCHING)
    for name, instances, threads in (("one_thread", 1, 1), ("five_threads", 1, 5), ("three_instances", 3, 1)):
        write_onnx(repository, name, onnx_models.scaled(), config=THREADS.format(instances=instances, threads=threads))
    renamed = write_onnx(repository, "renamed", onnx_models.scaled(5.0), config='default_model_filename: "net.onnx"')
    (repository / "renamed" / "2").mkdir()
    renamed.rename(repository / "renamed" / "2" / "net.onnx")
    renamed.parent.rmdir()
    with (repository / "renamed" / "config.pbtxt").open("a") as config:
        config.write(' backend: "onnxruntime"')
    apart = write_onnx(repository, "weights_apart", onnx_models.scaled())
    onnx.save(onnx_models.with_weights(512), str(apart), save_as_external_data=True, size_threshold=0)
    for name, config in (
        ("wrong_type", 'backend: "onnxruntime" input [{ name: "X" data_type: TYPE_INT32 dims: [ 4 ] }] '
         'output [{ name: "Y" data_type: TYPE_FP32 dims: [ 4 ] }] max_batch_size: 4'),
        ("wrong_name", 'backend: "onnxruntime" input [{ name: "Z" data_type: TYPE_FP32 dims: [ 4 ] }]'),
        ("wrong_option", THREADS.format(instances=1, threads="all")),
    ):  # fmt: skip
        write_onnx(repository, name, onnx_models.scaled(), config=config)
    write_onnx(repository, "wrong_batch", onnx_models.scaled(dims=(2, 3)),
               config='backend: "onnxruntime" max_batch_size: 4')  # fmt: skip
    write_onnx(repository, "sequence", onnx_models.with_start(), config=SEQUENCE)
    write_onnx(repository, "engine", onnx_models.scaled(), config='backend: "tensorrt"')
    (repository / "wrong_file" / "1").mkdir(parents=True)
    (repository / "wrong_file" / "1" / "model.onnx").write_text("no weights")
    with LocalServer().serve(repository) as running, ControlClient(running.endpoint.http) as control:
        assert running.endpoint.process_id is not None
        yield Running(running.endpoint.http, control, repository, psutil.Process(running.endpoint.process_id))


def inputs_of(model: str, count: int) -> Arrays:
    """Draw inputs for a model, of this batch."""
    rng = np.random.default_rng(count)
    if model == "squeezenet":
        return {"data_0": rng.standard_normal((count, 3, 224, 224), dtype=np.float32)}
    if model == "encoder":
        length = 7 + count
        return {"TOKENS": rng.integers(0, 200, (count, length)), "MASK": np.ones((count, length), np.int64)}
    if model == "trees":
        return {"X": (rng.random((count, 13), dtype=np.float32) * 20).astype(np.float32)}
    texts = [["Köln", "rain"], ["Oslo", "sun"], ["elsewhere", ""], ["Lima", "rain"]]
    return {"TEXT": np.array(texts[:count], dtype=object)}


@pytest.mark.parametrize("model", ["squeezenet", "encoder", "trees", "strings"])
def test_answers_are_those_of_onnxruntime(triton_with_onnx: Running, model: str) -> None:
    """A convolution, a transformer, trees and a model of strings answer the same, one at a time and in a batch."""
    triton_with_onnx.load(model)
    for count in (1, 3):
        inputs = inputs_of(model, count)
        expected, found = triton_with_onnx.direct(model, inputs), triton_with_onnx.ask(model, inputs)
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            if array.dtype == object:
                assert [text.decode() for text in found[name].ravel()] == array.ravel().tolist()
            else:
                np.testing.assert_allclose(found[name].reshape(array.shape), array, rtol=1e-5, atol=1e-7)
    assert any(not np.array_equal(array[0], array[1]) for array in found.values())


def test_configuration_is_completed_as_nvidia_does(triton_with_onnx: Running) -> None:
    """Batches up to 4 with dynamic batching where all first dimensions are variable, else none; two instances.

    An output of one number for each item, [batch] in the model, has dims [1] with a reshape.
    """
    found = {name: triton_with_onnx.load(name) for name in ("encoder", "trees", "fixed")}
    assert [config["max_batch_size"] for config in found.values()] == [4, 4, 0]
    assert ["dynamic_batching" in config for config in found.values()] == [True, True, False]
    assert [config["instance_group"][0]["count"] for config in found.values()] == [2, 2, 2]
    tokens = found["encoder"]["input"][0]
    assert (tokens["name"], tokens["data_type"], tokens["dims"]) == ("TOKENS", "TYPE_INT64", [-1])
    label = found["trees"]["output"][0]
    assert (label["name"], label["dims"], label["reshape"]["shape"]) == ("label", [1], [])
    assert found["fixed"]["input"][0]["dims"] == [2, 3]


def test_forms_of_repositories(triton_with_onnx: Running) -> None:
    """A file of another name in a later version, weights in a file of their own, fixed dimensions, and a scalar."""
    running = triton_with_onnx
    four = np.arange(4, dtype=np.float32).reshape(1, 4)
    wide = np.ones((2, 512), np.float32)
    for name in ("renamed", "weights_apart", "fixed", "scalar"):
        running.load(name)
    np.testing.assert_array_equal(running.ask("renamed", {"X": four})["Y"], 5 * four)
    np.testing.assert_array_equal(
        running.ask("weights_apart", {"X": wide})["Y"], running.direct("weights_apart", {"X": wide})["Y"]
    )
    pair = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(running.ask("fixed", {"X": pair})["Y"], 2 * pair)
    np.testing.assert_array_equal(running.ask("scalar", {"X": np.array([4], np.float32)})["Y"], [8])


def test_requests_share_executions_and_get_their_own_answers(triton_with_onnx: Running) -> None:
    """Eight requests at once, of one or two items, are run in fewer executions; each gets its items back."""
    running = triton_with_onnx
    running.load("batching")
    arrays = [np.full((1 + number % 2, 4), number, np.float32) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda array: running.ask("batching", {"X": array})["Y"], arrays))
    for array, answer in zip(arrays, answers, strict=True):
        np.testing.assert_array_equal(answer, 3 * array)
    executions = running.control.executions("batching")
    assert sum(count for count, _ in executions.values()) < 8
    assert max(executions) > 2


def test_threads_and_instances_are_as_configured(triton_with_onnx: Running) -> None:
    """Four more threads of onnxruntime are four more of the process; three instances are three processes."""
    running, threads = triton_with_onnx, {}
    for name in ("one_thread", "five_threads", "three_instances"):
        before = running.stubs()
        running.load(name)
        threads[name] = [stub.num_threads() for stub in running.stubs() - before]
    (one,) = threads["one_thread"]
    assert threads["five_threads"] == [one + 4]
    assert len(threads["three_instances"]) == 3


@pytest.mark.parametrize(
    ("model", "cause"),
    [
        ("wrong_type", "the configuration has TYPE_INT32 for input X, and the model has TYPE_FP32"),
        ("wrong_name", "the configuration has no input X, which the model needs"),
        ("wrong_option", "parameter intra_op_thread_count is 'all': it must be an integer"),
        ("wrong_batch", "the model does not support batching, and max_batch_size is 4"),
        ("wrong_file", "Protobuf parsing failed"),
    ],
)
def test_model_that_does_not_fit_is_refused_with_the_reason(triton_with_onnx: Running, model: str, cause: str) -> None:
    """The reason is one line, with what the configuration says and what the model has."""
    with pytest.raises(ModelError) as refused:
        triton_with_onnx.control.load(model)
    assert cause in refused.value.message
    assert "\n" not in refused.value.message
    clear_failure(triton_with_onnx.control, model)


def test_sequences_have_their_control_inputs(triton_with_onnx: Running) -> None:
    """The first request of a sequence gets the 100 that its configuration has for START, and the others 0."""
    triton_with_onnx.load("sequence")
    answers = []
    with triton.InferenceServerClient(triton_with_onnx.address) as client:
        for number in range(3):
            sent = triton.InferInput("X", [1, 1], "FP32")
            sent.set_data_from_numpy(np.array([[number]], np.float32))
            ends = {"sequence_start": number == 0, "sequence_end": number == 2}
            answers.append(client.infer("sequence", [sent], sequence_id=7, **ends).as_numpy("Y").item())
    assert answers == [100, 1, 2]


def test_backend_that_a_server_elsewhere_lacks_is_explained(triton_with_onnx: Running, tmp_path: Path) -> None:
    """Triton's own words about the failed load, and the image that has the backend."""
    (failed,) = measure(url=triton_with_onnx.address, model_names=["engine"], output=tmp_path)
    assert "unable to find backend library for backend 'tensorrt'" in failed.cause
    assert "nvcr.io/nvidia/tritonserver:24.10-py3 has it" in failed.cause


def test_wrong_request_fails_alone(triton_with_onnx: Running) -> None:
    """A request with a token that the model does not know gets onnxruntime's reason, and the next one its answer."""
    running = triton_with_onnx
    running.load("encoder")
    inputs = inputs_of("encoder", 1)
    with pytest.raises(triton.InferenceServerException, match="indices element out of data bounds"):
        running.ask("encoder", {**inputs, "TOKENS": inputs["TOKENS"] + 1000})
    assert running.ask("encoder", inputs)["EMBEDDING"].shape == (1, 64)


def digests(folder: Path) -> dict[str, str]:
    """Hash every file under a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.usefixtures("local_server")
def test_repository_for_nvidia_is_measured_unchanged(repository: Path) -> None:
    """Models for GPUs, without a configuration and in an ensemble are measured, and what is not honoured is said.

    What ran them is part of their provenance, and not of that of a model that Triton's own backend runs.
    """
    gpu = 'platform: "onnxruntime_onnx" max_batch_size: 8 instance_group [{ count: 1 kind: KIND_GPU gpus: [ 0 ] }] '
    tensorrt = 'optimization { execution_accelerators { gpu_execution_accelerator: [ { name: "tensorrt" } ] } }'
    write_onnx(repository, "for_gpus", onnx_models.scaled(dims=("batch", 2)), config=gpu + tensorrt)
    write_onnx(repository, "without_config", onnx_models.scaled(dims=("batch", "length")))
    write_model(repository, "python_model")
    write_ensemble(repository, "whole", ["python_model", "for_gpus"])
    (repository / "engine" / "1").mkdir(parents=True)
    (repository / "engine" / "1" / "model.plan").write_text("")
    before = digests(repository)
    done = analyze(repository, "--shape", "X:2", "--export", code=1)
    assert digests(repository) == before

    by = describe_backend()
    assert f"for_gpus, whole, without_config: run by {by}, in place of Triton's backend onnxruntime" in done.stderr
    assert "for_gpus: KIND_GPU and execution accelerator tensorrt have no effect there" in done.stderr
    assert "engine cannot be loaded: its backend, tensorrt, is missing: " in done.stderr
    assert {row["model"]: outcome(row) for row in rows(repository)} == {
        **dict.fromkeys(("for_gpus", "python_model", "whole", "without_config"), "measured"),
        "engine": "load_failed",
    }
    with Store.open(results_of(repository) / STORE_FILE) as store:
        servers = {one.trial.model: one.provenance.server for one in store.measurements()}
    triton_version = servers["python_model"]
    assert by not in triton_version
    ours = f"{triton_version} with {by}"
    assert servers == {
        **dict.fromkeys(("for_gpus", "whole", "without_config"), ours),
        **dict.fromkeys(("python_model", "engine"), triton_version),
    }
    again = analyze(repository, "--shape", "X:2", code=1)
    assert again.stdout.count("infer/s") == done.stdout.count("infer/s")
