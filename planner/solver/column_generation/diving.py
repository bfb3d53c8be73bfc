"""Diving: fix columns of the LP in whole numbers, generate columns for the rest, and finish with a greedy plan.

Only for problems without slices, where each place is a whole GPU; restricted_master.py handles the others.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random

import numpy as np

from planner.solver.column_generation.generate import QUICK, generate
from planner.solver.column_generation.master import Floats, Master
from planner.solver.column_model import ColumnModel, Ints, Pattern
from planner.solver.greedy import RULES, pack
from planner.solver.limits import SearchLimits

Chosen = Counter[Pattern]

_NEARLY = 0.4  # share of the first LP's value below which greedy plans are tried too: they are good for a small rest
_LIKELY = 0.7  # fractions above it are rounded up in the same round as the largest


@dataclass(slots=True)
class Residual:
    """What is still to be served after some columns were chosen, and what these cost."""

    model: ColumnModel
    left: Ints  # (n_tasks,) demand; negative where more than it is served
    replicas: Ints  # (n_tasks,) least replicas, likewise
    used: dict[int, int] = field(default_factory=dict)  # GPUs by type
    cost: int = 0
    chosen: Chosen = field(default_factory=Counter)

    def take(self, column: Pattern, times: int) -> None:
        """Choose a pattern for `times` GPUs."""
        supply, replicas = self.model.served(column)
        for t, n in supply.items():
            self.left[t] -= n * times
        for t, n in replicas.items():
            self.replicas[t] -= n * times
        gpu = self.model.direct[column.place]
        self.used[gpu] = self.used.get(gpu, 0) + times
        self.cost += self.model.cost(column) * times
        self.chosen[column] += times

    def is_wanted(self, column: Pattern) -> bool:
        """Whether all that a pattern serves is still to be served, and a GPU is left for it."""
        supply, _ = self.model.served(column)
        gpu = self.model.direct[column.place]
        limit = self.model.problem.gpus[gpu].limit
        spare = limit is None or self.used.get(gpu, 0) < limit
        return spare and all(self.left[t] >= n for t, n in supply.items())

    def is_allowed(self, column: Pattern) -> bool:
        """Whether a pattern holds no more copies than are left of the tasks whose number of copies is given."""
        return self.model.is_within(column, self.left)

    @property
    def done(self) -> bool:
        """Whether everything is served."""
        return not (self.left > 0).any() and not (self.replicas > 0).any()


@dataclass(slots=True)
class Best:
    """The cheapest complete plan so far: its patterns, with how often each is used."""

    cost: int | None = None
    chosen: Chosen = field(default_factory=Counter)
    step: int = 1  # every cost is a multiple of this

    def offer(self, cost: int, chosen: Chosen) -> bool:
        """Keep it if it is cheaper."""
        if self.cost is not None and cost >= self.cost:
            return False
        self.cost, self.chosen = cost, Counter(chosen)
        return True


def start(model: ColumnModel, left: Ints | None = None, replicas: Ints | None = None) -> Residual:
    """Return the state before any column is chosen."""
    return Residual(
        model=model,
        left=(model.demand if left is None else left).copy(),
        replicas=(model.replicas if replicas is None else replicas).copy(),
    )


def finish_greedily(state: Residual, best: Best, limits: SearchLimits) -> None:
    """Serve the rest by each greedy rule and offer the results to `best`."""
    for rule in range(len(RULES)):
        groups = pack(state.model, np.maximum(state.left, 0), state.replicas, limits, rule=rule, used=state.used)
        if groups is None:
            continue
        patterns = state.model.patterns(groups)
        cost = state.cost + sum(state.model.cost(pattern) * n for pattern, n in patterns.items())
        if best.cost is None or cost < best.cost:
            best.offer(cost, state.chosen + patterns)


def dive(
    state: Residual,
    master: Master,
    best: Best,
    *,
    target: int,
    limits: SearchLimits,
    random: Random | None = None,
) -> None:
    """Fix columns and generate new ones until everything is served; offer every complete plan to `best`.

    Parameters
    ----------
    target : cost at which a plan is good enough to end the dive, a (presumed) lower bound
    random : without it the largest fraction is rounded up, else one that is drawn
    """
    model = state.model
    first: float | None = None
    while not state.done:
        if limits.over or (best.cost is not None and best.cost <= target):
            return
        left, replicas = np.maximum(state.left, 0), np.maximum(state.replicas, 0)
        needs = model.needs(left, replicas)
        master.demand(needs, {}, state.used)
        found = generate(model, master, needs, left, replicas, limits=limits, effort=QUICK)
        if found is None or found.relaxed.unserved > 1e-6:
            return
        if best.cost is not None and state.cost + found.relaxed.value > best.cost - best.step + 1e-6:
            return
        if not _round(state, master.columns, found.relaxed.columns, random):
            return
        first = first or found.relaxed.value
        if found.relaxed.value < _NEARLY * first:
            finish_greedily(state, best, limits)
    best.offer(state.cost, state.chosen)


def _round(state: Residual, columns: list[Pattern], values: Floats, random: Random | None) -> bool:
    """Fix the whole parts of the LP's values; without any, round one fraction up. False if all values are 0."""
    taken = False
    for k in np.flatnonzero(values >= 1 - 1e-7):
        state.take(columns[k], int(values[k] + 1e-7))
        taken = True
    if taken:
        return True
    fractions = [
        int(k) for k in np.argsort(-values, kind="stable") if values[k] > 1e-7 and state.is_allowed(columns[k])
    ]
    if not fractions:
        return False
    pick = fractions[0]
    if random is not None:
        pick = random.choices(fractions, [values[k] ** 3 for k in fractions])[0]
    state.take(columns[pick], 1)
    for k in fractions:
        if values[k] > _LIKELY and k != pick and state.is_wanted(columns[k]):
            state.take(columns[k], 1)
    return True
