"""Plans by prices: fill one GPU after another with the contents that save most, as a knapsack, until all is served.

What a replica saves is by how much it lowers the least weight (`resource_prices`) of what its task still needs. The
type is taken whose contents save the largest share of its cost. Tasks that end on poorly filled GPUs are worth more in
the next plan: sequential value correction (Belov and Scheithauer, "Setup and open-stacks minimization in
one-dimensional stock cutting", 2007). Contents keep tolerances and hold nothing that failed; the prices know of the
first only by a relaxation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import numpy as np

from planner.solver.column_generation.cover_kernel import gains
from planner.solver.column_generation.knapsack import best_contents
from planner.solver.column_generation.master import Floats
from planner.solver.column_generation.replicable import Replicable, by_ratio
from planner.solver.column_generation.resource_prices import ResourcePrices
from planner.solver.column_model import ColumnModel, Ints, Items, Pattern
from planner.solver.limits import SearchLimits

_NODES = 2_000  # of the knapsack's search for one GPU
_LEAST, _MOST = 60, 400  # items that a knapsack has to choose from
_CHOICE = 6.0  # GPUs that these items would fill
_ANYWAY = 1e-3  # of a GPU's cost goes to the resource that a replica takes most of, whatever its price
_STEP = 0.3  # weight of the newest plan in the tasks' corrections


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """`times` GPUs with the same content, and the share of their cost that the first of them saved."""

    pattern: Pattern
    times: int
    share: float


@dataclass(frozen=True, slots=True)
class _Content:
    """The best content found for the next GPU of a place, the share of its cost that it saves, and its tasks."""

    pattern: Pattern
    share: float
    tasks: frozenset[int]


@dataclass(slots=True)
class Need:
    """What is still to be served: (n_tasks,) demand and least replicas, and the GPUs of each type in use."""

    left: Ints
    replicas: Ints
    used: dict[int, int] = field(default_factory=dict)

    def spare(self, model: ColumnModel, gpu: int) -> int | None:
        """Return how many GPUs of a type are left; None where there is no limit."""
        limit = model.problem.gpus[gpu].limit
        return None if limit is None else max(0, limit - self.used.get(gpu, 0))

    def take(self, model: ColumnModel, pattern: Pattern) -> int:
        """Serve by a pattern as often as all of it is wanted, once at least; return how often."""
        supply, replicas = model.served(pattern)
        gpu = model.direct[pattern.place]
        wanted = min(max(self.left[t] // n, self.replicas[t] // replicas[t]) for t, n in supply.items())
        spare = self.spare(model, gpu)
        times = max(1, int(wanted if spare is None else min(wanted, spare)))
        for t, n in supply.items():
            self.left[t] -= n * times
            self.replicas[t] -= replicas[t] * times
        self.used[gpu] = self.used.get(gpu, 0) + times
        return times


@dataclass(slots=True)
class Filler:
    """What filling needs again and again, and the corrections of the tasks' values."""

    model: ColumnModel
    items: Replicable
    weight: Ints  # (n_items,) in `unit`-ths of the objective's unit
    closed: int  # weight that is above every other
    unit: int
    correction: Floats  # (n_tasks,) factor on what a task's replicas save
    items_of: dict[int, Ints]  # by place: the numbers of its items in `items`
    room: dict[int, Ints]  # by place: weight of each of its items without the replica's own cost
    largest: Ints  # (n_tasks,) supply of the task's largest item
    random: Random

    def fill(self, need: Need, noise: float, limits: SearchLimits) -> list[Filled] | None:
        """Serve `need`, which is used up; None where the GPUs left do not suffice or the limits are reached.

        Values and types are preferred at random by up to `noise`, a fraction.
        """
        factor = self.correction * np.array([1 + noise * self.random.random() for _ in self.correction])
        taste = {place: 1 + noise * self.random.random() for place in self.model.direct}
        gain = np.zeros(len(self.weight), dtype=np.int64)
        weight, order = self.weight, by_ratio(self.items, self.weight)
        ready: dict[int, _Content] = {}
        plan: list[Filled] = []
        full = set[int]()
        stale = np.arange(len(self.correction))
        while ((need.left > 0) | (need.replicas > 0)).any():
            now_full = {p for p, gpu in self.model.direct.items() if need.spare(self.model, gpu) == 0}
            if now_full != full:  # what these GPUs served is worth more on the others
                full, ready, stale = now_full, {}, np.arange(len(self.correction))
                weight = np.where(np.isin(self.items.place, list(full)), self.closed, self.weight)
                order = by_ratio(self.items, weight)
            gains(
                stale, self.items.first, weight, self.items.supply, order, need.left, need.replicas, gain
            )  # fmt: skip
            ready = {p: c for p, c in ready.items() if not c.tasks.intersection(stale.tolist())}
            for place in self.model.direct:
                if place not in full and place not in ready:
                    ready[place] = self._content(place, need, gain, factor)
            filled = [content for content in ready.values() if content.pattern.content]
            if not filled or limits.over:
                return None
            best = max(filled, key=lambda content: content.share * taste[content.pattern.place])
            plan.append(Filled(pattern=best.pattern, times=need.take(self.model, best.pattern), share=best.share))
            del ready[best.pattern.place]
            stale = np.array(sorted(best.tasks), dtype=np.int64)
        return plan

    def _content(self, place: int, need: Need, gain: Ints, factor: Floats) -> _Content:
        items, own = self.model.items[place], self.items_of[place]
        paid = items.cost * self.unit
        saving = np.flatnonzero(gain[own] > paid)
        tasks = items.task[saving]
        profit = ((gain[own[saving]] - paid[saving]) * factor[tasks]).astype(np.int64)
        kept = self._promising(place, saving, profit)
        candidates, tasks, profit = saving[kept], tasks[kept], profit[kept]
        wanted = np.maximum(-(-need.left[tasks] // items.supply[candidates]), need.replicas[tasks])
        bound = np.minimum(items.bound[candidates], np.maximum(wanted, 0))
        if not bound.any():
            return _Content(Pattern(place, ()), 0.0, frozenset())
        most = np.minimum(items.most, np.maximum(np.maximum(need.left // self.largest, need.replicas), 1))
        counts = _best_counts(items, candidates, profit, bound, most)
        if not counts:
            return _Content(Pattern(place, ()), 0.0, frozenset())
        saved = sum(int(gain[own[i]] - paid[i]) * n for i, n in counts)
        cost = self.model.problem.gpus[self.model.direct[place]].cost
        return _Content(
            Pattern(place, tuple(counts)),
            saved / (self.unit * cost + 1e-9),
            frozenset(int(items.task[i]) for i, _ in counts),
        )

    def _promising(self, place: int, saving: Ints, profit: Ints) -> Ints:
        """Indices of the items with most profit for their weight, enough of them to fill some GPUs."""
        density = profit / self.room[place][saving]
        most = min(len(saving), _MOST)
        best = np.argpartition(-density, most - 1)[:most] if most else np.zeros(0, dtype=np.int64)
        best = best[np.lexsort((best, -density[best]))]
        filled = np.cumsum(self.model.items[place].share[saving[best]])
        promising: Ints = best[: max(_LEAST, int(np.searchsorted(filled, _CHOICE)))]
        return promising

    def correct(self, plan: list[Filled]) -> None:
        """Raise the values of tasks on poorly filled GPUs, lower the others."""
        total = np.zeros(len(self.correction))
        count = np.zeros(len(self.correction))
        for filled in plan:
            tasks = self.model.items[filled.pattern.place].task
            for i, n in filled.pattern.content:
                total[tasks[i]] += n * filled.times * min(4.0, 1 / max(filled.share, 0.05))
                count[tasks[i]] += n * filled.times
        seen = count > 0
        self.correction[seen] += _STEP * (total[seen] / count[seen] - self.correction[seen])


def _best_counts(items: Items, candidates: Ints, profit: Ints, bound: Ints, most: Ints) -> list[tuple[int, int]]:
    """The content of most profit that is found, as (item, count) pairs; empty where none has a profit."""
    earned, copies = np.zeros_like(items.task), np.zeros_like(items.task)
    earned[candidates], copies[candidates] = profit, bound
    best, counts = 0, list[tuple[int, int]]()
    stop = np.zeros(1, dtype=np.int64)
    for search in items.searches(candidates):
        own = search.items
        _, _, value, found = best_contents(
            search.load, search.room, copies[own], items.task[own], most, search.sharing, earned[own],
            best, _NODES, 1, stop,
        )  # fmt: skip
        if len(found):
            best = int(value[0])
            counts = sorted((int(own[i]), int(found[0][i])) for i in np.flatnonzero(found[0]))
    return counts


def filler(model: ColumnModel, prices: ResourcePrices, random: Random) -> Filler:
    """Return a Filler whose tasks are not corrected yet.

    A thousandth of a place's price is added for the resource that a replica takes most of, so that one that takes
    nothing of what is scarce saves something too.
    """
    items = prices.items
    weight = prices.weight.copy()
    items_of = {place: items.of_place(place) for place in model.items}
    for place, gpu in model.direct.items():
        price = model.problem.gpus[gpu].cost * prices.unit * _ANYWAY
        weight[items_of[place]] += np.maximum(model.items[place].share * price, 1).astype(np.int64)
    largest = np.ones(len(model.problem.tasks), dtype=np.int64)
    np.maximum.at(largest, items.task, items.supply)
    return Filler(
        model=model,
        items=items,
        weight=weight,
        closed=4 * int(weight.max()),
        unit=prices.unit,
        correction=np.ones(len(model.problem.tasks)),
        items_of=items_of,
        room={place: np.maximum(weight[own] - items.cost[own] * prices.unit, 1) for place, own in items_of.items()},
        largest=largest,
        random=random,
    )
