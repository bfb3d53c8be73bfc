"""The problem as rows and columns: what each pattern (content of a place) serves, and what it costs.

A *row* is a constraint ``sum(coefficient of the item x replicas of it) >= need``. The first rows are the tasks' demands
and least replicas; rounding rows (Chvatal and Gomory) on a demand are of the same form, so a pattern's coefficient in
any row is a sum over its items, and new rows only change the items' profits in pricing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from planner.problem.plan import GpuGroup, Replicas
from planner.problem.problem import Problem
from planner.solver.bundles import Part, leading_task
from planner.solver.coefficients import Coefficients, sparse
from planner.solver.items import Ints, Items, place_items
from planner.solver.whole_layouts import Layouts, flattened

__all__ = ["ColumnModel", "Ints", "Items", "Pattern", "Row", "build"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """``sum(ceil(up / down x supply) x replicas) >= ceil(up / down x demand)`` for one task.

    A counted row is ``sum(replicas) >= least replicas``; a capped one is ``-sum(replicas) >= -demand``: no more copies
    than that.
    """

    task: int
    up: int = 1
    down: int = 1
    counted: bool = False
    capped: bool = False

    def coefficient(self, supply: Ints) -> Ints:
        """Return what one replica adds to this row, for each supply."""
        if self.capped:
            return -np.ones_like(supply)
        return np.ones_like(supply) if self.counted else -((-supply * self.up) // self.down)

    def need(self, demand: int, replicas: int) -> int:
        """Return the right-hand side while this much demand and this many replicas are still to be served."""
        if self.capped:
            return -max(0, demand)
        return max(0, replicas) if self.counted else -((-max(0, demand) * self.up) // self.down)


@dataclass(frozen=True, slots=True)
class Pattern:
    """A column: one content of a place, as (item, count) pairs in item order."""

    place: int
    content: tuple[tuple[int, int], ...]


@dataclass(slots=True)
class ColumnModel:
    """Items of every place and the rows they serve; rows may be added.

    Where places are whole layouts, the GPU types of `problem` have layouts of one place each, which the whole problem
    does not know; the groups of GPUs that come from here and go in are those of the whole problem.
    """

    problem: Problem
    items: dict[int, Items]  # by place
    rows: list[Row]
    direct: dict[int, int] = field(default_factory=dict)  # place of `items` that is a whole GPU of one type -> the type
    layouts: Layouts = field(default_factory=Layouts)
    capped: frozenset[int] = frozenset()  # tasks of which the patterns of a plan hold just as many copies as asked for
    _item_of: dict[tuple[int, tuple[Part, ...]], int] = field(default_factory=dict)  # place, replicas -> item

    def __post_init__(self) -> None:
        self._item_of = self._item_of or {
            (place, parts): i for place, items in self.items.items() for i, parts in enumerate(items.held)
        }

    def with_rows(self, rows: list[Row]) -> ColumnModel:
        """Return the model with other rows."""
        return replace(self, rows=rows)

    @property
    def complete(self) -> bool:
        """Whether there are items for every plan: if not, what the LP gives is no bound."""
        return all(items.complete for items in self.items.values())

    @property
    def grouped(self) -> bool:
        """Whether there are tasks that are together."""
        return bool(self.layouts.group_of)

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

    def coefficients(self, place: int) -> Coefficients:
        """Return the rows' coefficients (n_rows, n_items) of a place's items."""
        items = self.items[place]
        return sparse(len(items.task), (self._row_coefficients(row, items) for row in self.rows))

    def _row_coefficients(self, row: Row, items: Items) -> Ints:
        coefficients = np.where(items.task == row.task, row.coefficient(items.supply), 0)
        self._add_bundles(row, items, coefficients)
        return coefficients

    def _add_bundles(self, row: Row, items: Items, coefficients: Ints) -> None:
        if not items.bundles.number or row.task not in items.bundles.task:
            return
        for i in range(items.n_options, len(items.task)):
            for _, t, k, n in items.held[i]:
                if t == row.task:
                    supply = np.array([self.problem.tasks[t].options[k].supply], dtype=np.int64)
                    coefficients[i] += n * int(row.coefficient(supply)[0])

    def replicas_in(self, column: Pattern) -> Iterator[Part]:
        """Yield the position, task, option and number of the replicas in a pattern."""
        items = self.items[column.place]
        for i, times in column.content:
            for j, t, k, n in items.held[i]:
                yield j, t, k, n * times

    def served(self, column: Pattern) -> tuple[dict[int, int], dict[int, int]]:
        """Return the supply and the replicas of each task in a pattern."""
        supply: Counter[int] = Counter()
        replicas: Counter[int] = Counter()
        for _, t, k, n in self.replicas_in(column):
            supply[t] += n * self.problem.tasks[t].options[k].supply
            replicas[t] += n
        return supply, replicas

    def is_within(self, column: Pattern, left: Ints) -> bool:
        """Whether a plan that still has to serve `left` may have the pattern: no more copies of capped tasks."""
        if not self.capped:
            return True
        _, replicas = self.served(column)
        return all(n <= left[t] for t, n in replicas.items() if t in self.capped)

    def cost(self, column: Pattern) -> int:
        """Return the cost of a pattern: its replicas', and where the place is a whole GPU that of the GPU."""
        items = self.items[column.place]
        gpu = self.direct.get(column.place)
        own = self.problem.gpus[gpu].cost if gpu is not None else 0
        return own + sum(n * int(items.cost[i]) for i, n in column.content)

    def group(self, gpu: int, layout: int, patterns: Sequence[Pattern], count: int) -> GpuGroup:
        """Return `count` GPUs that are cut by one layout and filled by one pattern for each of its places."""
        if self.layouts.kept:
            (pattern,) = patterns
            own, positions = self.layouts.kept[pattern.place]
            contents = tuple(self._content(pattern, j) for j in range(positions))
            return GpuGroup(gpu=gpu, layout=own, contents=contents, count=count)
        return GpuGroup(gpu=gpu, layout=layout, contents=tuple(self._content(p, 0) for p in patterns), count=count)

    def _content(self, pattern: Pattern, position: int) -> tuple[Replicas, ...]:
        found: Counter[tuple[int, int]] = Counter()
        for j, t, k, n in self.replicas_in(pattern):
            if j == position:
                found[t, k] += n
        return tuple(Replicas(task=t, option=k, count=n) for (t, k), n in sorted(found.items()))

    def patterns(self, groups: Iterable[GpuGroup]) -> Counter[Pattern]:
        """Return the patterns of GPUs with their counts; empty slices have none.

        Raises
        ------
        KeyError
            If no items stand for what a GPU holds: it is a plan of the exact search (see `knows`).
        """
        found: Counter[Pattern] = Counter()
        for group in groups:
            for place, content in self._contents(group):
                found[Pattern(place, self._held(place, content))] += group.count
        return found

    def knows(self, groups: Iterable[GpuGroup]) -> bool:
        """Whether these GPUs have patterns."""
        try:
            self.patterns(groups)
        except KeyError:
            return False
        return True

    def _contents(self, group: GpuGroup) -> Iterator[tuple[int, list[Part]]]:
        """The places of a group of GPUs that hold something, and what."""
        inside = [[(j, r.task, r.option, r.count) for r in content] for j, content in enumerate(group.contents)]
        if self.layouts.kept:
            yield self.layouts.place_of.get((group.gpu, group.layout), -1), [part for one in inside for part in one]
            return
        places = self.problem.gpus[group.gpu].layouts[group.layout].places
        for place, one in zip(places, inside, strict=True):
            if one:
                yield place, [(0, t, k, n) for _, t, k, n in one]

    def _held(self, place: int, content: Sequence[Part]) -> tuple[tuple[int, int], ...]:
        held: list[tuple[int, int]] = []
        bundled: dict[int, list[Part]] = {}
        for j, t, k, n in content:
            group = self.layouts.group_of.get(t)
            if group is None:
                held.append((self._item_of[place, ((j, t, k, 1),)], n))
            else:
                bundled.setdefault(group, []).append((j, t, k, n))
        held += [(self._item_of[place, tuple(sorted(parts))], 1) for parts in bundled.values()]
        return tuple(sorted(held))


