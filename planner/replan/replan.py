"""Change a placement in force with as few moves as can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from analyzer.errors import UsageError
from planner.placement.document import gpu_id, gpu_number
from planner.problem.plan import GpuGroup, Plan, Replicas, Status, cost_of
from planner.problem.problem import Problem
from planner.problem.verify import violations
from planner.replan.cp_sat_moves import Outcome, search_moves
from planner.replan.repair import CurrentGpu, GpusAtHand, Repaired, repair
from planner.solver.limits import SearchLimits

_MOST_VARIABLES = 400_000  # beyond, CP-SAT takes more than a gigabyte


@dataclass(frozen=True, slots=True, kw_only=True)
class Replanned:
    """A plan whose GPUs keep their ids.

    Parameters
    ----------
    ids : tuple of str
        One for each GPU of the plan.
    moves : int
        Replicas that are loaded where they were not.
    """

    plan: Plan
    ids: tuple[str, ...]
    moves: int


def replan(
    problem: Problem,
    held: Sequence[CurrentGpu],
    free: Plan,
    sizes: Mapping[tuple[int, int], int],
    *,
    max_moves: int | None,
    limits: SearchLimits,
) -> Replanned | None:
    """Serve every task at the least cost within the moves, and at that cost with the fewest bytes moved.

    The nearest plan is tried first: where it costs the least and moves only what has to be added, nothing is better.

    Parameters
    ----------
    free : Plan
        A plan that pays no heed to what is there: it says how many new GPUs may be wanted, and bounds the cost.
    sizes : mapping
        MiB that a replica takes, by task and option.
    max_moves : int or None
        Replicas that may be loaded where they were not; a GPU that is cut anew restarts all of its replicas.

    Returns
    -------
    Replanned or None
        None where no plan keeps within the moves, or none was found in the time.

    Raises
    ------
    UsageError
        If there are too many GPUs and models for the search, and the nearest plan moves too much.
    """
    at_hand = _gpus_at_hand(problem, held, free)
    repaired = repair(problem, at_hand)
    near = _outcome(problem, at_hand, repaired, sizes) if repaired is not None else None
    if near is not None and max_moves is not None and near.moves > max_moves:
        near = None
    cheapest = near is not None and cost_of(near.gpus, problem) == free.lower_bound
    if near is not None and cheapest and near.moved_mib <= _unavoidable(problem, held, sizes):
        return _replanned(problem, near, free.lower_bound, free.bound_source)
    if _variables(problem, at_hand) > _MOST_VARIABLES:
        if near is None:
            raise UsageError(
                "`current`: there are too many GPUs and models to search for the fewest moves; plan parts of the fleet"
                " (`model_names`), allow more moves, or make a new plan and compare with plan diff"
            )
        return _replanned(problem, near, free.lower_bound, free.bound_source)
    found = search_moves(
        problem,
        at_hand,
        repaired,
        sizes,
        max_moves=max_moves,
        lower_bound=free.lower_bound,
        limits=limits,
    )
    if found is None:
        return _replanned(problem, near, free.lower_bound, free.bound_source) if near else None
    outcome, bound = found
    if near is not None:
        outcome = min(outcome, near, key=lambda o: (cost_of(o.gpus, problem), o.moved_mib))
    if bound == free.lower_bound:
        return _replanned(problem, outcome, bound, free.bound_source)
    return _replanned(problem, outcome, bound, "exact search", within_moves=max_moves)


def _replanned(
    problem: Problem, outcome: Outcome, bound: int, source: str, *, within_moves: int | None = None
) -> Replanned:
    value = cost_of(outcome.gpus, problem)
    plan = Plan(
        status=Status.OPTIMAL if value == bound else Status.FEASIBLE,
        gpus=outcome.gpus,
        objective=value,
        lower_bound=bound,
        bound_source=source,
        within_moves=within_moves,
    )
    wrong = violations(plan, problem)
    assert not wrong, wrong  # a wrong plan is our bug, never the user's
    return Replanned(plan=plan, ids=outcome.ids, moves=outcome.moves)


def _gpus_at_hand(problem: Problem, held: Sequence[CurrentGpu], free: Plan) -> GpusAtHand:
    """The GPUs there are, and as many new ones of each type as a plan from scratch uses, within the limits."""
    have: Counter[int] = Counter(h.gpu for h in held)
    wanted: Counter[int] = Counter()
    for placed in free.gpus:
        wanted[placed.gpu] += placed.count
    new = []
    for g, count in sorted(wanted.items()):
        limit = problem.gpus[g].limit
        new += [g] * (count if limit is None else max(0, min(count, limit - have[g])))
    first = 1 + max((number for h in held if (number := gpu_number(h.id)) is not None), default=-1)
    fresh = (CurrentGpu(id=gpu_id(first + i), gpu=g, layout=None, node=None, counts={}) for i, g in enumerate(new))
    return GpusAtHand(held=tuple(held), fresh=tuple(fresh))


def _variables(problem: Problem, at_hand: GpusAtHand) -> int:
    """Counts that a model of these GPUs has."""
    options = Counter(o.place for task in problem.tasks for o in task.options)
    of_type = [sum(options[p] for layout in gpu.layouts for p in layout.places) for gpu in problem.gpus]
    return sum(of_type[h.gpu] for h in (*at_hand.held, *at_hand.fresh))


def _outcome(
    problem: Problem, at_hand: GpusAtHand, repaired: Repaired, sizes: Mapping[tuple[int, int], int]
) -> Outcome:
    gpus, ids, moves, moved = [], [], 0, 0
    for h, found in zip((*at_hand.held, *at_hand.fresh), repaired, strict=True):
        if found is None:
            continue
        layout, counts = found
        contents: list[list[Replicas]] = [[] for _ in problem.gpus[h.gpu].layouts[layout].places]
        for (j, t, k), n in sorted(counts.items()):
            contents[j].append(Replicas(task=t, option=k, count=n))
            loaded = max(0, n - (h.counts.get((j, t, k), 0) if layout == h.layout else 0))
            moves += loaded
            moved += loaded * sizes[t, k]
        gpus.append(GpuGroup(gpu=h.gpu, layout=layout, contents=tuple(map(tuple, contents))))
        ids.append(h.id)
    return Outcome(gpus=tuple(gpus), ids=tuple(ids), moves=moves, moved_mib=moved)


def _unavoidable(problem: Problem, held: Sequence[CurrentGpu], sizes: Mapping[tuple[int, int], int]) -> int:
    """MiB that any plan has to load, because what is served now falls short: at least its part of a replica each."""
    supply: Counter[int] = Counter()
    for h in held:
        for (_, t, k), n in h.counts.items():
            supply[t] += n * problem.tasks[t].options[k].supply
    total = 0
    for t, task in enumerate(problem.tasks):
        missing = task.demand - supply[t]
        if missing > 0:
            total += min(-(-missing * sizes[t, k] // o.supply) for k, o in enumerate(task.options))
    return total
