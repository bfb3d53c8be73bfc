"""Assign the GPUs of a plan to nodes, where a rule counts replicas on nodes."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

from planner.problem.co_location import AtMost, Within
from planner.problem.plan import GpuGroup
from planner.problem.problem import Problem


def assign_nodes(problem: Problem, gpus: tuple[GpuGroup, ...]) -> tuple[GpuGroup, ...] | None:
    """Put every GPU into the first node that has room for it; None where that fails (another order might not)."""
    if not problem.nodes_matter:
        return gpus
    rules = [rule for rule in problem.rules if isinstance(rule, AtMost) and rule.within is Within.NODE]
    gpus_in: dict[tuple[int, int], int] = defaultdict(int)  # by GPU type and node
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
            while gpu.in_node(node) and (
                gpus_in[group.gpu, node] >= gpu.in_node(node)
                or any(
                    n and there + n > rule.most
                    for n, there, rule in zip(own, counted[group.gpu, node], rules, strict=True)
                )
            ):
                node += 1
            if not gpu.in_node(node):
                return None
            gpus_in[group.gpu, node] += 1
            counted[group.gpu, node] = [n + there for n, there in zip(own, counted[group.gpu, node], strict=True)]
            nodes.append(node)
        placed.append(replace(group, nodes=tuple(nodes)))
    return tuple(placed)
