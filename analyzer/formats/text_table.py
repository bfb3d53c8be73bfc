"""Write tables of records as aligned text for a terminal, with titles and units for the columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from analyzer.formats.units import printable

Record = TypeVar("Record")

CELL_UNKNOWN = "-"  # an unmeasured figure on a terminal; ASCII, which every encoding has
TITLE_WIDTH = 12  # most characters in a line of a heading on a terminal; "utilization" fits


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[Record]):
    """One column of a table.

    Parameters
    ----------
    title, unit : str
        The heading; `unit` is empty for text and for plain counts.
    text : callable
        Returns the cell of a record, empty if the figure is unknown.
    numeric : bool
        Whether the cells are right-aligned.
    """

    title: str
    unit: str
    text: Callable[[Record], str]
    numeric: bool = True

    @property
    def heading(self) -> str:
        """Title and unit in one line."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


def worth_showing(columns: Iterable[Column[Record]], records: Sequence[Record]) -> list[Column[Record]]:
    """Drop the columns that are unknown for every record, and a status column in which every cell is "ok"."""
    return [column for column in columns if {column.text(record) for record in records} - {"", "ok"}]


def plain_text(columns: Sequence[Column[Record]], records: Iterable[Record]) -> str:
    """Write records in aligned columns; titles are wrapped to keep columns narrow, with the unit below them."""
    headings = [[*textwrap.wrap(column.title, TITLE_WIDTH), column.unit] for column in columns]
    height = max(map(len, headings), default=0)
    headings = [[""] * (height - len(heading)) + heading for heading in headings]
    rows = [line for line in zip(*headings, strict=True) if any(line)]
    rows += [tuple(printable(column.text(record)) or CELL_UNKNOWN for column in columns) for record in records]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if column.numeric else cell.ljust(width)
            for column, cell, width in zip(columns, row, widths, strict=True)
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
