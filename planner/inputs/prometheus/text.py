"""Write what was observed as a demand in TOML, and as tables for a terminal.   [pure]"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from analyzer.formats.text_table import Column, plain_text, worth_showing
from analyzer.formats.units import mib, milliseconds, number, percent, printable
from planner.inputs.prometheus.gpus import ObservedGpu
from planner.inputs.prometheus.observed import ObservedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What a Prometheus knew of the models in a window.

    Parameters
    ----------
    source : tuple of str
        Lines that say where the figures are from.
    notes : tuple of str
        What figures rest on little, and what else a reader should know.
    not_profiled : frozenset of str
        Models that were not measured; the demand has them as comments.
    budgets : bool
        Whether the p99 that was seen is the budget.
    """

    source: tuple[str, ...]
    models: tuple[ObservedModel, ...]
    gpus: tuple[ObservedGpu, ...] = ()
    notes: tuple[str, ...] = ()
    not_profiled: frozenset[str] = frozenset()
    growth: float = 1.0
    budgets: bool = False


def demand_toml(found: Observation) -> str:
    """Write a demand file; the same observation gives the same bytes."""
    lines = [_comment(line) for line in found.source]
    if found.gpus:
        lines += ["#", "# GPUs at the end of the window:"]
        lines += [_comment(f"  {line}") for line in gpus_text(found.gpus).splitlines()]
    if found.notes:
        lines += ["#", *(_comment(f"note: {note}") for note in found.notes)]
    if found.growth != 1:
        lines += ["", f"growth = {found.growth:.6g}"]
    for model in found.models:
        entry = list(_entry(model, budgets=found.budgets))
        if model.model in found.not_profiled:
            entry = ["# not profiled: measure it with analyze, then take away the # signs", *_commented(entry)]
        lines += ["", *entry]
    return "\n".join(lines) + "\n"


def _entry(model: ObservedModel, *, budgets: bool) -> Iterator[str]:
    yield "[[model]]"
    yield f"model = {toml_string(model.model)}"
    if any(model.rates_by_hour_infer_per_s):
        rates = [f"{rate:.6g}" for rate in model.rates_by_hour_infer_per_s]
        yield "rates_by_hour_infer_per_s = ["
        yield from (f"  {', '.join(rates[k : k + 8])}," for k in range(0, len(rates), 8))
        yield "]"
    elif model.rate_infer_per_s:
        yield f"rate_infer_per_s = {model.rate_infer_per_s:.6g}"
    if model.latency_p99_s is not None:
        seen = f"latency_p99_ms = {_rounded_up(model.latency_p99_s * 1e3)}"
        yield f"{seen}  # as seen" if budgets else f"# {seen}  # as seen; a budget once it is no comment"
    yield from map(_comment, _facts(model))


def _facts(model: ObservedModel) -> Iterator[str]:
    if model.idle:
        yield "one copy: it is loaded, and the quantile of its rates is 0"
    if len(model.versions) > 1:
        rates = ", ".join(f"{version} {number(rate)}" for version, rate in model.versions)
        yield f"versions, with the rate of each in inferences/s: {rates}"
    figures = [f"mean batch {number(model.mean_batch)}"] if model.mean_batch is not None else []
    if model.latency_mean_s is not None:
        figures.append(f"mean latency {milliseconds(model.latency_mean_s)} ms")
    yield ", ".join([*figures, f"samples in {_share(model.coverage)} of the window"])
    if model.new:
        yield f"new: its first samples are of {utc(model.first_s)}"
    if model.gone:
        yield f"its last samples are of {utc(model.last_s)}"


def _commented(entry: Sequence[str]) -> list[str]:
    return [line if line.startswith("#") else f"# {line}" for line in entry]


def toml_string(text: str) -> str:
    """Write a text as a basic string of TOML; what is not printable is escaped by its number."""
    return '"' + "".join(map(_toml_character, text)) + '"'


def _toml_character(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    if 0xD800 <= ord(character) < 0xE000:  # half of a pair, which is no character
        return "\\uFFFD"
    return f"\\U{ord(character):08X}"


def _comment(text: str) -> str:
    return f"# {printable(text)}".rstrip()


def _rounded_up(value: float) -> str:
    """Write three significant digits that are at least the value, so that what was seen is within the budget."""
    if not value:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return f"{math.ceil(round(value / unit, 6)) * unit:.6g}"


def _share(fraction: float) -> str:
    return f"{percent(math.floor(fraction * 100) / 100) or 0} %"


def utc(seconds: float) -> str:
    """Write a time in UTC, to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def models_text(models: Sequence[ObservedModel], not_profiled: Collection[str]) -> str:
    """Write a row for each model; of rates by hour the highest."""
    columns: list[Column[ObservedModel]] = [
        Column(title="model", unit="", text=lambda m: m.model, numeric=False),
        Column(title="versions", unit="", text=lambda m: ", ".join(v for v, _ in m.versions), numeric=False),
        Column(title="rate", unit="infer/s", text=lambda m: number(m.rate_infer_per_s)),
        Column(title="highest hour", unit="infer/s", text=_highest_hour),
        Column(title="mean batch", unit="", text=lambda m: number(m.mean_batch)),
        Column(title="p99 latency", unit="ms", text=lambda m: milliseconds(m.latency_p99_s)),
        Column(title="mean latency", unit="ms", text=lambda m: milliseconds(m.latency_mean_s)),
        Column(title="samples", unit="%", text=lambda m: percent(m.coverage)),
        Column(title="profiled", unit="", text=lambda m: "no" if m.model in not_profiled else "", numeric=False),
    ]
    return plain_text(worth_showing(columns, models), models)


def _highest_hour(model: ObservedModel) -> str:
    return number(max(model.rates_by_hour_infer_per_s, default=None))


def gpus_text(gpus: Sequence[ObservedGpu]) -> str:
    """Write a row for each GPU."""
    columns: list[Column[ObservedGpu]] = [
        Column(title="GPU", unit="", text=lambda g: g.gpu, numeric=False),
        Column(title="memory", unit="MiB", text=lambda g: mib(g.memory_bytes)),
        Column(title="GPU utilization", unit="%", text=lambda g: percent(g.utilization)),
        Column(title="SM utilization", unit="%", text=lambda g: percent(g.sm_utilization)),
        Column(title="DRAM utilization", unit="%", text=lambda g: percent(g.dram_utilization)),
    ]
    return plain_text(worth_showing(columns, gpus), gpus)
