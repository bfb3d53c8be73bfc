"""Measure what each configuration of a model delivers and costs on one device.

`measure` runs a sweep on a Triton, `read_measurements` reads the results of earlier sweeps, `read_repository` reads a
model repository, `check_host` says what this host can measure. Their modules are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analyzer.errors import DeviceError, ModelError, ServerError, StoreError, TritonpackError, UsageError
    from analyzer.measurements.record import Measurement, Provenance, ServerOnly, Status, Trial, Variant
    from analyzer.measurements.source import Measurements, read_measurements
    from analyzer.measurements.store import Store
    from analyzer.models.repository import Model, read_repository
    from analyzer.search import SearchResult
    from analyzer.sweep.host_check import Capability, check_host
    from analyzer.sweep.measure import measure
    from analyzer.sweep.prepare import SweepResult

__version__ = "0.2.0"
__all__ = [
    "Capability",
    "DeviceError",
    "Measurement",
    "Measurements",
    "Model",
    "ModelError",
    "Provenance",
    "SearchResult",
    "ServerError",
    "ServerOnly",
    "Status",
    "Store",
    "StoreError",
    "SweepResult",
    "Trial",
    "TritonpackError",
    "UsageError",
    "Variant",
    "check_host",
    "measure",
    "read_measurements",
    "read_repository",
]

_MODULES = {
    "analyzer.errors": ("DeviceError", "ModelError", "ServerError", "StoreError", "TritonpackError", "UsageError"),
    "analyzer.measurements.record": ("Measurement", "Provenance", "ServerOnly", "Status", "Trial", "Variant"),
    "analyzer.measurements.source": ("Measurements", "read_measurements"),
    "analyzer.measurements.store": ("Store",),
    "analyzer.models.repository": ("Model", "read_repository"),
    "analyzer.search": ("SearchResult",),
    "analyzer.sweep.host_check": ("Capability", "check_host"),
    "analyzer.sweep.measure": ("measure",),
    "analyzer.sweep.prepare": ("SweepResult",),
}


def __getattr__(name: str) -> Any:
    """Load a name's module when the name is first used: `import analyzer` takes no time (PEP 562)."""
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'analyzer' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
