"""Convert records to flat database rows and back: one column for each field, those of nested records included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import NoneType
from typing import Any, get_type_hints

from analyzer.measurements.co_location import CoLocatedModel
from analyzer.measurements.record import Measurement, Provenance, ServerOnly, Status, Trial, Variant
from analyzer.measurements.stream_figures import StreamFigures

_PREFIXES = {
    Trial: "",
    Provenance: "",
    Variant: "variant_",
    StreamFigures: "",
    Measurement: "",
}  # Measurement and Variant both have `instances`


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A column: its name, its type, whether it may be None, and its default value (or MISSING)."""

    name: str
    kind: type
    optional: bool
    default: Any


@cache
def columns(record: type, prefix: str = "") -> tuple[Field, ...]:
    """Return every column of a record, in the order of its fields."""
    return tuple(_columns(record, prefix))


def to_row(record: Any, prefix: str = "") -> dict[str, Any]:
    """Return a record's row, with plain Python numbers and with text that any database accepts."""
    row: dict[str, Any] = {}
    for field in fields(record):
        value = getattr(record, field.name)
        if type(value) in _PREFIXES:
            row |= to_row(value, _PREFIXES[type(value)])
        else:
            row[prefix + field.name] = value
    record_type: type = type(record)
    kinds = {column.name: column.kind for column in columns(record_type, prefix)}
    return {name: _plain(kinds[name], value) for name, value in row.items()}


def to_measurement(row: Mapping[str, Any]) -> Measurement:
    """Build a measurement from its row; the inverse of `to_row`."""
    trial = Trial(**{**_part(row, Trial), "variant": Variant(**_part(row, Variant, "variant_"))})
    own = {
        **_part(row, Measurement),
        "status": Status(row["status"]),
        "stream": StreamFigures(**_part(row, StreamFigures)),
    }
    return Measurement(**{**own, "trial": trial, "provenance": Provenance(**_part(row, Provenance))})


def to_server_only(row: Mapping[str, Any]) -> ServerOnly:
    """Build the idle server's record from its row; the inverse of `to_row`."""
    return ServerOnly(**{**_part(row, ServerOnly), "provenance": Provenance(**_part(row, Provenance))})


def to_co_located(row: Mapping[str, Any]) -> CoLocatedModel:
    """Build a model of a co-location from its row; the inverse of `to_row`."""
    return CoLocatedModel(**{**_part(row, CoLocatedModel), "measurement": to_measurement(row)})


def identity(record: Trial | Provenance) -> dict[str, Any]:
    """Return the values that differ from their defaults, so that a field added later does not change identities."""
    kind: type = type(record)
    defaults = {column.name: column.default for column in columns(kind)}
    return {name: value for name, value in to_row(record).items() if value != defaults[name]}


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
    if kind is str or kind is Status:  # PostgreSQL rejects NUL, and both databases reject lone surrogates
        return str(value).replace("\0", "").encode("utf-8", "replace").decode()
    return kind(value)  # 50 and 50.0 are the same rate, and a database does not accept NumPy's numbers


def _part(row: Mapping[str, Any], record: type, prefix: str = "") -> dict[str, Any]:
    names = (field.name for field in fields(record))
    return {name: row[prefix + name] for name in names if prefix + name in row}
