"""Test re-planning of random requests: the same demand moves nothing, a changed one costs the least in the moves."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.checker.draw import draw
from tests.checker.least_moves import least_value_within
from tests.checker.placed import Placed, Reader
from tests.checker.placement_rules import faults
from tests.checker.places import RefusedError
from tests.checker.planned import NEAR, Answer, answer, read_back
from tests.checker.redraw import redraw_demand, with_one_overhead
from tests.checker.request_files import RequestFiles
from tests.checker.steps import contents, loads, step_faults

EVERY = 3


def in_force(files: RequestFiles, folder: Path) -> tuple[Answer, list[Placed]] | None:
    """Plan a request; return the answer and its GPUs, or None without a proven plan."""
    found = answer(files, folder)
    if found.document is None or found.status != "optimal":
        return None
    return found, Reader(found.document, read_back(files, folder)).gpus


def test_same_demand_moves_nothing(seed: int, tmp_path: Path) -> None:
    """A placement that costs the least stays as it is when the same demand is planned again."""
    files = with_one_overhead(draw(seed))
    before = in_force(files, tmp_path / "before")
    if before is None:
        return
    first, gpus = before
    again = answer(files, tmp_path / "again", current=first.result.placement)
    assert again.document is not None, again.refusal
    assert (again.document["moves"], again.value) == ([], first.value)
    assert contents(Reader(again.document, read_back(files, tmp_path / "again")).gpus) == contents(gpus)


def test_changed_demand_costs_the_least_within_the_moves(seed: int, tmp_path: Path) -> None:
    """The steps keep every GPU within its memory and lead to the new plan; it costs the least within the moves."""
    files = with_one_overhead(draw(seed))
    before = in_force(files, tmp_path / "before")
    if before is None:
        return
    first, gpus = before
    changed = redraw_demand(files, seed)
    max_moves = Random(seed).choice([None, 0, 1, 2, 3, 5])
    found = answer(changed, tmp_path / "after", current=first.result.placement, max_moves=max_moves)
    try:
        request = read_back(changed, tmp_path / "after")
    except RefusedError:
        assert found.status == "refused"
        return
    expected, value = least_value_within(request, gpus, max_moves)
    if found.value is None:
        assert found.status != "refused", found.refusal
        assert expected != "optimal" or found.status == "unknown", found.refusal
        return
    assert faults(found.document, request) == []
    assert step_faults(found.document["moves"], gpus, Reader(found.document, request).gpus) == []
    assert max_moves is None or loads(found.document["moves"]) <= max_moves
    assert expected != "infeasible"
    if expected == "optimal":
        assert found.value >= value - NEAR
        assert found.lower_bound <= value + NEAR
        assert found.status != "optimal" or found.value == pytest.approx(float(value))
