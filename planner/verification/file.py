"""Write a verification as JSON, checked against its JSON Schema, and as CSV; read the JSON back."""

from __future__ import annotations

from pathlib import Path

from analyzer.formats.json_document import JsonDocument, by_lines
from analyzer.formats.json_keys import read_record, write_record
from planner.verification.document import VERIFICATION_KEYS, Verification

SCHEMA_VERSION = "1.0"
DOCUMENT = JsonDocument(
    name="verification",
    package="planner",
    schema_file="data/verification.schema.json",
    version=SCHEMA_VERSION,
    made_with="plan verify --json",
)


def to_json(found: Verification) -> str:
    """Write a verification as JSON text with one line for each content."""
    document = write_record(found, VERIFICATION_KEYS)
    return DOCUMENT.checked_text(document, by_lines(document))


def write_verification(found: Verification, path: str | Path) -> None:
    """Write a verification file, either completely or not at all.

    Raises
    ------
    TritonpackError
        If the file cannot be written.
    """
    DOCUMENT.write(to_json(found), path)


def read_verification(path: str | Path) -> Verification:
    """Read a verification file of this version of the schema or an earlier one.

    Raises
    ------
    UsageError
        If the file cannot be read, is no JSON, has a newer major version of the schema, or does not follow it.
    """
    found: Verification = read_record(Verification, DOCUMENT.read(path), VERIFICATION_KEYS)
    return found
