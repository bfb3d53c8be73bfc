"""The problem as rows and columns: what each pattern (content of a place) serves, and what it costs.

A *row* is a constraint ``sum(coefficient of the item x replicas of it) >= need``. The first rows are the tasks' demands
and least replicas; rounding rows (Chvatal and Gomory) on a demand are of the same form, so a pattern's coefficient in
any row is a sum over its items, and new rows only change the items' profits in pricing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from planner.problem.co_location import Alone, Apart, AtMost
from planner.problem.plan import GpuGroup, Replicas
from planner.problem.problem import Problem
from planner.solver.cp_sat.model import replicas_at_most

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Items:
    """The items that a place can hold, one for each option that runs there; arrays of shape (n_items,) unless said."""

    place: int
    capacity: Ints  # (n_resources,), of the resources that can bind
    load: Ints  # (n_items, n_resources)
    bound: Ints  # most copies of each in one place
    task: Ints
    option: Ints
    supply: Ints
    cost: Ints
    most: Ints  # (n_tasks,) most replicas of a task in one place, all its options together
    apart: NDArray[np.bool_]  # (n_tasks, n_tasks) whether two tasks may not share a place; (0, 0) without such rules
    share: NDArray[np.float64]  # of the place that one copy takes, in the resource that it takes most of


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """``sum(ceil(up / down x supply) x replicas) >= ceil(up / down x demand)`` for one task.

    A counted row is ``sum(replicas) >= least replicas``.
    """

    task: int
    up: int = 1
    down: int = 1
    counted: bool = False

    def coefficient(self, supply: Ints) -> Ints:
        """Return what one replica adds to this row, for each supply."""
        return np.ones_like(supply) if self.counted else -((-supply * self.up) // self.down)

    def need(self, demand: int, replicas: int) -> int:
        """Return the right-hand side while this much demand and this many replicas are still to be served."""
        return max(0, replicas) if self.counted else -((-max(0, demand) * self.up) // self.down)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A column: one content of a place, as (item, count) pairs in item order."""

    place: int
    content: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class ColumnModel:
    """Items of every place and the rows they serve; rows may be added."""

    problem: Problem
    items: dict[int, Items]  # by place
    rows: list[Row]
    direct: dict[int, int] = field(default_factory=dict)  # whole-GPU place of one type only -> that GPU type
    _item_of: dict[tuple[int, int, int], int] = field(default_factory=dict)  # place, task, option -> item

    def __post_init__(self) -> None:
        self._item_of = {
            (place, int(t), int(k)): i
            for place, items in self.items.items()
            for i, (t, k) in enumerate(zip(items.task, items.option, strict=True))
        }

    @property
    def demand(self) -> Ints:
        """(n_tasks,) demand of each task."""
        return np.array([task.demand for task in self.problem.tasks], dtype=np.int64)

    @property
    def replicas(self) -> Ints:
        """(n_tasks,) least replicas of each task."""
        return np.array([task.min_replicas for task in self.problem.tasks], dtype=np.int64)

    def needs(self, demand: Ints, replicas: Ints) -> Ints:
        """Return the right-hand sides (n_rows,) while `demand` and `replicas` are still to be served."""
        return np.array([row.need(int(demand[row.task]), int(replicas[row.task])) for row in self.rows], dtype=np.int64)

    def coefficients(self, place: int) -> Ints:
        """Return the rows' coefficients (n_rows, n_items) of a place's items."""
        items = self.items[place]
        matrix = np.zeros((len(self.rows), len(items.task)), dtype=np.int64)
        for j, row in enumerate(self.rows):
            matrix[j] = np.where(items.task == row.task, row.coefficient(items.supply), 0)
        return matrix

    def served(self, column: Pattern) -> tuple[dict[int, int], dict[int, int]]:
        """Return the supply and the replicas of each task in a pattern."""
        items = self.items[column.place]
        supply: Counter[int] = Counter()
        replicas: Counter[int] = Counter()
        for i, n in column.content:
            supply[int(items.task[i])] += n * int(items.supply[i])
            replicas[int(items.task[i])] += n
        return supply, replicas

    def cost(self, column: Pattern) -> int:
        """Return the cost of a pattern: its replicas', and where the place is a whole GPU that of the GPU."""
        items = self.items[column.place]
        gpu = self.direct.get(column.place)
        own = self.problem.gpus[gpu].cost if gpu is not None else 0
        return own + sum(n * int(items.cost[i]) for i, n in column.content)

    def group(self, gpu: int, layout: int, patterns: Sequence[Pattern], count: int) -> GpuGroup:
        """Return `count` GPUs that are cut by one layout and filled by one pattern for each of its places."""
        return GpuGroup(gpu=gpu, layout=layout, contents=tuple(map(self._content, patterns)), count=count)

    def _content(self, pattern: Pattern) -> tuple[Replicas, ...]:
        items = self.items[pattern.place]
        found = sorted((int(items.task[i]), int(items.option[i]), n) for i, n in pattern.content)
        return tuple(Replicas(task=t, option=k, count=n) for t, k, n in found)

    def patterns(self, groups: Iterable[GpuGroup]) -> Counter[Pattern]:
        """Return the patterns of GPUs with their counts; empty slices have none."""
        found: Counter[Pattern] = Counter()
        for group in groups:
            places = self.problem.gpus[group.gpu].layouts[group.layout].places
            for place, content in zip(places, group.contents, strict=True):
                if content:
                    held = sorted((self._item_of[place, r.task, r.option], r.count) for r in content)
                    found[Pattern(place, tuple(held))] += group.count
        return found


