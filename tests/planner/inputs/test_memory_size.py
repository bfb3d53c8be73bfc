"""Test memory sizes with units."""

from __future__ import annotations

import re

import pytest

from planner.inputs.memory_size import MemorySize, format_size, to_bytes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("309MiB", 309 * 1048576),
        ("16GB", 16_000_000_000),
        ("16 GiB", 17_179_869_184),
        ("1.5gib", 1_610_612_736),  # 1.5 x 2^30
        ("0.1MB", 100_000),  # exact, not 99,999 by binary rounding
        ("512B", 512),
    ],
)
def test_size_with_unit_becomes_bytes(text: str, size: int) -> None:
    """MB and GB are powers of ten, MiB and GiB powers of two."""
    assert to_bytes(MemorySize().parse(text)) == size


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
def test_invalid_size_is_refused_with_what_to_write(text: str, way_out: str) -> None:
    """The error names the value and what to write."""
    with pytest.raises(ValueError, match=re.escape(repr(text))) as caught:
        MemorySize().parse(text)
    assert way_out in str(caught.value)


@pytest.mark.parametrize("value", [0, -1, True, "16GiB", float("nan"), float("inf"), 2**31])
def test_number_that_is_no_size_is_refused(value: object) -> None:
    """In Python a size is a number of MiB; any other value is refused."""
    with pytest.raises(ValueError, match="give MiB, above 0"):
        MemorySize().check(value)


def test_nothing_is_a_size_where_it_may_be() -> None:
    """A server of 0 MiB is what a CSV may say; --server-memory refused it."""
    assert MemorySize(zero=True).parse("0MiB") == MemorySize(zero=True).check(0) == 0
    with pytest.raises(ValueError, match="at least 0"):
        MemorySize(zero=True).check(-1)


def test_sizes_are_written_in_mib() -> None:
    """Sizes are written in MiB, as whole numbers if they are."""
    assert format_size(309 * 2**20) == "309 MiB"
    assert format_size(16_000_000_000) == "15,258.8 MiB"
