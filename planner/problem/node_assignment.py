"""Which node each GPU of a plan sits in, where replicas are to be spread over nodes."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

from planner.problem.plan import PlacedGpu
from planner.problem.problem import Problem


def nodes_matter(problem: Problem) -> bool:
    """Whether any task limits its replicas on one node."""
    return any(task.max_per_node is not None for task in problem.tasks)


def assign_nodes(problem: Problem, gpus: tuple[PlacedGpu, ...]) -> tuple[PlacedGpu, ...] | None:
    """Put every GPU into the first node that takes it; None where that fails (another order might do)."""
    if not nodes_matter(problem):
        return gpus
    held: dict[tuple[int, int], int] = defaultdict(int)
    replicas: dict[tuple[int, int], Counter[int]] = defaultdict(Counter)
    placed = []
    for group in gpus:
        content = Counter[int]()
        for r in (r for place in group.contents for r in place):
            content[r.task] += r.count
        limited = {t: n for t, n in content.items() if problem.tasks[t].max_per_node is not None}
        gpu = problem.gpus[group.gpu]
        nodes = []
        node = 0
        for _ in range(group.count):
            while held[group.gpu, node] >= gpu.node_size or any(
                replicas[group.gpu, node][t] + n > (problem.tasks[t].max_per_node or n) for t, n in limited.items()
            ):
                node += 1
            if gpu.limit is not None and node >= -(-gpu.limit // gpu.node_size):
                return None
            held[group.gpu, node] += 1
            replicas[group.gpu, node].update(limited)
            nodes.append(node)
        placed.append(replace(group, nodes=tuple(nodes)))
    return tuple(placed)
