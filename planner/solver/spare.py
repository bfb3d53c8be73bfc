"""Solve a problem in which every demand is still met after GPUs, or nodes, are lost.

A task keeps its demand D after the loss of any s GPUs if what its GPUs deliver, less the s that deliver most, is at
least D. That depends on the whole plan, not on the content of one GPU, so two kinds of problem without this rule are
solved. In a relaxed one, D is raised by s times the least that those GPUs can deliver: its lower bounds hold. In a
restricted one, no GPU delivers more than m, and D is raised by s times m: its plans are right. The exact search states
the rule as it is, and settles problems that it can hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from planner.problem.co_location import AtMost, ContentPart, Overloaded, Rule, Spare, Within
from planner.problem.plan import Plan, Status, cost_of
from planner.problem.problem import Option, Problem, Task
from planner.problem.verify import violations
from planner.solver.limits import SearchLimits
from planner.solver.search_state import SearchState

Solve = Callable[[Problem, SearchLimits], Plan]

_PARTS = 4  # the time left is divided by it for each problem that is solved


def has_spare(problem: Problem) -> bool:
    """Whether some demand is to be met after a loss."""
    return any(isinstance(rule, Spare) for rule in problem.rules)


def search_with_spare(state: SearchState, solve: Solve) -> None:
    """Improve the plan and the lower bound of a problem with `Spare` rules by problems without them.

    Parameters
    ----------
    solve : callable
        Solves a problem without `Spare` rules.
    """
    state.say("plans without the lost GPUs")
    free = solve(relaxed(state.problem, None), _part(state))
    if free.status is Status.INFEASIBLE:
        state.infeasible, state.source = True, free.bound_source
        return
    _offer(state, free)
    state.prove(free.lower_bound, free.bound_source)
    tried: set[int | None] = set()
    for gpus in _gpu_counts(state, free):
        if state.done or state.limits.over:
            return
        if gpus not in tried:
            tried.add(gpus)
            if gpus is not None and _raised_bound(state, gpus, solve):
                continue
            _offer(state, solve(restricted(state.problem, gpus), _part(state)))
            state.say("plans without the lost GPUs")


def relaxed(problem: Problem, gpus: int | None) -> Problem:
    """Return the problem without its `Spare` rules, with demands that every plan of at most `gpus` GPUs meets.

    Of n GPUs, the n - s that remain deliver D: one of them, and each of the s that deliver more, delivers at least
    D / (n - s).
    """

    def raised(task: Task, rule: Spare) -> Task:
        n = _most_gpus(problem, rule, gpus)
        least = min((min(o.supply, task.demand) for o in task.options), default=0)
        copies = 1
        if n is not None and n > rule.lost:
            least = max(least, -(-task.demand // (n - rule.lost)))
            copies = max(copies, -(-task.min_replicas // (n - rule.lost)))
        return _raise(task, rule.lost * least, rule.lost * copies)

    return _without_spare(problem, raised)


def restricted(problem: Problem, gpus: int | None) -> Problem:
    """Return a problem without `Spare` rules whose plans keep them.

    A GPU holds at most k replicas of a task, each by an option that delivers at most u. Of all k and u with which
    `gpus` GPUs (any number, where it is None) can serve the task, those are taken with which all its replicas use the
    smallest share of the GPUs.
    """
    caps: list[Rule] = []

    def raised(task: Task, rule: Spare) -> Task:
        most = _largest_count(problem, rule)
        ways = [_cap(problem, task, rule, gpus, supply, most) for supply in sorted(_supplies(task))]
        if not ways:
            return task
        _, k, u = min(ways)
        caps.append(AtMost(tasks=rule.tasks, most=k, within=rule.within))
        barred = tuple(j for j, o in enumerate(task.options) if _useful(o, task) > u)
        if barred:  # the options keep their numbers: the plans and the rules name them by these
            caps.append(Overloaded(parts=(ContentPart(task=rule.tasks[0], options=barred),)))
        options = tuple(replace(o, supply=_useful(o, task)) for o in task.options)
        return replace(_raise(task, rule.lost * k * u, rule.lost * k), options=options)

    plain = _without_spare(problem, raised)
    return replace(plain, rules=(*plain.rules, *caps))


def _part(state: SearchState) -> SearchLimits:
    return state.limits.within(state.limits.left_s / _PARTS)


def _offer(state: SearchState, plan: Plan) -> None:
    """Keep a plan of another problem if it is cheaper, and right for this one."""
    if plan.objective is None:
        return
    cost = cost_of(plan.gpus, state.problem)
    if state.cost is not None and cost >= state.cost:
        return
    own = Plan(status=Status.FEASIBLE, gpus=plan.gpus, objective=cost)
    if not violations(own, state.problem):
        state.gpus, state.cost = plan.gpus, cost


def _gpu_counts(state: SearchState, free: Plan) -> Iterator[int | None]:
    """Yield the numbers of GPUs to try: from the lower bound on, that of the best plan, and any number."""
    price = _price(state.problem)
    if price:
        first = None
        while state.cost is None or state.bound < state.cost:
            gpus = max(1, state.bound // price)
            if gpus == first:
                break
            first = gpus
            yield gpus
        if state.cost is not None:
            yield state.cost // price - 1
    elif free.objective is not None:
        yield free.n_gpus
        yield free.n_gpus + 1
    yield None


def _price(problem: Problem) -> int:
    """Return the cost of one GPU where the cost of a plan is its number of GPUs; 0 where it is something else."""
    prices = {gpu.cost for gpu in problem.gpus}
    paid = any(option.cost for task in problem.tasks for option in task.options)
    return prices.pop() if len(prices) == 1 and not paid else 0


def _raised_bound(state: SearchState, gpus: int, solve: Solve) -> bool:
    """Whether a bound is found that excludes plans of at most so many GPUs."""
    price = _price(state.problem)
    if not price or state.bound < gpus * price:
        return False
    found = solve(relaxed(state.problem, gpus), _part(state))
    _offer(state, found)
    if found.status is Status.INFEASIBLE or found.lower_bound > gpus * price:
        state.prove((gpus + 1) * price, found.bound_source)
        return True
    return False


def _most_gpus(problem: Problem, rule: Spare, gpus: int | None) -> int | None:
    """Return the largest number of GPUs (nodes, where these are lost) in a plan of at most `gpus` GPUs."""
    limits = [gpu.limit for gpu in problem.gpus]
    if any(limit is None for limit in limits):
        return gpus
    sizes = [gpu.node_size if rule.within is Within.NODE else 1 for gpu in problem.gpus]
    there = sum(-(-(limit or 0) // size) for limit, size in zip(limits, sizes, strict=True))
    return there if gpus is None else min(there, gpus)


def _largest_count(problem: Problem, rule: Spare) -> int | None:
    """Return how many replicas of a task other rules allow on a GPU or node; None for any number."""
    limits = [r.most for r in problem.rules if isinstance(r, AtMost) and rule.tasks[0] in r.tasks]
    return min(limits, default=None)


def _useful(option: Option, task: Task) -> int:
    return max(1, min(option.supply, task.demand))


def _supplies(task: Task) -> set[int]:
    return {_useful(option, task) for option in task.options}


def _cap(
    problem: Problem, task: Task, rule: Spare, gpus: int | None, supply: int, most: int | None
) -> tuple[float, int, int]:
    """Return the share of the GPUs that the replicas take at least, then k and u."""
    n = _most_gpus(problem, rule, gpus)
    left = n - rule.lost if n is not None and n > rule.lost else None
    k = max(1, -(-task.demand // (left * supply)), -(-task.min_replicas // left)) if left else 1
    k = min(k, most) if most else k
    demand = task.demand + rule.lost * k * supply
    shares = (
        max((x / c for x, c in zip(o.load, problem.places[o.place].capacity, strict=True) if c), default=0.0)
        / _useful(o, task)
        for o in task.options
        if _useful(o, task) <= supply
    )
    return demand * min(shares), k, supply


def _raise(task: Task, demand: int, replicas: int) -> Task:
    return replace(
        task,
        demand=task.demand + demand if task.demand else 0,
        min_replicas=task.min_replicas + replicas if task.min_replicas else 0,
    )


def _without_spare(problem: Problem, raised: Callable[[Task, Spare], Task]) -> Problem:
    tasks = list(problem.tasks)
    for rule in problem.rules:
        if isinstance(rule, Spare):
            for t in rule.tasks:
                tasks[t] = raised(tasks[t], replace(rule, tasks=(t,)))
    others = tuple(rule for rule in problem.rules if not isinstance(rule, Spare))
    return replace(problem, tasks=tuple(tasks), rules=others)
