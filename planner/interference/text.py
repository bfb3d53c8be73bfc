"""Fits as plain text: for each device type who presses and who suffers, how sure that is, and the margin."""

from __future__ import annotations

from collections.abc import Iterable

from analyzer.formats.text_table import Column, plain_text, worth_showing
from analyzer.formats.units import counted, percent, printable, whole
from planner.interference.fitted import Interference, ModelCost
from planner.interference.margin import COVERAGE, FEWEST


def interference_text(fits: Iterable[Interference]) -> str:
    """Write the fits of several device types, each as a table with the models that press hardest first."""
    return "\n\n".join(_fit_text(fit) for fit in sorted(fits, key=lambda fit: fit.device))


def _fit_text(fit: Interference) -> str:
    parts = [printable(fit.device)]
    if fit.models:
        columns = _columns(fit)
        costs = sorted(fit.models, key=lambda cost: (-cost.pressure, -cost.sensitivity, cost.model))
        parts.append(plain_text(worth_showing(columns, costs), costs))
        parts.append("in % of execution time alone; presses: added to each other model; suffers: added by any company")
    if fit.ratio_p10 is not None and fit.ratio_p50 is not None and fit.ratio_p90 is not None:
        parts.append(
            f"measured / predicted, content left out: {fit.ratio_p10:.2f} at p10, {fit.ratio_p50:.2f} at p50, "
            f"{fit.ratio_p90:.2f} at p90"
        )
    parts.append(f"measured: {counted(fit.contents, 'content')}, {counted(fit.slow_downs, 'slow-down')}")
    parts.append(_margin_text(fit))
    return "\n".join(parts)


def _margin_text(fit: Interference) -> str:
    if not fit.calibrated:
        found = f"fewer than {FEWEST} slow-downs of two contents or more" if fit.models else "sums of busy shares"
        return f"uncalibrated: {found}; predictions have no margin"
    held = "its coverage is unknown: too few contents"
    if fit.coverage is not None:
        held = f"it held {percent(fit.coverage)} % of the slow-downs of contents left out"
    return f"margin for {percent(float(COVERAGE))} %: predicted x {fit.margin:.3f}; {held}"


def _points(value: float | None) -> str:
    return "" if value is None else f"{value * 100:.1f}"


def _columns(fit: Interference) -> list[Column[ModelCost]]:
    return [
        Column(title="Model", unit="", text=lambda cost: cost.model, numeric=False),
        Column(title="Presses", unit="%", text=lambda cost: _points(cost.pressure)),
        Column(title="±", unit="%", text=lambda cost: _points(cost.pressure_error)),
        Column(title="Suffers", unit="%", text=lambda cost: _points(fit.constant + cost.sensitivity)),
        Column(title="±", unit="%", text=lambda cost: _points(cost.sensitivity_error)),
        Column(title="Contents", unit="", text=lambda cost: whole(cost.contents)),
    ]
