"""The master problem of `resource_prices`: ways to serve each task in whole replicas, and room in parts of GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from planner.solver.column_generation.master import Floats
from planner.solver.column_generation.replicable import Replicable
from planner.solver.column_model import ColumnModel, Ints
from planner.solver.limits import SearchLimits, run_interruptibly

Room = tuple[Ints, Ints]  # loads (n_items, n_functions) of a place's items, and the place's room (n_functions,)


class RoomMaster:
    """Minimise the cost of layouts and replicas: each task has one cover, each place room for their loads."""

    def __init__(self, model: ColumnModel, rooms: Mapping[int, Room], items: Replicable) -> None:
        from ortools.linear_solver import pywraplp

        self._items = items
        self._solver = pywraplp.Solver.CreateSolver("GLOP")
        self._objective = self._solver.Objective()
        self._objective.SetMinimization()
        infinity = self._solver.infinity()
        self._shares = {place: load / np.maximum(room, 1) for place, (load, room) in rooms.items()}
        self._room = {p: [self._solver.Constraint(0.0, infinity) for _ in room] for p, (_, room) in rooms.items()}
        self._served = [self._solver.Constraint(1.0, infinity) for _ in model.problem.tasks]
        self._known: list[set[bytes]] = [set() for _ in model.problem.tasks]
        for gpu in model.problem.gpus:
            limit = None if gpu.limit is None else self._solver.Constraint(-infinity, float(gpu.limit))
            for layout in gpu.layouts if gpu.limit != 0 else ():
                variable = self._solver.NumVar(0, infinity, "")
                self._objective.SetCoefficient(variable, float(gpu.cost))
                for place in set(layout.places):
                    for row in self._room[place]:
                        row.SetCoefficient(variable, float(layout.places.count(place)))
                if limit is not None:
                    limit.SetCoefficient(variable, 1.0)

    def add(self, counts: Ints) -> int:
        """Add a cover of each task, `counts` (n_items,) replicas of its items; return how many of them are new."""
        items = self._items
        added = 0
        for t, known in enumerate(self._known):
            own = slice(items.first[t], items.first[t + 1])
            key = counts[own].tobytes()
            if key in known:
                continue
            known.add(key)
            added += 1
            variable = self._solver.NumVar(0, self._solver.infinity(), "")
            self._served[t].SetCoefficient(variable, 1.0)
            taken: dict[int, Floats] = {}
            for i in np.flatnonzero(counts[own]) + items.first[t]:
                place = int(items.place[i])
                taken[place] = taken.get(place, 0.0) + self._shares[place][items.index[i]] * counts[i]
            for place, shares in taken.items():
                for r in np.flatnonzero(shares):
                    self._room[place][r].SetCoefficient(variable, -float(shares[r]))
            self._objective.SetCoefficient(variable, float(counts[own] @ items.cost[own]))
        return added

    def relax(self, limits: SearchLimits) -> tuple[float, dict[int, Floats]] | None:
        """Solve the LP; return its value and what each place's room is worth, by function; None if it fails."""
        self._solver.SetTimeLimit(max(1, int(limits.left_s * 1000)))
        status: Any = run_interruptibly(self._solver.Solve, self._solver.InterruptSolve, limits)
        if status != self._solver.OPTIMAL:
            return None
        prices = {p: np.array([max(0.0, row.dual_value()) for row in rows]) for p, rows in self._room.items()}
        return self._objective.Value(), prices