def build(problem: Problem) -> ColumnModel:
    """Return the items, the demand rows and the whole-GPU places of a (reduced) problem."""
    places = sorted({p for gpu in problem.gpus if gpu.limit != 0 for layout in gpu.layouts for p in layout.places})
    items = {place: _items(problem, place) for place in places}
    rows: list[Row] = []
    for t, task in enumerate(problem.tasks):
        if task.demand:
            rows.append(Row(task=t))
        if task.min_replicas and not _implied(problem, t):
            rows.append(Row(task=t, counted=True))
    return ColumnModel(problem=problem, items=items, rows=rows, direct=_direct(problem))


def _implied(problem: Problem, t: int) -> bool:
    task = problem.tasks[t]
    most = max((o.supply for o in task.options), default=1)
    return -(-task.demand // most) >= task.min_replicas


def _direct(problem: Problem) -> dict[int, int]:
    users: dict[int, list[int]] = {}
    for g, gpu in enumerate(problem.gpus):
        for layout in gpu.layouts:
            for place in layout.places:
                users.setdefault(place, []).append(g)
    return {
        p: gs[0]
        for p, gs in users.items()
        if len(gs) == 1 and any(x.places == (p,) for x in problem.gpus[gs[0]].layouts)
    }


def _items(problem: Problem, place: int) -> Items:
    capacity = np.array(problem.places[place].capacity, dtype=np.int64)
    most = np.array(replicas_at_most(problem), dtype=np.int64)
    limits = [rule for rule in problem.rules if isinstance(rule, AtMost)]
    for rule in limits:
        most[list(rule.tasks)] = np.minimum(most[list(rule.tasks)], rule.most)
    found = [(t, k, o) for t, task in enumerate(problem.tasks) for k, o in enumerate(task.options) if o.place == place]
    n = len(found)
    load = np.array([o.load for _, _, o in found], dtype=np.int64).reshape(n, len(capacity))
    bound = np.array([most[t] for t, _, _ in found], dtype=np.int64)
    for r, c in enumerate(capacity):
        charged = load[:, r] > 0
        bound[charged] = np.minimum(bound[charged], c // load[charged, r])
    share = (load / np.maximum(capacity, 1)).max(axis=1, initial=1e-9)
    task = np.array([t for t, _, _ in found], dtype=np.int64)
    groups = [rule for rule in limits if len(rule.tasks) > 1]  # such a limit acts like one more resource
    load = np.column_stack([load, *(np.isin(task, rule.tasks).astype(np.int64) for rule in groups)])
    capacity = np.concatenate([capacity, np.array([rule.most for rule in groups], dtype=np.int64)])
    binding = _binding(load, capacity, bound)
    return Items(
        place=place,
        capacity=np.ascontiguousarray(capacity[binding]),
        load=np.ascontiguousarray(load[:, binding]),
        bound=bound,
        task=task,
        option=np.array([k for _, k, _ in found], dtype=np.int64),
        supply=np.array([o.supply for _, _, o in found], dtype=np.int64),
        cost=np.array([o.cost for _, _, o in found], dtype=np.int64),
        most=most,
        apart=_apart(problem),
        share=share,
    )


def _apart(problem: Problem) -> NDArray[np.bool_]:
    """Which tasks may not share a place; of shape (0, 0) where no rule says so."""
    rules = [rule for rule in problem.rules if isinstance(rule, Apart | Alone)]
    if not rules:
        return np.zeros((0, 0), dtype=np.bool_)
    n = len(problem.tasks)
    apart = np.zeros((n, n), dtype=np.bool_)
    for rule in rules:
        tasks = list(rule.tasks)
        if isinstance(rule, Alone):
            apart[tasks, :] = True
            apart[:, tasks] = True
        else:
            apart[np.ix_(tasks, tasks)] = True
    np.fill_diagonal(apart, val=False)
    return apart


def _binding(load: Ints, capacity: Ints, bound: Ints) -> list[int]:
    """The resources that can bind: not one of which every item takes a smaller share than of another one."""
    kept = list(range(len(capacity)))
    for r in range(len(capacity)):
        if len(kept) == 1:
            break
        for s in kept:
            # Exact: load_r / capacity_r <= load_s / capacity_s for every item, cross-multiplied.
            implied = s != r and bool(np.all(load[:, r] * capacity[s] <= load[:, s] * capacity[r]))
            if implied and r in kept:
                kept.remove(r)
                break
    return kept
