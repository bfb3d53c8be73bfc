"""Rows of a CSV and tables of a TOML file, read key by key, so that every error message names its line and key."""

from __future__ import annotations

import csv
import io
import math
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from analyzer.errors import UsageError
from analyzer.formats.suggestions import suggest

_TOML_HEADER = re.compile(r"\s*\[{1,2}\s*([^\]]+?)\s*\]{1,2}\s*(?:#.*)?$")
_TOML_KEY = re.compile(r"""\s*["']?([A-Za-z0-9_\-]+)["']?\s*=""")
_TRUE, _FALSE = {"true", "yes", "1"}, {"false", "no", "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableEntry:
    """One row of a CSV, or one table of a TOML file.

    Parameters
    ----------
    file : str
        Its name, for messages.
    line : int
        Where the entry begins, counted from 1.
    values : mapping
        Text from a CSV (empty cells are left out), typed values from TOML.
    lines : mapping
        The line of each key that is not in the entry's first line.
    """

    file: str
    line: int
    values: Mapping[str, object]
    lines: Mapping[str, int] = field(default_factory=dict)

    def fail(self, key: str, fact: str) -> NoReturn:
        """Raise an error about one key, with its file and line.

        Raises
        ------
        UsageError
            Always.
        """
        raise UsageError(f"{self.file} line {self.lines.get(key, self.line)}, {key}: {fact}")

    def check_keys(self, known: Sequence[str]) -> None:
        """Refuse an unknown key; the message names the nearest known one."""
        for key in self.values:
            if key not in known:
                self.fail(key, f"unknown key; {suggest(key, known)}")

    def text(self, key: str) -> str | None:
        """Read a text that is not empty."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            self.fail(key, f"is {value!r}; write a text")
        return value.strip()

    def number(self, key: str, *, low: float = 0.0, high: float, zero: bool = False) -> float | None:
        """Read a number above `low` (or equal to it, with `zero`) and up to `high`."""
        value = self.values.get(key)
        if value is None:
            return None
        try:
            if isinstance(value, bool):
                raise TypeError
            found = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            self.fail(key, f"is {value!r}, which is no number; its unit is in the key's name")
        if not math.isfinite(found) or found > high or found < low or (found == low and not zero):
            least = "at least" if zero else "above"
            self.fail(key, f"is {value}; it must be {least} {low:g} and at most {high:,.10g}")
        return found

    def numbers(self, key: str, *, high: float) -> tuple[float, ...] | None:
        """Read numbers from 0 to `high`: a list in TOML, separated by ``;`` in a CSV; None where absent."""
        value = self.values.get(key)
        if value is None:
            return None
        parts = value.split(";") if isinstance(value, str) else value
        if not isinstance(parts, list):
            self.fail(key, f"is {value!r}; write a list of numbers")
        line = self.lines.get(key, self.line)
        each = (TableEntry(file=self.file, line=line, values={key: part}) for part in parts)
        return tuple(one.number(key, high=high, zero=True) or 0.0 for one in each)

    def count(self, key: str, *, low: int = 1, high: int = 1_000_000) -> int | None:
        """Read a whole number."""
        found = self.number(key, low=low, high=high, zero=True)
        if found is not None and found != int(found):
            self.fail(key, f"is {self.values[key]}, which is no whole number")
        return None if found is None else int(found)

    def flag(self, key: str) -> bool:
        """Read true or false; false where it is absent."""
        word = str(self.values.get(key, False)).strip().lower()
        if word not in _TRUE | _FALSE:
            self.fail(key, f"is {self.values[key]!r}; write true or false")
        return word in _TRUE

    def names(self, key: str) -> tuple[str, ...]:
        """Read names: a list or one text in TOML, separated by ``;`` in a CSV."""
        value = self.values.get(key)
        if value is None:
            return ()
        parts = value.split(";") if isinstance(value, str) else value
        if not isinstance(parts, list) or not all(isinstance(p, str) for p in parts):
            self.fail(key, f"is {value!r}; write names")
        return tuple(dict.fromkeys(p.strip() for p in parts if p.strip()))

    def counts(self, key: str) -> tuple[tuple[str, int], ...]:
        """Read names with a whole number each: a table in TOML, ``scans=2;others=3`` in a CSV; sorted by name."""
        value = self.values.get(key)
        if value is None:
            return ()
        if isinstance(value, str):
            pairs = [pair.partition("=") for pair in value.split(";") if pair.strip()]
            value = {name.strip(): number.strip() for name, _, number in pairs}
        if not isinstance(value, dict) or not all(value):
            self.fail(key, f"is {self.values[key]!r}; write names with a number each, such as {{scans = 2}}")
        own = TableEntry(file=self.file, line=self.lines.get(key, self.line), values=value)
        return tuple((name, own.count(name) or 0) for name in sorted(value))

    def choice(self, key: str, known: Iterable[str]) -> str | None:
        """Read one of a few words."""
        found = self.text(key)
        if found is not None and found not in known:
            self.fail(key, f"is '{found}'; {suggest(found, known)}")
        return found


def read_input(source: str) -> tuple[str, str]:
    """Read an input file, or stdin for ``-``.

    Returns
    -------
    tuple of str
        Its name for messages, and its text.

    Raises
    ------
    UsageError
        If it cannot be read.
    """
    try:
        if source == "-":
            return "stdin", sys.stdin.read()
        return source, Path(source).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"'{source}' cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"'{source}' is not UTF-8 at byte {error.start}; save it as UTF-8") from None


def csv_entries(text: str, file: str, known: Sequence[str]) -> tuple[TableEntry, ...]:
    """Read the rows of a CSV with a heading; columns may come in any order, and be absent.

    Raises
    ------
    UsageError
        If there is no heading, or a column is not known, or a row has more cells than the heading.
    """
    reader = csv.reader(io.StringIO(text, newline=""))
    heading = [title.strip() for title in next(reader, [])]
    head = TableEntry(file=file, line=1, values=dict.fromkeys(heading, ""))
    if not heading:
        raise UsageError(f"{file} is empty; its first line names the columns, such as {','.join(known[:3])}")
    head.check_keys(known)
    if len(set(heading)) < len(heading):
        twice = next(title for title in heading if heading.count(title) > 1)
        head.fail(twice, "the column is there twice")
    entries = []
    for cells in reader:
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) > len(heading):
            raise UsageError(f"{file} line {reader.line_num}: {len(cells)} cells under {len(heading)} columns")
        values = {key: cell for key, cell in zip(heading, cells, strict=False) if cell.strip()}
        entries.append(TableEntry(file=file, line=reader.line_num, values=values))
    return tuple(entries)


def toml_entries(
    text: str, file: str, table: str, *, top: Sequence[str], known: Sequence[str]
) -> tuple[TableEntry, tuple[TableEntry, ...]]:
    """Read a TOML file of ``[[table]]`` entries, with a few keys above them.

    Raises
    ------
    UsageError
        If it is no TOML, has no such table, or a key is not known.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file} is no TOML: {error}") from None
    top_lines, lines = _lines(text, table)
    first = TableEntry(file=file, line=1, values={k: v for k, v in document.items() if k != table}, lines=top_lines)
    first.check_keys((*top, table))
    tables = document.get(table)
    if not isinstance(tables, list) or not all(isinstance(t, dict) for t in tables) or not tables:
        raise UsageError(f"{file} has no [[{table}]]; write one for each {table}")
    entries = []
    for number, values in enumerate(tables):
        begin, keys = lines[number] if number < len(lines) else (1, {})
        entry = TableEntry(file=file, line=begin, values=values, lines=keys)
        entry.check_keys(known)
        entries.append(entry)
    return first, tuple(entries)


def _lines(text: str, table: str) -> tuple[dict[str, int], list[tuple[int, dict[str, int]]]]:
    """Lines of the keys above the tables, and of each table with its keys; tomllib does not tell them."""
    top: dict[str, int] = {}
    tables: list[tuple[int, dict[str, int]]] = []
    keys: dict[str, int] = top
    for number, line in enumerate(text.splitlines(), start=1):
        header, key = _TOML_HEADER.match(line), _TOML_KEY.match(line)
        if header and header.group(1) == table:
            keys = {}
            tables.append((number, keys))
        elif header:
            keys.setdefault(header.group(1).removeprefix(f"{table}.").split(".")[0], number)
        elif key:
            keys.setdefault(key.group(1), number)
    return top, tables


def unique(entries: Iterable[TableEntry], key: str, name: Callable[[TableEntry], str]) -> None:
    """Refuse a second entry for the same thing.

    Raises
    ------
    UsageError
        Naming both lines.
    """
    first: dict[str, TableEntry] = {}
    for entry in entries:
        other = first.setdefault(name(entry), entry)
        if other is not entry:
            entry.fail(key, f"'{name(entry)}' is already in line {other.line}; write it once")
