"""Read a placement file into the checker's terms, and check the figures that it shows."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from math import isclose
from typing import Any

from tests.checker.least_cost import Position, gpu_value, replica_value
from tests.checker.operating_points import Asked, Point
from tests.checker.places import MIB, GpuKind, Place

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One GPU of a placement: its slices, and its replicas by demand, operating point and position."""

    name: str
    kind: GpuKind
    node: int | None
    cuts: tuple[tuple[str, int], ...]
    counts: Counter[tuple[int, Point, Position]] = field(default_factory=Counter)

    def replicas(self, r: int) -> int:
        """Return the number of replicas for a demand."""
        return sum(n for (own, _, _), n in self.counts.items() if own == r)

    def place(self, at: Position) -> Place:
        """Return the place at a position."""
        return next(p for p in self.kind.places if p.slice_name == (at and at[0]))


class Reader:
    """Reads the GPUs of a placement; `faults` says in words what is wrong with its figures."""

    def __init__(self, document: Document, asked: Asked) -> None:
        self.asked = asked
        self.document = document
        self.faults: list[str] = []
        self.gpus = [gpu for entry in document["gpus"] for gpu in self._entry(entry)]
        if document["objective"]["value"] is None:
            self._same("GPUs without a value", len(self.gpus), 0)
        else:
            self._objective()
            self._rates()

    def _same(self, what: str, shown: Any, expected: Any) -> None:
        if shown is None or expected is None:
            right = shown is None and expected is None
        else:
            right = isclose(float(shown), float(expected), rel_tol=1e-5, abs_tol=1e-4)
        if not right:
            self.faults.append(f"{what} is {shown}, not {None if expected is None else float(expected)}")

    def _entry(self, entry: Document) -> Iterator[Placed]:
        """Yield the GPUs that an entry stands for; with a count, they have the numbers after the first."""
        kind = next((k for k in self.asked.kinds if k.name == entry["type"]), None)
        if kind is None:
            self.faults.append(f"{entry['id']}: no type {entry['type']} in the fleet")
            return
        slices = entry.get("geometry", {}).get("slices", ())
        gpu = Placed(name=entry["id"], kind=kind, node=None, cuts=tuple((s["profile"], s["start"]) for s in slices))
        for model in entry["models"]:
            self._model(gpu, model)
        self._sums(gpu, entry, slices)
        first, nodes = int(entry["id"].removeprefix("gpu-")), entry.get("nodes", ())
        if nodes and len(nodes) != entry.get("count", 1):
            self.faults.append(f"{gpu.name}: {len(nodes)} nodes")
        for i in range(entry.get("count", 1)):
            yield Placed(
                name=f"gpu-{first + i}",
                kind=kind,
                node=nodes[i] if nodes else None,
                cuts=gpu.cuts,
                counts=gpu.counts,
            )

    def _model(self, gpu: Placed, shown: Document) -> None:
        """Find the operating point of replicas, and compare what they take and deliver."""
        where = f"{gpu.name}: {shown['name']}"
        served = shown.get("serves", shown["name"])
        r = next((r for r, m in enumerate(self.asked.models) if m["model"] == served), None)
        at = (shown["slice"]["profile"], shown["slice"]["start"]) if "slice" in shown else None
        if r is None or (at is not None and at not in gpu.cuts) or (at is None and gpu.cuts):
            self.faults.append(f"{where}: serves nothing, or runs on no slice of its GPU")
            return
        key = tuple(shown[name] for name in ("name", "variant", "instances", "batch", "concurrency"))
        point = next(
            (
                p
                for p in self.asked.ways[r, gpu.kind.name, at and at[0]]
                if p.identity[:5] == key and isclose(float(p.share), shown["load_share"], abs_tol=1e-6)
            ),
            None,
        )
        if point is None:
            self.faults.append(f"{where}: may not run at {key} there")
            return
        n, place = shown["replicas"], gpu.place(at)
        gpu.counts[r, point, at] += n
        self._same(f"{where}: memory_mib", shown["memory_mib"], Fraction(n * point.memory, MIB))
        self._same(f"{where}: throughput", shown["throughput_infer_per_s"], _times(point.throughput, n))
        self._same(
            f"{where}: utilization", shown["utilization_pct"], _times(point.utilization, n * place.compute * 100)
        )
        memory_utilization = _times(point.memory_utilization, n * place.bandwidth * 100)
        self._same(f"{where}: memory utilization", shown["memory_utilization_pct"], memory_utilization)
        self._same(f"{where}: p99", shown["latency_p99_ms"], point.p99_ms)
        if bool(shown.get("estimate")) != point.estimated:
            self.faults.append(f"{where}: estimate is {shown.get('estimate')!r}")

    def _sums(self, gpu: Placed, entry: Document, slices: Any) -> None:
        """Compare the sums over the models of a GPU and of each slice, with one server each where models run."""
        by_position: dict[Position, Counter[Point]] = defaultdict(Counter)
        busy: dict[Position, list[tuple[int, Fraction | None]]] = defaultdict(list)
        for (r, point, at), n in gpu.counts.items():
            by_position[at][point] += n
            busy[at].append((r, _times(point.utilization, n * 100)))
        memory = {at: used_bytes(gpu.place(at), points) for at, points in by_position.items()}
        self._same(f"{gpu.name}: memory_mib", entry["memory_mib"], Fraction(sum(memory.values()), MIB))
        self._same(f"{gpu.name}: capacity", entry["memory_capacity_mib"], Fraction(gpu.kind.whole.memory, MIB))
        for name, share in (("utilization", "compute"), ("memory_utilization", "bandwidth")):
            figures = [(r, _times(getattr(p, name), n * getattr(gpu.place(at), share) * 100))
                       for (r, p, at), n in gpu.counts.items()]  # fmt: skip
            self._same(f"{gpu.name}: {name}", entry[f"{name}_pct"], self._most(figures))
        for shown in slices:
            at = (shown["profile"], shown["start"])
            self._same(f"{gpu.name} {at}: memory", shown["memory_mib"], Fraction(memory.get(at, 0), MIB))
            self._same(f"{gpu.name} {at}: capacity", shown["memory_capacity_mib"], Fraction(gpu.place(at).memory, MIB))
            self._same(f"{gpu.name} {at}: utilization", shown["utilization_pct"], self._most(busy[at]))

    def _most(self, figures: list[tuple[int, Fraction | None]]) -> Fraction | None:
        """Add up what models take, by demand, in the hour in which it is most; None where a figure is not known."""
        if any(figure is None for _, figure in figures):
            return None
        return max(sum((f * shares[r] for r, f in figures), Fraction(0)) for shares in self.asked.hours)

    def _objective(self) -> None:
        shown = self.document["objective"]
        value = sum(
            gpu_value(gpu.kind, shown["kind"])
            + sum(n * replica_value(gpu.kind, point, shown["kind"]) for (_, point, _), n in gpu.counts.items())
            for gpu in self.gpus
        )
        self._same("value", shown["value"], value)
        self._same("number of GPUs", shown["gpus"], len(self.gpus))
        self._same("gap", shown["gap"], (value - Fraction(shown["lower_bound"])) / value if value else 0)
        if (self.document["status"] == "optimal") != (shown["gap"] == 0):
            self.faults.append(f"called {self.document['status']} with a gap of {shown['gap']}")

    def _rates(self) -> None:
        """The parts of a rate that the replicas serve add up to it, in proportion to what they deliver."""
        for r, demand in enumerate(self.asked.models):
            rate = self.asked.rate(r)
            delivered = sum(
                n * (p.throughput or 0) for g in self.gpus for (own, p, _), n in g.counts.items() if own == r
            )
            for entry in self.document["gpus"]:
                for shown in entry["models"]:
                    if shown.get("serves", shown["name"]) == demand["model"]:
                        part = rate and rate * Fraction(shown["throughput_infer_per_s"]) / delivered
                        self._same(f"rate of {shown['name']}", shown.get("rate_infer_per_s"), part)


def used_bytes(place: Place, points: Mapping[Point, int]) -> int:
    """Return the memory in use in a place: its models and one server."""
    return place.server + sum(n * point.memory for point, n in points.items()) if points else 0


def _times(figure: Fraction | None, factor: Fraction | int) -> Fraction | None:
    return None if figure is None else figure * factor
