"""Find out which backends a server has, where that can be known before it runs, and which server has a backend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from analyzer.servers import DEFAULT_TRITON_VERSION, Server
from analyzer.servers.docker import REPOSITORY, DockerServer
from analyzer.servers.local import Installation, LocalServer
from analyzer.servers.onnx_backend import BACKEND, describe_backend

_DEFAULT_FOLDER = Path("/opt/tritonserver/backends")  # of a tritonserver without --backend-directory
# Backends of NVIDIA's images by the end of their tags (https://catalog.ngc.nvidia.com/orgs/nvidia/containers/tritonserver)
BACKENDS_OF_IMAGES = {
    "py3": frozenset(
        {"dali", "fil", "identity", "onnxruntime", "openvino", "python", "pytorch", "repeat", "square", "tensorrt"}
    ),
    "py3-min": frozenset[str](),
    "pyt-python-py3": frozenset({"python", "pytorch"}),
    "tf2-python-py3": frozenset({"python", "tensorflow"}),
    "trtllm-python-py3": frozenset({"python", "tensorrtllm"}),
    "vllm-python-py3": frozenset({"python", "vllm"}),
}
_LAST_WITH_TENSORFLOW = "25.02"  # https://github.com/triton-inference-server/server/pull/8068
_NVIDIA_IMAGE = re.compile(rf"{re.escape(REPOSITORY)}:(?P<release>\d\d\.\d\d)-(?P<kind>[a-z0-9-]+)")
_NOT_FOUND = re.compile(r"unable to find backend library for backend '([^']+)'")


def known_backends(server: Server) -> frozenset[str] | None:
    """Return the names of a server's backends; None where only the running server knows them.

    The backends of a Triton on this host are folders, and those of NVIDIA's images follow from their tags. Those of
    other images, or of a server elsewhere, are not seen.
    """
    if isinstance(server, DockerServer):
        return backends_of_image(server.image)
    installation = Installation.find() if isinstance(server, LocalServer) else None
    if installation is None:
        return None
    folder = installation.package / "backends" if installation.package else _DEFAULT_FOLDER
    if not folder.is_dir():
        return None
    return frozenset(entry.name for entry in folder.iterdir() if entry.is_dir()) | own_backends(server).keys()


def own_backends(server: Server) -> Mapping[str, str]:
    """Return what this package runs in place of a server's backends, by their names: it is part of the provenance."""
    described = describe_backend() if isinstance(server, LocalServer) and _is_package() else None
    return {BACKEND: described} if described else {}


def backends_of_image(image: str) -> frozenset[str] | None:
    """Return the backends of an image of NVIDIA's; None for any other."""
    match = _NVIDIA_IMAGE.fullmatch(image)
    if match is None or match["kind"] not in BACKENDS_OF_IMAGES:
        return None
    found = BACKENDS_OF_IMAGES[match["kind"]]
    return found | {"tensorflow"} if match["kind"] == "py3" and match["release"] <= _LAST_WITH_TENSORFLOW else found


def where_to_find(backend: str, server: Server | None = None) -> str:
    """Say in a clause which server has a backend that `server` does not have."""
    image = server.image if isinstance(server, DockerServer) else ""
    release = match["release"] if (match := _NVIDIA_IMAGE.fullmatch(image)) else DEFAULT_TRITON_VERSION[:5]
    if backend == "tensorflow":
        release = min(release, _LAST_WITH_TENSORFLOW)
    kind = next((kind for kind in BACKENDS_OF_IMAGES if backend in _backends(release, kind)), None)
    if kind is None:
        return "no image of NVIDIA's has it: name one that does with `triton_image`, or `url` of a Triton that runs"
    version = f"{release}-{kind}"
    option = "" if version == DEFAULT_TRITON_VERSION and not image else f" and `triton_version='{version}'`"
    found = (
        f"NVIDIA's image {REPOSITORY}:{version} has it: use `launch_mode='docker'`{option}, or `url` of one that runs"
    )
    if backend == BACKEND and isinstance(server, LocalServer) and _is_package():
        return f"pip install 'tritonpack[onnx]' runs it here on the CPU; {found}"
    return found


def explain_missing(cause: str) -> str:
    """Return what to do about Triton's error that a model's backend is missing; "" for any other error."""
    match = _NOT_FOUND.search(cause)
    return f"; {where_to_find(match[1])}" if match else ""


def _is_package() -> bool:
    """Whether the Triton of this host is that of nvidia-pytriton."""
    installation = Installation.find()
    return installation is not None and installation.package is not None


def _backends(release: str, kind: str) -> frozenset[str]:
    return backends_of_image(f"{REPOSITORY}:{release}-{kind}") or frozenset()
