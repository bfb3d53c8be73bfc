"""Test which backend a model needs of its server, and whether it reserves memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.models.backend import backend_to_find, reserves_memory
from analyzer.models.repository import read_repository


@pytest.mark.parametrize(
    ("config", "files", "backend"),
    [
        ('backend: "onnxruntime"', [], "onnxruntime"),
        ('platform: "onnxruntime_onnx"', [], "onnxruntime"),
        ('platform: "tensorrt_plan"', [], "tensorrt"),
        ('platform: "ensemble" ensemble_scheduling {}', [], None),
        ('backend: "own"', ["1/libtriton_own.so"], None),  # it brings its backend
        ('backend: "own" runtime: "libtriton_other.so"', [], None),
        (None, ["1/model.onnx"], "onnxruntime"),
        (None, ["1/model.py"], "python"),
        (None, ["1/model.xml", "1/model.bin"], "openvino"),
        (None, ["1/model.py", "1/model.onnx"], None),  # Triton decides
        (None, ["1/weights"], None),
    ],
)
def test_backend_is_read_from_the_configuration_or_the_file(
    tmp_path: Path, config: str | None, files: list[str], backend: str | None
) -> None:
    """A model without a configuration is taken for what its file's name says, as Triton does."""
    for name in ("1/", *files):
        path = tmp_path / "m" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(exist_ok=True) if name.endswith("/") else path.write_text("")
    if config is not None:
        (tmp_path / "m" / "config.pbtxt").write_text(config)
    (model,) = read_repository(tmp_path)
    assert not model.error
    assert backend_to_find(model) == backend


KV_CACHE = 'parameters { key: "kv_cache_free_gpu_mem_fraction" value { string_value: "0.5" } }'


@pytest.mark.parametrize(
    ("config", "reserves"),
    [
        ('backend: "vllm"', True),
        ('backend: "tensorrtllm"', True),
        (f'backend: "python" {KV_CACHE}', True),  # TensorRT-LLM's own Python backend
        ('backend: "python"', False),
        ('backend: "python" parameters { key: "depends_on" value { string_value: "llm" } }', True),
        ('platform: "ensemble" ensemble_scheduling { step [ { model_name: "llm" model_version: -1 } ] }', True),
    ],
)
def test_memory_of_language_model_backends_is_a_reservation(tmp_path: Path, config: str, reserves: bool) -> None:
    """vLLM and TensorRT-LLM take a share of the GPU; a model that calls such a model holds it with it."""
    for name, text in (("m", config), ("llm", 'backend: "vllm"')):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "config.pbtxt").write_text(text)
    repository = {model.name: model for model in read_repository(tmp_path)}
    assert reserves_memory(repository["m"], repository) is reserves
