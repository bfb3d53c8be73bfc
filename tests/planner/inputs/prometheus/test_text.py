"""Test the demand file: it is read back, whatever a model is called."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from planner.inputs.demand_file import read_demand
from planner.inputs.prometheus.gpus import ObservedGpu
from planner.inputs.prometheus.observed import ObservedModel
from planner.inputs.prometheus.text import Observation, demand_toml, models_text, toml_string
from tests.builders.hostile_names import HOSTILE

CHEST = ObservedModel(
    model="chest",
    rate_infer_per_s=41.25,
    versions=(("1", 41.25),),
    mean_batch=3.2,
    latency_p99_s=0.01234,
    coverage=0.9996,
    coverage_since_first=1.0,
    first_s=300,
    last_s=600,
    new=False,
    gone=False,
)


def observation(*models: ObservedModel, **others: object) -> Observation:
    """Make an observation of these models."""
    return replace(Observation(source=("from a test",), models=models), **others)  # type: ignore[arg-type]


def read(text: str, folder: Path) -> list[tuple[str, float | None, float | None]]:
    """Read a demand as plan solve does: model, rate, budget in seconds."""
    (folder / "demand.toml").write_text(text)
    wanted = read_demand(folder / "demand.toml")
    return [(one.model, one.rate_to_serve, one.latency_p99_s) for one in wanted]


def test_demand_is_read_back(tmp_path: Path) -> None:
    """Growth of 1.2 on 41.25 inferences/s is 49.5; the p99 is a comment, or a budget of 12.34 ms rounded up to 12.4."""
    found = observation(CHEST, growth=1.2)
    assert read(demand_toml(found), tmp_path) == [("chest", pytest.approx(49.5), None)]
    assert "# latency_p99_ms = 12.4  # as seen" in demand_toml(found)
    assert "# mean batch 3.20, samples in 99 % of the window" in demand_toml(found)
    assert read(demand_toml(replace(found, budgets=True)), tmp_path) == [("chest", pytest.approx(49.5), 0.0124)]


def test_models_that_are_not_profiled_are_comments(tmp_path: Path) -> None:
    """A model that was not measured is there, but not asked for; taking away the signs asks for it."""
    found = observation(CHEST, replace(CHEST, model="liver"), not_profiled=frozenset({"liver"}))
    assert [model for model, _, _ in read(demand_toml(found), tmp_path)] == ["chest"]
    head, _, tail = demand_toml(found).partition("# not profiled")
    entry = [line.removeprefix("# ") for line in tail.splitlines() if line.startswith(("# [", "# model", "# rate"))]
    assert [model for model, _, _ in read("\n".join([head, *entry]), tmp_path)] == ["chest", "liver"]
    assert models_text(found.models, found.not_profiled).splitlines()[-1].split()[-1] == "no"


def test_rates_by_hour_take_the_place_of_the_rate() -> None:
    """The 24 rates are one list; the plain rate is left out, since it follows from them."""
    rates = tuple(float(hour) for hour in range(24))
    (entry,) = tomllib.loads(demand_toml(observation(replace(CHEST, rates_by_hour_infer_per_s=rates))))["model"]
    assert entry == {"model": "chest", "rates_by_hour_infer_per_s": list(rates)}


def test_model_without_requests_is_one_copy(tmp_path: Path) -> None:
    """A rate of 0 is no demand that can be divided; the model is loaded, so one copy is asked for."""
    idle = replace(CHEST, rate_infer_per_s=0.0, rates_by_hour_infer_per_s=(0.0,) * 24)
    assert read(demand_toml(observation(idle)), tmp_path) == [("chest", None, None)]


@pytest.mark.parametrize("name", [*HOSTILE, "a\r[[model]]", "\x7f\u2028\u0085", "\U0001f600"])
def test_any_name_is_one_string(name: str, tmp_path: Path) -> None:
    """Whatever a model or a GPU is called, the file has one model of that name and no other key."""
    found = observation(
        replace(CHEST, model=name, versions=((name, 1.0), ("2", 1.0))),
        gpus=(ObservedGpu(gpu=name, memory_bytes=2**20, utilization=0.5, sm_utilization=None, dram_utilization=None),),
        notes=(f"Prometheus: {name}",),
    )
    assert tomllib.loads(demand_toml(found)) == {"model": [{"model": name, "rate_infer_per_s": 41.25}]}
    assert len(read(demand_toml(found), tmp_path)) == 1


def test_half_a_character_does_not_stop_the_file() -> None:
    """JSON may hold half of a surrogate pair, which no UTF-8 file can; it becomes the replacement character."""
    assert tomllib.loads(f"a = {toml_string(chr(0xD800))}") == {"a": "\ufffd"}
