"""Which node each GPU of a plan sits in, where replicas are to be spread over nodes."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

from planner.problem.co_location import AtMost, Within
from planner.problem.plan import GpuGroup
from planner.problem.problem import Problem


def assign_nodes(problem: Problem, gpus: tuple[GpuGroup, ...]) -> tuple[GpuGroup, ...] | None:
    """Put every GPU into the first node that takes it; None where that fails (another order might do)."""
    if not problem.nodes_matter:
        return gpus
    rules = [rule for rule in problem.rules if isinstance(rule, AtMost) and rule.within is Within.NODE]
    held: dict[tuple[int, int], int] = defaultdict(int)
    counted: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0] * len(rules))  # by rule
    placed = []
    for group in gpus:
        on_gpu = Counter[int]()
        for r in (r for place in group.contents for r in place):
            on_gpu[r.task] += r.count
        own = [sum(on_gpu[t] for t in rule.tasks) for rule in rules]
        gpu = problem.gpus[group.gpu]
        nodes = []
        node = 0
        for _ in range(group.count):
            while held[group.gpu, node] >= gpu.node_size or any(
                n and there + n > rule.most for n, there, rule in zip(own, counted[group.gpu, node], rules, strict=True)
            ):
                node += 1
            if gpu.limit is not None and node >= -(-gpu.limit // gpu.node_size):
                return None
            held[group.gpu, node] += 1
            counted[group.gpu, node] = [n + there for n, there in zip(own, counted[group.gpu, node], strict=True)]
            nodes.append(node)
        placed.append(replace(group, nodes=tuple(nodes)))
    return tuple(placed)
