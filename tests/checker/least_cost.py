"""A CP-SAT model of the planning rules over named GPUs and slices, written from docs/planning.md."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import combinations, pairwise, product
from math import ceil, floor
from typing import Any

from ortools.sat.python import cp_model

from tests.checker.operating_points import Asked, Point
from tests.checker.places import GpuKind, Place

UNITS = 10**7  # of a share of one, and of an inference/s
SAME = Fraction(1, 10**6)  # shares and rates that differ by less are equal
COST_UNITS = 10**4
_MOST_GPUS = 14  # named GPUs of a type without a count
_SECONDS = 5.0

Position = tuple[str, int] | None  # a slice and its first memory slice; None for the whole GPU


@dataclass(frozen=True, slots=True, kw_only=True)
class Least:
    """The answer of the model.

    Parameters
    ----------
    value : Fraction or None
        Least value of the objective; None where there is no plan, or where it is not known.
    known : bool
        Whether the answer is proven.
    """

    value: Fraction | None
    known: bool = True

    @property
    def infeasible(self) -> bool:
        """Whether it is proven that no plan exists."""
        return self.known and self.value is None


@dataclass(slots=True)
class NamedGpu:
    """A GPU with its variables: in use, slices that exist, replicas by demand, operating point and position."""

    name: str
    kind: GpuKind
    node: int
    used: Any
    whole: Any
    cuts: dict[tuple[str, int], Any] = field(default_factory=dict)
    counts: dict[tuple[int, Point, Position], Any] = field(default_factory=dict)

    def of(self, r: int) -> list[Any]:
        """Return the numbers of replicas for a demand."""
        return [n for (own, _, _), n in self.counts.items() if own == r]


class LeastCost:
    """The model; a subclass may add constraints before `solve`.

    Parameters
    ----------
    current : mapping of str to (type, node)
        GPUs with names; others are made for them.
    """

    def __init__(self, asked: Asked, current: Mapping[str, tuple[str, int]] | None = None) -> None:
        self.asked = asked
        self.hours = sorted(asked.hours)
        self.model = cp_model.CpModel()
        self.spare = asked.files.options.get("spare", 0)
        self.of_nodes = asked.files.options.get("spare_of", "gpu") == "node"
        self.gpus: list[NamedGpu] = []
        self.short: list[tuple[GpuKind, int]] = []  # types with fewer GPUs here than a plan may use
        for kind in asked.kinds:
            self._name_gpus(kind, {n: node for n, (name, node) in (current or {}).items() if name == kind.name})
        self.present = [self._presences(gpu) for gpu in self.gpus]
        for r in range(len(asked.models)):
            self._serve(r)
            self._rule(r)
        self._groups()

    @property
    def nodes_matter(self) -> bool:
        """Whether some rule is about nodes."""
        spread = any(m.get("spread") == "node" for m in self.asked.models)
        return spread or bool(self.spare and self.of_nodes)

    def _needed(self, kind: GpuKind) -> int:
        """GPUs of a type that a plan without a needless GPU has at most: each is needed for some demand."""
        total = 0
        for r, demand in enumerate(self.asked.models):
            own = [p for p in self._ways(r) if p.throughput or self.asked.rate(r) is None]
            rate, copies = self.asked.rate(r), demand.get("replicas", 1 if self.asked.rate(r) is None else 0)
            if own:
                by_rate = 0 if rate is None else ceil(rate / min(p.throughput or 1 for p in own))
                total += max(by_rate, copies) + self.spare * (kind.node_size if self.of_nodes else 1)
        return total

    def _ways(self, r: int) -> Iterable[Point]:
        return (p for (own, _, _), ways in self.asked.ways.items() if own == r for p in ways)

    def _name_gpus(self, kind: GpuKind, current: Mapping[str, int]) -> None:
        needed = self._needed(kind)
        most = min(needed + len(current), _MOST_GPUS + len(current) if kind.count is None else kind.count)
        if most < needed and kind.count is None:
            self.short.append((kind, most))
        nodes: dict[int, list[str]] = defaultdict(list)
        for name, node in current.items():
            nodes[node if self.nodes_matter else 0].append(name)
        if self.nodes_matter:
            n_nodes = most if kind.count is None else -(-kind.count // kind.node_size)
            sizes = [kind.in_node(node) for node in range(max([n_nodes, *(node + 1 for node in nodes)]))]
        else:
            sizes = [max(most, len(current))]
        for node, size in enumerate(sizes):
            names = nodes.get(node, [])
            names += [f"{kind.name}-{node}-{i}" for i in range(min(size, most) - len(names))]
            self.gpus += [self._gpu(name, kind, node) for name in names]
        own = [g for g in self.gpus if g.kind is kind]
        if not current:
            for a, b in pairwise(own):
                if a.node == b.node:
                    self.model.add(a.used >= b.used)
        if kind.count is not None:
            self.model.add(sum(g.used for g in own) <= kind.count)

    def _gpu(self, name: str, kind: GpuKind, node: int) -> NamedGpu:
        model = self.model
        gpu = NamedGpu(name=name, kind=kind, node=node, used=model.new_bool_var(""), whole=model.new_bool_var(""))
        model.add(gpu.whole <= gpu.used)
        self._fill(gpu, kind.whole, None, gpu.whole)
        taken: dict[int, list[Any]] = defaultdict(list)
        compute = []
        for place in kind.slices:
            here = []
            for start in place.kind.starts:
                cut = model.new_bool_var("")
                gpu.cuts[place.kind.name, start] = cut
                model.add(cut + gpu.whole <= 1)
                model.add(cut <= gpu.used)
                for memory_slice in range(start, start + place.kind.length):
                    taken[memory_slice].append(cut)
                here.append(cut)
                compute.append(place.kind.compute * cut)
                self._fill(gpu, place, (place.kind.name, start), cut)
            model.add(sum(here) <= place.kind.most)
        for cuts in taken.values():
            model.add_at_most_one(cuts)
        model.add(sum(compute) <= kind.compute_slices)
        return gpu

    def _fill(self, gpu: NamedGpu, place: Place, at: Position, there: Any) -> None:
        """Add the replicas that may run in a place, within its memory and its thresholds."""
        loads: dict[Any, list[Any]] = defaultdict(list)
        for r in range(len(self.asked.models)):
            for point in self.asked.ways[r, gpu.kind.name, place.slice_name]:
                most = self._most(r, point, place)
                if most < 1:
                    continue
                n = self.model.new_int_var(0, most, "")
                gpu.counts[r, point, at] = n
                self.model.add(n <= most * there)
                loads["memory"].append(point.memory * n)
                for name, shares in product(self.asked.counted, self.hours):
                    loads[name, shares].append(ceil(getattr(point, name) * shares[r] * UNITS) * n)
        self.model.add(sum(loads["memory"]) <= place.room)
        for name, shares in product(self.asked.counted, self.hours):
            limit = floor((gpu.kind.thresholds[name] + SAME) * UNITS)
            self.model.add(sum(loads[name, shares]) <= limit)

    def _most(self, r: int, point: Point, place: Place) -> int:
        """Replicas by an operating point that a GPU without needless ones may hold."""
        rate, copies = self.asked.rate(r), self.asked.models[r].get("replicas", 1)
        needed = copies if rate is None else max(copies, ceil(rate / point.throughput))
        return min(needed, place.room // point.memory) if point.memory else needed

    def _presences(self, gpu: NamedGpu) -> list[Any]:
        found = []
        for r in range(len(self.asked.models)):
            here = self.model.new_bool_var("")
            own = gpu.of(r)
            for n in own:
                self.model.add(n == 0).only_enforce_if(~here)
            self.model.add(sum(own) >= here)
            found.append(here)
        return found

    def _serve(self, r: int) -> None:
        """Meet the rate, or have the copies; whichever GPUs (or nodes) of the spare number are lost."""
        rate, copies = self.asked.rate(r), self.asked.models[r].get("replicas")
        parts: dict[Any, list[NamedGpu]] = defaultdict(list)
        for gpu in self.gpus:
            parts[(gpu.kind.name, gpu.node) if self.of_nodes else gpu.name].append(gpu)
        n_lost = min(self.spare, len(parts))
        for lost in combinations(parts, n_lost):
            left = [gpu for part, gpus in parts.items() if part not in lost for gpu in gpus]
            counts = [(point, n) for gpu in left for (own, point, _), n in gpu.counts.items() if own == r]
            replicas = sum(n for _, n in counts)
            if rate is None and not self.spare:
                self.model.add(replicas == (copies or 1))
            else:
                self.model.add(replicas >= (copies or (1 if rate is None else 0)))
            if rate is not None:
                served = sum(floor(point.throughput * UNITS) * n for point, n in counts)
                self.model.add(served >= ceil(rate * (1 - SAME) * UNITS))

    def _rule(self, r: int) -> None:
        demand = self.asked.models[r]
        nodes: dict[tuple[str, int], list[Any]] = defaultdict(list)
        for gpu, present in zip(self.gpus, self.present, strict=True):
            nodes[gpu.kind.name, gpu.node] += gpu.of(r)
            if demand.get("spread") == "gpu":
                self.model.add(sum(gpu.of(r)) <= 1)
            if demand.get("alone"):
                for other, there in enumerate(present):
                    if other != r:
                        self.model.add_at_most_one(present[r], there)
        if demand.get("spread") == "node":
            for counts in nodes.values():
                self.model.add(sum(counts) <= 1)

    def _groups(self) -> None:
        groups: dict[tuple[str, str], list[int]] = defaultdict(list)
        most: dict[str, int] = {}
        for r, demand in enumerate(self.asked.models):
            for key in ("apart", "together", "group_max"):
                for name in demand.get(key, ()):
                    groups[key, name].append(r)
            most |= demand.get("group_max", {})
        for (key, name), members in groups.items():
            for gpu, present in zip(self.gpus, self.present, strict=True):
                if key == "apart":
                    self.model.add_at_most_one(present[r] for r in members)
                elif key == "together":
                    for r in members[1:]:
                        self.model.add(present[r] == present[members[0]])
                else:
                    self.model.add(sum(n for r in members for n in gpu.of(r)) <= most[name])

    def solve(self) -> Least:
        """Return the least value of the objective."""
        objective = self.asked.files.options.get("objective", "gpus")
        terms = []
        for gpu in self.gpus:
            terms.append(round(gpu_value(gpu.kind, objective) * COST_UNITS) * gpu.used)
            terms += [
                round(replica_value(gpu.kind, point, objective) * COST_UNITS) * n
                for (_, point, _), n in gpu.counts.items()
                if replica_value(gpu.kind, point, objective)
            ]
        self.model.minimize(sum(terms))
        solver = cp_model.CpSolver()
        solver.parameters.num_workers = 1
        solver.parameters.max_time_in_seconds = _SECONDS
        status = solver.solve(self.model)
        if status == cp_model.INFEASIBLE:
            return Least(value=None, known=not self.short)
        if status != cp_model.OPTIMAL:
            return Least(value=None, known=False)
        value = Fraction(round(solver.objective_value), COST_UNITS)
        more = [gpu_value(kind, objective) * (most + 1) for kind, most in self.short]
        return Least(value=value, known=all(value <= other for other in more))


def gpu_value(kind: GpuKind, objective: str) -> Fraction:
    """Return what a GPU in use adds to the objective without its replicas."""
    if objective == "gpus":
        return Fraction(1)
    entry = kind.entry
    found = entry["cost_per_hour"] if objective == "cost" else entry.get("idle_power_w", entry.get("power_w"))
    return Fraction(found)


def replica_value(kind: GpuKind, point: Point, objective: str) -> Fraction:
    """Return what a replica adds: its measured power above the idle power, where that is given."""
    if objective != "energy" or "idle_power_w" not in kind.entry:
        return Fraction(0)
    return max(Fraction(0), point.power_w - Fraction(kind.entry["idle_power_w"])) * point.share
