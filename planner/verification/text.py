"""A verification as plain text: the verdict, the models of each content, and the devices.                     [pure]"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from analyzer.formats.text_table import Column, plain_text, worth_showing
from analyzer.formats.units import counted, mib, milliseconds, number, percent, printable
from planner.formulation.candidates import Mode
from planner.verification.document import Compared, Control, Verdict, Verification, VerifiedContent, VerifiedModel


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model with its content; the content is named in the first of its rows only."""

    content: VerifiedContent
    model: VerifiedModel
    first: bool


def verification_text(found: Verification) -> str:
    """Write a verification as aligned plain text."""
    parts = [headline(found)]
    rows = model_rows(found)
    if rows:
        parts.append(plain_text(worth_showing(MODEL_COLUMNS, rows), rows))
    if found.contents:
        parts.append(plain_text(worth_showing(CONTENT_COLUMNS, found.contents), found.contents))
    parts += [printable(line) for line in remarks(found)]
    return "\n\n".join(parts[:3]) + "".join(f"\n{line}" for line in parts[3:])


def model_rows(found: Verification) -> list[ModelRow]:
    """Return a row for each model of each content."""
    return [ModelRow(c, m, m is c.models[0]) for c in found.contents for m in c.models]


def headline(found: Verification) -> str:
    """Say in a sentence whether the plan holds."""
    gpus = sum(len(content.gpus) for content in found.contents)
    tried = f"{counted(gpus, 'GPU')} in {counted(len(found.contents), 'content')}"
    if not found.contents:
        return "nothing of the plan was measured"
    left = sum(len(each.gpus) for each in found.not_tried)
    rest = f"; {counted(left, 'GPU')} not tried" if left else ""
    if found.verdict is Verdict.HOLDS:
        of = " by memory, which is all that it promises" if found.mode is Mode.MEMORY else ""
        return f"the plan holds{of}: {tried} measured{rest}"
    if found.verdict is Verdict.WITHIN_NOISE:
        return f"nothing speaks against the plan, some of it is within noise: {tried} measured{rest}"
    if found.verdict is Verdict.DRIFTED:
        return f"the host is not as it was when it was profiled, so the plan cannot be judged: {tried} measured{rest}"
    worse = sum(len(content.gpus) for content in found.contents if not content.verdict.shown_to_hold)
    return f"the plan does not hold on {counted(worse, 'GPU')}: {tried} measured{rest}"


def remarks(found: Verification) -> Iterator[str]:
    """Yield a line for each content and model that does not hold, each control that drifted, and what was not tried."""
    for content in found.contents:
        if content.cause:
            yield f"{content.name}: {content.cause}"
        for model in content.models:
            if model.cause and not model.verdict.shown_to_hold:
                yield f"{content.name}, {model.name}: {model.cause}"
        if _lacks_utilization(content):
            yield (
                f"{content.name}: the slice's utilization was not measured, so it is not judged: NVML has one on Hopper"
                " and later GPUs, and a server's metrics page that of the whole GPU"
            )
        if content.control is not None and content.control.drifted:
            yield f"{content.name}: {control_text(content.control)}"
    for each in found.not_tried:
        yield f"not tried: {_gpus(each.gpus)}: {each.reason}"
    if not found.provenance.calibrated and any(len(content.models) > 1 for content in found.contents):
        yield (
            "predictions are uncalibrated: sums of busy shares; with what was measured now, the next ones rest on a fit"
        )


def _lacks_utilization(content: VerifiedContent) -> bool:
    """Whether a content ran on a slice, and how busy that was is not known."""
    return "/" in content.gpus[0] and content.utilization.planned is not None and content.utilization.measured is None


def control_text(control: Control) -> str:
    """Say how a model alone differs from its profile."""
    return (
        f"{control.model} alone delivers {_with(control.measured_infer_per_s, control.measured_half_width_infer_per_s)}"
        f" infer/s, and {_with(control.profiled_infer_per_s, control.profiled_half_width_infer_per_s)} when it was "
        "profiled: the host has drifted, so measure it anew with analyze --fresh"
    )


