"""Choose from a list of patterns so that each demand is served exactly by so many GPUs, or prove that none can.

Branch and bound with an LP (GLOP) at each node, subset-row cuts, and branches on how many GPUs hold both of two items.
A node is given up only on a certificate in integers: the LP's duals are rounded, and add up to more on the right-hand
sides than that many columns can earn. Thus "none" is a proof, whatever the LP's tolerances are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import floor
from typing import Any

import numpy as np

from planner.solver.column_generation.subset_rows import pair_values, violated_triples
from planner.solver.column_model import Ints, Pattern
from planner.solver.limits import SearchLimits, run_interruptibly

_PENALTY, _MOST_PENALTY = 4.0, 4096.0  # cost of leaving a unit of a row unserved; a GPU costs 1
_SCALE = 2**32  # integer units of a dual
_NEAR = 1e-6
_ROUNDS, _ROUNDS_BELOW = 30, 2  # of cuts, at the root and at other nodes
_VIOLATED, _VIOLATED_BELOW = 1.05, 1.15  # left-hand side, of a right-hand side of 1, from which a cut is added
_CUTS_A_ROUND = 60
_MOST_ROWS = 3_000  # cuts and branches
_WARM = "use_preprocessing: false use_scaling: true use_dual_simplex: true"  # starts from the last basis
_AFRESH = "use_preprocessing: true use_scaling: true use_dual_simplex: false"
_LONG = 2_000  # columns from which one LP may take so long that it must be interruptible

_Bounds = tuple[int | None, int | None]
_FREE: _Bounds = (None, None)


@dataclass(slots=True, eq=False)
class _Extra:
    """A cut or a branch: the columns that it counts and how often, its bounds at present, and its row in the LP."""

    members: Ints
    times: Ints
    row: Any
    bounds: _Bounds = _FREE


@dataclass(slots=True, eq=False)
class Partitioning:
    """The search; `counts` is how often each column is used once that is found, `infeasible` what is proven.

    It always comes to one of the two where `gpus` is less than one above the value of the LP over the columns.
    """

    columns: Sequence[Pattern]
    demand: Ints  # (n_items,) copies of each item
    gpus: int  # columns that may be used
    limits: SearchLimits
    counts: Ints | None = None
    infeasible: bool = False
    nodes: int = 0
    _solver: Any = None
    _variables: list[Any] = field(default_factory=list)
    _rows: list[Any] = field(default_factory=list)
    _slacks: list[Any] = field(default_factory=list)
    _penalty: float = _PENALTY
    _extra: list[_Extra] = field(default_factory=list)
    _branches: dict[tuple[int, int], int] = field(default_factory=dict)
    _matrix: Ints = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    _alive: Any = None  # (n_columns,) False for columns that are proven to be in no plan

    def search(self) -> None:
        """Search until a plan is found, none is proven to exist, or the limits are reached."""
        self._build()
        open_nodes: list[dict[int, _Bounds]] = [{}]
        while open_nodes:
            node = open_nodes.pop()
            self._enter(node)
            self.nodes += 1
            values = self._bound(root=self.nodes == 1)
            if values is None:
                continue
            if self.counts is not None or self.limits.over:
                return
            branch = self._branch(values)
            if branch is None:
                return
            at, value = branch
            low, high = node.get(at, _FREE)
            open_nodes.append({**node, at: (low, floor(value))})
            open_nodes.append({**node, at: (floor(value) + 1, high)})  # the next one
        self.infeasible = True

    def _build(self) -> None:
        from ortools.linear_solver import pywraplp

        self._matrix = np.zeros((len(self.demand), len(self.columns)), dtype=np.int64)
        for p, column in enumerate(self.columns):
            for i, n in column.content:
                self._matrix[i, p] = n
        self._alive = np.ones(len(self.columns), dtype=np.bool_)
        self._solver = pywraplp.Solver.CreateSolver("GLOP")
        objective = self._solver.Objective()
        objective.SetMinimization()
        self._variables = [self._solver.NumVar(0, self._solver.infinity(), "") for _ in self.columns]
        for variable in self._variables:
            objective.SetCoefficient(variable, 1.0)
        everything = np.arange(len(self.columns))
        for i, n in enumerate(self.demand):
            held = everything[self._matrix[i] > 0]
            self._rows.append(self._row(held, self._matrix[i, held], (int(n), int(n))))

    def _row(self, members: Ints, times: Ints, bounds: _Bounds) -> Any:
        """A row of the LP, which may be broken at a penalty, so that the LP always has a solution."""
        row = self._solver.Constraint(*self._as_floats(bounds))
        for p, n in zip(members, times, strict=True):
            row.SetCoefficient(self._variables[int(p)], float(n))
        for sign in (1.0, -1.0):
            slack = self._solver.NumVar(0, self._solver.infinity(), "")
            row.SetCoefficient(slack, sign)
            self._solver.Objective().SetCoefficient(slack, self._penalty)
            self._slacks.append(slack)
        return row

    def _as_floats(self, bounds: _Bounds) -> tuple[float, float]:
        infinity = self._solver.infinity()
        low, high = bounds
        return -infinity if low is None else float(low), infinity if high is None else float(high)

    def _enter(self, node: dict[int, _Bounds]) -> None:
        """Set the bounds of the branches to those of a node."""
        for at in self._branches.values():
            extra, bounds = self._extra[at], node.get(at, _FREE)
            if extra.bounds != bounds:
                extra.bounds = bounds
                extra.row.SetBounds(*self._as_floats(bounds))

    def _bound(self, *, root: bool) -> Any:
        """Solve the LP and add cuts; return its values, None where no plan is below this node."""
        for done in range(1 + (_ROUNDS if root else _ROUNDS_BELOW)):
            if not self._solve():
                return np.zeros(len(self.columns))  # nothing is known, and the search ends
            values = np.array([v.solution_value() for v in self._variables])
            if (root or self._solver.Objective().Value() > self.gpus + _NEAR) and self._is_refuted(fix=root):
                return None
            self._take(values)
            last = done == (_ROUNDS if root else _ROUNDS_BELOW) or len(self._extra) >= _MOST_ROWS
            if self.counts is not None or last or not self._cut(values, root=root):
                break
        return values

    def _solve(self) -> bool:
        """Solve the LP; False where it failed, or the limits are reached.

        While breaking a row is cheaper than another GPU, the penalty is raised: else the LP could break a branch, and
        the search make the same branch again and again.
        """
        while True:
            # from the last basis GLOP sometimes gives up ("abnormal")
            if not (self._ran(_WARM) or self._ran(_AFRESH)):
                return False
            broken = any(slack.solution_value() > _NEAR for slack in self._slacks)
            too_dear = self._solver.Objective().Value() > self.gpus + _NEAR
            if not broken or too_dear or self._penalty >= _MOST_PENALTY:
                return True
            self._penalty *= 4
            for slack in self._slacks:
                self._solver.Objective().SetCoefficient(slack, self._penalty)

    def _ran(self, parameters: str) -> bool:
        if self.limits.over:
            return False
        self._solver.SetSolverSpecificParametersAsString(parameters)
        self._solver.SetTimeLimit(max(1, int(self.limits.left_s * 1000)))
        if len(self.columns) < _LONG:
            return bool(self._solver.Solve() == self._solver.OPTIMAL)
        status = run_interruptibly(self._solver.Solve, self._solver.InterruptSolve, self.limits)
        return bool(status == self._solver.OPTIMAL)

    def _is_refuted(self, *, fix: bool) -> bool:
        """Whether the duals prove, in integers, that no plan keeps the bounds of this node.

        Parameters
        ----------
        fix : whether columns that are proven to be in no plan are left out from now on
        """
        duals = [floor(row.dual_value() * _SCALE) for row in self._rows]
        earned = np.array(duals, dtype=np.int64) @ self._matrix
        total = sum(u * int(n) for u, n in zip(duals, self.demand, strict=True))
        for extra in self._extra:
            low, high = extra.bounds
            dual = floor(extra.row.dual_value() * _SCALE)
            side = low if dual > 0 else high
            if dual and side is not None:  # a dual of the wrong sign counts as 0
                earned[extra.members] += dual * extra.times
                total += dual * side
        most = int(earned[self._alive].max(initial=0))
        spare: int = self.gpus * most - total  # what the columns of a plan may together earn less than `most` each
        if fix and spare >= 0:
            for p in np.flatnonzero(self._alive & (most - earned > spare)):
                self._alive[p] = False
                self._variables[int(p)].SetUb(0.0)
        return bool(spare < 0)

    def _take(self, values: Any) -> None:
        """Keep the LP's values if they are a plan."""
        counts = np.round(values).astype(np.int64)
        if counts.sum() <= self.gpus and np.array_equal(self._matrix @ counts, self.demand):
            self.counts = counts

    def _held(self, values: Any) -> tuple[Any, Any, Any, Any]:
        """The columns of the LP's solution: starts and rows of each, values, and the values of pairs of items."""
        used = np.flatnonzero(values > _NEAR)
        held = [np.flatnonzero(self._matrix[:, p]) for p in used]
        start = np.concatenate([[0], np.cumsum([len(rows) for rows in held])]).astype(np.int64)
        rows = np.concatenate([np.zeros(0, dtype=np.int64), *held])
        return start, rows, values[used], pair_values(start, rows, values[used], len(self.demand))

    def _cut(self, values: Any, *, root: bool) -> bool:
        """Add violated subset-row cuts; False where there are none."""
        found = violated_triples(
            *self._held(values), self.demand == 1, _VIOLATED if root else _VIOLATED_BELOW, _CUTS_A_ROUND
        )
        for triple in found:
            times = self._matrix[triple].sum(axis=0) // 2
            members = np.flatnonzero(times)
            row = self._row(members, times[members], (None, 1))
            self._extra.append(_Extra(members=members, times=times[members], row=row, bounds=(None, 1)))
        return len(found) > 0

    def _branch(self, values: Any) -> tuple[int, float] | None:
        """The row to branch on and its value: the columns with both of two items, or one column; None if all whole."""
        pairs = np.triu(self._held(values)[3], 1)
        off = np.abs(pairs - np.round(pairs))
        if off.max(initial=0.0) > _NEAR:
            i, j = np.unravel_index(int(np.argmax(off * (1 + pairs - np.floor(pairs)))), pairs.shape)
            members = np.flatnonzero((self._matrix[i] > 0) & (self._matrix[j] > 0))
            return self._branch_row((int(i), int(j)), members), float(pairs[i, j])
        p = int(np.argmax(np.abs(values - np.round(values))))
        if abs(values[p] - round(values[p])) <= _NEAR:
            return None
        return self._branch_row((-1, p), np.array([p])), float(values[p])

    def _branch_row(self, key: tuple[int, int], members: Ints) -> int:
        if key not in self._branches:
            times = np.ones(len(members), dtype=np.int64)
            self._branches[key] = len(self._extra)
            self._extra.append(_Extra(members=members, times=times, row=self._row(members, times, _FREE)))
        return self._branches[key]
