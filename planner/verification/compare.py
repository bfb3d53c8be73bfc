"""Compare what was measured of a content with what was planned and predicted.                              [pure]"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from analyzer.devices.recorder import highest
from analyzer.formats.units import times
from analyzer.measurements.co_location import CoLocatedModel
from analyzer.measurements.record import Measurement, Status, Trial
from planner.formulation.candidates import Mode
from planner.inputs.demand import Requirement
from planner.interference.content import Member, model_key
from planner.interference.fitted import Interference
from planner.interference.predict import Prediction, predict_replicas
from planner.placement.document import Placement
from planner.placement.placed_gpu import PlacedModel
from planner.verification.contents import MeasuredContent, ModelLoad, PlannedContent
from planner.verification.document import Compared, Control, Verdict, VerifiedContent, VerifiedModel, worst
from planner.verification.verdict import control_of, judge_model, judge_share, share_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What a verification compares with.

    Parameters
    ----------
    placement : Placement
    fits : mapping of str to Interference
        What co-location costs, by device name, as it was known before.
    profiled : tuple of Measurement
        The measurements that the profiles were made from.
    tolerance : float
        Share of a planned rate that may be missing.
    """

    placement: Placement
    fits: Mapping[str, Interference]
    profiled: tuple[Measurement, ...]
    tolerance: float

    def fit_for(self, device: str) -> Interference:
        """Return what is known of a device; without measurements the sum of busy shares."""
        return self.fits.get(device) or Interference.uncalibrated(device)

    def requirement_of(self, placed: PlacedModel) -> Requirement:
        """Return what the demand asks of a model."""
        nothing = Requirement(model=placed.served)
        return next((r for r in self.placement.demand if r.model == placed.served), nothing)


def compare(measured: MeasuredContent, expected: Expectations) -> VerifiedContent:
    """Return the planned, the predicted and the measured figures of a content, with the verdicts."""
    content, device = measured.content, measured.models.device_name
    predictions = predicted(content, expected.fit_for(device))
    models = tuple(
        _model(*each, expected=expected, shared=len(content.models) > 1)
        for each in zip(measured.loads, measured.models.models, measured.alone, predictions, strict=True)
    )
    control = None if measured.control is None else _control(measured.control, device, expected)
    figures = [model.measurement for model in measured.models.models]
    memory, utilization, memory_utilization = _device(content, device, figures)
    found = [model.verdict for model in models]
    causes = []
    shares = {
        "memory": _shares_of(memory, content.memory_capacity_bytes),
        "utilization": utilization,
        "memory utilization": memory_utilization,
    }
    for name, compared in shares.items():
        if judge_share(compared) is Verdict.MISSES:
            found.append(Verdict.MISSES)
            causes.append(share_text(name, compared))
    verdict = worst(found)
    drifted = control is not None and control.drifted and not _fails_at_any_speed(figures, shares["memory"])
    if verdict is Verdict.MISSES and drifted:
        verdict = Verdict.DRIFTED
    return VerifiedContent(
        gpus=content.gpus,
        type=content.type,
        device=device,
        verdict=verdict,
        models=models,
        memory=memory,
        utilization=utilization,
        memory_utilization=memory_utilization,
        control=control,
        window_s=min((f.window_s for f in figures if f.window_s is not None), default=None),
        cause="; ".join(causes),
    )


def _fails_at_any_speed(figures: Sequence[Measurement], memory: Compared) -> bool:
    """Whether a content misses for a reason that a slower host is not: something failed, or memory is short."""
    slow = (Status.OK, Status.UNSETTLED, Status.TIMED_OUT)
    return judge_share(memory) is Verdict.MISSES or any(one.errors or one.status not in slow for one in figures)


def predicted(content: PlannedContent, fit: Interference) -> tuple[Prediction, ...]:
    """Predict the slow-down of each model of a content from the planned busy shares; replicas have the same."""
    members = [
        Member(model=model_key(placed.name, placed.variant), busy_share=(placed.utilization or 0.0) / placed.replicas)
        for placed in content.models
    ]
    counts = [placed.replicas for placed in content.models]
    return predict_replicas(fit, list(zip(members, counts, strict=True)))