def _gpus(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _with(figure: float | None, half_width: float | None) -> str:
    """Write a figure with its interval."""
    if figure is None:
        return ""
    return f"{number(figure)} ±{number(half_width)}" if half_width is not None else number(figure)


def _milliseconds_with(figure_s: float | None, half_width_s: float | None) -> str:
    return _with(*(None if one is None else one * 1e3 for one in (figure_s, half_width_s)))


def _range(low: str, high: str) -> str:
    """Write a prediction and that with its margin, which is not known where it grows without bound."""
    if low and not high:
        return f"{low} or more"
    return low if low == high else f"{low} to {high}"


def _pair(of: Compared) -> str:
    return _joined(percent(of.planned), percent(of.measured), percent(of.most))


def _joined(planned: str, measured: str, most: str) -> str:
    """Write what was planned and measured, and the threshold where there is one."""
    if not planned and not measured:
        return ""
    return f"{planned or '-'} → {measured or '-'}" + (f" of {most}" if most else "")


def _load(model: VerifiedModel) -> str:
    load = f"c{model.concurrency}" if model.request_rate_per_s is None else f"{number(model.request_rate_per_s)}/s"
    return f"b{model.batch} {load}"


MODEL_COLUMNS: list[Column[ModelRow]] = [
    Column(title="GPU", unit="", text=lambda r: r.content.name if r.first else " ", numeric=False),
    Column(title="Model", unit="", text=lambda r: r.model.name, numeric=False),
    Column(title="Load", unit="", text=lambda r: _load(r.model), numeric=False),
    Column(title="Planned", unit="infer/s", text=lambda r: number(r.model.planned_infer_per_s)),
    Column(title="Offered", unit="infer/s", text=lambda r: number(r.model.offered_infer_per_s)),
    Column(
        title="Served",
        unit="infer/s",
        text=lambda r: _with(r.model.served_infer_per_s, r.model.served_half_width_infer_per_s),
    ),
    Column(title="p50", unit="ms", text=lambda r: milliseconds(r.model.latency_p50_s)),
    Column(
        title="p99 predicted",
        unit="ms",
        text=lambda r: _range(milliseconds(r.model.predicted_p99_s), milliseconds(r.model.most_p99_s)),
    ),
    Column(
        title="p99",
        unit="ms",
        text=lambda r: _milliseconds_with(r.model.latency_p99_s, r.model.latency_p99_half_width_s),
    ),
    Column(
        title="First response p99",
        unit="ms",
        text=lambda r: _milliseconds_with(r.model.ttft_p99_s, r.model.ttft_p99_half_width_s),
    ),
    Column(
        title="ITL p99",
        unit="ms",
        text=lambda r: _milliseconds_with(r.model.itl_p99_s, r.model.itl_p99_half_width_s),
    ),
    Column(
        title="Slow-down predicted",
        unit="",
        text=lambda r: _range(number(r.model.predicted_slow_down), number(r.model.most_slow_down)),
    ),
    Column(title="Slow-down", unit="", text=lambda r: _with(r.model.slow_down, r.model.slow_down_half_width)),
    Column(title="Verdict", unit="", text=lambda r: r.model.verdict.value, numeric=False),
]
CONTENT_COLUMNS: list[Column[VerifiedContent]] = [
    Column(title="GPU", unit="", text=lambda c: c.name, numeric=False),
    Column(
        title="Memory",
        unit="MiB",
        text=lambda c: _joined(mib(c.memory.planned), mib(c.memory.measured), mib(c.memory.most)),
    ),
    Column(title="Utilization", unit="%", text=lambda c: _pair(c.utilization)),
    Column(title="Memory utilization", unit="%", text=lambda c: _pair(c.memory_utilization)),
    Column(title="Window", unit="s", text=lambda c: number(c.window_s)),
    Column(title="Verdict", unit="", text=lambda c: c.verdict.value, numeric=False),
]
