"""Find the least cost of a tiny problem by enumerating every plan; uses nothing of the planner but its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations, product

from hypothesis import reject

from planner.problem.co_location import Alone, Apart, AtMost, KnownToHold, Overloaded, Spare, Together, Within
from planner.problem.problem import Layout, Option, Problem

_MOST_STEPS = 30_000  # some seconds

Load = tuple[tuple[tuple[int, int], int], ...]  # ((task, option), replicas) pairs


def least_cost(problem: Problem, *, most_gpus: int = 6) -> int | None:
    """Return the cost of the best plan of at most `most_gpus` GPUs; None if there is none.

    A problem that needs more than some thousand steps is not tried: another one is drawn (hypothesis.reject).
    """
    choices = [
        (g, problem.gpus[g].cost + _paid(problem, content), content)
        for g in range(len(problem.gpus))
        for layout in problem.gpus[g].layouts
        for content in set(_gpu_contents(problem, layout))
        if content and _rules_are_kept(problem, content)
    ]
    choices = _without_dominated(problem, choices)
    best: list[int | None] = [None]
    steps = iter(range(_MOST_STEPS))

    def go_on(first: int, taken: list[int], cost: int) -> None:
        if next(steps, None) is None:
            reject()
        if best[0] is not None and cost >= best[0]:
            return
        if _served(problem, [choices[i][2] for i in taken]) and _nodes_work(problem, [choices[i] for i in taken]):
            best[0] = cost
            return
        if len(taken) == most_gpus:
            return
        for i in range(first, len(choices)):
            g = choices[i][0]
            limit = problem.gpus[g].limit
            if limit is None or sum(choices[j][0] == g for j in taken) < limit:
                go_on(i, [*taken, i], cost + choices[i][1])

    go_on(0, [], 0)
    return best[0]


def _paid(problem: Problem, content: Load) -> int:
    return sum(problem.tasks[t].options[k].cost * n for (t, k), n in content)


def _place_contents(problem: Problem, place: int) -> Iterator[Counter[tuple[int, int]]]:
    options = [
        ((t, k), o, -(-task.demand // o.supply) + task.min_replicas)
        for t, task in enumerate(problem.tasks)
        for k, o in enumerate(task.options)
        if o.place == place
    ]
    capacity = problem.places[place].capacity

    def fits(counts: tuple[int, ...]) -> bool:
        pairs: list[tuple[int, Option]] = [(n, o) for n, (_, o, _) in zip(counts, options, strict=True)]
        totals = [sum(n * o.load[r] for n, o in pairs) for r in range(len(capacity))]
        tolerances = [o.tolerance for n, o in pairs if n and o.tolerance]
        held = {key: n for n, (key, _, _) in zip(counts, options, strict=True) if n}
        return all(total <= c for total, c in zip(totals, capacity, strict=True)) and (
            any(isinstance(rule, KnownToHold) and _is_part(held, rule) for rule in problem.rules)
            or all(x is None or total <= x for own in tolerances for total, x in zip(totals, own, strict=True))
        )

    for counts in product(*(range(most + 1) for _, _, most in options)):
        content = +Counter({key: n for n, (key, _, _) in zip(counts, options, strict=True)})
        if fits(counts) and not _fails(problem, content):
            yield content


def _is_part(held: dict[tuple[int, int], int], rule: KnownToHold) -> bool:
    """Return whether a content has no more than a measured one; an option of several parts counts to the first."""
    used: Counter[int] = Counter()
    for (t, k), n in held.items():
        parts = [c for c, part in enumerate(rule.parts) if part.task == t and k in part.options]
        if not parts:
            return False
        used[parts[0]] += n
    return all(n <= rule.parts[c].count for c, n in used.items())


def _fails(problem: Problem, content: Counter[tuple[int, int]]) -> bool:
    """Return whether a place holds all of what failed together."""
    for rule in problem.rules:
        if isinstance(rule, Overloaded):
            held = [sum(content[part.task, k] for k in set(part.options)) for part in rule.parts]
            if all(n >= part.count for n, part in zip(held, rule.parts, strict=True)):
                return True
    return False


def _gpu_contents(problem: Problem, layout: Layout) -> Iterator[Load]:
    for contents in product(*(list(_place_contents(problem, place)) for place in layout.places)):
        total = sum(contents, Counter())
        yield tuple(sorted(total.items()))


def _rules_are_kept(problem: Problem, content: Load) -> bool:
    """Return whether the content of one GPU keeps the co-location rules that apply within a GPU."""
    on: Counter[int] = Counter()
    for (t, _), n in content:
        on[t] += n
    for rule in problem.rules:
        named = {t: on[t] for t in rule.tasks if on[t]}
        if isinstance(rule, AtMost) and sum(named.values()) > rule.most:
            return False
        if isinstance(rule, Alone) and named and len(on) > 1:
            return False
        if isinstance(rule, Apart) and len(named) > 1:
            return False
        if isinstance(rule, Together) and 0 < len(named) < len(rule.tasks):
            return False
    return True


def _without_dominated(problem: Problem, choices: list[tuple[int, int, Load]]) -> list[tuple[int, int, Load]]:
    """Drop contents that are part of larger ones; keep all if there are rules or options with costs."""
    if problem.rules or any(o.cost for t in problem.tasks for o in t.options):
        return choices
    kept = []
    for i, (g, cost, content) in enumerate(choices):
        own = Counter(dict(content))
        if not any(g == h and i != j and own < Counter(dict(other)) for j, (h, _, other) in enumerate(choices)):
            kept.append((g, cost, content))
    return kept


def _served(problem: Problem, contents: list[Load]) -> bool:
    supply: Counter[int] = Counter()
    replicas: Counter[int] = Counter()
    for content in contents:
        for (t, k), n in content:
            supply[t] += n * problem.tasks[t].options[k].supply
            replicas[t] += n
    losses = [rule for rule in problem.rules if isinstance(rule, Spare) and rule.within is Within.GPU]
    together = {t for rule in problem.rules if isinstance(rule, Together) for t in rule.tasks}
    return all(
        supply[t] >= task.demand
        and replicas[t] >= task.min_replicas
        and not (task.exact and t in together and replicas[t] > task.demand)
        for t, task in enumerate(problem.tasks)
    ) and all(_serve_without(problem, rule, contents) for rule in losses)


def _serve_without(problem: Problem, rule: Spare, parts: list[Load]) -> bool:
    """Return whether the task of a rule is served whichever of the parts (GPUs or nodes) are lost."""
    (t,) = rule.tasks
    task = problem.tasks[t]
    for kept in combinations(parts, max(0, len(parts) - rule.lost)):
        here = [(k, n) for content in kept for (other, k), n in content if other == t]
        supply = sum(n * task.options[k].supply for k, n in here)
        if supply < task.demand or sum(n for _, n in here) < task.min_replicas:
            return False
    return True


def _nodes_work(problem: Problem, taken: list[tuple[int, int, Load]]) -> bool:
    if not any(isinstance(rule, AtMost | Spare) and rule.within is Within.NODE for rule in problem.rules):
        return True
    nodes = []
    for g, _, _ in taken:
        limit = problem.gpus[g].limit
        nodes.append(range(len(taken) if limit is None else -(-limit // problem.gpus[g].node_size)))
    return any(_nodes_hold(problem, taken, where) for where in product(*nodes))


def _nodes_hold(problem: Problem, taken: list[tuple[int, int, Load]], where: tuple[int, ...]) -> bool:
    size: Counter[tuple[int, int]] = Counter()
    replicas: Counter[tuple[int, int, int]] = Counter()
    for (g, _, content), node in zip(taken, where, strict=True):
        size[g, node] += 1
        for (t, _), n in content:
            replicas[g, node, t] += n
    limits = [rule for rule in problem.rules if isinstance(rule, AtMost) and rule.within is Within.NODE]
    losses = [rule for rule in problem.rules if isinstance(rule, Spare) and rule.within is Within.NODE]
    on_node: dict[tuple[int, int], Load] = {}
    for (g, _, content), node in zip(taken, where, strict=True):
        on_node[g, node] = on_node.get((g, node), ()) + content
    return (
        all(n <= problem.gpus[g].in_node(node) for (g, node), n in size.items())
        and all(sum(replicas[g, node, t] for t in rule.tasks) <= rule.most for rule in limits for g, node in size)
        and all(_serve_without(problem, rule, list(on_node.values())) for rule in losses)
    )
