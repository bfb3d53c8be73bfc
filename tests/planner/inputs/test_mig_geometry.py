"""Test MIG geometries."""

from __future__ import annotations

import pytest

from planner.inputs.gpu_catalogue import catalogue
from planner.inputs.mig_geometry import Cut, boards, geometries, maximal_placements

A100_TYPE = ("A100-40GB", "A100-80GB", "H100-80GB", "H200-141GB", "B200-180GB")


def names_without_double_memory(board: str) -> frozenset[str]:
    """Return the names of all profiles but the 1g with two memory slices."""
    return frozenset(p.name for p in boards()[board].profiles if (p.compute_slices, p.memory_slices) != (1, 2))


@pytest.mark.parametrize("board", A100_TYPE)
def test_a100_type_boards_have_19_maximal_placements(board: str) -> None:
    """There are the 19 combinations of NVIDIA's MIG user guide, and 78 with the 1g of double memory."""
    assert len(maximal_placements(boards()[board], names_without_double_memory(board))) == 19
    assert len(maximal_placements(boards()[board])) == 78


def test_a30_has_5_maximal_placements() -> None:
    """The placements are 4g, 2g+2g, 2g+1g+1g in two orders, and four 1g."""
    assert len(maximal_placements(boards()["A30-24GB"])) == 5


def test_three_three_one_is_not_legal() -> None:
    """3g+3g takes all eight memory slices, so that no 1g fits although 3 + 3 + 1 = 7 compute slices."""
    board = boards()["A100-80GB"]
    both = (Cut(start=0, profile="3g.40gb"), Cut(start=4, profile="3g.40gb"))
    assert both in maximal_placements(board)
    assert not any([c.profile for c in g].count("3g.40gb") == 2 and len(g) > 2 for g in maximal_placements(board))


def test_geometries_keep_one_cut_of_each_kind_and_no_poorer_one() -> None:
    """An A30 has the geometries 4g, 2g+2g, 2g+1g+1g (once) and four 1g."""
    found = [tuple(sorted(c.profile for c in g)) for g in geometries(boards()["A30-24GB"])]
    assert sorted(found) == [
        ("1g.6gb", "1g.6gb", "1g.6gb", "1g.6gb"),
        ("1g.6gb", "1g.6gb", "2g.12gb"),
        ("2g.12gb", "2g.12gb"),
        ("4g.24gb",),
    ]


def test_shares_come_from_measured_slices() -> None:
    """A 1g.20gb of an H100 has 26 of 132 multiprocessors and 2 of 8 memory slices, not 1/7 and 1/8."""
    board = boards()["H100-80GB"]
    profile = next(p for p in board.profiles if p.name == "1g.20gb")
    assert board.compute_share(profile) == pytest.approx(26 / 132)
    assert board.memory_share(profile) == 0.25


def test_catalogue_names_boards_that_are_known() -> None:
    """The catalogue's MIG boards are all defined."""
    assert {entry.mig for entry in catalogue().values() if entry.mig} <= set(boards())
