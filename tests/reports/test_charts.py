"""Test the data of the page's charts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from analyzer.measurements.record import Measurement, Status, Trial
from analyzer.measurements.text import by_subject
from planner.placement.document import Placement
from planner.verification.document import Verdict
from reports.charts import Chart, figure, log_axis, text
from reports.model_charts import model_charts
from reports.operating_points import planned
from reports.placement_charts import MOST_PARTS, placement_charts
from reports.verification_charts import verification_charts
from tests.builders.measurements import failed, measured, streamed
from tests.builders.placements import gpu, model, placement
from tests.builders.verifications import verification, verified_content, verified_model


def demand(name: str, latency_p99_ms: float, **more: Any) -> dict[str, Any]:
    """Make the JSON object of a demand with a budget."""
    return {"model": name, "rate_infer_per_s": 10.0, "latency_p99_ms": latency_p99_ms, **more}


def charts(*trials: Measurement, plan: Placement | None = None) -> dict[str, Chart]:
    """Return the charts of trials of one configuration by their titles."""
    ((about, group),) = by_subject(trials).items()
    placements = [] if plan is None else [("plan.json", plan)]
    return {chart.title: chart for chart in model_charts(about, group, planned(about, placements))}


def trace(chart: Chart, name: str) -> dict[str, Any]:
    """Return the trace of a name."""
    (found,) = (each for each in chart.traces if each["name"] == name)
    return found


def names(chart: Chart) -> list[str]:
    """Return the names of a chart's traces."""
    return [each["name"] for each in chart.traces]


CURVE = "p99 latency over throughput"


def test_latency_over_throughput_has_a_line_for_each_batch() -> None:
    """Each batch size has its points in the order of the load, each with its row of the table."""
    chart = charts(*(measured(batch=b, concurrency=c) for b in (2, 1) for c in (2, 1)))[CURVE]
    line = trace(chart, "Batch 2")
    assert (line["x"], line["y"], line["text"]) == ([100, 200], [10, 20], ["1", "2"])
    assert line["rows"] == [2, 3]  # the table is sorted by batch, then by load


def test_budget_and_chosen_point_come_from_the_plan() -> None:
    """The budget is a line over the model's points, also of a variant that serves; the plan's point has a ring."""
    plan = placement(gpu(0, model("chest", 1)), demand=[demand("other", 15, variants=["chest"])])
    chart = charts(measured(batch=2, concurrency=1), measured(batch=2, concurrency=4), plan=plan)[CURVE]
    assert trace(chart, "p99 budget 15 ms")["y"] == [15, 15]
    assert "visible" not in trace(chart, "p99 budget 15 ms")
    chosen = trace(chart, "Chosen in plan.json")
    assert (chosen["x"], chosen["y"], chosen["rows"]) == ([400], [40], [1])


def test_chosen_point_is_that_of_its_lengths() -> None:
    """Of two points that differ in the answers' length only, the one that the plan chose has the ring."""
    trials = [replace(m, trial=replace(m.trial, output_length=n)) for n in (16, 32) for m in (measured(batch=2),)]
    placed = {**model("chest", 1), "batch": 2, "concurrency": 1, "output_length": 32}
    chart = charts(*trials, plan=placement(gpu(0, placed)))[CURVE]
    assert trace(chart, "Chosen in plan.json")["rows"] == [1]


def test_far_budget_does_not_flatten_the_chart() -> None:
    """A budget of more than 3 times the highest p99 is in the legend, and drawn when it is asked for."""
    plan = placement(demand=[demand("chest", 31)])
    assert trace(charts(measured(), plan=plan)[CURVE], "p99 budget 31 ms")["visible"] == "legendonly"


def test_points_of_other_models_and_devices_are_not_marked() -> None:
    """A plan of another model, variant, operating point or device marks nothing."""
    trials = [measured(batch=2, concurrency=4)]
    type_of = {"type": "T4", "memory_mib": 16384, "devices": ["Another GPU"]}
    for plan in (
        placement(gpu(0, model("liver", 1))),
        placement(gpu(0, model("chest", 1, variant="instances=2"))),
        placement(gpu(0, model("chest", 1, concurrency=8))),
        placement(gpu(0, model("chest", 1)), gpu_types=[type_of]),
    ):
        assert names(charts(*trials, plan=plan)[CURVE]) == ["Batch 2"]


def test_failed_and_unsettled_trials_are_marked() -> None:
    """A failed trial is a cross on the axis at its load, one that did not settle has a ring; both show their rows."""
    found = charts(measured(), measured(concurrency=2, status=Status.UNSETTLED), failed(batch=1, concurrency=4))
    assert trace(found["Throughput"], "Failed")["x"] == [4]
    assert trace(found["Throughput"], "Failed")["rows"] == [2]
    assert trace(found[CURVE], "Did not settle")["rows"] == [1]


def test_intervals_end_at_zero() -> None:
    """An interval that is wider than its figure goes down to 0, not below."""
    wide = replace(measured(), throughput_ci=0.1, latency_p99_ci=1.5)  # 100 ±10 infer/s, 10 ±15 ms
    line = trace(charts(wide)[CURVE], "Batch 1")
    assert line["error_x"] == {"array": [10]}
    assert line["error_y"] == {"array": [15], "symmetric": False, "arrayminus": [10]}


def test_memory_is_stacked_on_the_server() -> None:
    """Each batch size has its highest memory: 309 MiB of the idle server, and the model's own above."""
    chart = charts(measured(memory_mib=1000), measured(concurrency=2, memory_mib=1200))["GPU memory, highest"]
    assert trace(chart, "Idle server")["y"] == [309]
    assert trace(chart, "Model's own")["y"] == [1200 - 309]
    assert trace(chart, "One trial's peak")["y"] == [1000, 1200]


