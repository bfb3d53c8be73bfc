"""What a place can hold, as arrays: an item for each option of a task, and one for each bundle of a group.

Where rules hold across the slices of a cut GPU, a place is a whole layout: an item then says at which position of the
layout it runs, and the resources of every position are resources of the place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.problem.co_location import Alone, Apart, AtMost
from planner.problem.problem import Problem
from planner.solver.bundles import Bundle, Part, bundles, leading_task
from planner.solver.cp_sat.model import replicas_at_most
from planner.solver.known_contents import KnownContent, Search, known_contents
from planner.solver.sharing_rules import SharingRules, sharing_rules

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Items:
    """The items that a place can hold; arrays of shape (n_items,) unless said.

    Items of options come first, then bundles. A bundle's `task` is the number of tasks plus that of its group, and its
    supply is 1: `bundles` has what it serves.
    """

    place: int
    capacity: Ints  # (n_resources,), of the resources that can bind
    load: Ints  # (n_items, n_resources)
    relaxed_load: Ints  # likewise, in shares of what the item tolerates: those of a content are within the capacity
    bound: Ints  # most copies of each in one place
    task: Ints
    supply: Ints
    cost: Ints
    most: Ints  # (n_tasks + n_groups,) most replicas of a task in one place, all its options together
    sharing: SharingRules
    share: NDArray[np.float64]  # of the place that one copy takes, in the resource that it takes most of
    held: tuple[tuple[Part, ...], ...]  # the replicas that one copy of each stands for
    bundles: Bundled
    known: tuple[KnownContent, ...] = ()  # in which items may be whatever they tolerate
    complete: bool = True  # whether there is an item for every bundle that a plan may need

    @property
    def n_options(self) -> int:
        """Items that are not bundles."""
        return len(self.task) - self.bundles.number

    def searches(self, chosen: Ints) -> Iterator[Search]:
        """Yield what contents of these items can be made of: by what they tolerate, then each known content."""
        yield self._among(chosen)
        for known in self.known:
            own = np.isin(known.items, chosen)
            if own.any():
                items = known.items[own]
                yield known.search(own, self.load[items], self.capacity, self.sharing.of(items))

    def _among(self, chosen: Ints) -> Search:
        """With the capacity as room, or what the most tolerant of them tolerates."""
        sharing = self.sharing.of(chosen)
        load = np.ascontiguousarray(self.load[chosen])
        if not len(sharing.reserve):
            return Search(items=chosen, load=load, room=self.capacity, sharing=sharing)
        least = sharing.reserve.min(axis=0)
        sharing = sharing._replace(reserve=sharing.reserve - least)
        return Search(items=chosen, load=load, room=self.capacity - least, sharing=sharing)

    def wanted(self, left: Ints, replicas: Ints) -> Ints:
        """(n_items,) most copies of each item that fit and serve something that is left."""
        n = self.n_options
        task = self.task[:n]
        copies = np.maximum(-(-left[task] // self.supply[:n]), replicas[task])
        found = np.concatenate([copies, self.bundles.wanted(left, replicas)]) if self.bundles.number else copies
        return np.minimum(self.bound, np.maximum(found, 0))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bundled:
    """What bundles serve: arrays with an entry for each task of each bundle."""

    number: int  # of bundles
    bundle: Ints  # which one, from 0
    task: Ints
    count: Ints
    supply: Ints  # of all its replicas
    share: NDArray[np.float64]  # of the place that all its replicas take by themselves
    leading: NDArray[np.bool_]  # whether the bundles of a plan hold just as many replicas of this task as asked for

    def wanted(self, left: Ints, replicas: Ints) -> Ints:
        """(n_bundles,) 1 for bundles that serve something that is left, and after which a plan can go on."""
        useful = self._any((left[self.task] > 0) | (replicas[self.task] > 0))
        over = self._any(self.leading & (self.count > left[self.task]))
        last = self._any(self.leading & (self.count == left[self.task]))
        lacking = self._any((self.supply < left[self.task]) | (self.count < replicas[self.task]))
        found: Ints = (useful & ~over & ~(last & lacking)).astype(np.int64)
        return found

    def _any(self, of_entry: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(number,) whether it is so of any entry of the bundle."""
        found = np.zeros(self.number, dtype=np.bool_)
        np.logical_or.at(found, self.bundle, of_entry)
        return found


