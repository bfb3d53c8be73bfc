"""Search by prices: first of resources, with plans that fill GPU after GPU; then those of the LP over patterns.

Column generation raises the bound, and diving, neighbourhoods and SCIP look for cheaper plans. With one resource, a
set partitioning of all patterns of low reduced cost finds the plan, or proves that there is none at the LP's bound.
"""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import ceil
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from planner.solver.column_model import ColumnModel, Pattern
from planner.solver.search_state import SearchState

if TYPE_CHECKING:
    from planner.solver.column_generation.filling import Filler
    from planner.solver.column_generation.generate import Generated
    from planner.solver.column_generation.master import Floats, Master
    from planner.solver.limits import SearchLimits

_ROUNDS = 400  # neighbourhoods after the bound is proven: the search ends even without a time limit
_PRICING = 0.2  # of the time for the prices of resources, at most
_FILLING = 0.25  # of the time left for plans by these prices, at most
_FIRST, _MORE = 6, 40  # plans by prices before column generation, and after it
_NEAR = 0.02  # fraction by which such plans may be dearer than the bound if more of them are to be made
_NOISE = 0.02  # of what a task is worth, at random
_MANY_ITEMS = 5_000  # of a place
_POOL = 5  # patterns for each row that such plans give to column generation
_BATCH = 40  # neighbourhoods after each dive
_RELAXING = 0.6  # of the time left for column generation, at most
_DIVING = 0.5  # of the time left for a dive, at most
_PARTITIONING = 0.7  # of the time left for set partitioning, at most
_CUTS = 20  # rounds of rounding rows
_SCIP_COLUMNS = 4_000  # of least reduced cost
_SCIP_NODES = 100  # of SCIP's tree, for each round


