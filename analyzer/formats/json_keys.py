"""Write records as JSON objects and read them back, by a table of keys for each record.

A key states the name and the unit of a field in JSON, and the field's value if the key is absent. So the order of the
keys, their units and the reading of older files that lack some keys are defined in one place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter
from typing import Any, Final

from analyzer.formats.units import MIB

_DIGITS = 6  # decimals kept of sums of floats, so that equal records give equal bytes

REQUIRED: Final = object()  # a key that every file has


@dataclass(frozen=True, slots=True)
class Form:
    """How a value is written and read.

    Parameters
    ----------
    types : tuple of str
        The value's types, by JSON Schema's names.
    keys : tuple of Key
        Keys of the object, or of each object in the array; empty for other values.
    words : tuple of str
        The values of an enumeration; empty for other values.
    """

    types: tuple[str, ...]
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    keys: tuple[Key, ...] = ()
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an object.

    Parameters
    ----------
    name : str
    field : callable
        Returns the record's attribute that is written.
    argument : str
        The record's field that gets the value when it is read; empty if it follows from other fields.
    absent : object
        The field's value if the key is absent; `REQUIRED` if it must be present.
    left_out : bool
        Whether a value equal to `absent` is not written.
    """

    name: str
    form: Form
    field: Callable[[Any], Any]
    argument: str
    absent: Any
    left_out: bool


def key(
    name: str,
    form: Form,
    field: str = "",
    *,
    absent: Any = REQUIRED,
    left_out: bool = False,
    argument: str | None = None,
) -> Key:
    """Make a key; the field has the key's name unless another is given."""
    field = field or name
    return Key(name, form, attrgetter(field), field if argument is None else argument, absent, left_out)


def write_record(record: Any, keys: Sequence[Key]) -> dict[str, Any]:
    """Write a record as an object."""
    found = {}
    for each in keys:
        value = each.field(record)
        if not (each.left_out and value == each.absent):
            found[each.name] = each.form.write(value)
    return found


def read_record(record: Callable[..., Any], found: Mapping[str, Any], keys: Sequence[Key], **more: Any) -> Any:
    """Read a record from an object that is known to have its required keys; unknown keys are ignored.

    Parameters
    ----------
    record : callable
        The record's class.
    more
        Fields whose values are not in the object.
    """
    fields = dict(more)
    for each in keys:
        if each.argument:
            fields[each.argument] = each.form.read(found[each.name]) if each.name in found else each.absent
    return record(**fields)


def rounded(figure: float) -> float:
    """Round to six decimals; return a whole number as an int."""
    kept = round(figure, _DIGITS)
    return int(kept) if kept == int(kept) else kept


def _same(value: Any) -> Any:
    return value


TEXT = Form(("string",), _same, _same)
FLAG = Form(("boolean",), _same, _same)
INTEGER = Form(("integer",), _same, _same)
NUMBER = Form(("number",), _same, _same)
ROUNDED = Form(("number",), rounded, _same)
SHARE = Form(("number",), lambda value: round(value, _DIGITS), _same)
MEBIBYTES = Form(("number",), lambda value: rounded(value / MIB), lambda value: round(value * MIB))
PERCENT = Form(("number",), lambda value: rounded(value * 100), lambda value: value / 100)
MILLISECONDS = Form(("number",), lambda value: rounded(value * 1000), lambda value: value / 1000)


def nullable(form: Form) -> Form:
    """Return a form whose value may be None."""
    return Form(
        (*form.types, "null"),
        lambda value: None if value is None else form.write(value),
        lambda value: None if value is None else form.read(value),
        form.keys,
        form.words,
    )


def word(kind: type[Enum]) -> Form:
    """Return the form of an enumeration's values."""
    return Form(("enum",), lambda value: value.value, kind, words=tuple(member.value for member in kind))


def several(form: Form) -> Form:
    """Return the form of a JSON array, which is a tuple in the record."""
    return Form(
        ("array",),
        lambda values: [form.write(value) for value in values],
        lambda values: tuple(form.read(value) for value in values),
        form.keys,
    )


def mapping(form: Form) -> Form:
    """Return the form of an object with any keys, which is a tuple of (name, value) pairs in the record."""
    return Form(
        ("object",),
        lambda pairs: {name: form.write(value) for name, value in pairs},
        lambda found: tuple((name, form.read(value)) for name, value in found.items()),
    )


def nested(record: Callable[..., Any], keys: tuple[Key, ...]) -> Form:
    """Return the form of a record within another."""
    return Form(
        ("object",),
        lambda value: write_record(value, keys),
        lambda found: read_record(record, found, keys),
        keys,
    )
