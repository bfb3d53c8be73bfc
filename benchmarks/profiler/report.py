"""Write results as Markdown tables, for the terminal and for RESULTS.md, with the date and the machine."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from analyzer.devices.process import host
from analyzer.formats.units import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One table with notes below it."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def markdown(self) -> str:
        """Write the table as Markdown with aligned columns, so that it can be read on a terminal."""
        cells = [list(self.header), *([str(cell) for cell in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.header))]
        lines = [
            "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
            for row in cells
        ]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        text = f"**{self.title}**\n\n" + "\n".join(lines) + "\n"
        return text + "".join(f"\n{note}\n" for note in self.notes)


def machine() -> str:
    """Describe the processor, its cores, the memory and the system, without the host's name."""
    memory_gib = psutil.virtual_memory().total / MIB / 1024
    system = f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}"
    return f"{host().name}, {memory_gib:.0f} GiB, {system}"


def busy_share(span_s: float = 2.0) -> float:
    """Return the share of the processors in use over a span of seconds."""
    return psutil.cpu_percent(span_s) / 100


def section(case: str, tables: Sequence[Table], *, busy: float, wall_s: float, quick: bool) -> str:
    """Write the results of one case as Markdown."""
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    head = f"{when}; {machine()}; {busy:.0%} of the processors in use by others before; took {wall_s:.0f} s"
    quick_note = "\n*Short settings: this shows that the benchmark runs, not how the tools compare.*\n" if quick else ""
    return f"### {case}\n\n{head}.\n{quick_note}\n" + "\n".join(table.markdown() for table in tables)


def store_section(path: Path, case: str, text: str) -> None:
    """Replace a case's results in the file, or append them; the rest of the file stays as it is."""
    begin, end = f"<!-- profiler {case} -->", f"<!-- end of profiler {case} -->"
    block = f"{begin}\n{text.rstrip()}\n{end}\n"
    old = path.read_text() if path.exists() else "# Results\n"
    if begin in old and end in old:
        before, _, rest = old.partition(begin)
        path.write_text(before + block + rest.partition(end)[2].lstrip("\n"))
    else:
        path.write_text(old.rstrip("\n") + "\n\n" + block)
