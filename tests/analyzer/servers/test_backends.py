"""Test which backends a server is known to have, and which server has a backend that is missing."""

from __future__ import annotations

import pytest

from analyzer.servers.backends import backends_of_image, explain_missing, known_backends, own_backends, where_to_find
from analyzer.servers.docker import DockerServer, triton_image
from analyzer.servers.local import Installation, LocalServer
from analyzer.servers.onnx_backend import onnxruntime_version
from analyzer.servers.remote import RemoteServer

IMAGE = "nvcr.io/nvidia/tritonserver"


def test_backends_of_nvidias_images_follow_from_their_tags() -> None:
    """The standard image has no vLLM, and TensorFlow until 25.02; others have one framework each; own images any."""
    assert {"onnxruntime", "tensorflow"} <= (backends_of_image(triton_image("24.10-py3")) or set())
    assert "tensorflow" not in (backends_of_image(triton_image("25.03-py3")) or set())
    assert "vllm" not in (backends_of_image(triton_image("24.10-py3")) or set())
    assert backends_of_image(triton_image("25.08-vllm-python-py3")) == {"python", "vllm"}
    assert backends_of_image(triton_image("25.08-trtllm-python-py3")) == {"python", "tensorrtllm"}
    assert backends_of_image(triton_image("24.10-py3-min")) == set()
    assert backends_of_image("registry.local/triton:24.10-py3") is None
    assert backends_of_image(f"{IMAGE}@sha256:abc") is None


def test_backends_are_known_of_a_triton_on_this_host() -> None:
    """The package has the Python backend, and onnxruntime if that is installed; a server elsewhere is not asked."""
    installation = Installation.find()
    if installation is not None and installation.package is not None:
        installed = {"onnxruntime"} if onnxruntime_version() else set()
        assert known_backends(LocalServer()) == {"python"} | installed
        assert own_backends(LocalServer()).keys() == installed
    assert known_backends(RemoteServer("127.0.0.1:8000", metrics_url=None)) is None
    assert known_backends(DockerServer("registry.local/triton:1")) is None
    assert own_backends(DockerServer(triton_image("24.10-py3"))) == {}


@pytest.mark.parametrize(
    ("backend", "server", "expected"),
    [
        ("tensorrt", LocalServer(), f"{IMAGE}:24.10-py3 has it: use `launch_mode='docker'`, or"),
        ("vllm", LocalServer(), f"{IMAGE}:24.10-vllm-python-py3 has it: use `launch_mode='docker'` and "
         "`triton_version='24.10-vllm-python-py3'`, or"),
        ("tensorrtllm", DockerServer(f"{IMAGE}:25.08-py3"), f"{IMAGE}:25.08-trtllm-python-py3 has it"),
        ("tensorflow", DockerServer(f"{IMAGE}:25.08-py3"), f"{IMAGE}:25.02-py3 has it"),
        ("onnxruntime", LocalServer(), "pip install 'tritonpack[onnx]' runs it here on the CPU; "),
        ("onnxruntime", DockerServer(f"{IMAGE}:25.08-vllm-python-py3"), f"NVIDIA's image {IMAGE}:25.08-py3 has it"),
        ("ours", LocalServer(), "no image of NVIDIA's has it: name one that does with `triton_image`, or `url` of"),
    ],
)  # fmt: skip
def test_way_out_names_the_image_and_the_options(
    backend: str, server: LocalServer | DockerServer, expected: str
) -> None:
    """The image is of the release that is used, or the last one that has the backend."""
    assert expected in where_to_find(backend, server)


def test_tritons_error_about_a_missing_backend_is_explained() -> None:
    """On a server whose backends are not known before, the cause of a failed load names the image that has it."""
    cause = "Invalid argument: unable to find backend library for backend 'vllm', try specifying runtime"
    assert f"{IMAGE}:24.10-vllm-python-py3 has it" in explain_missing(cause)
    assert explain_missing("Internal: no such file") == ""