def place_items(problem: Problem, place: int, positions: Sequence[int], groups: Sequence[tuple[int, ...]]) -> Items:
    """Return the items of a place.

    Parameters
    ----------
    place : number of the place in the column model
    positions : the problem's places that it stands for: itself, or those of a layout
    groups : tasks that are on a GPU all or none; they have bundles in place of options
    """
    grouped = {t for group in groups for t in group}
    width = len(problem.resources)
    capacity = np.array([c for p in positions for c in problem.places[p].capacity], dtype=np.int64)
    most = _most(problem)
    found = [
        (t, k, j, o)
        for t, task in enumerate(problem.tasks)
        if t not in grouped
        for k, o in enumerate(task.options)
        for j, p in enumerate(positions)
        if o.place == p
    ]
    n = len(found)
    load = np.zeros((n, len(positions), width), dtype=np.int64)
    room = np.tile(capacity.reshape(1, len(positions), width), (n, 1, 1))  # of the place, while an item is on it
    for i, (_, _, j, o) in enumerate(found):
        load[i, j] = o.load
        room[i, j] = problem.room(o)
    load, room = load.reshape(n, len(capacity)), room.reshape(n, len(capacity))
    task = np.array([t for t, _, _, _ in found], dtype=np.int64)
    single = tuple(((j, t, k, 1),) for t, k, j, _ in found)
    known = known_contents(problem, single) if len(positions) == 1 else ()
    bound = _copies(load, room, most[task])
    for content in known:
        own = content.items
        copies = np.minimum(content.bounds(), most[task[own]])
        bound[own] = np.maximum(bound[own], _copies(load[own], capacity, copies))
    excused = problem.excused
    limits = [rule for rule in problem.rules if isinstance(rule, AtMost) and len(rule.tasks) > 1]
    named = np.column_stack([np.isin(task, rule.tasks).astype(np.int64) for rule in limits] or [np.zeros((n, 0), int)])
    held, complete = _bundles(problem, positions, groups, most)
    if held:
        load = np.concatenate([load, np.array([b.load for _, b in held], dtype=np.int64)])
        room = np.concatenate([room, np.array([b.room for _, b in held], dtype=np.int64)])
        counts = [[sum(c for _, t, _, c in b.parts if t in rule.tasks) for rule in limits] for _, b in held]
        named = np.concatenate([named, np.array(counts, dtype=np.int64).reshape(len(held), len(limits))])
    parts = (*single, *(tuple(sorted(b.parts)) for _, b in held))
    anywhere = np.array([any((t, k) in excused for _, t, k, _ in own) for own in parts], dtype=np.bool_)[:, None]
    share = _share(_relaxed(load, np.where(anywhere, capacity, room), capacity), capacity, len(positions))
    # A limit on several tasks acts like one more resource.
    load = np.column_stack([load, named])
    capacity = np.concatenate([capacity, np.array([rule.most for rule in limits], dtype=np.int64)])
    room = np.column_stack([room, np.broadcast_to(capacity[room.shape[1] :], named.shape)])
    reserve = capacity - room
    binding = _binding(load, capacity, reserve)
    one = np.ones(len(held), dtype=np.int64)
    reserve = np.ascontiguousarray(reserve[:, binding] if reserve.any() else reserve[:0, binding])
    sharing = sharing_rules(problem, positions, parts, _apart(problem, groups), reserve)
    return Items(
        place=place,
        capacity=np.ascontiguousarray(capacity[binding]),
        load=np.ascontiguousarray(load[:, binding]),
        relaxed_load=np.ascontiguousarray(_relaxed(load, np.where(anywhere, capacity, room), capacity)[:, binding]),
        bound=np.minimum(np.concatenate([bound, one]), sharing.copies()),
        task=np.concatenate([task, np.array([len(problem.tasks) + g for g, _ in held], dtype=np.int64)]),
        supply=np.concatenate([np.array([o.supply for _, _, _, o in found], dtype=np.int64), one]),
        cost=np.array([*(o.cost for _, _, _, o in found), *(b.cost for _, b in held)], dtype=np.int64),
        most=np.concatenate([most, np.ones(len(groups), dtype=np.int64)]),
        sharing=sharing,
        share=share,
        held=parts,
        bundles=_bundled(problem, positions, groups, [b for _, b in held]),
        known=known,
        complete=complete and not any(len(positions) > 1 or t in grouped for t, _ in excused),
    )


