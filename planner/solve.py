"""Place every replica at the least cost: from the quick answers to the exact ones.

Bounds and rules answer at once; column generation bounds and dives; neighbourhoods close the rest. What only a model
over named GPUs can express (groups that must share GPUs, rules across the slices of a GPU) goes to the exact search.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import ceil
from random import Random

from planner.bounds import lower_bound
from planner.columns import Column, Model, build
from planner.exact import search, slots_at_most
from planner.greedy import RULES, Packing, pack
from planner.nodes import assign_nodes
from planner.plan import Cause, PlacedGpu, Plan, Replicas, Status, Unplaced, cost_of, violations
from planner.problem import Problem
from planner.reduce import reduce, unplaceable

Progress = Callable[[int | None, int, str], None]  # best objective so far, lower bound, what is going on

_SMALL = 150  # integer variables up to which the exact search is tried first
_EXACT = 200_000  # and up to which it is tried at all
_LNS_ROUNDS = 400


@dataclass(slots=True)
class _Search:
    """What is known so far about one (reduced) problem."""

    problem: Problem
    deadline: float
    seed: int
    workers: int
    progress: Progress | None
    stop: Callable[[], bool] | None
    gpus: tuple[PlacedGpu, ...] = ()
    cost: int | None = None
    bound: int = 0
    source: str = "none"
    infeasible: bool = False
    columns: list[Column] = field(default_factory=list)

    def out_of_time(self) -> bool:
        return time.monotonic() > self.deadline or (self.stop is not None and self.stop())

    @property
    def left_s(self) -> float:
        return self.deadline - time.monotonic()

    @property
    def done(self) -> bool:
        return self.infeasible or (self.cost is not None and self.cost <= self.bound)

    def say(self, stage: str) -> None:
        if self.progress:
            self.progress(self.cost, self.bound, stage)

    def offer(self, gpus: tuple[PlacedGpu, ...]) -> None:
        """Keep a plan if it is cheaper and its GPUs find their nodes."""
        cost = cost_of(gpus, self.problem)
        if self.cost is not None and cost >= self.cost:
            return
        placed = assign_nodes(self.problem, gpus)
        if placed is not None:
            self.gpus, self.cost = placed, cost

    def prove(self, bound: int, source: str) -> None:
        if bound > self.bound:
            self.bound, self.source = bound, source


def solve(
    problem: Problem,
    *,
    time_limit_s: float = 60.0,
    seed: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
) -> Plan:
    """Serve every task at the least cost; infeasibility is a status, not an exception.

    Parameters
    ----------
    progress
        Called with the best objective so far (None before there is one), the lower bound and the stage in words.
    stop
        Asked now and then; once it says True, the best plan so far is returned with its gap.

    Returns
    -------
    Plan
        The same for the same problem, seed and one worker, where it is proven within the time limit.
    """
    too_big = unplaceable(problem)
    if too_big:
        return Plan(status=Status.INFEASIBLE, unplaced=too_big, bound_source="a task that fits nowhere")
    deadline = time.monotonic() + time_limit_s
    reduction = reduce(problem)
    state = _Search(
        problem=reduction.problem, deadline=deadline, seed=seed, workers=workers, progress=progress, stop=stop
    )
    _run(state)
    if state.cost is None:
        return _without_plan(state, problem)
    gpus = reduction.expand(state.gpus)
    objective = cost_of(gpus, problem)
    plan = Plan(
        status=Status.OPTIMAL if state.bound >= objective else Status.FEASIBLE,
        gpus=gpus,
        objective=objective,
        lower_bound=min(state.bound, objective),
        bound_source=state.source,
    )
    wrong = violations(plan, problem)
    assert not wrong, wrong  # a wrong plan is our bug, never the user's
    return plan


def _without_plan(state: _Search, problem: Problem) -> Plan:
    if not state.infeasible:
        return Plan(status=Status.UNKNOWN, lower_bound=state.bound, bound_source=state.source)
    named = tuple(
        Unplaced(task=t, missing=max(task.demand, task.min_replicas), cause=Cause.NO_ROOM)
        for t, task in enumerate(problem.tasks)
        if task.demand or task.min_replicas
    )
    return Plan(status=Status.INFEASIBLE, lower_bound=state.bound, bound_source=state.source, unplaced=named)


def _run(state: _Search) -> None:
    if not state.problem.tasks:
        state.offer(())
        return
    model = build(state.problem)
    across = _rules_across_places(state.problem)
    if not across:
        for gpus in (placed_gpus(model, p) for p in _greedy(model)):
            state.offer(gpus)
    if not state.done:
        found = lower_bound(model)
        state.prove(found.value, found.source)
    if not state.done and (across or _variables(state) <= _SMALL):
        state.say("exact search")
        _search_exactly(state, limit_s=state.left_s if across else min(1.0, state.left_s))
    if not state.done and not across and not state.out_of_time():
        _generate(state, model)
    if not state.done and not across and not state.out_of_time() and _variables(state) <= _EXACT:
        state.say("exact search")
        _search_exactly(state, limit_s=state.left_s)


def _rules_across_places(problem: Problem) -> bool:
    """Whether a rule on GPUs cannot be held place by place."""
    if problem.together:
        return True
    if any(task.max_per_node is not None for task in problem.tasks) and any(g.limit is not None for g in problem.gpus):
        return True
    sliced = any(len(layout.places) > 1 for gpu in problem.gpus for layout in gpu.layouts)
    ruled = bool(problem.apart) or any(
        t.alone or t.max_per_gpu is not None or t.max_per_node is not None for t in problem.tasks
    )
    return sliced and ruled


def _variables(state: _Search) -> int:
    problem = state.problem
    per_gpu = [
        sum(
            max(layout.places.count(place) for layout in gpu.layouts) * sum(o.place == place for o in options)
            for place in {p for layout in gpu.layouts for p in layout.places}
        )
        for gpu, options in ((g, [o for task in problem.tasks for o in task.options]) for g in problem.gpus)
    ]
    upper = None if state.cost is None else state.cost - 1
    return sum(n * slots for n, slots in zip(per_gpu, slots_at_most(problem, upper), strict=True))


def _greedy(model: Model) -> Iterable[Packing]:
    for rule in range(len(RULES)):
        packing = pack(model, model.demand, model.replicas, rule=rule)
        if packing is not None:
            yield packing


def placed_gpus(model: Model, packing: Packing) -> tuple[PlacedGpu, ...]:
    """Columns as the plan's records."""
    return tuple(
        PlacedGpu(gpu=g, layout=j, contents=tuple(_content(model, c) for c in contents), count=times)
        for g, j, contents, times in packing
    )


