"""A placement as plain text: a sentence, and a table with one row for GPUs of the same geometry and content."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from analyzer.formats.text_table import Column, plain_text, worth_showing
from analyzer.formats.units import MIB, counted, milliseconds, number, percent, printable, shortened_list, whole
from planner.formulation.objective import Objective
from planner.placement.document import Action, Move, Placement
from planner.placement.placed_gpu import PlacedGpu, PlacedModel
from planner.problem.plan import Status

MOST_ROWS = 60  # rows that are printed; nobody reads a longer table, and the placement file has all of it
MOST_MODELS = 12  # models of one GPU that its row names


def placement_text(placement: Placement) -> str:
    """Write a placement as aligned plain text: the result in a sentence, the GPUs, the models that are not placed."""
    rows = placement.grouped()
    parts = [headline(placement)]
    if rows:
        parts.append(plain_text(worth_showing(_COLUMNS, rows), rows[:MOST_ROWS]))
    if len(rows) > MOST_ROWS:
        hidden = sum(row.gpus for row in rows[MOST_ROWS:])
        parts.append(f"and {counted(hidden, 'GPU')} of {len(rows) - MOST_ROWS} other kinds; the placement file has all")
    parts += [printable(f"not placed: {unplaced.reason}") for unplaced in placement.unplaced]
    return "\n".join(parts)


def headline(placement: Placement) -> str:
    """Say in a sentence how many GPUs the plan needs, and what is proven about that."""
    objective = placement.objective
    if placement.status is Status.INFEASIBLE:
        return "no plan exists"
    if objective.gpus is None:
        return "no plan was found in the time"
    types: Counter[str] = Counter()
    for gpu in placement.gpus:
        types[gpu.type] += gpu.gpus
    needs = counted(objective.gpus, "GPU")
    if len(types) > 1:
        needs += f" ({', '.join(f'{n} {name}' for name, n in types.items())})"
    if objective.kind is not Objective.GPUS:
        needs += f", {number(objective.value)} {objective.unit}"
    fitted, plain = "", ""
    if objective.plain_lower_bound is not None:
        fitted = " under the fitted slow-downs"
        plain = f"; without them at least {number(objective.plain_lower_bound)} {objective.unit}"
    if placement.status is Status.OPTIMAL:
        within = "" if objective.within_moves is None else f" within {objective.within_moves} moves"
        less = "fewer" if objective.kind is Objective.GPUS else "less"
        return f"{needs}: proven{fitted}, no plan{within} needs {less}{plain}"
    bound = f"{number(objective.lower_bound)} {objective.unit}"
    return f"{needs}: at least {bound} are needed{fitted} (gap {objective.gap:.1%}){plain}"


def moves_text(moves: Sequence[Move]) -> str:
    """List the steps from the placement in force, at most `MOST_ROWS` of them."""
    if not moves:
        return "nothing has to be moved"
    loads = [m for m in moves if m.action is Action.LOAD]
    lines = [f"steps: {counted(len(loads), 'load')}, {sum(m.memory_bytes or 0 for m in loads) / MIB:,.0f} MiB"]
    lines += [_move(m) for m in moves[:MOST_ROWS]]
    if len(moves) > MOST_ROWS:
        lines.append(f"and {len(moves) - MOST_ROWS} more; the placement file has all")
    return "\n".join(lines)


def _move(move: Move) -> str:
    where = move.gpu + (f" {move.slice.name}" if move.slice else "")
    what = f" {move.model} ({(move.memory_bytes or 0) / MIB:.0f} MiB)" if move.model else ""
    note = f" ({move.reason})" if move.reason else ""
    return printable(f"{move.step:4d}  {move.action.value:6}  {where}{what}{note}")


def _models(gpu: PlacedGpu) -> str:
    return shortened_list([_model(m) for m in gpu.models], MOST_MODELS)


def _model(model: PlacedModel) -> str:
    times = f" x{model.replicas}" if model.replicas > 1 else ""
    where = f" on {model.slice.name}" if model.slice else ""
    return f"{model.name}{times}{where}{_prediction(model)}"


def _prediction(model: PlacedModel) -> str:
    """Say how much slower a model is beside the others, and the p99 that follows; "" where that is not known."""
    if model.predicted_slow_down is None or model.predicted_slow_down == model.most_slow_down == 1:
        return ""
    said = f"{number(model.predicted_slow_down)} to {number(model.most_slow_down)} times as slow"
    if model.predicted_p99_s is not None:
        most = milliseconds(model.most_p99_s) or "?"
        said += f", p99 {milliseconds(model.predicted_p99_s)} to {most} ms"
    return f" ({said})"


_COLUMNS: list[Column[PlacedGpu]] = [
    Column(title="GPUs", unit="", text=lambda gpu: whole(gpu.gpus)),
    Column(title="Type", unit="", text=lambda gpu: gpu.type, numeric=False),
    Column(title="Memory with server", unit="MiB", text=lambda gpu: whole(gpu.memory_bytes / MIB)),
    Column(title="Capacity", unit="MiB", text=lambda gpu: whole(gpu.memory_capacity_bytes / MIB)),
    Column(title="Utilization", unit="%", text=lambda gpu: percent(gpu.utilization)),
    Column(title="Memory utilization", unit="%", text=lambda gpu: percent(gpu.memory_utilization)),
    Column(title="Models", unit="", text=_models, numeric=False),
]
