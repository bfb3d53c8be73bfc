"""The single changes of a request that `plan explain` tries, each applied to the request's files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

from tests.checker.places import board_of, source_devices
from tests.checker.request_files import RequestFiles

_SHARING = {
    "spread": "not spread",
    "alone": "not alone",
    "apart": "not kept apart",
    "together": "not kept together",
    "group_max": "as often on a GPU as there is room",
}


def changes(files: RequestFiles) -> dict[str, RequestFiles]:
    """Return the changed requests, by the words that name the change."""
    return dict([*_thresholds(files), *_options(files), *_counts(files), *_demands(files)])


def _thresholds(files: RequestFiles) -> Iterator[tuple[str, RequestFiles]]:
    for name in ("memory", "utilization", "memory_utilization"):
        key = f"max_{name}_pct"
        given = [
            files.options.get(key) or entry.get(key) or files.fleet.get(key) or 100 for entry in files.fleet["gpu"]
        ]
        raised = [100] * len(given) if name == "memory" else [pct + 10 for pct in given]
        if raised == given or (name != "memory" and files.options.get("mode") == "memory"):
            continue
        entries = [{**entry, key: pct} for entry, pct in zip(files.fleet["gpu"], raised, strict=True)]
        options = {option: value for option, value in files.options.items() if option != key}
        yield (
            f"the threshold of {name.replace('_', ' ')} at {min(raised)}%, not {min(given)}%",
            replace(files, fleet={**files.fleet, "gpu": entries}, options=options),
        )


def _options(files: RequestFiles) -> Iterator[tuple[str, RequestFiles]]:
    def with_option(name: str, value: Any) -> RequestFiles:
        return replace(files, options={**files.options, name: value})

    rated = [any("rate" in key for key in model) for model in files.demand["model"]]
    keep, spare = files.options.get("keep_throughput", 1), files.options.get("spare", 0)
    if files.options.get("mode") != "memory" and not all(rated) and keep > 0.9:
        change = "models may give up a tenth of their throughput (`keep_throughput=0.9`)"
        yield change, with_option("keep_throughput", 0.9)
    if any(rated) and not files.options.get("proportional"):
        change = "utilization charged in proportion to the load (`proportional=True`)"
        yield change, with_option("proportional", True)
    if spare:
        yield f"{spare - 1} spare, not {spare}", with_option("spare", spare - 1)


def _counts(files: RequestFiles) -> Iterator[tuple[str, RequestFiles]]:
    for i, entry in enumerate(files.fleet["gpu"]):
        if "count" in entry:
            more = entry["count"] + 1
            entries = [{**e, "count": more} if i == j else e for j, e in enumerate(files.fleet["gpu"])]
            change = f"one more {entry['type']} to choose from ({more})"
            yield change, replace(files, fleet={**files.fleet, "gpu": entries})


def _demands(files: RequestFiles) -> Iterator[tuple[str, RequestFiles]]:
    forms = _measured(files)
    for i, model in enumerate(files.demand["model"]):
        name = model["model"]
        for change, eased in (*_eased(model), *_variants(model, forms)):
            models = [eased if i == j else m for j, m in enumerate(files.demand["model"])]
            yield f"{name} {change}", replace(files, demand={**files.demand, "model": models})


def _eased(model: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if "latency_p99_ms" in model:
        budget = Fraction(model["latency_p99_ms"])
        yield f"at twice its p99 budget of {float(budget):g} ms", {**model, "latency_p99_ms": 2 * budget}
    for key, words in _SHARING.items():
        if model.get(key):
            yield words, {k: v for k, v in model.items() if k != key}
    replicas = model.get("replicas", 1)
    if replicas > 1:
        yield f"with {replicas - 1} replicas, not {replicas}", {**model, "replicas": replicas - 1}


def _variants(model: dict[str, Any], forms: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    name, variants = model["model"], model.get("variants", [])
    for form in sorted(forms):
        if form.startswith(f"{name}_") and form not in variants:
            yield f"served by {form} as well", {**model, "variants": [*variants, form]}


def _measured(files: RequestFiles) -> set[str]:
    """Models with figures for the fleet; with one batch or concurrency only those that the demand names."""
    devices = {device for entry in files.fleet["gpu"] for device in source_devices(entry)}
    found = {
        row["model"]
        for row in files.rows
        if board_of(row["device"]) in devices
        and row["status"] in ("", "ok", "unsettled")
        and not row["request_rate_per_s"]
    }
    if "batch" in files.options or "concurrency" in files.options:
        found &= {name for model in files.demand["model"] for name in (model["model"], *model.get("variants", ()))}
    return found