def _copies(load: Ints, room: Ints, most: Ints) -> Ints:
    """(n_items,) copies of each item that fit into the room (of each of them, or of all), `most` at most."""
    per_copy = np.where(load > 0, room // np.maximum(load, 1), np.iinfo(np.int64).max)
    copies: Ints = np.minimum(per_copy.min(axis=1, initial=np.iinfo(np.int64).max), most)
    return copies


def _relaxed(load: Ints, room: Ints, capacity: Ints) -> Ints:
    """(n_items, n_resources) loads as parts of the capacity, as large as the load is of the room beside the item.

    The items of a content have room for each other beside the least tolerant of them, so they fill no more than the
    whole capacity: load / room is at most load / the least room.
    """
    limited = room < capacity
    if not limited.any():
        return load
    relaxed = load.copy()
    whole = np.broadcast_to(capacity, load.shape)[limited].astype(object)  # integers without a limit
    relaxed[limited] = (load[limited] * whole // np.maximum(room[limited], 1)).astype(np.int64)
    return relaxed


def _most(problem: Problem) -> Ints:
    """(n_tasks,) most replicas of each task on a GPU."""
    most = np.array(replicas_at_most(problem), dtype=np.int64)
    for rule in problem.rules:
        if isinstance(rule, AtMost):
            most[list(rule.tasks)] = np.minimum(most[list(rule.tasks)], rule.most)
    return most


def _bundles(
    problem: Problem, positions: Sequence[int], groups: Sequence[tuple[int, ...]], most: Ints
) -> tuple[list[tuple[int, Bundle]], bool]:
    """Every group's bundles, with the number of the group; and whether these are all that a plan may need."""
    held: list[tuple[int, Bundle]] = []
    complete = True
    for g, group in enumerate(groups):
        own, whole = bundles(problem, group, positions, most.tolist())
        held += [(g, bundle) for bundle in own]
        complete &= whole
    return held, complete


def _bundled(
    problem: Problem, positions: Sequence[int], groups: Sequence[tuple[int, ...]], held: Sequence[Bundle]
) -> Bundled:
    total = np.maximum(np.array([problem.places[p].capacity for p in positions], dtype=np.int64).sum(axis=0), 1)
    leading = {leading_task(problem, group) for group in groups}
    sums: dict[tuple[int, int], list[float]] = {}  # bundle, task -> replicas, supply, share
    for i, bundle in enumerate(held):
        for _, t, k, n in bundle.parts:
            option = problem.tasks[t].options[k]
            share = n * float((np.array(option.load, dtype=np.int64) / total).max(initial=1e-9))
            old = sums.get((i, t), [0, 0, 0.0])
            sums[i, t] = [old[0] + n, old[1] + n * option.supply, old[2] + share]
    return Bundled(
        number=len(held),
        bundle=np.array([i for i, _ in sums], dtype=np.int64),
        task=np.array([t for _, t in sums], dtype=np.int64),
        count=np.array([n for n, _, _ in sums.values()], dtype=np.int64),
        supply=np.array([supply for _, supply, _ in sums.values()], dtype=np.int64),
        share=np.array([share for _, _, share in sums.values()], dtype=np.float64),
        leading=np.array([t in leading for _, t in sums], dtype=np.bool_),
    )


def _share(load: Ints, capacity: Ints, positions: int) -> NDArray[np.float64]:
    """(n_items,) share of all positions together that one copy takes, in the resource that it takes most of."""
    width = len(capacity) // positions
    total = capacity.reshape(positions, width).sum(axis=0)
    taken = load.reshape(len(load), positions, width).sum(axis=1)
    share: NDArray[np.float64] = (taken / np.maximum(total, 1)).max(axis=1, initial=1e-9)
    return share


def _apart(problem: Problem, groups: Sequence[tuple[int, ...]]) -> NDArray[np.bool_]:
    """Which tasks or groups may not share a place; of shape (0, 0) where no rule says so."""
    rules = [rule for rule in problem.rules if isinstance(rule, Apart | Alone)]
    if not rules:
        return np.zeros((0, 0), dtype=np.bool_)
    n = len(problem.tasks)
    apart = np.zeros((n + len(groups), n + len(groups)), dtype=np.bool_)
    for rule in rules:
        tasks = list(rule.tasks)
        if isinstance(rule, Alone):
            apart[tasks, :n] = True
            apart[:n, tasks] = True
        else:
            apart[np.ix_(tasks, tasks)] = True
    for g, group in enumerate(groups):
        apart[n + g, :] = apart[list(group), :].any(axis=0)
        apart[:, n + g] = apart[n + g, :]
    np.fill_diagonal(apart, val=False)
    return apart


def _binding(load: Ints, capacity: Ints, reserve: Ints) -> list[int]:
    """The resources that can bind: not one of which every item takes a smaller share than of another one.

    One of which an item tolerates less than the capacity is kept.
    """
    tolerated = reserve.any(axis=0)
    if int(load.max(initial=0)) * int(capacity.max(initial=0)) >= 2**63:
        load = load.astype(object)  # integers without a limit
    kept = list(range(len(capacity)))
    for r in range(len(capacity)):
        if len(kept) == 1:
            break
        for s in kept:
            if s == r or tolerated[r] or not capacity[s]:  # nothing is a share of a capacity of 0
                continue
            # Exact: load_r / capacity_r <= load_s / capacity_s for every item, cross-multiplied.
            if r in kept and np.all(load[:, r] * capacity[s] <= load[:, s] * capacity[r]):
                kept.remove(r)
                break
    return kept
