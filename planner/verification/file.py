"""Write a verification as JSON, checked against its JSON Schema, and as CSV; read the JSON back."""

from __future__ import annotations

from pathlib import Path

from analyzer.formats.json_document import JsonDocument, by_lines
from analyzer.formats.json_keys import read_record, write_record
from planner.verification.document import MODEL_KEYS, VERIFICATION_KEYS, Verification
from planner.verification.frame import to_csv

SCHEMA_VERSION = "1.2"  # 1.1: contents[].models[].offered_infer_per_s; 1.2: ttft_*, itl_*
JSON_FILE = "verification.json"
CSV_FILE = "verification.csv"
DOCUMENT = JsonDocument(
    name="verification",
    package="planner",
    schema_file="data/verification.schema.json",
    version=SCHEMA_VERSION,
    made_with="plan verify, which writes",
)


def to_json(found: Verification) -> str:
    """Write a verification as JSON text with one line for each content."""
    document = write_record(found, VERIFICATION_KEYS)
    return DOCUMENT.checked_text(document, by_lines(document))


def write_verification(found: Verification, folder: str | Path) -> None:
    """Write verification.json and verification.csv to a folder, each either completely or not at all.

    Raises
    ------
    TritonpackError
        If a file cannot be written.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from planner import read_verification, write_verification
    >>> found = read_verification("tests/data/verification.json")
    >>> with TemporaryDirectory() as folder:
    ...     write_verification(found, folder)
    ...     read_verification(f"{folder}/verification.json") == found
    True
    """
    DOCUMENT.write(to_json(found), Path(folder) / JSON_FILE)
    DOCUMENT.write(to_csv(found, MODEL_KEYS), Path(folder) / CSV_FILE)


def read_verification(path: str | Path) -> Verification:
    """Read a verification file of this version of the schema or an earlier one.

    Raises
    ------
    UsageError
        If the file cannot be read, is no JSON, has a newer major version of the schema, or does not follow it.

    Examples
    --------
    >>> from planner import read_verification
    >>> found = read_verification("tests/data/verification.json")
    >>> found.verdict.value, [(model.name, model.verdict.value) for model in found.contents[0].models]
    ('misses', [('a', 'misses'), ('b', 'holds')])
    """
    found: Verification = read_record(Verification, DOCUMENT.read(path), VERIFICATION_KEYS)
    return found
