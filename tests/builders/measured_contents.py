"""Build what was measured of a plan's contents, for the tests of verifications."""

from __future__ import annotations

from dataclasses import replace

from analyzer.measurements.co_location import CoLocatedModel, CoLocation
from analyzer.measurements.record import Measurement
from planner.placement.document import Placement
from planner.placement.file import from_document
from planner.verification.compare import Expectations
from planner.verification.contents import MeasuredContent, contents_of, loads_of
from tests.builders.placements import document, gpu, model
from tests.builders.profiles import measurement

MEMORY_MIB = 309 + 1000 + 2000


def placement(*, mode: str = "throughput", budget_ms: float | None = None, rate: float | None = None) -> Placement:
    """Make a plan of `a` (40 % busy) and `b` (30 % busy) on one T4, each for 100 infer/s."""
    rated = {} if rate is None else {"rate_infer_per_s": rate}
    models = (model("a", 1000, 40, throughput_infer_per_s=100, **rated), model("b", 2000, 30, **rated))
    demand = [{"model": "a", "latency_p99_ms": budget_ms, "rate_infer_per_s": rate}] if budget_ms or rate else []
    return from_document(document(gpu(0, *models), mode=mode, **({"demand": demand} if demand else {})))


def figures(name: str, *, served: float = 100.0, p99_s: float = 0.02, **more: object) -> Measurement:
    """Make what was measured of a model beside the other."""
    made = measurement(name, batch=2, concurrency=4, throughput=served, latency_p99_s=p99_s, max_memory_mib=MEMORY_MIB)
    figures = {"throughput_ci": 0.02, "latency_p99_ci": 0.05, "mean_utilization": 0.7, "errors": 0, "window_s": 5.0}
    return replace(made, **{**figures, **more})  # type: ignore[arg-type]


def measured(
    plan: Placement, *, a: Measurement, b: Measurement | None = None, control: Measurement | None = None
) -> MeasuredContent:
    """Make what was measured of the plan's only content; alone both models are as planned."""
    (content,) = contents_of(plan)
    both = (a, b or figures("b"))
    return MeasuredContent(
        content=content,
        loads=loads_of(content),
        models=CoLocation(
            models=tuple(
                CoLocatedModel(measurement=one, busy_share=0.4, slow_down=1.2, slow_down_half_width=0.05)
                for one in both
            )
        ),
        alone=(figures("a"), figures("b")),
        control=control or figures("a"),
    )


def expectations(plan: Placement, *, profiled: float = 100.0) -> Expectations:
    """Expect what the plan says, without a fit, of a host that was profiled at so many infer/s."""
    return Expectations(placement=plan, fits={}, profiled=(figures("a", served=profiled),), tolerance=0.05)
