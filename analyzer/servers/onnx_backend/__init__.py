"""The backend ``onnxruntime`` that stands beside the Triton of nvidia-pytriton, which has none of that name.

`model` serves the models: Triton runs it in its Python stub, outside of this package, with `onnx_options` beside it.
"""

from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path

BACKEND = "onnxruntime"
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")  # both have the processor's execution provider


def onnxruntime_version() -> str | None:
    """Return the version of the package onnxruntime, which is not imported; None if it is not installed."""
    for name in _DISTRIBUTIONS:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def describe_backend() -> str | None:
    """Say what runs ONNX models, for their provenance; None if onnxruntime is not installed."""
    version = onnxruntime_version()
    return f"onnxruntime {version} on the CPU" if version else None


def install_backend(backends: Path) -> None:
    """Link the backend into a folder of backends, which is removed with its server; do nothing without onnxruntime.

    The stub ignores PYTHONPATH, but searches the backend's folder last; so the package is linked there too.
    """
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or not spec.submodule_search_locations:
        return
    folder = backends / BACKEND
    folder.mkdir()
    for file in ("model.py", "onnx_options.py"):
        (folder / file).symlink_to(Path(__file__).with_name(file))
    (folder / "onnxruntime").symlink_to(spec.submodule_search_locations[0])
