"""Large-neighbourhood search: empty the GPUs that earn least by the LP's duals, and pack their replicas anew.

The LP of a neighbourhood is solved first: only if it is cheaper than the emptied GPUs by a whole step of the cost are
whole numbers searched.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np

from planner.solver.column_generation.diving import Best, Chosen, Residual, dive, start
from planner.solver.column_generation.generate import QUICK, generate
from planner.solver.column_generation.master import Floats, Master
from planner.solver.column_model import ColumnModel, Ints, Pattern, Row
from planner.solver.limits import SearchLimits


def improve(
    model: ColumnModel,
    best: Best,
    duals: Floats,
    pool: list[Pattern],
    *,
    target: int,
    rounds: int,
    random: Random,
    limits: SearchLimits,
) -> None:
    """Try `rounds` neighbourhoods; their size grows after failures, and starts again from the smallest."""
    size = 24
    failures = 0
    for _ in range(rounds):
        if limits.over or best.cost is None or best.cost <= target:
            return
        kept = trimmed(model, best.chosen)
        total = sum(kept.values())
        freed = _draw(model, kept, duals, min(size, total), random)
        if _repack(model, best, kept, freed, pool, random, target, limits):
            failures = 0
            continue
        failures += 1
        if failures % 4 == 0:
            size = size * 3 // 2 if size < min(160, total) else 24


def trimmed(model: ColumnModel, chosen: Chosen) -> Chosen:
    """Return the same GPUs without the replicas that exceed the demand."""
    supply = Counter[int]()
    replicas = Counter[int]()
    for column, times in chosen.items():
        s, r = model.served(column)
        for t, n in s.items():
            supply[t] += n * times
        for t, n in r.items():
            replicas[t] += n * times
    kept: Chosen = Counter()
    for column, times in chosen.items():
        for _ in range(times):
            kept[_trim(model, column, supply, replicas)] += 1
    return +Counter({c: n for c, n in kept.items() if c.content})


def _trim(model: ColumnModel, column: Pattern, supply: Counter[int], replicas: Counter[int]) -> Pattern:
    items = model.items[column.place]
    content = []
    for i, n in column.content:
        if i >= items.n_options:
            if not _drop_bundle(model, Pattern(column.place, ((i, n),)), supply, replicas):
                content.append((i, n))
            continue
        t = int(items.task[i])
        task = model.problem.tasks[t]
        one = int(items.supply[i])
        drop = min(n, (supply[t] - task.demand) // one, replicas[t] - task.min_replicas)
        drop = max(0, drop)
        supply[t] -= drop * one
        replicas[t] -= drop
        if n > drop:
            content.append((i, n - drop))
    return Pattern(column.place, tuple(content))


def _drop_bundle(model: ColumnModel, bundle: Pattern, supply: Counter[int], replicas: Counter[int]) -> bool:
    """Whether everything that a bundle serves is served without it; then it is taken off what is served."""
    own_supply, own_replicas = model.served(bundle)
    for t, n in own_supply.items():
        task = model.problem.tasks[t]
        if supply[t] - n < task.demand or replicas[t] - own_replicas[t] < task.min_replicas:
            return False
    supply.subtract(own_supply)
    replicas.subtract(own_replicas)
    return True


def _draw(model: ColumnModel, chosen: Chosen, duals: Floats, size: int, random: Random) -> Chosen:
    """The `size` GPUs whose contents, by the duals, earn the least share of their cost; with random noise."""
    matrices = {place: model.coefficients(place).earned(duals) for place in model.items}
    noise = random.choice([0.02, 0.1, 0.4])
    scored = []
    for column, times in chosen.items():
        cost = model.cost(column)
        earned = sum(float(matrices[column.place][i]) * n for i, n in column.content)
        scored += [((cost - earned) / cost + noise * random.random(), column) for _ in range(min(times, size))]
    scored.sort(key=lambda pair: -pair[0])
    return Counter(column for _, column in scored[:size])


def _repack(
    model: ColumnModel,
    best: Best,
    kept: Chosen,
    freed: Chosen,
    pool: list[Pattern],
    random: Random,
    target: int,
    limits: SearchLimits,
) -> bool:
    """Whether the contents of the freed GPUs could be packed more cheaply; `best` then has that plan."""
    rest = kept - freed
    base = start(model)
    for column, times in rest.items():
        base.take(column, times)
    left, replicas = np.maximum(base.left, 0), np.maximum(base.replicas, 0)
    before = sum(model.cost(c) * n for c, n in freed.items())
    part = model.with_rows(_wanted_rows(model, left, replicas))
    needs = part.needs(left, replicas)
    master = Master(part, needs, [*freed, *_useful(model, pool, left)])
    master.demand(needs, {}, base.used)
    found = generate(part, master, needs, left, replicas, limits=limits, effort=QUICK)
    if found is None or found.relaxed.value > before - best.step + 1e-6:
        return False
    local = Best(cost=best.cost, step=best.step)
    for attempt in range(3):
        state = Residual(
            model=part, left=base.left.copy(), replicas=base.replicas.copy(), used=dict(base.used),
            cost=base.cost, chosen=Counter(base.chosen),
        )  # fmt: skip
        dive(state, master, local, target=target, limits=limits, random=random if attempt else None)
        if local.cost is not None and best.cost is not None and local.cost < best.cost:
            best.offer(local.cost, local.chosen)
            return True
    return False


def _wanted_rows(model: ColumnModel, left: Ints, replicas: Ints) -> list[Row]:
    """The rows that are not met without the freed GPUs."""
    return [row for row, need in zip(model.rows, model.needs(left, replicas), strict=True) if need > 0 or row.capped]


def _useful(model: ColumnModel, pool: list[Pattern], left: Ints, most: int = 1500) -> list[Pattern]:
    """The latest patterns of the pool, `most` at most, that hold only tasks with demand left."""
    none = np.zeros_like(left)
    wanted = {place: (items.wanted(left, none) > 0).tolist() for place, items in model.items.items()}
    found: list[Pattern] = []
    for column in reversed(pool):
        if all(wanted[column.place][i] for i, _ in column.content):
            found.append(column)
            if len(found) == most:
                break
    return found
