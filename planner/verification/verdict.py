"""Judge what was measured by what was planned.                                                             [pure]"""

from __future__ import annotations

from analyzer.formats.units import milliseconds, number, percent, within_limit
from analyzer.measurements.record import Measurement
from planner.verification.document import Compared, Control, Verdict, VerifiedModel

_DEFAULT_PRECISION = 0.05


def judge_rate(wanted: float, served: float, half_width: float, tolerance: float) -> Verdict:
    """Judge a served rate: it holds where its interval is above the wanted rate less the tolerance.

    Parameters
    ----------
    wanted, served, half_width : float
        In the same unit. In an open loop the wanted rate is what was offered: the server is not to blame for
        arrivals that were by chance fewer than planned.
    tolerance : float
        Share of the wanted rate that may be missing; profiles have errors of their own.
    """
    least = wanted * (1 - tolerance)
    if served - half_width >= least:
        return Verdict.HOLDS
    return Verdict.WITHIN_NOISE if served + half_width >= least else Verdict.MISSES


def judge_latency(budget_s: float, p99_s: float, half_width_s: float | None) -> Verdict:
    """Judge a p99 by its budget; without an interval nothing but a p99 within the budget can be said to be near it."""
    if half_width_s is None:
        return Verdict.WITHIN_NOISE
    if within_limit(p99_s + half_width_s, budget_s):
        return Verdict.HOLDS
    return Verdict.WITHIN_NOISE if within_limit(p99_s - half_width_s, budget_s) else Verdict.MISSES


def judge_share(compared: Compared) -> Verdict:
    """Judge a figure of the device by its threshold; one that is not limited, or not measured, holds."""
    if compared.measured is None or compared.most is None:
        return Verdict.HOLDS
    return Verdict.HOLDS if within_limit(compared.measured, compared.most) else Verdict.MISSES


def judge_model(model: VerifiedModel, *, tolerance: float, promised: bool) -> tuple[Verdict, str]:
    """Judge a model that has figures, and say why where it does not hold.

    Parameters
    ----------
    promised : bool
        Whether the plan promises the throughput; one that only counts memory does not.
    """
    if model.errors:
        return Verdict.MISSES, f"{model.errors} requests failed"
    found = [(Verdict.HOLDS, "")]
    planned, offered, served = model.planned_infer_per_s, model.offered_infer_per_s, model.served_infer_per_s
    wanted = planned if offered is None else offered
    if promised and wanted is not None and served is not None:
        half_width = model.served_half_width_infer_per_s or 0.0
        verdict = judge_rate(wanted, served, half_width, tolerance)
        what = "" if offered is None else " that were offered"
        found.append((verdict, f"{number(served)} of {number(wanted)} infer/s{what} are served"))
    for what, budget_s, p99_s, half_width_s in (
        ("p99", model.latency_budget_s, model.latency_p99_s, model.latency_p99_half_width_s),
        ("p99 time to the first response", model.ttft_budget_s, model.ttft_p99_s, model.ttft_p99_half_width_s),
        ("p99 inter-token latency", model.itl_budget_s, model.itl_p99_s, model.itl_p99_half_width_s),
    ):
        if budget_s is not None and p99_s is None:
            found.append((Verdict.WITHIN_NOISE, f"its {what} was not measured"))
        elif budget_s is not None and p99_s is not None:
            verdict = judge_latency(budget_s, p99_s, half_width_s)
            p99, budget = milliseconds(p99_s), milliseconds(budget_s)
            found.append((verdict, f"its {what} is {p99} ms, and {budget} ms are allowed"))
    order = list(Verdict)
    verdict, why = min(found, key=lambda one: order.index(one[0]))
    return verdict, "" if verdict is Verdict.HOLDS else why


def control_of(profiled: Measurement | None, again: Measurement, tolerance: float) -> Control:
    """Compare a model that was measured alone again with its profile.

    It has drifted where both intervals do not meet and it differs by more than the tolerance: intervals of a steady
    model are so narrow that a difference of a percent, which explains no miss, would count.
    """
    before = None if profiled is None else profiled.throughput_infer_per_s
    now = again.throughput_infer_per_s
    before_half = _half_width(before, None if profiled is None else profiled.throughput_ci)
    now_half = _half_width(now, again.throughput_ci)
    drifted = (
        before is not None
        and now is not None
        and abs(now - before) > max((before_half or 0) + (now_half or 0), tolerance * before)
    )
    return Control(
        model=again.trial.model,
        batch=again.trial.batch,
        concurrency=again.trial.concurrency,
        profiled_infer_per_s=before,
        profiled_half_width_infer_per_s=before_half,
        measured_infer_per_s=now,
        measured_half_width_infer_per_s=now_half,
        drifted=drifted,
        cause="" if again.status.measured else again.cause,
    )


def _half_width(figure: float | None, share: float | None) -> float | None:
    """Half of a figure's interval; of one whose interval is not known, that of a trial at the default precision."""
    return None if figure is None else figure * (_DEFAULT_PRECISION if share is None else share)


def share_text(name: str, compared: Compared) -> str:
    """Say that a device's share is above its threshold."""
    return f"{name} is {percent(compared.measured)} %, and {percent(compared.most)} % are allowed"
