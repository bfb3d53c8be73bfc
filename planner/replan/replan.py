"""Change a placement in force at the least cost within a number of moves, then with the fewest bytes loaded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

from analyzer.errors import UsageError
from planner.placement.placed_gpu import gpu_id, gpu_number
from planner.problem.plan import GpuGroup, Plan, Replicas, Status, cost_of
from planner.problem.problem import GpuType, Problem
from planner.problem.verify import violations
from planner.replan.cp_sat_moves import Outcome, search_moves
from planner.replan.repair import AvailableGpus, CurrentGpu, LoadedAs, Repaired, kinds_at, repair
from planner.solver.limits import SearchLimits
from planner.solver.surplus import exact_tasks

_FURTHER = 8  # new GPUs of each type, besides those that a plan from scratch uses
_POSITIONS = 32  # free positions in the nodes of a type, among which the search chooses
_MOST_VARIABLES = 400_000  # with more of them CP-SAT takes more than a gigabyte


@dataclass(frozen=True, slots=True, kw_only=True)
class Replanned:
    """A plan in which the GPUs of the placement in force keep their ids.

    Parameters
    ----------
    ids : tuple of str
        Id of each GPU of the plan.
    moves : int
        Replicas that are loaded.
    """

    plan: Plan
    ids: tuple[str, ...]
    moves: int


def replan(
    problem: Problem,
    current: Sequence[CurrentGpu],
    from_scratch: Plan,
    loaded_as: Mapping[tuple[int, int], LoadedAs],
    *,
    max_moves: int | None,
    limits: SearchLimits,
) -> Replanned | None:
    """Serve every task at the least cost within the moves, and at that cost with the fewest bytes moved.

    The placement in force is tried first, then the repaired one. Where one is proven to cost the least and loads no
    more than any plan has to, the search is left out.

    Parameters
    ----------
    from_scratch : Plan
        A plan made without regard to the placement in force: how many new GPUs may be used, and a bound on the cost.
    loaded_as : mapping
        What is loaded for a replica, by task and option.
    max_moves : int or None
        Replicas that may be loaded; a change of a GPU's geometry loads all of its replicas.

    Returns
    -------
    Replanned or None
        None where no plan is within the moves, or none was found in the time.

    Raises
    ------
    UsageError
        If there are too many GPUs and models for the search, and no repaired placement is within the moves.
    """
    available = _available_gpus(problem, current, from_scratch, max_moves)
    unchanged = _outcome(problem, available, _as_it_is(available), loaded_as)
    if cost_of(unchanged.gpus, problem) == from_scratch.lower_bound and _is_enough(problem, unchanged):
        return _replanned(problem, unchanged, from_scratch.lower_bound, from_scratch.bound_source)
    repaired = repair(problem, available)
    nearest = _outcome(problem, available, repaired, loaded_as) if repaired is not None else None
    if nearest is not None and violations(_plan(problem, nearest, from_scratch.lower_bound, ""), problem):
        repaired = nearest = None
    if nearest is not None and max_moves is not None and nearest.moves > max_moves:
        nearest = None
    cheapest = nearest is not None and cost_of(nearest.gpus, problem) == from_scratch.lower_bound
    if nearest is not None and cheapest and nearest.moved_mib <= _unavoidable(problem, current, loaded_as):
        return _replanned(problem, nearest, from_scratch.lower_bound, from_scratch.bound_source)
    if _variables(problem, available) > _MOST_VARIABLES:
        if nearest is None:
            raise UsageError(
                "`current`: there are too many GPUs and models to search for the fewest moves; plan parts of the fleet"
                " (`model_names`), allow more moves, or make a new plan and compare with plan diff"
            )
        return _replanned(problem, nearest, from_scratch.lower_bound, from_scratch.bound_source)
    found = search_moves(
        problem,
        available,
        repaired,
        loaded_as,
        max_moves=max_moves,
        lower_bound=from_scratch.lower_bound,
        limits=limits,
    )
    if found is None:
        return _replanned(problem, nearest, from_scratch.lower_bound, from_scratch.bound_source) if nearest else None
    outcome, bound = found
    outcome = _steadiest(problem, unchanged, nearest, outcome)
    if bound == from_scratch.lower_bound:
        return _replanned(problem, outcome, bound, from_scratch.bound_source)
    return _replanned(problem, outcome, bound, "exact search", within_moves=max_moves)


def _steadiest(problem: Problem, unchanged: Outcome, nearest: Outcome | None, found: Outcome) -> Outcome:
    """Of the outcomes at the least cost, the one that loads least; the placement in force before any other."""
    best = found if nearest is None else min(nearest, found, key=lambda o: (cost_of(o.gpus, problem), o.moved_mib))
    as_cheap = cost_of(unchanged.gpus, problem) <= cost_of(best.gpus, problem)
    return unchanged if as_cheap and _is_enough(problem, unchanged) else best


def _as_it_is(available: AvailableGpus) -> Repaired:
    """The placement in force without the replicas that match no option."""
    kept: Repaired = [
        (h.layout, dict(h.counts)) if h.counts and h.layout is not None else None for h in available.current
    ]
    return [*kept, *(None for _ in available.new)]


def _is_enough(problem: Problem, unchanged: Outcome) -> bool:
    """Whether the placement in force serves every demand, with no more copies than are asked for."""
    if violations(_plan(problem, unchanged, 0, ""), problem):
        return False
    copies: Counter[int] = Counter()
    for group in unchanged.gpus:
        for r in (r for content in group.contents for r in content):
            copies[r.task] += r.count
    return all(copies[t] <= problem.tasks[t].demand for t in exact_tasks(problem))


def _replanned(
    problem: Problem, outcome: Outcome, bound: int, source: str, *, within_moves: int | None = None
) -> Replanned:
    plan = _plan(problem, outcome, bound, source, within_moves=within_moves)
    wrong = violations(plan, problem)
    assert not wrong, wrong  # a wrong plan is our bug, never the user's
    return Replanned(plan=plan, ids=outcome.ids, moves=outcome.moves)


def _plan(problem: Problem, outcome: Outcome, bound: int, source: str, *, within_moves: int | None = None) -> Plan:
    value = cost_of(outcome.gpus, problem)
    return Plan(
        status=Status.OPTIMAL if value == bound else Status.FEASIBLE,
        gpus=outcome.gpus,
        objective=value,
        lower_bound=bound,
        bound_source=source,
        within_moves=within_moves,
    )


def _available_gpus(
    problem: Problem, current: Sequence[CurrentGpu], from_scratch: Plan, max_moves: int | None
) -> AvailableGpus:
    """Return the current GPUs, and as many new ones of each type as the plan from scratch uses, within the limits.

    A plan within few moves may use other types than that: there is a new GPU of each type for each of the moves, up to
    `_FURTHER`. Where nodes matter, every GPU has one, and there are more new GPUs, so that their nodes can be chosen.
    """
    if problem.nodes_matter:
        current = _in_nodes(problem, current)
    wanted: Counter[int] = Counter(dict.fromkeys(range(len(problem.gpus)), 0))
    for placed in from_scratch.gpus:
        wanted[placed.gpu] += placed.count
    new: list[tuple[int, int | None]] = []
    for g, used in sorted(wanted.items()):
        n = max(used, min(max_moves or 0, _FURTHER))
        held, limit = [h.node or 0 for h in current if h.gpu == g], problem.gpus[g].limit
        if problem.nodes_matter:
            new += [(g, node) for node in _new_nodes(problem.gpus[g], Counter(held), n)]
        else:
            new += [(g, None)] * (n if limit is None else max(0, min(n, limit - len(held))))
    first = 1 + max((number for h in current if (number := gpu_number(h.id)) is not None), default=-1)
    new_gpus = (
        CurrentGpu(id=gpu_id(first + i), gpu=g, layout=None, node=node, counts={}) for i, (g, node) in enumerate(new)
    )
    return AvailableGpus(current=tuple(current), new=tuple(new_gpus))


def _in_nodes(problem: Problem, current: Sequence[CurrentGpu]) -> tuple[CurrentGpu, ...]:
    """Give a node with room to each GPU whose placement names none."""
    taken = Counter((h.gpu, h.node) for h in current if h.node is not None)
    found = []
    for h in current:
        node = h.node
        if node is None:
            gpu = problem.gpus[h.gpu]
            node = next(n for n in count() if taken[h.gpu, n] < gpu.in_node(n) or not gpu.in_node(n))
            taken[h.gpu, node] += 1
        found.append(replace(h, node=node))
    return tuple(found)


def _new_nodes(gpu: GpuType, taken: Mapping[int, int], wanted: int) -> list[int]:
    """The nodes of new GPUs: one each where there are as many as needed, else free positions, emptiest nodes first."""
    if gpu.limit is None:
        first = 1 + max(taken, default=-1)
        return list(range(first, first + wanted))
    n_nodes = -(-gpu.limit // gpu.node_size)
    free = [(k, node) for node in range(n_nodes) for k in range(taken.get(node, 0), gpu.in_node(node))]
    return [node for _, node in sorted(free)[: max(wanted, _POSITIONS)]]


def _variables(problem: Problem, available: AvailableGpus) -> int:
    """Return how many counts of replicas the CP-SAT model of these GPUs has."""
    options = Counter(o.place for task in problem.tasks for o in task.options)
    of_type = [sum(options[p] for layout in gpu.layouts for p in layout.places) for gpu in problem.gpus]
    return sum(of_type[h.gpu] for h in (*available.current, *available.new))


def _outcome(
    problem: Problem, available: AvailableGpus, repaired: Repaired, loaded_as: Mapping[tuple[int, int], LoadedAs]
) -> Outcome:
    gpus, ids, moves, moved = [], [], 0, 0
    for h, found in zip((*available.current, *available.new), repaired, strict=True):
        if found is None:
            continue
        layout, counts = found
        contents: list[list[Replicas]] = [[] for _ in problem.gpus[h.gpu].layouts[layout].places]
        for (j, t, k), n in sorted(counts.items()):
            contents[j].append(Replicas(task=t, option=k, count=n))
        for j in range(len(contents)):
            loads = kinds_at(j, counts, loaded_as)
            if layout == h.layout:
                loads -= kinds_at(j, h.counts, loaded_as)
            moves += loads.total()
            moved += sum(n * what.size_mib for what, n in loads.items())
        nodes = (h.node,) if problem.nodes_matter and h.node is not None else ()
        gpus.append(GpuGroup(gpu=h.gpu, layout=layout, contents=tuple(map(tuple, contents)), nodes=nodes))
        ids.append(h.id)
    return Outcome(gpus=tuple(gpus), ids=tuple(ids), moves=moves, moved_mib=moved)


def _unavoidable(problem: Problem, current: Sequence[CurrentGpu], loaded_as: Mapping[tuple[int, int], LoadedAs]) -> int:
    """Return a lower bound on the MiB that any plan loads: for each task, what its missing demand takes at least.

    A current replica counts with the most that it can supply, whatever its load share and the model it serves are now.
    """
    there: Counter[LoadedAs] = Counter()
    for h in current:
        for (_, t, k), n in h.counts.items():
            there[loaded_as[t, k]] += n
    total = 0
    for t, task in enumerate(problem.tasks):
        most: dict[LoadedAs, int] = {}
        for k, option in enumerate(task.options):
            most[loaded_as[t, k]] = max(most.get(loaded_as[t, k], 0), option.supply)
        missing = task.demand - sum(n * most.get(what, 0) for what, n in there.items())
        if missing > 0:
            total += min(-(-missing * what.size_mib // supply) for what, supply in most.items() if supply)
    return total
