"""Test the verdicts: what misses and by how much, what is within noise, and when the host is to blame."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analyzer.measurements.co_location import CoLocation
from analyzer.measurements.record import Status
from analyzer.measurements.stream_figures import StreamFigures
from planner.inputs.demand import Requirement
from planner.interference.fitted import Interference
from planner.verification.compare import compare
from planner.verification.document import Verdict
from planner.verification.text import remarks
from planner.verification.verdict import judge_latency, judge_rate
from tests.builders.measured_contents import MEMORY_MIB, expectations, figures, measured, placement
from tests.builders.profiles import MIB
from tests.builders.verifications import verification


@pytest.mark.parametrize(
    ("served", "half_width", "verdict"),
    [
        (100, 2, Verdict.HOLDS),
        (98, 2, Verdict.HOLDS),
        (96, 2, Verdict.WITHIN_NOISE),
        (94, 2, Verdict.WITHIN_NOISE),
        (92, 2, Verdict.MISSES),
        (150, 0, Verdict.HOLDS),
    ],
)
def test_rate_is_judged_by_its_interval(served: float, half_width: float, verdict: Verdict) -> None:
    """95 of 100 are enough at a tolerance of 5 %; an interval that holds 95 is within noise."""
    assert judge_rate(100, served, half_width, 0.05) is verdict


@pytest.mark.parametrize(
    ("p99_s", "half_width_s", "verdict"),
    [
        (0.040, 0.005, Verdict.HOLDS),
        (0.045, 0.005, Verdict.HOLDS),
        (0.048, 0.005, Verdict.WITHIN_NOISE),
        (0.056, 0.005, Verdict.MISSES),
        (0.040, None, Verdict.WITHIN_NOISE),
    ],
)
def test_p99_is_judged_by_its_interval(p99_s: float, half_width_s: float | None, verdict: Verdict) -> None:
    """An interval that ends at the budget is within it; one that holds the budget is within noise."""
    assert judge_latency(0.05, p99_s, half_width_s) is verdict


def test_plan_that_delivers_what_it_promises_holds() -> None:
    """Both models and the GPU hold, and the figures planned and measured stand side by side."""
    plan = placement()
    found = compare(measured(plan, a=figures("a")), expectations(plan))
    assert found.verdict is Verdict.HOLDS
    assert [m.verdict for m in found.models] == [Verdict.HOLDS, Verdict.HOLDS]
    assert found.memory.planned == found.memory.measured == MEMORY_MIB * MIB
    assert (found.utilization.planned, found.utilization.measured) == (pytest.approx(0.7), 0.7)
    assert found.models[0].slow_down == 1.2
    assert found.models[0].predicted_slow_down == 1.0  # busy shares of 0.4 and 0.3


def test_model_that_serves_less_misses_unless_the_plan_is_by_memory() -> None:
    """80 of 100 infer/s miss in throughput mode; a plan by memory promises no throughput."""
    slow = figures("a", served=80.0)
    plan = placement()
    found = compare(measured(plan, a=slow), expectations(plan))
    assert (found.verdict, found.models[0].verdict) == (Verdict.MISSES, Verdict.MISSES)
    assert found.models[0].cause == "80.0 of 100 infer/s are served"
    assert found.models[1].verdict is Verdict.HOLDS
    plan = placement(mode="memory")
    assert compare(measured(plan, a=slow), expectations(plan)).verdict is Verdict.HOLDS
    plan = placement(mode="memory", rate=100)
    assert compare(measured(plan, a=slow), expectations(plan)).verdict is Verdict.MISSES


@pytest.mark.parametrize(
    ("offered", "served", "half_width", "verdict"),
    [
        (88, 88, 2, Verdict.HOLDS),  # by chance 12 % fewer than planned arrived, and all were served
        (112, 103, 2, Verdict.MISSES),  # as many as planned were served, but the backlog grew
        (112, 103, 4, Verdict.WITHIN_NOISE),
    ],
)
def test_rate_is_judged_by_what_was_offered(offered: int, served: float, half_width: float, verdict: Verdict) -> None:
    """In an open loop what counts is what was due in the window of 5 s, not the planned 100 infer/s.

    The spread of the arrivals once counted against the server: a content that ran easily was within noise.
    """
    plan = placement(rate=100)
    more = {"throughput_ci": 0.3, "offered": offered * 5 // 2, "backlog_half_width": half_width * 2.5}  # batch 2
    found = compare(measured(plan, a=figures("a", served=served, **more)), expectations(plan)).models[0]
    assert (found.planned_infer_per_s, found.offered_infer_per_s) == (100, offered)
    assert (found.served_half_width_infer_per_s, found.verdict) == (half_width, verdict)
    if verdict is Verdict.MISSES:
        assert found.cause == "103 of 112 infer/s that were offered are served"


def test_host_is_blamed_where_a_model_alone_has_changed() -> None:
    """If the control delivers 70 where it was profiled at 100, a miss is the host's; what holds still holds."""
    plan = placement()
    drifted = measured(plan, a=figures("a", served=70.0), control=figures("a", served=70.0))
    found = compare(drifted, expectations(plan))
    assert found.control is not None
    assert found.control.drifted
    assert found.verdict is Verdict.DRIFTED
    assert not found.verdict.shown_to_hold
    held = measured(plan, a=figures("a"), control=figures("a", served=70.0))
    assert compare(held, expectations(plan)).verdict is Verdict.HOLDS
    slow = figures("a", served=70.0)
    failed = measured(plan, a=figures("a", status=Status.SERVER_CRASHED, cause="it ended"), control=slow)
    assert compare(failed, expectations(plan)).verdict is Verdict.MISSES
    full = measured(plan, a=figures("a", max_memory_bytes=16000 * MIB), control=slow)
    assert compare(full, expectations(plan)).verdict is Verdict.MISSES
    near = measured(plan, a=figures("a", served=70.0), control=figures("a", served=97.0))
    assert compare(near, expectations(plan)).verdict is Verdict.MISSES  # 97 ± 2 and 100 ± 2 meet


