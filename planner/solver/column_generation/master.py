"""The master problem over the columns so far, in OR-Tools: as an LP (GLOP) or as an integer programme (SCIP).

GLOP runs without its presolve: only then does it start from the last basis when columns were added, which makes a
column generation of 150 rounds over 6,000 columns a matter of two seconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner.solver.column_model import ColumnModel, Ints, Pattern, Row
from planner.solver.limits import SearchLimits, run_interruptibly

Floats = NDArray[np.float64]

_LONG = 2_000  # columns from which one LP may take so long that it must be interruptible


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relaxed:
    """An optimum of the LP over the columns so far."""

    value: float
    row_duals: Floats  # (n_rows,) at least 0
    prices: dict[int, float]  # by place: what a pattern there must earn by the duals before it improves the LP
    columns: Floats  # (n_columns,) values of the columns
    unserved: float  # sum of the artificial columns; above 0 the columns so far do not serve everything


class Master:
    """Minimise the cost of columns and layouts; rows, links of slices to layouts, and limits of GPU types are kept."""

    def __init__(self, model: ColumnModel, needs: Ints, columns: Iterable[Pattern], *, whole: bool = False) -> None:
        from ortools.linear_solver import pywraplp

        self.model = model
        self.columns: list[Pattern] = []
        self._known: set[Pattern] = set()
        self._with_task: dict[int, list[int]] = {}  # task -> columns that serve it
        self._solver = pywraplp.Solver.CreateSolver("SCIP" if whole else "GLOP")
        if not whole:
            self._solver.SetSolverSpecificParametersAsString("use_preprocessing: false use_scaling: false")
        self._whole = whole
        self._objective = self._solver.Objective()
        self._objective.SetMinimization()
        infinity = self._solver.infinity()
        self._coefficients = {place: model.coefficients(place) for place in model.items}
        self._sizes = self._largest()
        self._rows = [
            self._solver.Constraint(need / size, infinity) for need, size in zip(needs, self._sizes, strict=True)
        ]
        linked = [place for place in model.items if place not in model.direct]
        self._links = {place: self._solver.Constraint(0.0, infinity) for place in linked}
        self._limits = {
            g: self._solver.Constraint(-infinity, float(gpu.limit))
            for g, gpu in enumerate(model.problem.gpus)
            if gpu.limit is not None
        }
        self._layouts = {
            (g, j): self._layout(g, j)
            for g, gpu in enumerate(model.problem.gpus)
            for j, layout in enumerate(gpu.layouts)
            if any(place in self._links for place in layout.places)
        }
        self._variables: list[Any] = []
        dearest = max((gpu.cost for gpu in model.problem.gpus), default=1) + 1
        self._penalty = 10.0 * dearest
        self._artificial = [] if whole else [self._slack(j, self._penalty) for j in range(len(needs))]
        self.add(columns)

    def _layout(self, g: int, j: int) -> Any:
        gpu = self.model.problem.gpus[g]
        variable = self._variable()
        self._objective.SetCoefficient(variable, float(gpu.cost))
        for place in set(gpu.layouts[j].places):
            self._links[place].SetCoefficient(variable, float(gpu.layouts[j].places.count(place)))
        if g in self._limits:
            self._limits[g].SetCoefficient(variable, 1.0)
        return variable

    def _largest(self) -> list[float]:
        """The largest coefficient of each row, by which it is divided: supplies are large integers."""
        most = [matrix.largest() for matrix in self._coefficients.values()]
        return [float(x) for x in np.maximum(1, np.max(most, axis=0))]

    def _variable(self) -> Any:
        infinity = self._solver.infinity()
        return self._solver.IntVar(0, infinity, "") if self._whole else self._solver.NumVar(0, infinity, "")

    def _slack(self, j: int, cost: float) -> Any:
        variable = self._variable()
        self._objective.SetCoefficient(variable, cost)
        self._rows[j].SetCoefficient(variable, 1.0)
        return variable

    def add(self, columns: Iterable[Pattern]) -> int:
        """Add the columns that are new; return how many were."""
        before = len(self.columns)
        for column in columns:
            if column in self._known:
                continue
            self._known.add(column)
            for t in {t for _, t, _, _ in self.model.replicas_in(column)}:
                self._with_task.setdefault(t, []).append(len(self.columns))
            self.columns.append(column)
            self._variables.append(self._column(column))
        return len(self.columns) - before

    def add_rows(self, rows: list[Row], demand: Ints, replicas: Ints) -> None:
        """Add rows to the column model and to the LP."""
        if not rows:
            return
        infinity = self._solver.infinity()
        first = len(self.model.rows)
        self.model.rows.extend(rows)
        self._coefficients = {place: self.model.coefficients(place) for place in self.model.items}
        self._sizes += self._largest()[first:]
        for j, row in enumerate(rows, start=first):
            need = row.need(int(demand[row.task]), int(replicas[row.task]))
            self._rows.append(self._solver.Constraint(need / self._sizes[j], infinity))
            self._artificial.append(self._slack(j, self._penalty))
        for k in sorted({k for row in rows for k in self._with_task.get(row.task, ())}):
            for j, served in self._coefficients[self.columns[k].place].served(self.columns[k].content).items():
                if j >= first:
                    self._rows[j].SetCoefficient(self._variables[k], served / self._sizes[j])

    def _column(self, column: Pattern) -> Any:
        variable = self._variable()
        cost = self.model.cost(column)
        if cost:
            self._objective.SetCoefficient(variable, float(cost))
        for j, served in self._coefficients[column.place].served(column.content).items():
            self._rows[j].SetCoefficient(variable, served / self._sizes[j])
        if column.place in self._links:
            self._links[column.place].SetCoefficient(variable, -1.0)
        elif self.model.direct[column.place] in self._limits:
            self._limits[self.model.direct[column.place]].SetCoefficient(variable, 1.0)
        return variable

    def demand(self, needs: Ints, filled: dict[int, int], used: dict[int, int]) -> None:
        """Change the right-hand sides to `needs`, with `filled` slices and `used` whole GPUs in use already."""
        for row, need, size in zip(self._rows, needs, self._sizes, strict=True):
            row.SetLb(need / size)
        for place, link in self._links.items():
            link.SetLb(float(filled.get(place, 0)))
        for g, limit in self._limits.items():
            limit.SetUb(float((self.model.problem.gpus[g].limit or 0) - used.get(g, 0)))

    def relax(self, limits: SearchLimits) -> Relaxed | None:
        """Solve the LP; None if GLOP fails or runs out of time."""
        if self._solve(limits) != self._solver.OPTIMAL and not self._solved_from_scratch(limits):
            return None
        duals = np.maximum(np.array([row.dual_value() for row in self._rows], dtype=np.float64), 0.0)
        duals /= np.array(self._sizes)
        prices = {place: max(0.0, link.dual_value()) for place, link in self._links.items()}
        for place, g in self.model.direct.items():
            limited = -self._limits[g].dual_value() if g in self._limits else 0.0
            prices[place] = self.model.problem.gpus[g].cost + max(0.0, limited)
        return Relaxed(
            value=self._objective.Value(),
            row_duals=duals,
            prices=prices,
            columns=np.array([v.solution_value() for v in self._variables], dtype=np.float64),
            unserved=sum(v.solution_value() for v in self._artificial),
        )

    def _solve(self, limits: SearchLimits) -> int:
        """Run the solver: a small LP directly, others in a thread that is interrupted when the limits are reached."""
        self._solver.SetTimeLimit(max(1, int(limits.left_s * 1000)))
        if len(self.columns) < _LONG and not self._whole:
            return int(self._solver.Solve())
        return int(run_interruptibly(self._solver.Solve, self._solver.InterruptSolve, limits))

    def _solved_from_scratch(self, limits: SearchLimits) -> bool:
        """Solve once more, with presolve: GLOP sometimes gives up ("abnormal") when it starts from the last basis."""
        if limits.over:
            return False
        self._solver.SetSolverSpecificParametersAsString("use_preprocessing: true use_scaling: true")
        status = self._solve(limits)
        self._solver.SetSolverSpecificParametersAsString("use_preprocessing: false use_scaling: false")
        return bool(status == self._solver.OPTIMAL)

    def whole(
        self, limits: SearchLimits, *, node_limit: int, below: int | None
    ) -> tuple[Ints, dict[tuple[int, int], int]] | None:
        """Solve the integer programme; return the number of each column and of each linked layout, None without a plan.

        `below` is the highest cost that a plan may have.
        """
        self._solver.SetSolverSpecificParametersAsString(f"limits/nodes = {node_limit}")
        if below is not None:
            cutoff = self._solver.Constraint(-self._solver.infinity(), float(below))
            for variable in (*self._layouts.values(), *self._variables):
                cutoff.SetCoefficient(variable, self._objective.GetCoefficient(variable))
        if self._solve(limits) not in (self._solver.OPTIMAL, self._solver.FEASIBLE):
            return None
        counts = np.array([round(v.solution_value()) for v in self._variables], dtype=np.int64)
        return counts, {key: round(v.solution_value()) for key, v in self._layouts.items()}
