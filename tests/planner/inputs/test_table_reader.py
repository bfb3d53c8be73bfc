"""Test the entries of input files: an error names the line and the key."""

from __future__ import annotations

import pytest

from analyzer.errors import UsageError
from planner.inputs.table_reader import TableEntry, csv_entries, toml_entries


def entry(**values: object) -> TableEntry:
    """Make an entry in line 3 of demand.csv."""
    return TableEntry(file="demand.csv", line=3, values=values)


@pytest.mark.parametrize(
    ("value", "fact"),
    [
        ("abc", "no number"),
        ("nan", "must be"),
        ("-1", "above 0"),
        ("0", "above 0"),
        ("1e12", "at most"),
        (True, "no number"),
    ],
)
def test_invalid_number_is_refused_with_line_and_key(value: object, fact: str) -> None:
    """Refused are text, NaN, booleans, zero, negative numbers and numbers above the limit."""
    with pytest.raises(UsageError, match=rf"demand.csv line 3, rate: .*{fact}"):
        entry(rate=value).number("rate", high=1e9)


def test_count_is_whole() -> None:
    """2.5 replicas are refused; 2.0, as spreadsheets write it, is 2."""
    assert entry(replicas="2.0").count("replicas") == 2
    with pytest.raises(UsageError, match="no whole number"):
        entry(replicas="2.5").count("replicas")


def test_flags_and_names_are_read_from_both_formats() -> None:
    """Flags and lists are words and semicolons in CSV, booleans and lists in TOML."""
    assert entry(alone="yes").flag("alone") and entry(alone=True).flag("alone") and not entry().flag("alone")
    assert entry(apart="a; b").names("apart") == entry(apart=["a", "b"]).names("apart") == ("a", "b")
    with pytest.raises(UsageError, match="true or false"):
        entry(alone="maybe").flag("alone")


def test_csv_heading_is_checked() -> None:
    """Refused are unknown columns (with the nearest known one), extra cells and an empty file."""
    known = ("model", "latency_p99_ms")
    with pytest.raises(UsageError, match=r"line 1, latency_p99_s: unknown key; did you mean 'latency_p99_ms'"):
        csv_entries("model,latency_p99_s\na,1\n", "d.csv", known)
    with pytest.raises(UsageError, match="line 2: 3 cells under 2 columns"):
        csv_entries("model,latency_p99_ms\na,1,2\n", "d.csv", known)
    with pytest.raises(UsageError, match="is empty"):
        csv_entries("", "d.csv", known)
    (row,) = csv_entries("latency_p99_ms,model\n\n,a\n", "d.csv", known)
    assert (row.line, dict(row.values)) == (3, {"model": "a"})


def test_toml_errors_name_the_line() -> None:
    """Errors name the line, which tomllib does not give, also in the second table and in the header of a sub-table."""
    text = '# fleet\n[[gpu]]\ntype = "T4"\n\n[[gpu]]\ntype = "L4"\n  conut = 3\n[gpu.scale]\nfrom = "T4"\n'
    with pytest.raises(UsageError, match=r"fleet.toml line 7, conut: unknown key; did you mean 'count'"):
        toml_entries(text, "fleet.toml", "gpu", top=(), known=("type", "count", "scale"))
    with pytest.raises(UsageError, match="line 8, scale: unknown key"):
        toml_entries(text.replace("conut", "count"), "fleet.toml", "gpu", top=(), known=("type", "count"))
    with pytest.raises(UsageError, match="is no TOML"):
        toml_entries("[[gpu", "fleet.toml", "gpu", top=(), known=())
    with pytest.raises(UsageError, match=r"has no \[\[gpu\]\]"):
        toml_entries("", "fleet.toml", "gpu", top=(), known=())
