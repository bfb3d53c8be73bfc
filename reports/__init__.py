"""Show measurements and placements; nothing is computed here beyond formatting a record.

`write_report` writes the page, its pictures and its tables; the modules behind it are loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.report import write_report

__all__ = ["write_report"]


def __getattr__(name: str) -> Any:
    """Load the module of a name when the name is first used (PEP 562)."""
    if name in __all__:
        return getattr(import_module("reports.report"), name)
    raise AttributeError(f"module 'reports' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