def test_model_without_figures_has_no_charts() -> None:
    """Where all trials failed there is nothing to draw, and open loops are drawn over their rate."""
    assert charts(failed()) == {}
    rated = replace(measured(), trial=Trial(model="chest", concurrency=0, request_rate_per_s=50.0))
    assert charts(rated)["Throughput"].layout["xaxis"]["title"]["text"] == "Request rate (requests/s)"


def test_gpus_are_stacked_by_model() -> None:
    """Each model has a bar on each GPU that starts where the one before ends; its row is that of the models' table."""
    plan = placement(gpu(0, model("a", 100), model("b", 200)), gpu(1, model("b", 300)))
    (chart,) = placement_charts(plan)
    memory = [each for each in chart.traces if each["name"] == "b" and each["xaxis"] == "x"]
    assert [(t["y"], t["base"], t["x"], t["rows"]) for t in memory] == [([0, 1], [409, 309], [200, 300], [1, 2])]
    limit = next(each for each in chart.traces if each["name"] == "Threshold of the plan")
    assert limit["x"] == [figure(0.9 * 16384)] * 2


def test_models_beyond_the_colours_have_patterns_on_their_colour() -> None:
    """The eighth model has the first one's colour with a pattern on it, which plotly.js else draws on nothing."""
    (chart,) = placement_charts(placement(gpu(0, *(model(f"m{n}", 100) for n in range(8)))))
    first, eighth = (next(each["marker"] for each in chart.traces if each["name"] == name) for name in ("m0", "m7"))
    assert eighth["pattern"]["bgcolor"] == eighth["color"] == first["color"]
    assert "pattern" not in first


def test_equal_gpus_share_a_bar_in_a_large_plan() -> None:
    """Of 100 GPUs with two contents two bars are drawn; 1,500 with contents of their own stand, without their parts."""
    plan = placement(*(gpu(n, model("a", 100 + n % 2)) for n in range(100)))
    (few,) = placement_charts(plan)
    assert len(plan.grouped()) == 2
    assert few.layout["yaxis"]["ticktext"] == [text(gpu.name, 26) for gpu in plan.grouped()]
    (many,) = placement_charts(placement(*(gpu(n, model("a", 100 + n)) for n in range(MOST_PARTS))))
    assert "a" not in names(many)
    total = next(each for each in many.traces if each["name"] == "All together")
    assert total["y"][:2] == [409, 410]  # 309 MiB of the server, 100 and 101 of the model
    assert placement_charts(placement()) == []


def test_predictions_are_drawn_by_verdict() -> None:
    """Each verdict has its points, measured over predicted, with interval and margin; memory has its threshold."""
    models = (verified_model("fine"), verified_model("late", 1.6, verdict=Verdict.MISSES), verified_model("none", None))
    found = {chart.title: chart for chart in verification_charts(verification(verified_content(0, *models)))}
    late = trace(found["Slow-down, measured over predicted"], "Misses")
    assert (late["x"], late["y"], late["rows"]) == ([1.1], [1.6], [1])
    assert late["error_x"]["array"] == [0.2]  # 1.1 to 1.3
    assert "1 of 3 models without both figures" in found["Slow-down, measured over predicted"].note
    memory = found["Memory of the GPUs, planned and measured"]
    assert [trace(memory, name)["x"] for name in ("Planned", "Measured", "Threshold of the plan")] == [
        [9000], [9100], [14750]
    ]  # fmt: skip
    assert verification_charts(verification()) == []


def test_chart_is_json_that_ends_no_script() -> None:
    """The JSON holds every text, and no character that could end the script element around it."""
    evil = "</script><!--<b>"
    chart = Chart(title="", table="", head=evil, traces=({"name": text(evil)},), layout={})
    assert "<" not in chart.json
    assert json.loads(chart.json)["head"] == evil
    assert json.loads(chart.json)["data"][0]["name"] == "&lt;/script&gt;&lt;!--&lt;b&gt;"


@pytest.mark.parametrize(("value", "drawn"), [(123456.7, 123500), (0.012345678, 0.01235), (5.0, 5), (None, None)])
def test_figures_have_four_digits(value: float | None, drawn: float | None) -> None:
    """Figures of charts have four significant digits, whole ones no decimals; an unknown one stays unknown."""
    assert figure(value) == drawn
    assert figure(float("inf")) is None


def test_logarithmic_axis_has_plain_ticks() -> None:
    """The ticks are 1, 2 and 5 times the powers of ten, as plain numbers."""
    axis = log_axis(8.0, 300.0)
    assert [tick for tick in axis["ticktext"] if 8 <= float(tick) <= 300] == ["10", "20", "50", "100", "200"]


def test_language_models_have_charts_of_tokens_with_a_line_for_each_length() -> None:
    """Tokens/s, TTFT and ITL with their intervals; a model without streams has no such chart."""
    found = charts(*(streamed(c, input_length=n) for n in (8, 64) for c in (1, 2)))
    first = trace(found["p99 time to first token (TTFT)"], "Batch 1, input 64, output 16")
    assert (first["x"], first["y"]) == ([1, 2], [110, 220])
    assert first["error_y"]["array"] == [3.3, 6.6]  # 3 %
    assert trace(found["Output tokens"], "Batch 1, input 8, output 16")["y"] == [64, 128]
    assert trace(found["p99 inter-token latency (ITL)"], "Batch 1, input 8, output 16")["y"] == [13, 13]
    assert "batch size and lengths" in found[CURVE].note
    assert "Responses" in charts(streamed(tokens=False))
    assert not {"Output tokens", "Responses"} & charts(measured()).keys()
