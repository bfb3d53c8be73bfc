"""Records as flat rows: one column for each figure, the fields of records within them beside their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from types import NoneType
from typing import Any, get_type_hints

from analyzer.measurement import Measurement, Provenance, ServerOnly, Status, Trial, Variant

_PREFIXES = {Trial: "", Provenance: "", Variant: "variant_"}  # a trial has instances, and so has its variant


@cache
def columns(record: type, prefix: str = "") -> tuple[tuple[str, type, bool], ...]:
    """Return name, type and whether it may be None of every column of a record, in the order of its fields."""
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
    kinds = {name: kind for name, kind, _ in columns(record_type, prefix)}
    return {name: _plain(kinds[name], value) for name, value in row.items()}


def to_measurement(row: Mapping[str, Any]) -> Measurement:
    """Make a measurement of its row; the inverse of `flat`."""
    trial = Trial(**{**_part(row, Trial), "variant": Variant(**_part(row, Variant, "variant_"))})
    own = {**_part(row, Measurement), "status": Status(row["status"])}
    return Measurement(**{**own, "trial": trial, "provenance": Provenance(**_part(row, Provenance))})


def to_server_only(row: Mapping[str, Any]) -> ServerOnly:
    """Make the idle server's record of its row; the inverse of `flat`."""
    return ServerOnly(**{**_part(row, ServerOnly), "provenance": Provenance(**_part(row, Provenance))})


def _columns(record: type, prefix: str) -> Iterator[tuple[str, type, bool]]:
    for name, hint in get_type_hints(record).items():
        if hint in _PREFIXES:
            yield from _columns(hint, _PREFIXES[hint])
        else:
            options = getattr(hint, "__args__", (hint,))
            yield prefix + name, options[0], NoneType in options


def _plain(kind: type, value: Any) -> Any:
    if value is None:
        return None
    if kind is str or kind is Status:  # PostgreSQL refuses NUL, and both lone surrogates
        return str(value).replace("\0", "").encode("utf-8", "replace").decode()
    return kind(value)  # 50 and 50.0 are one rate, and NumPy's numbers mean nothing to a database


def _part(row: Mapping[str, Any], record: type, prefix: str = "") -> dict[str, Any]:
    names = (field.name for field in fields(record))
    return {name: row[prefix + name] for name in names if prefix + name in row}
