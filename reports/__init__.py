"""Show measurements and placements as an HTML page, figures and CSV tables; nothing is measured or planned here.

`write_report` writes them; its module is loaded when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reports.report import write_report

__all__ = ["write_report"]


def __getattr__(name: str) -> Any:
    """Load the module of `write_report` when the name is first used (PEP 562)."""
    if name in __all__:
        return getattr(import_module("reports.report"), name)
    raise AttributeError(f"module 'reports' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
