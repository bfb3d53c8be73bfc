"""Enough replicas that GPUs, or nodes, may be lost.                                                           [pure]"""

from __future__ import annotations

from dataclasses import replace

from planner.inputs.demand import Spread
from planner.problem.problem import Task


def with_spare(task: Task, spare: int, of: Spread) -> Task:
    """Ask for enough that the demand is still met when the `spare` GPUs (or nodes) that serve most are lost.

    With at most one replica on a GPU (or node), a loss takes at most the largest supply of any option, and no
    more than the whole demand is ever charged for one replica.
    """
    largest = max((min(o.supply, task.demand) for o in task.options), default=0)
    return replace(
        task,
        options=tuple(replace(o, supply=min(o.supply, max(1, task.demand))) for o in task.options),
        demand=task.demand + spare * largest,
        min_replicas=task.min_replicas + spare if task.min_replicas else 0,
        max_per_gpu=1,
        max_per_node=1 if of is Spread.NODE else task.max_per_node,
    )