def build(problem: Problem, *, whole_layouts: bool = False) -> ColumnModel:
    """Return the items, the demand rows and the whole-GPU places of a (reduced) problem.

    Parameters
    ----------
    whole_layouts : whether a place is a whole layout, so that rules hold across the slices of a GPU
    """
    groups = problem.together
    flat, layouts, positions = flattened(problem) if whole_layouts else (problem, Layouts(), None)
    layouts = replace(layouts, group_of={t: g for g, group in enumerate(groups) for t in group})
    places = sorted({p for gpu in flat.gpus if gpu.limit != 0 for layout in gpu.layouts for p in layout.places})
    items = {p: place_items(problem, p, positions[p] if positions else (p,), groups) for p in places}
    rows: list[Row] = []
    for t, task in enumerate(problem.tasks):
        if task.demand:
            rows.append(Row(task=t))
        if task.min_replicas and not _implied(problem, t):
            rows.append(Row(task=t, counted=True))
    capped = [t for t in (leading_task(problem, group) for group in groups) if t is not None]
    rows += [Row(task=t, capped=True) for t in capped]
    return ColumnModel(
        problem=flat,
        items=items,
        rows=rows,
        direct={place: gpu for place, gpu in _direct(flat).items() if place in items},
        layouts=layouts,
        capped=frozenset(capped),
    )


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
