"""A placement as a table for people: one row for GPUs that are cut and filled alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from analyzer.formats.text_table import Column, plain_text, worth_showing
from analyzer.formats.units import counted, mib, number, percent, printable, whole
from planner.placement.document import Placement

if TYPE_CHECKING:
    from planner.explain.baselines import Baseline  # loads numpy

MOST_ROWS = 60  # a table longer than this is no longer read; the file has all of it
MOST_MODELS = 12  # of one GPU, in its row

Row = Mapping[str, Any]


def placement_text(placement: Placement) -> str:
    """Write a placement as aligned plain text: the answer in a sentence, the GPUs, what is not placed."""
    rows = alike(placement["gpus"])
    parts = [headline(placement)]
    if rows:
        parts.append(plain_text(worth_showing(_COLUMNS, rows), rows[:MOST_ROWS]))
    if len(rows) > MOST_ROWS:
        hidden = sum(row["count"] for row in rows[MOST_ROWS:])
        parts.append(f"and {counted(hidden, 'GPU')} of {len(rows) - MOST_ROWS} other kinds; -o placement.json has all")
    parts += [printable(f"not placed: {u['reason']}") for u in placement["unplaced"]]
    return "\n".join(parts)


def headline(placement: Placement) -> str:
    """Say in a sentence what the plan needs, and how sure that is."""
    objective, status = placement["objective"], placement["status"]
    if status == "infeasible":
        return "no plan exists"
    if objective["gpus"] is None:
        return "no plan was found in the time; give more with --time-limit"
    kind = objective.get("kind", "gpus")
    types = _by_type(placement["gpus"])
    needs = counted(objective["gpus"], "GPU")
    if len(types) > 1:
        needs += f" ({', '.join(f'{n} {name}' for name, n in types.items())})"
    if kind != "gpus":
        needs += f", {number(objective['value'])} {objective['unit']}"
    if status == "optimal":
        within = objective.get("bound_source", "").partition(" within ")[2]
        plan = f"no plan within {within}" if within else "no plan"
        return f"{needs}: proven, {plan} needs {'fewer' if kind == 'gpus' else 'less'}"
    bound = f"{number(objective['lower_bound'])} {objective.get('unit', 'GPUs')}"
    return f"{needs}: at least {bound} are needed (gap {objective['gap']:.1%})"


def baseline_text(baseline: Baseline, unit: str) -> str:
    """Say in a sentence what a simpler rule would use, and where it would run out of memory."""
    if baseline.gpus is None:
        return f"for comparison, {baseline.name}: some model fits no GPU"
    needs = counted(baseline.gpus, "GPU")
    if unit != "GPUs":
        needs += f" of type {baseline.gpu_type}, {number(baseline.value)} {unit}"
    text = f"for comparison, {baseline.name}: {needs}"
    worst = baseline.worst
    if worst is None:
        return text
    models = ", ".join(worst.models[:MOST_MODELS]) + (" ..." if len(worst.models) > MOST_MODELS else "")
    return printable(
        f"{text}, of which {baseline.n_overfull} would run out of memory;"
        f" the fullest would need {mib(worst.memory_bytes)} of {mib(worst.capacity_bytes)} MiB ({models})"
    )


def moves_text(moves: Sequence[Mapping[str, Any]]) -> str:
    """List the steps from the placement in force; only the first of very many."""
    if not moves:
        return "nothing has to be moved"
    loads = [m for m in moves if m["action"] == "load"]
    lines = [f"steps: {counted(len(loads), 'load')}, {sum(m['memory_mib'] for m in loads):,.0f} MiB"]
    lines += [_move(m) for m in moves[:MOST_ROWS]]
    if len(moves) > MOST_ROWS:
        lines.append(f"and {len(moves) - MOST_ROWS} more; -o placement.json has all")
    return "\n".join(lines)


def _move(move: Mapping[str, Any]) -> str:
    piece = move.get("slice")
    where = move["gpu"] + (f" {piece['profile']}@{piece['start']}" if piece else "")
    what = f" {move['model']} ({move['memory_mib']:.0f} MiB)" if "model" in move else ""
    note = f" ({move['reason']})" if "reason" in move else ""
    return printable(f"{move['step']:4d}  {move['action']:6}  {where}{what}{note}")


def alike(gpus: Sequence[Row]) -> list[dict[str, Any]]:
    """Join GPUs that are cut and filled alike, in the order of their first one; `count` says how many they are."""
    found: dict[str, dict[str, Any]] = {}
    for gpu in gpus:
        content = {k: v for k, v in gpu.items() if k not in ("id", "count", "nodes")}
        key = json.dumps(content, sort_keys=True)
        found.setdefault(key, {**content, "id": gpu["id"], "count": 0})["count"] += gpu.get("count", 1)
    return list(found.values())


def _by_type(gpus: Sequence[Row]) -> dict[str, int]:
    types: dict[str, int] = {}
    for gpu in gpus:
        types[gpu["type"]] = types.get(gpu["type"], 0) + gpu.get("count", 1)
    return types


def _models(row: Row) -> str:
    named = [_model(m) for m in row["models"][:MOST_MODELS]]
    more = len(row["models"]) - MOST_MODELS
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _model(model: Row) -> str:
    replicas = model.get("replicas", 1)
    times = f" x{replicas}" if replicas > 1 else ""
    piece = model.get("slice")
    return f"{model['name']}{times}" + (f" on {piece['profile']}@{piece['start']}" if piece else "")


def _share(key: str) -> Callable[[Row], str]:
    return lambda row: "" if row[key] is None else percent(row[key] / 100)


_COLUMNS: list[Column[Row]] = [
    Column(title="GPUs", unit="", text=lambda row: whole(row["count"])),
    Column(title="Type", unit="", text=lambda row: str(row["type"]), numeric=False),
    Column(title="Memory with server", unit="MiB", text=lambda row: whole(row["memory_mib"])),
    Column(title="Capacity", unit="MiB", text=lambda row: whole(row["memory_capacity_mib"])),
    Column(title="Utilization", unit="%", text=_share("utilization_pct")),
    Column(title="Memory utilization", unit="%", text=_share("memory_utilization_pct")),
    Column(title="Models", unit="", text=_models, numeric=False),
]
