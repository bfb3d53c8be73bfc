"""Turn protobuf messages into the documents that Triton sends over HTTP: every field, numbers as numbers.

`google.protobuf.json_format` writes 64-bit numbers as texts, and the name of its option for fields with default values
differs between releases.
"""

from __future__ import annotations

from typing import Any


def as_json(message: Any) -> dict[str, Any]:
    """Return a message as Triton's HTTP endpoint writes it: fields that are not set have their defaults.

    Left out are messages and members of a ``oneof`` that are not set.
    """
    return {
        field.name: _value(field, getattr(message, field.name))
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def _value(field: Any, value: Any) -> Any:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name["value"]
        return {key: _one(entry, value[key]) for key in value}
    if hasattr(value, "append") or hasattr(value, "add"):
        return [_one(field, each) for each in value]
    return _one(field, value)


def _one(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return as_json(value)
    if field.enum_type is not None:
        return field.enum_type.values_by_number[value].name
    return value
