"""Test the formatting of figures for people."""

from __future__ import annotations

import pytest

from analyzer.formats.units import counted, mib, milliseconds, number, percent, printable, shortened, whole


@pytest.mark.parametrize(
    ("value", "text"),
    [(1381.6, "1382"), (172.4, "172"), (33.6, "33.6"), (4, "4.00"), (0.04211, "0.0421"), (0, "0"), (-33.61, "-33.6")],
)
def test_number_has_three_significant_digits(value: float, text: str) -> None:
    """Three significant digits, but digits before the decimal point are never rounded away."""
    assert number(value) == text


def test_unknown_figure_is_empty() -> None:
    """An unmeasured figure is shown as an empty text, never as 0."""
    assert [write(None) for write in (number, mib, percent, milliseconds, whole)] == [""] * 5
    assert number(float("nan")) == ""


def test_units_are_those_of_the_screen() -> None:
    """Bytes become MiB, fractions become %, seconds become ms."""
    assert mib(1461 * 1024**2) == "1461"
    assert mib(1.5 * 1024**2) == "1.5"  # below 10 MiB one decimal
    assert (percent(0.23), percent(0.012), percent(0.0)) == ("23", "1.2", "0")
    assert milliseconds(0.0336) == "33.6"


def test_printable_takes_out_control_characters() -> None:
    """Control characters become spaces, so that a name cannot move the cursor or break the line."""
    assert printable("a\x1b[31m\nb é") == "a [31m b é"


def test_shortened_keeps_both_ends() -> None:
    """A long text keeps its beginning and end in exactly `length` characters; a short one is unchanged."""
    assert shortened("segmentation_ct_spleen", 9) == "segm…leen"
    assert shortened("short", 5) == "short"


def test_counted_agrees_in_number() -> None:
    """The noun is in the plural unless the count is 1."""
    assert (counted(1, "trial"), counted(2, "trial")) == ("1 trial", "2 trials")
