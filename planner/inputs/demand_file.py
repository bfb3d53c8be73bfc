"""Read demand files: TOML, or a CSV with the same keys as columns."""

from __future__ import annotations

from pathlib import Path

from analyzer.formats.units import MIB
from planner.inputs.demand import Requirement, Spread, fault_of_rate_in_requests, fault_of_rates_by_hour
from planner.inputs.table_reader import TableEntry, csv_entries, read_input, toml_entries, unique

KEYS = (
    "model",
    "rate_infer_per_s",
    "rates_by_hour_infer_per_s",
    "rate_requests_per_s",
    "latency_p99_ms",
    "ttft_p99_ms",
    "itl_p99_ms",
    "input_length",
    "output_length",
    "replicas",
    "spread",
    "alone",
    "apart",
    "together",
    "group_max",
    "variants",
    "growth",
    "overhead_mib",
)
_TABLE = "model"  # [[model]]
_MOST_RATE = 1e9  # inferences/s of one model; more is taken for a mistake in the unit
_MOST_LATENCY_MS = 3.6e6  # an hour
_MOST_GROWTH = 1000
_MOST_MIB = 2**20  # 1 TiB beside a model's own memory


def read_demand(source: str | Path) -> tuple[Requirement, ...]:
    """Read the demand: what must be served.

    Parameters
    ----------
    source : str or Path
        A ``.toml`` with a ``[[model]]`` for each model and, above them, a `growth` for all; or a CSV with one row
        a model; ``-`` reads either from stdin.

    Returns
    -------
    tuple of Requirement
        In the file's order.

    Raises
    ------
    UsageError
        For the first key that is unknown or whose value is not valid; the message names its line.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from planner import read_demand
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "demand.csv")
    ...     _ = file.write_text("model,rate_infer_per_s,latency_p99_ms\\nbreast,2500,20\\nliver,,\\n")
    ...     [(wanted.model, wanted.rate_infer_per_s, wanted.latency_p99_s) for wanted in read_demand(file)]
    [('breast', 2500.0, 0.02), ('liver', None, None)]
    """
    file, text = read_input(str(source))
    if _is_toml(str(source), text):
        top, entries = toml_entries(text, file, _TABLE, top=("growth",), known=KEYS)
        growth = top.number("growth", high=_MOST_GROWTH) or 1.0
    else:
        entries, growth = csv_entries(text, file, KEYS), 1.0
        if not entries:
            TableEntry(file=file, line=1, values={}).fail("model", "there is no model; write one a line")
    unique(entries, "model", _model)
    return tuple(_requirement(entry, growth) for entry in entries)


def _is_toml(source: str, text: str) -> bool:
    if source.lower().endswith((".toml", ".csv")):
        return source.lower().endswith(".toml")
    first = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    return "=" in first or first.lstrip().startswith("[")


def _model(entry: TableEntry) -> str:
    return entry.text("model") or entry.fail("model", "is missing")


def _requirement(entry: TableEntry, growth: float) -> Requirement:
    spread = entry.choice("spread", [*(s.value for s in Spread), "none"])
    own_growth = entry.number("growth", high=_MOST_GROWTH)
    rate = entry.number("rate_infer_per_s", high=_MOST_RATE)
    by_hour = entry.numbers("rates_by_hour_infer_per_s", high=_MOST_RATE)
    fault = "" if by_hour is None else fault_of_rates_by_hour(by_hour, rate)
    if fault:
        entry.fail("rates_by_hour_infer_per_s", fault)
    requests = entry.number("rate_requests_per_s", high=_MOST_RATE)
    fault = fault_of_rate_in_requests(requests, rate, by_hour or ())
    if fault:
        entry.fail("rate_requests_per_s", fault)
    if own_growth is not None and rate is None and by_hour is None and requests is None:
        entry.fail("growth", "has no effect without rate_infer_per_s; give the rate, or more replicas")
    return Requirement(
        model=_model(entry),
        rate_infer_per_s=rate,
        rates_by_hour_infer_per_s=by_hour or (),
        rate_requests_per_s=requests,
        latency_p99_s=_budget_s(entry, "latency_p99_ms"),
        ttft_p99_s=_budget_s(entry, "ttft_p99_ms"),
        itl_p99_s=_budget_s(entry, "itl_p99_ms"),
        input_length=entry.count("input_length"),
        output_length=entry.count("output_length"),
        replicas=entry.count("replicas"),
        spread=None if spread in (None, "none") else Spread(spread),
        alone=entry.flag("alone"),
        apart=entry.names("apart"),
        together=entry.names("together"),
        group_max=entry.counts("group_max"),
        variants=entry.names("variants"),
        growth=own_growth or growth,
        overhead_bytes=round((entry.number("overhead_mib", high=_MOST_MIB, zero=True) or 0) * MIB),
    )


def _budget_s(entry: TableEntry, name: str) -> float | None:
    """Return a budget in seconds."""
    budget_ms = entry.number(name, high=_MOST_LATENCY_MS)
    return None if budget_ms is None else budget_ms / 1000
