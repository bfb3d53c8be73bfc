"""The packing problem in solver integers: what must be served, where replicas can run, and what GPUs there are.

Everything is an integer in units the caller chose: loads are rounded up, capacities, supplies down and demands up, so
that a plan that is right here is right in floats. Indices (`Option.place`, `Layout.places`, groups) point into the
tuples of `Problem`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from planner.problem.co_location import AtMost, KnownToHold, Rule, Spare, Together, Within

LARGEST = 2**42  # a million times it is still in int64


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where replicas run side by side behind one server: a whole GPU, or one kind of MIG slice.

    The capacity of a resource that is not limited is a number, up to `LARGEST`, that no content reaches.
    """

    name: str
    capacity: tuple[int, ...]  # per resource, the server's overhead and what is reserved already taken off

    def __post_init__(self) -> None:
        if any(not 0 <= c <= LARGEST for c in self.capacity):
            raise ValueError(f"place {self.name}: a capacity is negative or above {LARGEST}: {self.capacity}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One legal way to use a GPU: whole (one place at start 0) or cut into slices (one place each)."""

    name: str
    places: tuple[int, ...]  # the same place twice means two slices of that kind
    starts: tuple[int, ...] = (0,)  # first memory slice of each place, for the output only

    def __post_init__(self) -> None:
        if not self.places or len(self.starts) != len(self.places):
            raise ValueError(f"layout {self.name}: {len(self.places)} places with {len(self.starts)} starts")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuType:
    """A kind of GPU that can be used, `limit` times at most, at `cost` objective units each."""

    name: str
    layouts: tuple[Layout, ...]
    cost: int = 1
    limit: int | None = None  # None: as many as needed
    node_size: int = 1  # GPUs in one node

    def __post_init__(self) -> None:
        if not self.layouts or self.cost < 0 or self.node_size < 1 or (self.limit or 0) < 0:
            raise ValueError(f"GPU type {self.name}: no layout, or a negative figure")

    def in_node(self, node: int) -> int:
        """Return how many GPUs of the type a node has: with a limit the last node holds the rest, and others none."""
        if self.limit is None:
            return self.node_size
        return max(0, min(self.node_size, self.limit - node * self.node_size))


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to run a replica: on which kind of place, what it takes there and how much demand it serves.

    With a `tolerance`, a place with such a replica may be loaded with that much of each resource at most, this replica
    included, however large its capacity; None for a resource: any load within the capacity. Empty: of every resource.
    A content that is `KnownToHold` is right whatever its replicas tolerate.
    """

    place: int
    load: tuple[int, ...]
    tolerance: tuple[int | None, ...] = ()
    supply: int = 1  # 1 where the demand is a number of copies
    cost: int = 0  # objective units for each replica (energy); 0 where only GPUs are paid for
    candidate: object = None  # what the option stands for; the solver does not read it

    def __post_init__(self) -> None:
        if self.supply < 1 or self.cost < 0 or any(x < 0 for x in self.load):
            raise ValueError(f"an option needs a supply of at least 1 and no negative load or cost: {self}")
        if any(x is not None and x < 0 for x in self.tolerance):
            raise ValueError(f"a tolerance is negative: {self}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A model to serve: replicas, each by one option, whose supplies add up to the demand."""

    name: str
    options: tuple[Option, ...]
    demand: int = 1
    min_replicas: int = 0
    exact: bool = False  # the demand is a number of copies, of which no more may run

    def __post_init__(self) -> None:
        if self.demand < 0 or self.min_replicas < 0:
            raise ValueError(f"task {self.name}: negative demand")
        if self.exact and (any(o.supply != 1 for o in self.options) or self.min_replicas > self.demand):
            raise ValueError(f"task {self.name}: an exact demand is a number of copies")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Serve every task at the least total cost of GPUs and replicas, within the rules about which tasks share a GPU."""

    resources: tuple[str, ...]
    places: tuple[Place, ...]
    gpus: tuple[GpuType, ...]
    tasks: tuple[Task, ...]
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.resources)
        if any(len(place.capacity) != n for place in self.places):
            raise ValueError(f"every place needs a capacity for each of {self.resources}")
        for task in self.tasks:
            if any(len(o.load) != n or not 0 <= o.place < len(self.places) for o in task.options):
                raise ValueError(f"task {task.name}: an option with the wrong number of loads, or an unknown place")
            if any(o.tolerance and len(o.tolerance) != n for o in task.options):
                raise ValueError(f"task {task.name}: a tolerance is needed for each of {self.resources}, or for none")
        layouts = chain.from_iterable(gpu.layouts for gpu in self.gpus)
        if any(not 0 <= p < len(self.places) for layout in layouts for p in layout.places):
            raise ValueError("a layout names an unknown place")
        if any(not 0 <= t < len(self.tasks) for rule in self.rules for t in rule.tasks):
            raise ValueError("a rule names an unknown task")

    def room(self, option: Option) -> tuple[int, ...]:
        """Return what a place may be loaded with at most, per resource, while a replica by the option is on it."""
        capacity = self.places[option.place].capacity
        if not option.tolerance:
            return capacity
        return tuple(c if x is None else min(c, x) for c, x in zip(capacity, option.tolerance, strict=True))

    @property
    def has_tolerances(self) -> bool:
        """Whether replicas of some option limit what their place may be loaded with."""
        return any(option.tolerance for task in self.tasks for option in task.options)

    @property
    def known_to_hold(self) -> tuple[KnownToHold, ...]:
        """The contents that are right whatever their replicas tolerate."""
        return tuple(rule for rule in self.rules if isinstance(rule, KnownToHold))

    @property
    def excused(self) -> frozenset[tuple[int, int]]:
        """Tasks and options of which some place may have a replica that does not tolerate the load there."""
        return frozenset((part.task, k) for rule in self.known_to_hold for part in rule.parts for k in part.options)

    @property
    def ruled(self) -> frozenset[int]:
        """Tasks that some rule names."""
        return frozenset(t for rule in self.rules for t in rule.tasks)

    @property
    def grouped(self) -> frozenset[int]:
        """Tasks that some rule names beside others."""
        return frozenset(t for rule in self.rules if len(rule.tasks) > 1 for t in rule.tasks)

    @property
    def together(self) -> tuple[tuple[int, ...], ...]:
        """Groups of tasks that are on a GPU all or none; groups that have a task in common are one."""
        groups: list[set[int]] = []
        for rule in self.rules:
            if isinstance(rule, Together):
                touched = [group for group in groups if group & set(rule.tasks)]
                groups = [group for group in groups if group not in touched]
                groups.append(set(rule.tasks).union(*touched))
        return tuple(sorted(tuple(sorted(group)) for group in groups if len(group) > 1))

    @property
    def exact(self) -> frozenset[int]:
        """Tasks of which no more copies may run than asked for, though more might keep a group together."""
        return frozenset(t for group in self.together for t in group if self.tasks[t].exact)

    @property
    def nodes_matter(self) -> bool:
        """Whether a rule is about nodes."""
        return any(isinstance(rule, AtMost | Spare) and rule.within is Within.NODE for rule in self.rules)
