"""Sizes with units."""

from __future__ import annotations

import pytest

from analyzer.errors import UsageError
from planner.inputs.memory_size import format_size, parse_size, to_mib


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("309MiB", 309 * 1048576),
        ("16GB", 16_000_000_000),
        ("16 GiB", 17_179_869_184),
        ("1.5gib", 1_610_612_736),  # 1.5 x 2^30
        ("0.1MB", 100_000),  # exact: not 99,999 from a binary fraction
        ("512B", 512),
    ],
)
def test_size_with_unit_becomes_bytes(text: str, size: int) -> None:
    """MB and GB are powers of ten, MiB and GiB powers of two."""
    assert parse_size(text, "--gpu-memory") == size


@pytest.mark.parametrize(
    ("text", "way_out"),
    [
        ("16384", "16384MiB or 16384GiB"),
        ("16Gb2", "such as 16GiB"),
        ("16XB", "unknown unit 'XB'"),
        ("0GiB", "above 0"),
        ("-1GiB", "such as 16GiB"),
        ("9999TiB", "at most 1024TiB"),
        ("", "such as 16GiB"),
    ],
)
def test_size_that_cannot_be_taken_says_the_way_out(text: str, way_out: str) -> None:
    """The message names the option, the value and what to write."""
    with pytest.raises(UsageError, match="--gpu-memory is") as caught:
        parse_size(text, "--gpu-memory")
    assert way_out in caught.value.message


def test_sizes_are_written_in_mib() -> None:
    """Tables and files are in MiB, whole where they can be."""
    assert format_size(309 * 2**20) == "309 MiB"
    assert format_size(16_000_000_000) == "15,258.8 MiB"
    assert to_mib(2**20) == 1
    assert to_mib(2**19) == 0.5
