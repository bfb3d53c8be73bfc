"""Test explanations of random requests: each change that is named saves what it says, and none that saves is missed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from planner import explain
from tests.checker.draw import draw
from tests.checker.operating_points import asked
from tests.checker.places import RefusedError
from tests.checker.planned import NEAR, answer, least_value
from tests.checker.relaxed import changes
from tests.checker.request_files import RequestFiles, read_files

EVERY = 8
_SECONDS = 5.0


def least(files: RequestFiles) -> tuple[str, float | None]:
    """Return the status and the least value of a request by the checker's model."""
    try:
        status, value = least_value(asked(files))
    except RefusedError:
        return "refused", None
    return status, None if value is None else float(value)


def test_explanation_names_what_saves(seed: int, tmp_path: Path) -> None:
    """Each change that lowers the least value is named with the value it gives, and each bound is none above it.

    Where no plan exists, the demands that conflict cannot be met together, and can without any one of them.
    """
    files = draw(seed)
    found = answer(files, tmp_path)
    if found.status not in ("optimal", "infeasible"):
        return
    files = read_files(tmp_path, files.options)
    server_mib = files.options.get("server_memory_mib")
    start = time.monotonic()
    explanation = explain(
        found.result.placement, tmp_path / "measurements.csv", server_memory_mib=server_mib, time_limit_s=_SECONDS
    )
    in_time = time.monotonic() - start < _SECONDS / 2  # else some change may not have been tried to its end
    if found.status == "infeasible":
        assert explanation.relaxations is None
        check_conflict(files, explanation.conflict)
        return
    assert all(bound <= found.value + NEAR for bound in explanation.bounds.values()), explanation.bounds
    named = {change.change: change.value for change in explanation.relaxations}
    expected = {change: least(changed) for change, changed in changes(files).items()}
    assert named.keys() <= expected.keys()
    known = {change: value for change, (status, value) in expected.items() if status == "optimal"}
    assert all(value < found.value for value in named.values())
    assert all(named[change] >= known[change] - NEAR for change in named.keys() & known.keys())
    if in_time:
        savings = {change: value for change, value in known.items() if value < found.value - NEAR}
        assert {change: value for change, value in named.items() if change in known} == pytest.approx(savings)
        assert all(expected[change][0] == "unknown" for change in named.keys() - known.keys())


def check_conflict(files: RequestFiles, conflict: tuple[str, ...]) -> None:
    """Check that a conflict has no plan, and has one without any of its demands."""

    def only(names: set[str]) -> tuple[str, float | None]:
        models = [model for model in files.demand["model"] if model["model"] in names]
        return least(replace(files, demand={**files.demand, "model": models}))

    assert only(set(conflict))[0] != "optimal", conflict
    for name in conflict if len(conflict) > 1 else ():
        assert only(set(conflict) - {name})[0] != "infeasible", (conflict, name)
