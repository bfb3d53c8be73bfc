"""Read and write JSON documents that follow a JSON Schema, with one clear line where one does not."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from analyzer.errors import TritonpackError, UsageError
from analyzer.formats.files import write_whole


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonDocument:
    """A kind of file with a version and a schema; a reader of 1.x reads every 1.y.

    Parameters
    ----------
    name : str
        What the file is, in a message: ``placement``.
    package, schema_file : str
        The package that has the schema, and the schema's path in it.
    version : str
        The newest version that this tool knows.
    made_with : str
        The command that makes such a file; the file's name is added to it.
    shortened : callable, optional
        Returns a document without parts that are alike, which need not be checked twice.
    """

    name: str
    package: str
    schema_file: str
    version: str
    made_with: str
    shortened: Callable[[Any], Any] = lambda document: document

    def read(self, path: str | Path) -> dict[str, Any]:
        """Read and check a file.

        Raises
        ------
        UsageError
            If the file cannot be read, is no JSON, has a newer major version of the schema, or does not follow it.
        """
        again = f"make it again with {self.made_with} {path}"
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}; make it with {self.made_with} {path}") from None
        except ValueError as error:
            raise UsageError(f"{path} is no JSON: {error}; {again}") from None
        found = document.get("schema_version") if isinstance(document, dict) else None
        if isinstance(found, str) and not found.startswith("1."):
            raise UsageError(f"{path} has schema version {found}; this tool reads 1.x: update it")
        fault = self.first_fault(document, newer=self._is_newer(found))
        if fault:
            raise UsageError(f"{path} is no {self.name}: {fault}; {again}")
        checked: dict[str, Any] = document
        return checked

    def checked_text(self, document: Mapping[str, Any], text: str) -> str:
        """Return the text of a document; one that does not follow the schema is a bug and raises AssertionError."""
        fault = self.first_fault(document)
        assert fault is None, fault  # noqa: S101 - never the user's fault
        return text

    def write(self, text: str, path: str | Path) -> None:
        """Write a file, either completely or not at all.

        Raises
        ------
        TritonpackError
            If the file cannot be written.
        """
        try:
            write_whole(Path(path), text)
        except OSError as error:
            raise TritonpackError(
                f"{path} cannot be written: {error.strerror}; give another file with `output`"
            ) from None

    def first_fault(self, document: object, *, newer: bool = False) -> str | None:
        """Say where a document does not follow the schema first; None where it follows it.

        A file of a `newer` 1.x may have keys that are unknown here; they are ignored when it is read.
        """
        from jsonschema import Draft202012Validator

        for error in Draft202012Validator(schema(self.package, self.schema_file)).iter_errors(self.shortened(document)):
            if newer and error.validator == "additionalProperties":
                continue
            where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path).lstrip(".")
            return f"{where or 'the document'}: {error.message[:200]}"
        return None

    def _is_newer(self, version: object) -> bool:
        minor = version.removeprefix("1.") if isinstance(version, str) else ""
        return minor.isdecimal() and int(minor) > int(self.version.removeprefix("1."))


@cache
def schema(package: str, path: str) -> Mapping[str, Any]:
    """Read a JSON Schema that a package has."""
    found: Mapping[str, Any] = json.loads(files(package).joinpath(path).read_text("utf-8"))
    return found


def by_lines(document: Mapping[str, Any]) -> str:
    """Write a document with one line for each element of its lists, so that two files can be compared by lines."""
    parts = [f" {json.dumps(name)}: {_lines(value)}" for name, value in document.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _lines(value: object) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"  {json.dumps(item, ensure_ascii=False)}" for item in value) + "\n ]"
    return json.dumps(value, ensure_ascii=False)