def search_patterns(state: SearchState, model: ColumnModel) -> None:
    """Raise the bound and look for cheaper plans until the plan is proven, the rounds are used up or the time is."""
    from planner.solver.column_generation.close_patterns import is_countable
    from planner.solver.column_generation.master import Master

    if not model.items or not model.rows:  # no GPUs, or nothing to serve
        return
    fill = _filler(state, model) if model.complete and not model.grouped else None
    pool = _fill(state, model, fill, plans=_FIRST, share=_FILLING)
    if state.done or state.limits.over:
        return
    state.say("column generation")
    held = model.patterns(state.gpus) if model.knows(state.gpus) else Counter[Pattern]()
    master = Master(model, model.needs(model.demand, model.replicas), [*_singles(model), *pool, *held])
    relaxing = state.limits.within(state.limits.left_s * _RELAXING)
    master, found = _relax(state, model, master, relaxing)
    if not state.done and relaxing.over and _is_near(state):  # too large for this LP
        _fill(state, model, fill, plans=_ROUNDS, share=1.0)
    if found is None or state.done or state.limits.over:
        return
    guess = -(-ceil(found.relaxed.value - 1e-6) // state.step) * state.step  # the bound of this LP, not yet proven
    find_plans = _restricted if len(model.direct) < len(model.items) else _improve
    if guess <= state.bound and _is_near(state):  # the LP proves no more: only a cheaper plan can
        _fill(state, model, fill, plans=_MORE, share=_FILLING)
    # Where that bound is still to be proven, only one neighbourhood is tried before the proof.
    find_plans(state, model, master, found, target=max(state.bound, guess), rounds=1 if guess > state.bound else _BATCH)
    if not state.done and not state.limits.over and is_countable(model):
        _partition(state, model, master)
    if not state.done and not state.limits.over:
        found = _close(state, model, master) or found
    if not state.done and not state.limits.over:
        find_plans(state, model, master, found, target=state.bound, rounds=_ROUNDS)


def bound_by_patterns(state: SearchState, model: ColumnModel, *, seconds: float) -> None:
    """Raise the bound by the patterns of a model whose plans are not all plans of the problem, but not the reverse."""
    from planner.solver.column_generation.master import Master

    state.say("column generation")
    part = SearchState(problem=model.problem, limits=state.limits.within(seconds), cost=state.cost, bound=state.bound)
    master = Master(model, model.needs(model.demand, model.replicas), _singles(model))
    master, found = _relax(part, model, master, part.limits)
    if found is not None and not part.done and not part.limits.over:
        _close(part, model, master)
    state.prove(part.bound, part.source)


def _singles(model: ColumnModel) -> list[Pattern]:
    """Patterns of one item: as many copies as fit, of every item, or where there are many of those that serve most."""
    found = []
    for place, items in model.items.items():
        chosen = range(len(items.task))
        if len(chosen) > _MANY_ITEMS:
            served = items.supply * items.bound
            order = np.lexsort((served, items.task))  # the last one of each task serves most
            chosen = order[np.flatnonzero(np.diff(items.task[order], append=-1))].tolist()
        found += [Pattern(place, ((i, int(items.bound[i])),)) for i in chosen]
    return found


def _filler(state: SearchState, model: ColumnModel) -> Filler | None:
    """Prove the bound by prices of resources; return what makes plans by them, where every place is a whole GPU."""
    from planner.solver.column_generation.filling import filler
    from planner.solver.column_generation.resource_prices import resource_prices

    state.say("prices of resources")
    prices = resource_prices(model, state.limits.within(state.limits.left_s * _PRICING))
    if prices is None:
        return None
    state.prove(prices.bound, "prices of resources")
    if len(model.direct) < len(model.items):
        return None
    return filler(model, prices, Random(state.limits.seed))  # noqa: S311 (a search, not a secret)


def _is_near(state: SearchState) -> bool:
    return state.cost is not None and state.cost <= state.bound * (1 + _NEAR)


def _fill(state: SearchState, model: ColumnModel, fill: Filler | None, *, plans: int, share: float) -> list[Pattern]:
    """Make plans by prices until there are so many, or `share` of the time is used; return their patterns."""
    from planner.solver.column_generation.filling import Need

    limits = state.limits if state.cost is None else state.limits.within(state.limits.left_s * share)
    pool: dict[Pattern, None] = {}
    for _ in range(plans):
        if fill is None or state.done or limits.over:
            break
        noise = _NOISE if pool else 0.0
        plan = fill.fill(Need(left=model.demand, replicas=model.replicas), noise, limits)
        if plan is None:
            break
        if len(pool) < _POOL * len(model.rows):
            pool.update((filled.pattern, None) for filled in plan)
        _offer(state, model, sum((Counter({filled.pattern: filled.times}) for filled in plan), Counter()))
        fill.correct(plan)
        state.say("plans by prices")
    return list(pool)


def _relax(
    state: SearchState, model: ColumnModel, master: Master, limits: SearchLimits
) -> tuple[Master, Generated | None]:
    """Quick column generation and rounding rows in turn; a thorough one once no more rows are violated."""
    from planner.solver.column_generation.generate import QUICK, THOROUGH, generate
    from planner.solver.column_generation.rounding_cuts import violated_rows

    last: Generated | None = None
    effort = QUICK
    for _ in range(_CUTS):
        needs = model.needs(model.demand, model.replicas)
        found = generate(
            model, master, needs, model.demand, model.replicas, limits=limits, effort=effort
        )  # fmt: skip
        if found is None:
            break
        last = found
        if found.bound is not None:
            _prove(state, model, found.bound)
        if state.done or limits.over:
            break
        rows = violated_rows(model, master.columns, found.relaxed.columns)
        if not rows and effort == THOROUGH:
            break
        if rows:
            master = _pruned(model, master, found)
            master.add_rows(rows, model.demand, model.replicas)
        else:
            effort = THOROUGH
    return master, last


def _prove(state: SearchState, model: ColumnModel, bound: Fraction) -> None:
    """Keep a bound from the LP, if that has every pattern."""
    if model.complete:
        state.prove(ceil(bound), "column generation")


def _pruned(model: ColumnModel, master: Master, found: Generated) -> Master:
    """A master with only the columns of least reduced cost, where there are many more than rows."""
    from planner.solver.column_generation.master import Master
    from planner.solver.column_generation.restricted_master import promising

    most = 1_000 + 3 * len(model.rows)
    if len(master.columns) < 2 * most:
        return master
    kept = promising(model, master.columns, _duals(model, found), found.relaxed.prices, most)
    return Master(model, model.needs(model.demand, model.replicas), kept)


def _duals(model: ColumnModel, found: Generated) -> Floats:
    """(n_rows,) duals of the last LP; 0 for the rows that were added since."""
    known = found.relaxed.row_duals
    return np.pad(known, (0, len(model.rows) - len(known)))


def _close(state: SearchState, model: ColumnModel, master: Master) -> Generated | None:
    """Generate columns until the LP's value is proven to be a lower bound."""
    from planner.solver.column_generation.generate import generate

    state.say("closing the bound")
    limits = state.limits.within(state.limits.left_s / 2)  # the other half is for better plans
    needs = model.needs(model.demand, model.replicas)
    master.demand(needs, {}, {})
    found = generate(
        model, master, needs, model.demand, model.replicas,
        limits=limits,
        known=state.bound, cost=state.cost, step=state.step,
    )  # fmt: skip
    if found is not None and found.bound is not None:
        _prove(state, model, found.bound)
    return found


def _partition(state: SearchState, model: ColumnModel, master: Master) -> None:
    """Find a plan of as many GPUs as the LP's value, rounded up, or prove that there is none."""
    from planner.solver.column_generation.close_patterns import close_patterns
    from planner.solver.column_generation.set_partitioning import Partitioning

    state.say("set partitioning")
    price = model.problem.gpus[0].cost
    below = None if state.cost is None else state.cost // price
    limits = state.limits.within(state.limits.left_s * _PARTITIONING)
    close = close_patterns(model, master.columns, below=below, limits=limits)
    if close is None:
        return
    partitioning = Partitioning(columns=close.patterns, demand=model.demand, gpus=close.gpus, limits=limits)
    partitioning.search()
    if partitioning.counts is not None:
        counts = partitioning.counts
        _offer(state, model, Counter({close.patterns[p]: int(counts[p]) for p in np.flatnonzero(counts)}))
    elif partitioning.infeasible:
        state.prove((close.gpus + 1) * price, "set partitioning")


def _restricted(
    state: SearchState, model: ColumnModel, master: Master, found: Generated, *, target: int, rounds: int
) -> None:
    """Look for a cheaper plan by an integer programme over the columns so far and the layouts."""
    from planner.solver.column_generation.restricted_master import promising, solve_restricted

    if state.cost is not None and state.cost <= target:
        return
    state.say("restricted master")
    columns = promising(model, master.columns, _duals(model, found), found.relaxed.prices, _SCIP_COLUMNS)
    groups = solve_restricted(
        model,
        columns,
        limits=state.limits.within(state.limits.left_s / 2),
        node_limit=_SCIP_NODES * rounds,
        below=None if state.cost is None else state.cost - state.step,
    )
    if groups is not None:
        state.offer(groups)


def _improve(
    state: SearchState, model: ColumnModel, master: Master, found: Generated, *, target: int, rounds: int
) -> None:
    """Look for cheaper plans by diving and neighbourhoods, where every place is a whole GPU."""
    from planner.solver.column_generation.diving import Best, dive, start
    from planner.solver.column_generation.neighbourhoods import improve

    best = Best(step=state.step)
    if state.cost is not None and model.knows(state.gpus):
        best.offer(state.cost, model.patterns(state.gpus))
    duals = _duals(model, found)
    master = _pruned(model, master, found)
    random = Random(state.limits.seed)  # noqa: S311 (a search, not a secret)
    for done in range(0, rounds, _BATCH):
        if (state.cost is not None and state.cost <= target) or state.limits.over:
            return
        state.say("dive")
        drawn = random if done or rounds == _ROUNDS else None
        diving = state.limits.within(state.limits.left_s * _DIVING)
        dive(start(model), master, best, target=target, limits=diving, random=drawn)
        _offer(state, model, best.chosen)
        state.say("neighbourhoods")
        improve(
            model, best, duals, master.columns,
            target=target, rounds=min(rounds, _BATCH), random=random, limits=state.limits,
        )  # fmt: skip
        _offer(state, model, best.chosen)


def _offer(state: SearchState, model: ColumnModel, chosen: Counter[Pattern]) -> None:
    from planner.solver.column_generation.restricted_master import assembled

    if chosen:
        state.offer(assembled(model, chosen, {}))
