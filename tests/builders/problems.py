"""Build tiny problems for the solver, from given numbers and at random."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from planner.problem.co_location import (
    Alone,
    Apart,
    AtMost,
    ContentPart,
    KnownToHold,
    Overloaded,
    Rule,
    Spare,
    Together,
    Within,
)
from planner.problem.problem import GpuType, Layout, Option, Place, Problem, Task

TINY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def whole_gpus(capacity: tuple[int, ...], loads: list[tuple[int, ...]], demands: list[int] | None = None) -> Problem:
    """Build a problem with one GPU type, not cut and without a limit, and one task per load."""
    demands = demands or [1] * len(loads)
    return Problem(
        resources=tuple(f"resource {r}" for r in range(len(capacity))),
        places=(Place(name="GPU", capacity=capacity),),
        gpus=(GpuType(name="GPU", layouts=(Layout(name="whole", places=(0,)),)),),
        tasks=tuple(
            Task(name=f"m{i}", demand=n, options=(Option(place=0, load=load),))
            for i, (load, n) in enumerate(zip(loads, demands, strict=True))
        ),
    )


def hard_problem(n_tasks: int) -> Problem:
    """Build a problem whose optimum takes minutes to prove: three resources, three copies of each task."""
    draw = random.Random(4)
    loads = [(draw.randint(200, 1500), draw.randint(50, 700), draw.randint(50, 700)) for _ in range(n_tasks)]
    return whole_gpus((5000, 1999, 2001), loads, [3] * n_tasks)


def slowed(n_tasks: int, seed: int) -> Problem:
    """Build a problem of models that each tolerate another total of a resource without a limit."""
    draw = random.Random(seed)
    base = whole_gpus((16_000, 1), [(draw.randint(300, 5000), draw.randint(50, 500)) for _ in range(n_tasks)])
    tasks = tuple(
        replace(t, options=tuple(replace(o, tolerance=(None, o.load[1] + draw.randint(0, 1500))) for o in t.options))
        for t in base.tasks
    )
    return replace(base, places=(Place(name="GPU", capacity=(16_000, 10**9)),), tasks=tasks)


@st.composite
def counted_problems(draw: st.DrawFn) -> Problem:
    """Draw a problem with one to three resources, one GPU type, and one or two copies of each model."""
    n_resources = draw(st.integers(1, 3))
    loads = st.tuples(*[st.integers(0, 10) for _ in range(n_resources)])
    tasks = draw(st.lists(st.tuples(loads, st.integers(1, 2)), min_size=1, max_size=4))
    return whole_gpus((10,) * n_resources, [load for load, _ in tasks], [n for _, n in tasks])


@st.composite
def fleets(draw: st.DrawFn, *, sliced: bool = False) -> tuple[tuple[Place, ...], tuple[GpuType, ...]]:
    """Draw two places and two GPU types over them, with costs and limits, whole or cut."""
    places = tuple(Place(name=f"p{i}", capacity=(draw(st.integers(4, 10)), 6)) for i in range(2))
    whole = Layout(name="whole", places=(0,))
    cut = Layout(name="cut", places=(1, 1), starts=(0, 4)) if sliced else Layout(name="other", places=(1,))
    limit = st.one_of(st.none(), st.integers(1, 4))
    first = GpuType(
        name="A", layouts=(whole, cut) if sliced else (whole,), cost=draw(st.integers(1, 3)), limit=draw(limit)
    )
    second = GpuType(name="B", layouts=(cut,), cost=draw(st.integers(1, 3)), limit=draw(limit))
    return places, (first, second)


@st.composite
def options(draw: st.DrawFn, most_supply: int) -> Option:
    return Option(
        place=draw(st.integers(0, 1)),
        load=(draw(st.integers(1, 8)), draw(st.integers(0, 5))),
        supply=draw(st.integers(1, most_supply)),
        cost=draw(st.sampled_from([0, 0, 0, 1])),
    )


@st.composite
def rated_problems(draw: st.DrawFn, *, sliced: bool = False, ruled: bool = False, spare: bool = False) -> Problem:
    """Draw a problem with choices, rates, least replicas, limits and costs; on request cut GPUs, rules, or losses."""
    places, gpus = draw(fleets(sliced=sliced))
    n_tasks = draw(st.integers(1, 2 if sliced else 3))
    tasks = tuple(
        Task(
            name=f"m{i}",
            options=tuple(draw(st.lists(options(3), min_size=1, max_size=2))),
            demand=draw(st.integers(1, 4 if not sliced else 3)),
            min_replicas=draw(st.sampled_from([0, 0, 2])),
        )
        for i in range(n_tasks)
    )
    gpus = tuple(
        GpuType(name=g.name, layouts=g.layouts, cost=g.cost, limit=g.limit, node_size=draw(st.integers(1, 2)))
        for g in gpus
    )
    rules = draw(co_location(n_tasks, nodes=not sliced)) if ruled else ()
    if spare:
        within = Within.GPU if sliced else draw(st.sampled_from(Within))
        lost = draw(st.sampled_from([1, 1, 2]))
        rules = (*rules, *(Spare(tasks=(t,), lost=lost, within=within) for t in range(n_tasks)))
    return Problem(resources=("a", "b"), places=places, gpus=gpus, tasks=tasks, rules=rules)


@st.composite
def co_location(draw: st.DrawFn, n_tasks: int, *, nodes: bool) -> tuple[Rule, ...]:
    """Draw co-location rules of every kind about single tasks and about the first two tasks."""
    most = st.integers(1, 2)
    kinds = [Within.GPU, Within.NODE] if nodes else [Within.GPU]
    counted = st.builds(AtMost, tasks=st.just(()), most=most, within=st.sampled_from(kinds))
    found: list[Rule] = []
    for task in range(n_tasks):
        own = draw(st.lists(st.one_of(counted, st.just(Alone(tasks=()))), max_size=2))
        found += [replace(rule, tasks=(task,)) for rule in own]
    if n_tasks > 1:
        pair = st.one_of(counted, st.just(Apart(tasks=())), st.just(Together(tasks=())))
        found += [replace(rule, tasks=(0, 1)) for rule in draw(st.lists(pair, max_size=1))]
    return tuple(found)


@st.composite
def together_problems(draw: st.DrawFn, *, sliced: bool = False) -> Problem:
    """Draw a problem with a group of tasks that are together, or two; copies, rates or both, and other rules beside."""
    places, gpus = draw(fleets(sliced=sliced))
    n_tasks = draw(st.integers(2, 3 if sliced else 4))
    tasks = []
    for i in range(n_tasks):
        copies = draw(st.booleans())
        own = tuple(draw(st.lists(options(1 if copies else 3), min_size=1, max_size=2)))
        least = 0 if copies else draw(st.sampled_from([0, 0, 2]))
        demand = draw(st.integers(1, 3 if n_tasks < 4 else 2))
        tasks.append(Task(name=f"m{i}", options=own, demand=demand, min_replicas=least, exact=copies))
    groups = [(0, 1), (0, 1, 2), (1, 2)] if n_tasks == 3 else [(0, 1)]
    rules: list[Rule] = [Together(tasks=draw(st.sampled_from(groups)))]
    if n_tasks == 4 and draw(st.booleans()):
        rules.append(Together(tasks=draw(st.sampled_from([(2, 3), (1, 2)]))))
    other = st.one_of(
        st.builds(AtMost, tasks=st.just((draw(st.integers(0, n_tasks - 1)),)), most=st.integers(1, 2)),
        st.builds(AtMost, tasks=st.just((0, n_tasks - 1)), most=st.integers(2, 3)),
        st.builds(Apart, tasks=st.just((0, n_tasks - 1))),
        st.builds(Alone, tasks=st.just((n_tasks - 1,))),
    )
    rules += draw(st.lists(other, max_size=2))
    return Problem(resources=("a", "b"), places=places, gpus=gpus, tasks=tuple(tasks), rules=tuple(rules))


@st.composite
def with_tolerances(draw: st.DrawFn, problems: st.SearchStrategy[Problem]) -> Problem:
    """Draw a problem whose replicas tolerate less than the capacity, or with contents that failed, or with both.

    Where they tolerate less, it may have contents that are known to hold.
    """
    problem = draw(problems)
    kinds = draw(st.sampled_from(["tolerances", "failed", "both"]))
    tasks = problem.tasks
    if kinds != "failed":
        tasks = tuple(
            replace(task, options=tuple(replace(o, tolerance=draw(_tolerance(o, problem))) for o in task.options))
            for task in tasks
        )
    contents = _contents(tasks)
    failed = draw(st.lists(contents, min_size=1, max_size=2)) if kinds != "tolerances" else []
    known = draw(st.lists(contents, max_size=2)) if kinds != "failed" else []
    rules = (*(Overloaded(parts=parts) for parts in failed), *(KnownToHold(parts=parts) for parts in known))
    return replace(problem, tasks=tasks, rules=(*problem.rules, *rules))


def _contents(tasks: tuple[Task, ...]) -> st.SearchStrategy[tuple[ContentPart, ...]]:
    keys = [(t, k) for t, task in enumerate(tasks) for k in range(len(task.options))]

    def part(drawn: tuple[list[tuple[int, int]], int]) -> ContentPart:
        held, n = drawn
        return ContentPart(task=held[0][0], options=tuple(k for t, k in held if t == held[0][0]), count=n)

    parts = st.tuples(st.lists(st.sampled_from(keys), min_size=1, max_size=2), st.integers(1, 2)).map(part)
    return st.lists(parts, min_size=1, max_size=3).map(tuple)


def _tolerance(option: Option, problem: Problem) -> st.SearchStrategy[tuple[int | None, ...]]:
    each = [
        st.one_of(st.none(), st.integers(max(0, load - 1), max(load, c)))
        for load, c in zip(option.load, problem.places[option.place].capacity, strict=True)
    ]
    return st.one_of(st.just(()), st.tuples(*each))


def too_many(problem: Problem) -> bool:
    """Return whether a plan may need more GPUs than brute force tries."""
    return sum(max(task.demand, task.min_replicas) for task in problem.tasks) > 6


def mixed_fleet(n_tasks: int, seed: int, *, ruled: bool = False) -> Problem:
    """Build a problem of three GPU types and three batches for each model; a large GPU holds a dozen replicas."""
    draw = random.Random(seed)
    types = [("T4", 15_000, 1.0, 1), ("A10", 22_500, 2.1, 2), ("A100", 80_000, 8.0, 6)]  # memory, speed, cost
    batches = [(1.0, 1.0, 1.0), (1.5, 2.3, 1.2), (2.2, 4.2, 1.6)]  # factors of share, supply and memory
    tasks = []
    rules: list[Rule] = []
    for t in range(n_tasks):
        memory, busy = min(12_000, max(300, draw.lognormvariate(7.6, 0.7))), max(3, draw.betavariate(1.6, 4) * 100)
        rate = draw.lognormvariate(3.5, 1) * 1000
        options = tuple(
            Option(
                place=p,
                load=(round(memory * fm), round(min(100, busy * fs / speed**0.7) * 10)),
                supply=round(rate * fr * speed**0.6),
            )
            for p, (_, _, speed, _) in enumerate(types)
            for fs, fr, fm in batches
        )
        least = 2 if ruled and draw.random() < 0.5 else 0
        demand = round(rate * draw.choice([0.3, 0.8, 1.5, 3, 6]))
        tasks.append(Task(name=f"m{t}", options=options, demand=demand, min_replicas=least))
        if ruled and draw.random() < 0.6:
            rules.append(AtMost(tasks=(t,), most=1))
    if ruled:
        rules += [Apart(tasks=(t, t + 1)) for t in range(0, n_tasks // 3, 2)]
    return Problem(
        resources=("memory", "share"),
        places=tuple(Place(name=name, capacity=(memory, 1000)) for name, memory, _, _ in types),
        gpus=tuple(
            GpuType(name=name, layouts=(Layout(name="whole", places=(p,)),), cost=cost)
            for p, (name, _, _, cost) in enumerate(types)
        ),
        tasks=tuple(tasks),
        rules=tuple(rules),
    )
