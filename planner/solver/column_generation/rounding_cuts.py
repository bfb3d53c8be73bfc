"""Chvatal-Gomory rows on the demands: replicas are whole numbers, so supplies and demand may be rounded up.

For a task with supplies s_k and demand d, and any u > 0, every plan has ``sum(ceil(u s_k) n_k) >= ceil(u d)``. The
useful u are those at which a term or the right-hand side steps: j / s_k and j / d. They are kept as fractions, so the
rows are exact.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from planner.solver.column_generation.master import Floats
from planner.solver.column_model import ColumnModel, Pattern, Row

_STEPS = 60  # multiples j that are tried for each supply
_PER_TASK = 1  # rows added for a task in one round; more make the LP slow before they make it better
_LEAST = 1e-3  # violation, as a fraction of the right-hand side, from which a row is added


def violated_rows(model: ColumnModel, columns: list[Pattern], values: Floats) -> list[Row]:
    """Return the rounding rows that the LP's replicas violate, the most violated of each task."""
    replicas = _replicas(model, columns, values)
    known = {(row.task, row.up, row.down) for row in model.rows if not row.counted}
    found: list[Row] = []
    for t, task in enumerate(model.problem.tasks):
        if task.demand and any(o.supply > 1 for o in task.options):
            violated = sorted(
                _violated(t, task.demand, replicas[t]), key=lambda pair: (-pair[0], pair[1].down, pair[1].up)
            )
            new = [row for _, row in violated if (t, row.up, row.down) not in known]
            found += new[:_PER_TASK]
    return found


def _replicas(model: ColumnModel, columns: list[Pattern], values: Floats) -> dict[int, dict[int, float]]:
    """Replicas of each task in the LP, by what one supplies."""
    replicas: dict[int, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    for column, value in zip(columns, values, strict=True):
        if value > 1e-9:
            for _, t, k, n in model.replicas_in(column):
                replicas[t][model.problem.tasks[t].options[k].supply] += n * value
    return replicas


def _violated(t: int, demand: int, replicas: dict[int, float]) -> Iterable[tuple[float, Row]]:
    seen: set[tuple[tuple[int, ...], int]] = set()
    for down in (*sorted(replicas), demand):
        for up in range(1, _STEPS + 1):
            need = -(-demand * up // down)
            terms = tuple(-(-supply * up // down) for supply in replicas)
            if (terms, need) in seen:
                continue
            seen.add((terms, need))
            reached = sum(c * n for c, n in zip(terms, replicas.values(), strict=True))
            if need - reached > _LEAST * need:
                yield (need - reached) / need, Row(task=t, up=up, down=down)
