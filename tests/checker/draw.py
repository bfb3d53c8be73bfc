"""Draw a small request from a seed: measurements, a demand, a fleet and options of every kind."""

from __future__ import annotations

from random import Random
from typing import Any

from tests.checker.places import devices_of
from tests.checker.request_files import RequestFiles

_SLICES = {"A30": ("1g.6gb", "2g.12gb", "4g.24gb"), "A100-40GB": ("1g.5gb", "2g.10gb", "3g.20gb")}
_SLICE_MIB = {"A30": 5952, "A100-40GB": 4864}  # of the smallest slice
_TRIALS = [(1, 1), (1, 2), (2, 2), (4, 2), (8, 4)]  # batch and concurrency
_TYPES = {"lab-a": 8000, "lab-b": 12000, "T4": 14909, "A30": 24000, "A100-40GB": 40325}


def draw(seed: int) -> RequestFiles:
    """Draw the request of a seed."""
    rng = Random(seed)
    with_mig = rng.random() < 0.3
    spare = rng.random() < 0.2
    models = list("abcd")[: rng.choice([1, 2, 2, 3] if with_mig or spare else [1, 2, 3, 3, 4])]
    options = _options(rng, spare=spare, with_mig=with_mig)
    fleet = _fleet(rng, options, with_mig=with_mig)
    rows = _rows(rng, models, fleet, options)
    demand = _demand(rng, models, rows, options)
    _by_hour(Random(f"hours {seed}"), demand["model"])
    in_csv = rng.random() < 0.2
    if in_csv:
        demand.pop("growth", None)
    return RequestFiles(rows=rows, demand=demand, fleet=fleet, options=options, demand_in_csv=in_csv)


def _add(rng: Random, entry: dict[str, Any], chances: dict[str, tuple[float, list[Any]]]) -> None:
    """Give an entry each key with its chance, at one of its values."""
    for key, (chance, values) in chances.items():
        if rng.random() < chance:
            entry[key] = rng.choice(values)


def _options(rng: Random, *, spare: bool, with_mig: bool) -> dict[str, Any]:
    options: dict[str, Any] = {
        "mode": rng.choice(["memory", "throughput", "throughput"]),
        "objective": rng.choice(["gpus", "gpus", "cost", "cost", "energy"]),
    }
    busy = 0.15 if options["mode"] == "throughput" else 0
    chances: dict[str, tuple[float, list[Any]]] = {
        "keep_throughput": (0.3, [0.5, 0.7, 0.8, 0.9]),
        "proportional": (0 if with_mig else 0.12, [True]),
        "spare": (spare, [1, 1, 1, 2]),
        "spare_of": (0.35 if spare else 0, ["node"]),
        "batch": (0.08, [1]),
        "concurrency": (0.04, [2]),
        "server_memory_mib": (0.15, [0, 250, 400]),
        "max_memory_pct": (0.15, [80, 90, 95]),
        "max_utilization_pct": (busy, [70, 85, 110]),
        "max_memory_utilization_pct": (busy, [70, 85, 110]),
        "group": (0.2, [True]),
    }
    _add(rng, options, chances)
    return options


def _fleet(rng: Random, options: dict[str, Any], *, with_mig: bool) -> dict[str, Any]:
    names = rng.sample(["lab-a", "lab-b", "T4"], rng.choice([0, 1] if with_mig else [1, 1, 2, 3]))
    names += rng.sample(["A30", "A30", "A100-40GB"], 1) if with_mig else []
    objective = options["objective"]
    counted = with_mig or "spare" in options or "proportional" in options
    idle = objective == "energy" and rng.random() < (0.1 if with_mig else 0.6)
    chances: dict[str, tuple[float, list[Any]]] = {
        "count": (counted or 0.6, [0, 1, 2, 3, 3] if with_mig else [0, 2, 3, 4, 4, 5, 5, 6]),
        "cost_per_hour": (objective == "cost" or 0.2, [0.35, 0.5, 0.9, 1.2, 2]),
        "power_w": (objective == "energy" or 0.1, [70, 150, 250, 300.5]),
        "idle_power_w": (idle, [12.5, 40, 50] if "proportional" in options else [0, 12.5, 40, 50]),
        "gpus_per_node": (0.4, [2, 2, 3]),
        "reserved_mib": (0.2, [500, 1000]),
        "model_overhead_mib": (0.15, [100, 250.5]),
        "max_memory_pct": (0.15, [75, 90]),
        "max_utilization_pct": (0.2, [80, 90, 120]),
        "max_memory_utilization_pct": (0.1, [80, 90]),
    }
    entries = []
    for name in names:
        entry: dict[str, Any] = {"type": name}
        if name.startswith("lab"):
            entry |= {"memory_mib": _TYPES[name], "devices": [f"NVIDIA {name}"]}
        elif rng.random() < 0.15:
            entry["memory_mib"] = _TYPES[name]
        if name in _SLICES:
            _mig(rng, entry, options)
        _add(rng, entry, chances)
        if entries and not with_mig and rng.random() < 0.15:
            entry["scale"] = _scale(rng, devices_of(entries[0])[0])
        entries.append(entry)
    top: dict[str, Any] = {}
    _add(rng, top, dict.fromkeys(("max_memory_pct", "max_utilization_pct"), (0.15, [80, 90, 100])))
    _add(rng, top, {"max_memory_utilization_pct": (0.05, [90])})
    return {**top, "gpu": entries}