def _model(
    load: ModelLoad,
    found: CoLocatedModel,
    alone: Measurement,
    prediction: Prediction,
    *,
    expected: Expectations,
    shared: bool,
) -> VerifiedModel:
    placed, measurement = load.placed, found.measurement
    promised = placed.rate_infer_per_s is not None or expected.placement.mode is Mode.THROUGHPUT
    planned = placed.throughput_infer_per_s if placed.rate_infer_per_s is None else placed.rate_infer_per_s
    asked, stream = expected.requirement_of(placed), measurement.stream
    low, high = _p99_s(placed, alone.latency_p99_s or placed.latency_p99_s, prediction)
    model = VerifiedModel(
        name=placed.name,
        variant=placed.variant,
        batch=placed.batch,
        concurrency=load.trial.concurrency,
        request_rate_per_s=load.trial.request_rate_per_s,
        replicas=placed.replicas,
        verdict=Verdict.NOT_MEASURED,
        status=measurement.status,
        cause=measurement.cause,
        planned_infer_per_s=planned,
        offered_infer_per_s=measurement.offered_infer_per_s,
        served_infer_per_s=measurement.throughput_infer_per_s,
        served_half_width_infer_per_s=measurement.served_half_width_infer_per_s,
        errors=measurement.errors,
        latency_budget_s=asked.latency_p99_s,
        latency_p50_s=measurement.latency_p50_s,
        latency_p99_s=measurement.latency_p99_s,
        latency_p99_half_width_s=times(measurement.latency_p99_s, measurement.latency_p99_ci),
        ttft_budget_s=asked.ttft_p99_s,
        ttft_p99_s=stream.first_response_p99_s,
        ttft_p99_half_width_s=times(stream.first_response_p99_s, stream.first_response_p99_ci),
        itl_budget_s=asked.itl_p99_s,
        itl_p99_s=stream.itl_p99_s,
        itl_p99_half_width_s=times(stream.itl_p99_s, stream.itl_p99_ci),
        alone_p99_s=alone.latency_p99_s,
        predicted_p99_s=low,
        most_p99_s=high,
        busy_share=found.busy_share,
        predicted_slow_down=prediction.slow_down,
        most_slow_down=prediction.upper,
        slow_down=found.slow_down,
        slow_down_half_width=found.slow_down_half_width,
    )
    if not measurement.status.measured:
        fails_beside_others = shared and alone.status.measured
        return replace(model, verdict=Verdict.MISSES if fails_beside_others else Verdict.NOT_MEASURED)
    verdict, why = judge_model(model, tolerance=expected.tolerance, promised=promised)
    return replace(model, verdict=verdict, cause=why or measurement.cause)


def _p99_s(placed: PlacedModel, alone_s: float | None, prediction: Prediction) -> tuple[float | None, float | None]:
    """Return the predicted p99 and the one with the margin; None where it grows without bound or is not known."""
    if alone_s is None:
        return None, None
    capacity, rate = placed.throughput_infer_per_s, placed.rate_infer_per_s
    if rate is None or capacity is None:
        return alone_s * prediction.slow_down, alone_s * prediction.upper
    found = prediction.p99_s(alone_s, rate=rate, capacity=max(rate, capacity / placed.load_share))
    return _finite(found[1]), _finite(found[2])


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None


def _device(
    content: PlannedContent, device: str, figures: Sequence[Measurement]
) -> tuple[Compared, Compared, Compared]:
    """Compare memory and utilizations of the device, which every model's measurement has.

    The utilizations of a slice are left out where those of another device were measured, as a remote server's page
    shows them of the whole GPU.
    """
    limits = content.thresholds
    if content.slice_profile is not None and content.slice_profile not in device:
        figures = [replace(figure, mean_utilization=None, max_memory_utilization=None) for figure in figures]
    memory = Compared(
        planned=content.memory_bytes,
        measured=highest(figure.max_memory_bytes for figure in figures),
        most=None if limits.memory is None else limits.memory * content.memory_capacity_bytes,
    )
    utilization = Compared(
        planned=content.utilization,
        measured=highest(figure.mean_utilization for figure in figures),
        most=limits.utilization,
    )
    memory_utilization = Compared(
        planned=content.memory_utilization,
        measured=highest(figure.max_memory_utilization for figure in figures),
        most=limits.memory_utilization,
    )
    return memory, utilization, memory_utilization


def _shares_of(compared: Compared, capacity_bytes: int) -> Compared:
    shares = (None if b is None else b / capacity_bytes for b in (compared.planned, compared.measured, compared.most))
    return Compared(**dict(zip(("planned", "measured", "most"), shares, strict=True)))


def _control(again: Measurement, device: str, expected: Expectations) -> Control:
    """Compare with the latest measurement of the same trial on a device of the same name."""
    before = None
    for measurement in expected.profiled:
        same = _without_requests(measurement.trial) == _without_requests(again.trial)
        if same and measurement.provenance.device_name == device and measurement.status.measured:
            before = measurement
    return control_of(before, again, expected.tolerance)


def _without_requests(trial: Trial) -> Trial:
    """Return a trial without what it sent: a profile from a CSV file does not say it."""
    return replace(trial, transport="", inputs="")