def test_budget_memory_and_errors_are_judged() -> None:
    """A p99 above its budget, memory above its threshold, and failed requests each miss, and say so."""
    plan = placement(budget_ms=30)
    late = compare(measured(plan, a=figures("a", p99_s=0.05)), expectations(plan))
    assert late.models[0].cause == "its p99 is 50.0 ms, and 30.0 ms are allowed"
    plan = placement()
    full = compare(measured(plan, a=figures("a", max_memory_bytes=16000 * MIB)), expectations(plan))
    assert (full.verdict, full.cause) == (Verdict.MISSES, "memory is 98 %, and 90 % are allowed")
    assert full.models[0].verdict is Verdict.HOLDS
    failing = compare(measured(plan, a=figures("a", errors=3)), expectations(plan))
    assert failing.models[0].cause == "3 requests failed"


@pytest.mark.parametrize(
    ("ttft_s", "itl_s", "verdict", "cause"),
    [
        (0.2, 0.02, Verdict.HOLDS, ""),
        (0.5, 0.02, Verdict.MISSES, "its p99 time to the first response is 500 ms, and 300 ms are allowed"),
        (0.2, 0.05, Verdict.MISSES, "its p99 inter-token latency is 50.0 ms, and 30.0 ms are allowed"),
        (0.2, None, Verdict.WITHIN_NOISE, "its p99 inter-token latency was not measured"),
    ],
)
def test_budgets_of_streams_are_judged(ttft_s: float, itl_s: float | None, verdict: Verdict, cause: str) -> None:
    """The times to the first response and between tokens are judged as the p99 is, by their intervals."""
    plan = placement()
    plan = replace(plan, demand=(Requirement(model="a", ttft_p99_s=0.3, itl_p99_s=0.03),))
    stream = StreamFigures(
        first_response_p99_s=ttft_s, first_response_p99_ci=0.1, itl_p99_s=itl_s, itl_p99_ci=0.1 if itl_s else None
    )
    content = measured(plan, a=replace(figures("a"), stream=stream))
    found = compare(content, expectations(plan)).models[0]
    assert (found.verdict, found.cause) == (verdict, cause)
    assert found.ttft_p99_half_width_s == pytest.approx(ttft_s / 10)


@pytest.mark.parametrize(
    ("device", "utilization"),
    [("NVIDIA A100-SXM4-40GB MIG 1g.5gb", 0.7), ("NVIDIA A100-SXM4-40GB", None)],
)
def test_utilization_of_a_slice_is_that_of_the_slice_or_none(device: str, utilization: float | None) -> None:
    """That of a whole GPU, as a remote server's page shows it, is not compared, and the text says so."""
    plan = placement()
    both = measured(plan, a=figures("a"))
    content = replace(both.content, slice_profile="1g.5gb", gpus=("gpu-0/1g.5gb@0",))
    models = tuple(
        replace(
            one,
            measurement=replace(one.measurement, provenance=replace(one.measurement.provenance, device_name=device)),
        )
        for one in both.models.models
    )
    found = compare(replace(both, content=content, models=CoLocation(models=models)), expectations(plan))
    assert found.utilization.measured == utilization
    assert found.memory.measured == MEMORY_MIB * MIB
    assert ("was not measured" in "\n".join(remarks(verification(found)))) is (utilization is None)


def test_model_that_fails_only_beside_the_others_misses() -> None:
    """Out of memory beside the others is a finding; a model that fails alone as well says nothing of the plan."""
    plan = placement()
    lost = replace(figures("a"), status=Status.OUT_OF_MEMORY, cause="a does not load beside b", errors=None)
    found = compare(measured(plan, a=lost), expectations(plan))
    assert found.models[0].verdict is Verdict.MISSES
    assert found.models[0].cause == "a does not load beside b"
    both = measured(plan, a=lost)
    alone = replace(both, alone=(lost, both.alone[1]))
    assert compare(alone, expectations(plan)).models[0].verdict is Verdict.NOT_MEASURED


def test_prediction_follows_the_fit_and_the_planned_rate() -> None:
    """With a fit, the slow-down has its margin, and the p99 follows from the rate: L y (1 - rho) / (1 - rho y)."""
    plan = placement(rate=50)
    fit = replace(Interference.uncalibrated("Tesla T4"), constant=0.2, margin=1.1, calibrated=True)
    expected = replace(expectations(plan), fits={"Tesla T4": fit})
    model = compare(measured(plan, a=figures("a", served=50.0), b=figures("b", served=50.0)), expected).models[0]
    assert model.predicted_slow_down == pytest.approx(1.2)
    assert model.most_slow_down == pytest.approx(1.32)
    assert model.predicted_p99_s == pytest.approx(0.02 * 1.2 * 0.5 / (1 - 0.5 * 1.2))
    assert model.most_p99_s == pytest.approx(0.02 * 1.32 * 0.5 / (1 - 0.5 * 1.32))