def _mig(rng: Random, entry: dict[str, Any], options: dict[str, Any]) -> None:
    if rng.random() < 0.8:
        entry["mig"] = True
    else:
        options["mig"] = True
    if rng.random() < 0.25:
        entry["slice_memory_mib"] = {_SLICES[entry["type"]][0]: rng.choice([3000, 5500])}


def _scale(rng: Random, device: str) -> dict[str, Any]:
    found: dict[str, Any] = {"from": device}
    factors = {"throughput": [0.8, 1.5, 2], "latency": [0.5, 1.25], "memory": [0.9, 1.1], "utilization": [0.6, 1.2]}
    _add(rng, found, {key: (0.6, values) for key, values in factors.items()})
    return found


def _rows(rng: Random, models: list[str], fleet: dict[str, Any], options: dict[str, Any]) -> list[dict[str, str]]:
    """Measure models, and other forms of some, on the devices of the fleet; some figures are missing."""
    unmeasured = {
        "latency_p99_ms": 0.08 if rng.random() < 0.3 else 0,
        "throughput_infer_per_s": 0.2 if rng.random() < 0.1 else 0,
        "power_w": 0.02 if options["objective"] == "energy" else 0.5,
    }
    column = rng.choice(["max_utilization_pct", "max_memory_utilization_pct"])
    if rng.random() < 0.12:
        unmeasured[column] = 1 if rng.random() < 0.7 else 0.1
    measured = [*models, *(f"{m}_int8" for m in models if rng.random() < 0.2)]
    devices = []
    for entry in fleet["gpu"]:
        if "scale" in entry and rng.random() < 0.8:
            continue
        device = devices_of(entry)[1] if entry["type"] in ("T4", "A30", "A100-40GB") else entry["devices"][0]
        devices.append(device)
        if entry["type"] in _SLICES and rng.random() < 0.4:
            devices.append(f"{device} MIG {rng.choice(_SLICES[entry['type']])}")
    server = {device: rng.choice([200, 309, 500]) for device in (d.partition(" MIG ")[0] for d in devices)}
    rows = []
    for model in measured:
        entry = rng.choice(fleet["gpu"])
        memory_mib = rng.choice([_TYPES[entry["type"]], _SLICE_MIB.get(entry["type"], _TYPES[entry["type"]])])
        exact = (memory_mib - rng.choice([*server.values()])) // rng.choice([1, 2, 3])
        base = {
            "memory": rng.choice([400, 900, 1500, 2600, 4100, 6000, exact, exact, exact + 1]),
            "more_memory": rng.choice([0, 120]),  # for each of a batch
            "throughput": rng.randint(20, 150),
            "utilization": rng.choice([8, 15, 20, 25, 33, 40, 48, 50, 60]),
            "grows": rng.choice([0, 1]),
        }
        chosen = [d for d in devices if rng.random() < (0.85 if " MIG " not in d else 0.5)]
        for device in chosen or devices[:1]:
            asked = [(options.get("batch", 1), options.get("concurrency", 1))] if rng.random() < 0.95 else []
            trials = {*asked, *rng.sample(_TRIALS, rng.choice([1, 1, 2, 3] if not asked else [0, 1, 2]))}
            rows += _points(rng, model, device, sorted(trials), base, server[device.partition(" MIG ")[0]], unmeasured)
    return rows


