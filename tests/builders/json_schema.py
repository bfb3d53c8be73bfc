"""Walk the objects of a JSON Schema beside the keys of the records, for the tests that the two agree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from analyzer.formats.json_keys import Key


def objects(keys: Sequence[Key], found: Mapping[str, Any], where: str) -> Iterator[tuple[str, Any, Any]]:
    """Pair every object of the records with its part of the schema."""
    yield where, keys, found
    for key in keys:
        if key.form.keys:
            part = found["properties"][key.name]
            yield from objects(key.form.keys, part.get("items", part), f"{where}.{key.name}")
