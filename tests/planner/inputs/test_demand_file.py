"""Test the reading of demand files."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from analyzer.errors import UsageError
from planner.inputs.demand import Requirement, Spread
from planner.inputs.demand_file import read_demand

TOML = """
growth = 1.5
[[model]]
model = "chest"
rate_infer_per_s = 200
latency_p99_ms = 40
replicas = 2
spread = "node"
apart = ["noisy"]
group_max = { scans = 2 }
variants = ["chest_int8"]

[[model]]
model = "liver"
alone = true
"""


def test_toml_sets_every_field_of_a_requirement(tmp_path: Path) -> None:
    """Milliseconds become seconds; a growth at the top of the file applies to every rate."""
    path = tmp_path / "demand.toml"
    path.write_text(TOML)
    chest, liver = read_demand(str(path))
    assert chest == Requirement(
        model="chest",
        rate_infer_per_s=200,
        latency_p99_s=0.04,
        replicas=2,
        spread=Spread.NODE,
        apart=("noisy",),
        group_max=(("scans", 2),),
        variants=("chest_int8",),
        growth=1.5,
    )
    assert chest.rate_to_serve == 300
    assert (liver.alone, liver.rate_to_serve) == (True, None)


def test_keys_of_a_language_model(tmp_path: Path) -> None:
    """A rate in requests is the rate of its inferences; budgets are milliseconds, lengths tokens."""
    path = tmp_path / "demand.csv"
    path.write_text(
        "model,rate_requests_per_s,ttft_p99_ms,itl_p99_ms,input_length,output_length\nllm,5,300,25,512,128\n"
    )
    (llm,) = read_demand(path)
    assert (llm.rate_to_serve, llm.ttft_p99_s, llm.itl_p99_s) == (5, 0.3, 0.025)
    assert (llm.input_length, llm.output_length) == (512, 128)


def test_csv_columns_are_the_same_keys(tmp_path: Path) -> None:
    """Absent columns and empty cells have the defaults."""
    path = tmp_path / "demand.csv"
    path.write_text("model,replicas,alone,group_max\nchest,3,,\nliver,,yes,scans=2; others=3\n")
    assert read_demand(str(path)) == (
        Requirement(model="chest", replicas=3),
        Requirement(model="liver", alone=True, group_max=(("others", 3), ("scans", 2))),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,rate_infer_per_s\na,5\na,6\n", "line 3, model: 'a' is already in line 2"),
        ("model,rate_infer_per_s\na,-5\n", "line 2, rate_infer_per_s: is -5; it must be above 0"),
        ("model,rate_infer_per_s\na,20/s\n", "line 2, rate_infer_per_s: is '20/s', which is no number"),
        ("model,latency_p99_ms\na,1e9\n", "line 2, latency_p99_ms: is 1e9; it must be above 0 and at most 3,600,000"),
        ("model,spread\na,rack\n", "line 2, spread: is 'rack'; known are gpu, node, none"),
        ("rate_infer_per_s\n5\n", "line 2, model: is missing"),
        ("model,growth\na,2\n", "line 2, growth: has no effect without rate_infer_per_s"),
        ("model,group_max\na,scans\n", "line 2, scans: is '', which is no number"),
        ("model,group_max\na,scans=0\n", "line 2, scans: is 0; it must be at least 1"),
        ("model\n", "line 1, model: there is no model"),
        ("model,rates_by_hour_infer_per_s\na,1;2\n", "line 2, rates_by_hour_infer_per_s: has 2 values; give 24"),
        (f"model,rates_by_hour_infer_per_s\na,{'0;' * 23}0\n", "rates_by_hour_infer_per_s: needs rates of at least 0"),
        (f"model,rates_by_hour_infer_per_s\na,{'1;' * 23}x\n", "rates_by_hour_infer_per_s: is 'x', which is no num"),
        (
            "model,rate_infer_per_s,rate_requests_per_s\na,7,8\n",
            "line 2, rate_requests_per_s: stands beside a rate in inferences/s; give one of them",
        ),
        (f"model,rates_by_hour_infer_per_s\na,{'1;' * 23}-1\n", "rates_by_hour_infer_per_s: is -1; it must be at"),
        (
            f"model,rate_infer_per_s,rates_by_hour_infer_per_s\na,7,{'1;' * 23}2\n",
            "line 2, rates_by_hour_infer_per_s: has 2 as its highest rate, and rate_infer_per_s is 7; leave",
        ),
    ],
)
def test_mistake_names_its_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    """A mistake is an error that names the line and the key."""
    path = tmp_path / "demand.csv"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_demand(str(path))
    assert message in caught.value.message


def test_rates_by_hour_are_a_list_or_separated_by_semicolons(tmp_path: Path) -> None:
    """TOML and CSV give the same requirement, whose rate is the highest of the day; growth raises every hour."""
    rates = [float(hour) for hour in range(24)]
    toml, table = tmp_path / "demand.toml", tmp_path / "demand.csv"
    toml.write_text(f'[[model]]\nmodel = "a"\nrates_by_hour_infer_per_s = {rates}\ngrowth = 2\n')
    table.write_text(f"model,growth,rates_by_hour_infer_per_s\na,2,{';'.join(map(str, rates))}\n")
    (found,) = read_demand(str(toml))
    assert read_demand(str(table)) == (found,)
    assert (found.rate_infer_per_s, found.rate_to_serve, found.shares_by_hour[12]) == (23, 46, 12 / 23)


def test_requirement_with_other_rates_than_24_is_refused() -> None:
    """A record is checked as a file is."""
    with pytest.raises(UsageError, match="of model 'a' has 3 values; give 24"):
        Requirement(model="a", rates_by_hour_infer_per_s=(1, 2, 3))


def test_ten_thousand_models_read_in_under_a_second(tmp_path: Path) -> None:
    """Ten thousand models are read in under a second; it takes about a tenth of that."""
    path = tmp_path / "demand.csv"
    path.write_text("model,rate_infer_per_s\n" + "".join(f"m{i},{i + 1}.5\n" for i in range(10_000)))
    start = time.perf_counter()
    assert len(read_demand(str(path))) == 10_000
    assert time.perf_counter() - start < 1.0