def _points(
    rng: Random,
    model: str,
    device: str,
    trials: list[tuple[int, int]],
    base: dict[str, int],
    server: int,
    unmeasured: dict[str, float],
) -> list[dict[str, str]]:
    found = []
    for batch, concurrency in trials:
        grow = 1 + 0.4 * (batch > 1) + 0.3 * (concurrency > 1) + 0.2 * rng.random()
        cells: dict[str, Any] = {
            "throughput_infer_per_s": round(base["throughput"] * grow * rng.choice([0.7, 1, 1.3]), 1),
            "latency_p99_ms": rng.choice([4, 9.5, 12, 20, 26, 33.3]) * batch,
            "max_memory_mib": server + base["memory"] + base["more_memory"] * batch,
            "server_memory_mib": server,
            "max_utilization_pct": min(100, round(base["utilization"] * (grow if base["grows"] else 1))),
            "max_memory_utilization_pct": rng.choice([5, 12, 25, 40, 55]),
            "power_w": round(45 + 40 * grow * rng.random(), 1),
        }
        for key, chance in unmeasured.items():
            if rng.random() < chance:
                cells[key] = ""
        several = rng.random() < 0.12
        row = {"model": model, "device": device, "batch": batch, "concurrency": concurrency, **cells}
        row |= {"variant": "instances=2", "instances": 2} if several else {"variant": "default", "instances": 1}
        found.append({**row, "status": rng.choice(["ok", "ok", "", "unsettled"])})
        if rng.random() < 0.05:
            found.append({**row, "status": "out_of_memory", "throughput_infer_per_s": ""})
        if rng.random() < 0.05:
            found.append({**row, "status": "ok", "request_rate_per_s": 10})
    return [{key: str(value) for key, value in row.items()} for row in found]


def _demand(rng: Random, models: list[str], rows: list[dict[str, str]], options: dict[str, Any]) -> dict[str, Any]:
    several = len(models) > 1
    groups = {
        "apart": several and rng.random() < 0.25,
        "together": several and rng.random() < 0.2,
        "group_max": rng.random() < 0.2,
    }
    most = rng.choice([1, 2, 2])
    entries = []
    for model in models:
        entry = _amount(rng, model, rows)
        budgets = [float(r["latency_p99_ms"]) for r in rows if r["model"] == model and r["latency_p99_ms"]]
        chances: dict[str, tuple[float, list[Any]]] = {
            "latency_p99_ms": (0.35 if budgets else 0, [*budgets, max(budgets, default=0), 15]),
            "spread": (0.2, ["gpu", "gpu", "node"]),
            "alone": (0.1, [True]),
            "overhead_mib": (0.12, [120, 60.5]),
            "apart": (groups["apart"] and 0.7, [["one"], ["one", "two"]]),
            "together": (groups["together"] and 0.8, [["one"]]),
            "group_max": (groups["group_max"] and 0.7, [{"group": most}]),
        }
        measured = {r["model"] for r in rows} - {model}
        forms = sorted(measured & {*models, f"{model}_int8"})
        chances["variants"] = (0.25 if forms else 0, [[form] for form in forms])
        _add(rng, entry, chances)
        if "apart" in entry:
            entry.pop("together", None)
        entries.append(entry)
    top = {"growth": rng.choice([1.2, 2])} if rng.random() < 0.15 else {}
    return {**top, "model": entries}


def _by_hour(rng: Random, models: list[dict[str, Any]]) -> None:
    """Give some demands with a rate rates for each hour: the rate in some of four parts of the day, less in others."""
    if rng.random() > 0.4:
        return
    for entry in models:
        if "rate_infer_per_s" in entry and rng.random() < 0.8:
            rate = entry.pop("rate_infer_per_s")
            parts = [1, *rng.choices([0, 0.1, 0.4, 0.7, 1], k=3)]
            rng.shuffle(parts)
            entry["rates_by_hour_infer_per_s"] = [round(rate * part, 2) for part in parts for _ in range(6)]


def _amount(rng: Random, model: str, rows: list[dict[str, str]]) -> dict[str, Any]:
    """A rate near what a measured operating point delivers, or a number of copies."""
    entry: dict[str, Any] = {"model": model}
    if rng.random() < 0.4:
        _add(rng, entry, {"replicas": (0.7, [1, 2, 2, 3])})
        return entry
    rates = [float(r["throughput_infer_per_s"]) for r in rows if r["model"] == model and r["throughput_infer_per_s"]]
    entry["rate_infer_per_s"] = round(rng.choice(rates or [50.0]) * rng.choice([0.4, 0.9, 1, 1.2, 1.9, 2]), 2)
    _add(rng, entry, {"growth": (0.2, [1.1, 1.5]), "replicas": (0.2, [1, 2])})
    return entry
