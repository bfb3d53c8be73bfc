"""Write what a host can measure as a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from analyzer.formats.text_table import Column, plain_text
from analyzer.sweep.host_check import Capability

CAPABILITY_COLUMNS: list[Column[Capability]] = [
    Column(title="Part", unit="", text=lambda f: f.subject, numeric=False),
    Column(title="What", unit="", text=lambda f: f.what, numeric=False),
    Column(title="Possible", unit="", text=lambda f: "yes" if f.can else "no", numeric=False),
    Column(title="How or why", unit="", text=lambda f: f.detail, numeric=False),
]


def capability_table(found: Sequence[Capability]) -> str:
    """Write what a host can and cannot measure as aligned plain text."""
    return plain_text(CAPABILITY_COLUMNS, found)
