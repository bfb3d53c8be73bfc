"""Change the demand of a drawn request."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from tests.checker.request_files import RequestFiles


def redraw_demand(files: RequestFiles, seed: int) -> RequestFiles:
    """Return a request with other rates and copies, a rule more or less, a model or the spare GPUs left out."""
    rng = Random(f"again {seed}")
    models = [_changed(rng, model) for model in files.demand["model"]]
    if len(models) > 1 and rng.random() < 0.25:
        models.pop(rng.randrange(len(models)))
    options = dict(files.options)
    if rng.random() < 0.2:
        options = {key: value for key, value in options.items() if key not in ("spare", "spare_of")}
    return replace(files, demand={**files.demand, "model": models}, options=options)


def with_one_overhead(files: RequestFiles) -> RequestFiles:
    """Return a request whose models all have the same overhead: a replica may serve another demand without a load."""
    found = next((m["overhead_mib"] for m in files.demand["model"] if "overhead_mib" in m), None)
    if found is None:
        return files
    models = [{**model, "overhead_mib": found} for model in files.demand["model"]]
    return replace(files, demand={**files.demand, "model": models})


def _changed(rng: Random, model: dict[str, Any]) -> dict[str, Any]:
    changed = dict(model)
    if "rate_infer_per_s" in model and rng.random() < 0.6:
        changed["rate_infer_per_s"] = round(float(model["rate_infer_per_s"]) * rng.choice([0.5, 0.75, 1.5, 2]), 2)
    elif "rates_by_hour_infer_per_s" in model and rng.random() < 0.6:
        shift = rng.choice([6, 12])  # the same rates in other parts of the day
        rates = model["rates_by_hour_infer_per_s"]
        changed["rates_by_hour_infer_per_s"] = [*rates[shift:], *rates[:shift]]
    elif rng.random() < 0.5:
        changed["replicas"] = max(1, model.get("replicas", 1) + rng.choice([-1, 1]))
    for key in ("alone", "apart", "together", "group_max", "spread"):
        if key in changed and rng.random() < 0.2:
            del changed[key]
    if "together" not in changed and rng.random() < 0.1:
        changed["alone"] = True
    return changed
