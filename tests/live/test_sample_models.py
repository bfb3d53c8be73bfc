"""Test the sample models in a real Triton: their outputs, in batches and alone, and their variants."""

from __future__ import annotations

import json
import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton

from analyzer.measurements.record import Variant
from analyzer.models.repository import read_repository, select
from analyzer.models.variants import variant_config
from analyzer.servers.control import ControlClient
from analyzer.servers.local import LocalServer
from analyzer.servers.onnx_backend import describe_backend

SAMPLES = Path(__file__).parents[2] / "sample_models"
SHAPES = {
    "image_classifier": (3, 64, 64),
    "keyword_spotter": (16000,),
    "segmenter": (1, 128, 128),
    "text_encoder": (16,),
}
OUTPUTS = {"image_classifier": (10,), "keyword_spotter": (12,), "segmenter": (128, 128), "text_encoder": (512,)}


def ask(client: Any, model: str, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Send one request; return the model's only output."""
    (declared,) = client.get_model_metadata(model)["inputs"]
    sent = triton.InferInput(declared["name"], batch.shape, declared["datatype"])
    sent.set_data_from_numpy(batch)
    result = client.infer(model, [sent])
    answer: np.ndarray[Any, Any] = result.as_numpy(result.get_response()["outputs"][0]["name"])
    return answer


def items(model: str, count: int) -> np.ndarray[Any, Any]:
    """Draw random inputs for a model, the same in every run."""
    rng = np.random.default_rng(7)
    shape = (count, *SHAPES[model])
    if model == "text_encoder":
        return rng.integers(0, 2**31 - 1, shape).astype(np.int32)
    return rng.standard_normal(shape, dtype=np.float32)


def test_sample_models_are_a_repository() -> None:
    """The folder is read as valid models; its README and the script that writes one of them are no models."""
    models = select(read_repository(SAMPLES))
    assert {model.name: model.max_batch_size for model in models} == {
        "image_classifier": 16,
        "keyword_spotter": 16,
        "segmenter": 8,
        "text_encoder": 16,
        "token_streamer": 0,
    }
    assert not any(model.error for model in models)


def test_onnx_model_is_what_its_script_writes() -> None:
    """The origin of each weight and operator is in the script."""
    onnx = pytest.importorskip("onnx")
    script = runpy.run_path(str(SAMPLES / "make_keyword_spotter.py"))
    built, kept = script["build"](), onnx.load(script["FILE"])
    assert built.graph == kept.graph
    assert (built.ir_version, built.opset_import) == (kept.ir_version, kept.opset_import)


def test_sample_models_give_the_same_output_in_batches_and_alone(local_server: LocalServer) -> None:
    """Item i of a batch has the same output as alone, up to rounding; different items have different outputs."""
    with local_server.serve(SAMPLES) as running, ControlClient(running.endpoint.http) as control:
        client = triton.InferenceServerClient(running.endpoint.http)
        for model, shape in OUTPUTS.items():
            if model == "keyword_spotter" and describe_backend() is None:
                continue  # without the extra onnx
            control.load(model)
            batch = items(model, 8)
            together = ask(client, model, batch)
            alone = np.concatenate([ask(client, model, batch[i : i + 1]) for i in range(8)])
            assert together.shape == (8, *shape)
            if model == "segmenter":
                # A pixel between two classes may change its class with the last bit of a sum.
                assert np.mean(together != alone) < 1e-3
                assert len(np.unique(together)) > 1
            else:
                np.testing.assert_allclose(together, alone, rtol=1e-3, atol=1e-5)
            assert not np.array_equal(together[0], together[1])
            if model in ("image_classifier", "keyword_spotter"):
                np.testing.assert_allclose(together.sum(axis=1), 1, rtol=1e-5)
            control.unload(model)
        client.close()


def test_text_encoder_takes_any_length(local_server: LocalServer) -> None:
    """Texts of one token and of a hundred each give one unit vector."""
    with local_server.serve(SAMPLES) as running, ControlClient(running.endpoint.http) as control:
        client = triton.InferenceServerClient(running.endpoint.http)
        control.load("text_encoder")
        for length in (1, 100):
            answer = ask(client, "text_encoder", np.arange(2 * length, dtype=np.int32).reshape(2, length))
            np.testing.assert_allclose(np.linalg.norm(answer, axis=1), 1, rtol=1e-5)
        client.close()


def test_variants_are_loaded_by_a_real_triton(local_server: LocalServer, tmp_path: Path) -> None:
    """Triton loads the complete configuration of a variant, and nothing is written to the repository."""
    repository = tmp_path / "models"
    shutil.copytree(SAMPLES / "segmenter", repository / "segmenter", ignore=shutil.ignore_patterns("__pycache__"))
    before = {path: path.stat() for path in repository.rglob("*")}
    (model,) = select(read_repository(repository))
    assert model.config is not None
    batched = Variant(instances=2, dynamic_batching=True, max_queue_delay_s=100e-6, max_batch_size=4)
    found = []
    with local_server.serve(repository) as running, ControlClient(running.endpoint.http) as control:
        for variant in (Variant(), batched, Variant(dynamic_batching=False)):
            control.load(model.name, json.dumps(variant_config(model.config, variant)))
            config = control.config(model.name)
            delay_us = config.get("dynamic_batching", {}).get("max_queue_delay_microseconds")
            found.append((config["instance_group"][0]["count"], config["max_batch_size"], delay_us))
    assert found == [(1, 8, None), (2, 4, 100), (1, 8, None)]
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == {
        path: stat.st_mtime_ns for path, stat in before.items()
    }
