"""Records as flat rows: one column for each figure, the fields of records within them beside their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import NoneType
from typing import Any, get_type_hints

from analyzer.measurements.record import Measurement, Provenance, ServerOnly, Status, Trial, Variant

_PREFIXES = {Trial: "", Provenance: "", Variant: "variant_"}  # a measurement has instances, and so has its variant


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A column: its name, its type, whether it may be None, and what a record without it means (or MISSING)."""

    name: str
    kind: type
    optional: bool
    default: Any


@cache
def columns(record: type, prefix: str = "") -> tuple[Field, ...]:
    """Return every column of a record, in the order of its fields."""
    return tuple(_columns(record, prefix))


def flat(record: Any, prefix: str = "") -> dict[str, Any]:
    """Return a record's row, with plain Python numbers and with text that any database takes."""
    row: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if type(value) in _PREFIXES:
            row |= flat(value, _PREFIXES[type(value)])
        else:
            row[prefix + field.name] = value
    record_type: type = type(record)
    kinds = {column.name: column.kind for column in columns(record_type, prefix)}
    return {name: _plain(kinds[name], value) for name, value in row.items()}


def to_measurement(row: Mapping[str, Any]) -> Measurement:
    """Make a measurement of its row; the inverse of `flat`."""
    trial = Trial(**{**_part(row, Trial), "variant": Variant(**_part(row, Variant, "variant_"))})
    own = {**_part(row, Measurement), "status": Status(row["status"])}
    return Measurement(**{**own, "trial": trial, "provenance": Provenance(**_part(row, Provenance))})


def to_server_only(row: Mapping[str, Any]) -> ServerOnly:
    """Make the idle server's record of its row; the inverse of `flat`."""
    return ServerOnly(**{**_part(row, ServerOnly), "provenance": Provenance(**_part(row, Provenance))})


def identity(record: Trial | Provenance) -> dict[str, Any]:
    """Return the columns that are not at their defaults, so that a field added later keeps the old identities."""
    kind: type = type(record)
    defaults = {column.name: column.default for column in columns(kind)}
    return {name: value for name, value in flat(record).items() if value != defaults[name]}


def _columns(record: Any, prefix: str) -> Iterator[Field]:
    hints = get_type_hints(record)
    for field in fields(record):
        hint = hints[field.name]
        if hint in _PREFIXES:
            yield from _columns(hint, _PREFIXES[hint])
        else:
            options = getattr(hint, "__args__", (hint,))
            yield Field(
                name=prefix + field.name,
                kind=options[0],
                optional=NoneType in options,
                default=field.default,
            )


def _plain(kind: type, value: Any) -> Any:
    if value is None:
        return None
    if kind is str or kind is Status:  # PostgreSQL refuses NUL, and both lone surrogates
        return str(value).replace("\0", "").encode("utf-8", "replace").decode()
    return kind(value)  # 50 and 50.0 are one rate, and NumPy's numbers mean nothing to a database


def _part(row: Mapping[str, Any], record: type, prefix: str = "") -> dict[str, Any]:
    names = (field.name for field in fields(record))
    return {name: row[prefix + name] for name in names if prefix + name in row}