def _content(model: Model, column: Column) -> tuple[Replicas, ...]:
    items = model.items[column.place]
    found = [(int(items.task[i]), int(items.option[i]), n) for i, n in column.content]
    return tuple(Replicas(task=t, option=k, count=n) for t, k, n in sorted(found))


def _search_exactly(state: _Search, *, limit_s: float) -> None:
    found = search(
        state.problem,
        upper_bound=None if state.cost is None else state.cost - 1,
        lower_bound=state.bound,
        time_limit_s=limit_s,
        seed=state.seed,
        workers=state.workers,
        stop=state.stop,
    )
    if found.status is Status.INFEASIBLE:
        if state.cost is None:
            state.infeasible, state.source = True, "exact search"
        else:
            state.prove(state.cost, "exact search")
        return
    if found.gpus:
        state.gpus, state.cost = found.gpus, cost_of(found.gpus, state.problem)
    state.prove(found.lower_bound, "exact search")


def _generate(state: _Search, model: Model) -> None:
    """Column generation, dives and neighbourhoods over places that are GPUs of their own."""
    from planner.colgen import generate
    from planner.dive import Best, dive, start
    from planner.lns import improve
    from planner.master import Master

    state.say("column generation")
    needs = model.needs(model.demand, model.replicas)
    singles = [
        Column(place, ((i, int(items.bound[i])),))
        for place, items in model.items.items()
        for i in range(len(items.task))
    ]
    best = Best(cost=state.cost, chosen=_chosen(model, state.gpus))
    master = Master(model, needs, [*singles, *best.chosen])
    found = generate(
        model, master, needs, model.demand, out_of_time=state.out_of_time, known=state.bound, cost=state.cost
    )
    if found is None:
        return
    if found.bound is not None:
        state.prove(ceil(found.bound), "column generation")
    random = Random(state.seed)  # noqa: S311 (a search, not a secret)
    rounds = 0
    while not state.done and not state.out_of_time() and rounds < _LNS_ROUNDS:
        state.say("dive" if not rounds else "neighbourhoods")
        drawn = random if rounds else None
        dive(start(model), master, best, target=state.bound, out_of_time=state.out_of_time, random=drawn)
        _take(state, model, best.chosen)
        improve(
            model, best, found.relaxed.row_duals, master.columns,
            target=state.bound, rounds=40, random=random, out_of_time=state.out_of_time,
        )  # fmt: skip
        _take(state, model, best.chosen)
        rounds += 40


def _take(state: _Search, model: Model, chosen: Counter[Column]) -> None:
    problem = model.problem
    packing: Packing = []
    for column, times in chosen.items():
        gpu = model.direct[column.place]
        layout = next(j for j, x in enumerate(problem.gpus[gpu].layouts) if x.places == (column.place,))
        packing.append((gpu, layout, (column,), times))
    if packing:
        state.offer(placed_gpus(model, packing))


def _chosen(model: Model, gpus: tuple[PlacedGpu, ...]) -> Counter[Column]:
    """A plan's contents as columns."""
    index = {
        place: {(int(t), int(k)): i for i, (t, k) in enumerate(zip(items.task, items.option, strict=True))}
        for place, items in model.items.items()
    }
    chosen: Counter[Column] = Counter()
    for group in gpus:
        layout = model.problem.gpus[group.gpu].layouts[group.layout]
        for place, content in zip(layout.places, group.contents, strict=True):
            chosen[Column(place, tuple(sorted((index[place][r.task, r.option], r.count) for r in content)))] += (
                group.count
            )
    return chosen
