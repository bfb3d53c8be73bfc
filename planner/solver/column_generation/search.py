"""The count problem over patterns: column generation bounds; dives, neighbourhoods and SCIP find whole numbers."""

from __future__ import annotations

import time
from collections import Counter
from math import ceil
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from planner.problem.plan import PlacedGpu, Replicas
from planner.solver.column_model import Column, Model
from planner.solver.greedy import Packing
from planner.solver.search_state import Search

if TYPE_CHECKING:
    from planner.solver.column_generation.generate import Generated
    from planner.solver.column_generation.master import Floats, Master

_ROUNDS = 400  # neighbourhoods in all: the search ends by itself, whatever the clock says
_BATCH = 40
_CUTS = 20  # rounds of rounding rows
_SCIP_COLUMNS = 4_000
_SCIP_NODES = 100  # for each neighbourhood that the other way would look at


def search_patterns(state: Search, model: Model) -> None:
    """Bound and improve by columns until proven, exhausted or out of time."""
    from planner.solver.column_generation.master import Master

    state.say("column generation")
    singles = [
        Column(place, ((i, int(items.bound[i])),))
        for place, items in model.items.items()
        for i in range(len(items.task))
    ]
    master = Master(model, model.needs(model.demand, model.replicas), [*singles, *_chosen(model, state.gpus)])
    master, found = _relax(state, model, master)
    if found is None or state.done:
        return
    guess = -(-ceil(found.relaxed.value - 1e-6) // state.step) * state.step  # the bound to come, if all goes well
    whole = _restricted if len(model.direct) < len(model.items) else _improve
    # Where the bound is still to be proven, the neighbourhoods wait for it.
    whole(state, model, master, found, target=max(state.bound, guess), rounds=1 if guess > state.bound else _BATCH)
    if not state.done and not state.out_of_time():
        found = _close(state, model, master) or found
    if not state.done and not state.out_of_time():
        whole(state, model, master, found, target=state.bound, rounds=_ROUNDS)


def _relax(state: Search, model: Model, master: Master) -> tuple[Master, Generated | None]:
    """Quick column generation and rounding rows in turn; the proof is worth its time only once the rows are in."""
    from planner.solver.column_generation.generate import QUICK, THOROUGH, generate
    from planner.solver.column_generation.rounding_cuts import violated_rows

    last: Generated | None = None
    effort = QUICK
    for _ in range(_CUTS):
        needs = model.needs(model.demand, model.replicas)
        found = generate(
            model, master, needs, model.demand, model.replicas, out_of_time=state.out_of_time, effort=effort
        )  # fmt: skip
        if found is None:
            break
        last = found
        if found.bound is not None:
            state.prove(ceil(found.bound), "column generation")
        if state.done or state.out_of_time():
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


def _lean(model: Model, master: Master, found: Generated) -> Master:
    """The programme without the columns that the LP has no use for."""
    from planner.solver.column_generation.master import Master
    from planner.solver.column_generation.restricted_master import promising

    most = 1_000 + 3 * len(model.rows)
    if len(master.columns) < 2 * most:
        return master
    lean = promising(model, master.columns, _duals(model, found), found.relaxed.prices, most)
    return Master(model, model.needs(model.demand, model.replicas), lean)


def _duals(model: Model, found: Generated) -> Floats:
    """(n_rows,) what the LP pays for each row; nothing yet for the rows that were added since."""
    known = found.relaxed.row_duals
    return np.pad(known, (0, len(model.rows) - len(known)))


def _close(state: Search, model: Model, master: Master) -> Generated | None:
    """The LP's bound, proven."""
    from planner.solver.column_generation.generate import generate

    state.say("closing the bound")
    deadline = time.monotonic() + state.left_s / 2  # the other half is for better plans
    needs = model.needs(model.demand, model.replicas)
    master.demand(needs, {}, {})
    found = generate(
        model, master, needs, model.demand, model.replicas,
        out_of_time=lambda: state.out_of_time() or time.monotonic() > deadline,
        known=state.bound, cost=state.cost, step=state.step,
    )  # fmt: skip
    if found is not None and found.bound is not None:
        state.prove(ceil(found.bound), "column generation")
    return found


def _restricted(state: Search, model: Model, master: Master, found: Generated, *, target: int, rounds: int) -> None:
    """The columns so far as an integer programme, slices and layouts together."""
    from planner.solver.column_generation.restricted_master import promising, solve_restricted

    if state.cost is not None and state.cost <= target:
        return
    state.say("restricted master")
    columns = promising(model, master.columns, _duals(model, found), found.relaxed.prices, _SCIP_COLUMNS)
    packing = solve_restricted(
        model,
        columns,
        time_limit_s=state.left_s / 2,
        node_limit=_SCIP_NODES * rounds,
        below=None if state.cost is None else state.cost - state.step,
    )
    if packing is not None:
        state.offer(placed_gpus(model, packing))


def _improve(state: Search, model: Model, master: Master, found: Generated, *, target: int, rounds: int) -> None:
    """Dives and neighbourhoods over places that are GPUs of their own."""
    from planner.solver.column_generation.diving import Best, dive, start
    from planner.solver.column_generation.neighbourhoods import improve

    best = Best(cost=state.cost, chosen=_chosen(model, state.gpus), step=state.step)
    duals = _duals(model, found)
    master = _lean(model, master, found)
    random = Random(state.seed)  # noqa: S311 (a search, not a secret)
    for done in range(0, rounds, _BATCH):
        if (state.cost is not None and state.cost <= target) or state.out_of_time():
            return
        state.say("dive")
        drawn = random if done or rounds == _ROUNDS else None
        dive(start(model), master, best, target=target, out_of_time=state.out_of_time, random=drawn)
        _take(state, model, best.chosen)
        state.say("neighbourhoods")
        improve(
            model, best, duals, master.columns,
            target=target, rounds=min(rounds, _BATCH), random=random, out_of_time=state.out_of_time,
        )  # fmt: skip
        _take(state, model, best.chosen)


def placed_gpus(model: Model, packing: Packing) -> tuple[PlacedGpu, ...]:
    """Columns as the plan's records."""
    return tuple(
        PlacedGpu(gpu=g, layout=j, contents=tuple(_content(model, c) for c in contents), count=times)
        for g, j, contents, times in packing
    )


def _content(model: Model, column: Column) -> tuple[Replicas, ...]:
    items = model.items[column.place]
    found = [(int(items.task[i]), int(items.option[i]), n) for i, n in column.content]
    return tuple(Replicas(task=t, option=k, count=n) for t, k, n in sorted(found))


def _take(state: Search, model: Model, chosen: Counter[Column]) -> None:
    from planner.solver.column_generation.restricted_master import assembled

    if chosen:
        state.offer(placed_gpus(model, assembled(model, chosen, {})))


def _chosen(model: Model, gpus: tuple[PlacedGpu, ...]) -> Counter[Column]:
    """A plan's contents as columns."""
    index = {
        place: {(int(t), int(k)): i for i, (t, k) in enumerate(zip(items.task, items.option, strict=True))}
        for place, items in model.items.items()
    }
    chosen: Counter[Column] = Counter()
    for group in gpus:
        layout = model.problem.gpus[group.gpu].layouts[group.layout]
        for place, content in zip(layout.places, group.contents, strict=True):
            if content:
                column = Column(place, tuple(sorted((index[place][r.task, r.option], r.count) for r in content)))
                chosen[column] += group.count
    return chosen
