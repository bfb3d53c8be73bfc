"""Compile once what numba compiles, and keep it on disk; `make env` runs this module.

Without it, the first plan of more than a few models waits for the compiler, 10 seconds and more. numba keeps the
machine code beside the sources, for the interpreter and the processor that compiled it, until a source changes.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np

from planner.problem.problem import GpuType, Layout, Option, Place, Problem, Task
from planner.solver.column_model import Pattern, build
from planner.solver.greedy import pack
from planner.solver.limits import SearchLimits


def warm_up() -> None:
    """Run each compiled function once, on arguments of the types that the solver passes."""
    from planner.solver.column_generation.close_patterns import close_patterns
    from planner.solver.column_generation.filling import Need, filler
    from planner.solver.column_generation.knapsack import best_contents
    from planner.solver.column_generation.knapsack_dp import best_contents_by_tables
    from planner.solver.column_generation.resource_prices import resource_prices
    from planner.solver.column_generation.set_partitioning import Partitioning

    model = build(_sample())
    pack(model, model.demand, model.replicas, SearchLimits(), rule=0)
    prices = resource_prices(model, SearchLimits())
    if prices is not None:
        filler(model, prices, Random(0)).fill(  # noqa: S311 (nothing secret)
            Need(left=model.demand, replicas=model.replicas), 0.0, SearchLimits()
        )
    items = model.items[0]
    profit = items.load.sum(axis=1)
    knapsack = items.load, items.capacity, items.bound, items.task, items.most, items.sharing, profit
    stop = np.zeros(1, dtype=np.int64)
    best_contents(*knapsack, 0, 100, 2, stop)
    best_contents_by_tables(*knapsack, 0, 100, 2, stop)
    # Each two of three models fit on a GPU: the LP's 1.5 GPUs are cut off by a subset row.
    pairs = [Pattern(0, ((0, 1), (1, 1))), Pattern(0, ((0, 1), (2, 1))), Pattern(0, ((1, 1), (2, 1)))]
    Partitioning(columns=pairs, demand=np.ones(3, dtype=np.int64), gpus=2, limits=SearchLimits()).search()
    one = build(replace(_sample(), resources=("a",), places=(Place(name="GPU", capacity=(100,)),), tasks=tuple(
        replace(task, options=(Option(place=0, load=task.options[0].load[:1]),)) for task in _sample().tasks
    )))  # fmt: skip
    alone = [Pattern(0, ((i, 1),)) for i in range(len(one.problem.tasks))]
    close_patterns(one, alone, below=None, limits=SearchLimits())


def _sample() -> Problem:
    """A problem with more items than are packed by plain Python, few of which fit on a GPU."""
    loads = np.random.default_rng(0).integers(20, 50, size=(50, 3)).tolist()
    return Problem(
        resources=("a", "b", "c"),
        places=(Place(name="GPU", capacity=(100, 100, 100)),),
        gpus=(GpuType(name="GPU", layouts=(Layout(name="whole", places=(0,)),)),),
        tasks=tuple(Task(name=f"m{i}", options=(Option(place=0, load=tuple(load)),)) for i, load in enumerate(loads)),
    )


if __name__ == "__main__":
    warm_up()
