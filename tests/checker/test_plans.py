"""Test plans of random requests against the checker's model of the rules, and against every rule one by one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from planner.cli.main import main
from tests.checker.draw import draw
from tests.checker.placement_rules import faults
from tests.checker.places import RefusedError
from tests.checker.planned import NEAR, answer, least_value, read_back
from tests.checker.request_files import DEMAND_KEYS, FLEET_KEYS, command_line

_BY_COMMAND = 10  # every tenth request is planned by the command line as well


def test_plan_is_right_and_costs_the_least(seed: int, tmp_path: Path) -> None:
    """A plan keeps every rule, an optimal one costs the least there is, and no bound is above that."""
    files = draw(seed)
    found = answer(files, tmp_path)
    try:
        request = read_back(files, tmp_path)
    except RefusedError:
        assert found.status == "refused"
        return
    assert found.document is not None, found.refusal
    assert faults(found.document, request) == []
    expected, value = least_value(request)
    if expected == "optimal":
        assert found.status != "infeasible"
        assert found.lower_bound <= value + NEAR
        assert found.value is None or found.value >= value - NEAR
        assert found.status != "optimal" or found.value == pytest.approx(float(value))
    elif expected == "infeasible":
        assert found.status in ("infeasible", "unknown")
    if seed % _BY_COMMAND == 0:
        output = tmp_path / "by-command.json"
        done = CliRunner().invoke(main, [*command_line(files, tmp_path), "--time-limit", "10", "--output", str(output)])
        by_command = json.loads(output.read_text())["status"]
        assert done.exit_code == {"infeasible": 3, "unknown": 1}.get(by_command, 0), done.output
        if {found.status, by_command} <= {"optimal", "infeasible"}:  # proven in the time
            assert output.read_bytes() == (tmp_path / "placement.json").read_bytes()


def test_requests_have_every_key() -> None:
    """Some request of the first hundreds has each key of demand and fleet files, in TOML and in CSV."""
    demand, fleet, in_csv = set(), set(), set()
    for files in map(draw, range(300)):
        keys = {key for model in files.demand["model"] for key in model}
        demand |= keys
        in_csv |= keys if files.demand_in_csv else set()
        fleet |= {key for entry in (files.fleet, *files.fleet["gpu"]) for key in entry} - {"gpu"}
    assert demand == in_csv == set(DEMAND_KEYS)
    assert fleet == set(FLEET_KEYS)
