"""The count problem over patterns: column generation bounds; dives, neighbourhoods and SCIP find whole numbers."""

from __future__ import annotations

from collections import Counter
from math import ceil
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from planner.solver.column_model import ColumnModel, Pattern
from planner.solver.search_state import SearchState

if TYPE_CHECKING:
    from planner.solver.column_generation.generate import Generated
    from planner.solver.column_generation.master import Floats, Master

_ROUNDS = 400  # neighbourhoods in all: the search ends by itself, whatever the clock says
_BATCH = 40
_CUTS = 20  # rounds of rounding rows
_SCIP_COLUMNS = 4_000
_SCIP_NODES = 100  # for each neighbourhood that the other way would look at


def search_patterns(state: SearchState, model: ColumnModel) -> None:
    """Bound and improve by columns until proven, exhausted or out of time."""
    from planner.solver.column_generation.master import Master

    state.say("column generation")
    singles = [
        Pattern(place, ((i, int(items.bound[i])),))
        for place, items in model.items.items()
        for i in range(len(items.task))
    ]
    master = Master(model, model.needs(model.demand, model.replicas), [*singles, *model.patterns(state.gpus)])
    master, found = _relax(state, model, master)
    if found is None or state.done:
        return
    guess = -(-ceil(found.relaxed.value - 1e-6) // state.step) * state.step  # the bound to come, if all goes well
    whole = _restricted if len(model.direct) < len(model.items) else _improve
    # Where the bound is still to be proven, the neighbourhoods wait for it.
    whole(state, model, master, found, target=max(state.bound, guess), rounds=1 if guess > state.bound else _BATCH)
    if not state.done and not state.limits.over:
        found = _close(state, model, master) or found
    if not state.done and not state.limits.over:
        whole(state, model, master, found, target=state.bound, rounds=_ROUNDS)


def _relax(state: SearchState, model: ColumnModel, master: Master) -> tuple[Master, Generated | None]:
    """Quick column generation and rounding rows in turn; the proof is worth its time only once the rows are in."""
    from planner.solver.column_generation.generate import QUICK, THOROUGH, generate
    from planner.solver.column_generation.rounding_cuts import violated_rows

    last: Generated | None = None
    effort = QUICK
    for _ in range(_CUTS):
        needs = model.needs(model.demand, model.replicas)
        found = generate(
            model, master, needs, model.demand, model.replicas, limits=state.limits, effort=effort
        )  # fmt: skip
        if found is None:
            break
        last = found
        if found.bound is not None:
            state.prove(ceil(found.bound), "column generation")
        if state.done or state.limits.over:
            break
        rows = violated_rows(model, master.columns, found.relaxed.columns)
        if not rows and effort == THOROUGH:
            break
        if rows:
            master = _lean(model, master, found)
            master.add_rows(rows, model.demand, model.replicas)
        else:
            effort = THOROUGH
    return master, last


def _lean(model: ColumnModel, master: Master, found: Generated) -> Master:
    """The programme without the columns that the LP has no use for."""
    from planner.solver.column_generation.master import Master
    from planner.solver.column_generation.restricted_master import promising

    most = 1_000 + 3 * len(model.rows)
    if len(master.columns) < 2 * most:
        return master
    lean = promising(model, master.columns, _duals(model, found), found.relaxed.prices, most)
    return Master(model, model.needs(model.demand, model.replicas), lean)


def _duals(model: ColumnModel, found: Generated) -> Floats:
    """(n_rows,) what the LP pays for each row; nothing yet for the rows that were added since."""
    known = found.relaxed.row_duals
    return np.pad(known, (0, len(model.rows) - len(known)))


def _close(state: SearchState, model: ColumnModel, master: Master) -> Generated | None:
    """The LP's bound, proven."""
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
        state.prove(ceil(found.bound), "column generation")
    return found


def _restricted(
    state: SearchState, model: ColumnModel, master: Master, found: Generated, *, target: int, rounds: int
) -> None:
    """The columns so far as an integer programme, slices and layouts together."""
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
    """Dives and neighbourhoods over places that are GPUs of their own."""
    from planner.solver.column_generation.diving import Best, dive, start
    from planner.solver.column_generation.neighbourhoods import improve

    best = Best(cost=state.cost, chosen=model.patterns(state.gpus), step=state.step)
    duals = _duals(model, found)
    master = _lean(model, master, found)
    random = Random(state.limits.seed)  # noqa: S311 (a search, not a secret)
    for done in range(0, rounds, _BATCH):
        if (state.cost is not None and state.cost <= target) or state.limits.over:
            return
        state.say("dive")
        drawn = random if done or rounds == _ROUNDS else None
        dive(start(model), master, best, target=target, limits=state.limits, random=drawn)
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
