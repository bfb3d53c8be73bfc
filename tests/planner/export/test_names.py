"""Test the names that exporters make legal."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from planner.export.names import dns_label, identifier, unique

LABEL = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")  # RFC 1035, which is the stricter
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


@given(st.lists(st.text(max_size=200), max_size=30))
def test_any_names_become_different_legal_ones(names: list[str]) -> None:
    """Whatever the names, the labels and identifiers are legal, and different for different names."""
    for legal, form in ((dns_label, LABEL), (identifier, IDENTIFIER)):
        found = unique(names, legal)
        assert set(found) == set(names)
        assert len(set(found.values())) == len(found)
        assert all(form.fullmatch(name) for name in found.values())


def test_a_legal_name_is_kept_whatever_the_others_are() -> None:
    """A name that is legal stays, also beside one that would become the same, which gets a hash."""
    found = unique(["a_b", "a-b"])
    assert found["a-b"] == "a-b"
    assert re.fullmatch(r"a-b-[0-9a-f]{8}", found["a_b"])


def test_names_that_are_cut_off_stay_different() -> None:
    """Two names that differ only after 63 characters have different labels of at most 63."""
    found = unique(["x" * 70 + "a", "x" * 70 + "b"])
    assert len(set(found.values())) == 2
    assert {len(name) for name in found.values()} == {63}
