"""The ways to run a replica, by docs/planning.md: measured, scaled, and estimated on slices."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from tests.checker.places import MIB, GpuKind, Place, RefusedError, board_of, gpu_kinds, server_bytes, source_devices
from tests.checker.request_files import RequestFiles

Figure = Fraction | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What a replica delivers and takes; utilizations are shares of the place's time, memory is in bytes."""

    model: str
    variant: str
    instances: int
    batch: int
    concurrency: int
    throughput: Figure
    p99_ms: Figure
    memory: int
    utilization: Figure
    memory_utilization: Figure
    power_w: Figure
    share: Fraction = Fraction(1)
    estimated: bool = False

    @property
    def identity(self) -> tuple[str, str, int, int, int, int]:
        """What is loaded for it: a move is a load of another identity."""
        return self.model, self.variant, self.instances, self.batch, self.concurrency, self.memory


Ways = dict[tuple[int, str, str | None], tuple[Point, ...]]  # by demand, GPU type and slice


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request in the checker's terms: GPU types, and the ways to serve each demand on each of their places."""

    files: RequestFiles
    kinds: tuple[GpuKind, ...]
    ways: Ways
    counted: tuple[str, ...]  # utilizations that limit the plan

    @property
    def models(self) -> list[dict[str, Any]]:
        """The tables of the demand."""
        return self.files.demand["model"]

    def rate(self, r: int) -> Figure:
        """Return the rate to serve with its growth; None where copies are asked for."""
        rate = max(self.models[r].get("rates_by_hour_infer_per_s", ()), default=self.models[r].get("rate_infer_per_s"))
        growth = self.models[r].get("growth") or self.files.demand.get("growth", 1)
        return None if rate is None else Fraction(rate) * Fraction(growth)

    @property
    def hours(self) -> set[tuple[Fraction, ...]]:
        """For each hour the share of its highest rate that every demand has in it; hours that are alike once."""
        return set(zip(*(self._shares(r) for r in range(len(self.models))), strict=True))

    def _shares(self, r: int) -> list[Fraction]:
        rates = self.models[r].get("rates_by_hour_infer_per_s")
        return [Fraction(rate) / Fraction(max(rates)) for rate in rates] if rates else [Fraction(1)] * 24


def _by_rate(demand: Mapping[str, Any]) -> bool:
    return "rate_infer_per_s" in demand or "rates_by_hour_infer_per_s" in demand


def asked(files: RequestFiles) -> Asked:
    """State a request.

    Raises
    ------
    RefusedError
        If a figure that is needed was not measured.
    """
    rows = _counting_rows(files)
    kinds = gpu_kinds(files, rows)
    profiles = _profiles(rows, files)
    ways: Ways = {}
    for r, demand in enumerate(files.demand["model"]):
        for kind in kinds:
            for place in kind.places:
                own = tuple(_ways(demand, kind, place, profiles, files))
                ways[r, kind.name, place.slice_name] = own
    every = [p for own in ways.values() for p in own]
    for (_, name, _), own in ways.items():
        kind = next(k for k in kinds if k.name == name)
        _check_costs(kind, own, files)
    return Asked(files=files, kinds=kinds, ways=ways, counted=_counted(every, files))


def _counting_rows(files: RequestFiles) -> list[dict[str, str]]:
    """Rows that were measured in a closed loop, of the models of the demand, on devices that the fleet uses."""
    closed = [r for r in files.rows if r["status"] in ("", "ok", "unsettled") and not r["request_rate_per_s"]]
    serving = {name for m in files.demand["model"] for name in (m["model"], *m.get("variants", ()))}
    devices = {d for entry in files.fleet["gpu"] for d in source_devices(entry)}
    rows = [r for r in closed if r["model"] in serving and board_of(r["device"]) in devices]
    unmeasured = serving - {r["model"] for r in rows}
    if unmeasured:
        raise RefusedError(f"{unmeasured} not measured on any device of the fleet")
    return rows


def _profiles(rows: list[dict[str, str]], files: RequestFiles) -> dict[str, dict[str, list[Point]]]:
    """The points by model and device, those with the asked batch and concurrency; the last row of each counts."""
    found: dict[tuple[str, str], dict[tuple[Any, ...], Point]] = defaultdict(dict)
    for row in rows:
        point = _point(row, files)
        found[row["model"], row["device"]][point.variant, point.instances, point.batch, point.concurrency] = point
    profiles: dict[str, dict[str, list[Point]]] = defaultdict(dict)
    for (model, device), points in found.items():
        batch, concurrency = files.options.get("batch"), files.options.get("concurrency")
        kept = [p for p in points.values() if batch in (None, p.batch) and concurrency in (None, p.concurrency)]
        if not kept:
            raise RefusedError(f"{model} was not measured so on {device}")
        profiles[model][device] = kept
    return profiles


def _point(row: Mapping[str, str], files: RequestFiles) -> Point:
    def figure(column: str, unit: int = 1) -> Figure:
        return Fraction(row[column]) / unit if row[column] else None

    own = round(Fraction(row["max_memory_mib"]) * MIB) - server_bytes(row, files)
    return Point(
        model=row["model"],
        variant=row["variant"] or "default",
        instances=int(row["instances"] or 1),
        batch=int(row["batch"]),
        concurrency=int(row["concurrency"]),
        throughput=figure("throughput_infer_per_s"),
        p99_ms=figure("latency_p99_ms"),
        memory=max(0, own),
        utilization=figure("max_utilization_pct", 100),
        memory_utilization=figure("max_memory_utilization_pct", 100),
        power_w=figure("power_w"),
    )


def _times(figure: Figure, factor: Any) -> Figure:
    return None if figure is None else figure * Fraction(factor)


def _ways(
    demand: Mapping[str, Any],
    kind: GpuKind,
    place: Place,
    profiles: Mapping[str, Mapping[str, list[Point]]],
    files: RequestFiles,
) -> Iterator[Point]:
    budget = demand.get("latency_p99_ms")
    overhead = sum(
        round(Fraction(mib) * MIB) for mib in (demand.get("overhead_mib", 0), kind.entry.get("model_overhead_mib", 0))
    )
    for model in (demand["model"], *demand.get("variants", ())):
        on_whole = [p for points in _on_gpu(profiles[model], kind) for p in _within(points, budget)]
        for points in _on_place(profiles[model], kind, place):
            usable = _within(points, budget)
            for point in _chosen(usable, on_whole, demand, files):
                own = replace(point, memory=point.memory + overhead)
                yield from _shares(own, demand, files)


def _on_gpu(measured: Mapping[str, list[Point]], kind: GpuKind) -> list[list[Point]]:
    """What was measured on the type, else what its scale carries over."""
    own = [points for device, points in measured.items() if device in kind.devices]
    scale = kind.scale
    if own or scale is None or scale["from"] not in measured:
        return own
    utilization = scale.get("utilization", 1)
    return [
        [
            replace(
                p,
                throughput=_times(p.throughput, scale.get("throughput", 1)),
                p99_ms=_times(p.p99_ms, scale.get("latency", 1)),
                memory=round(p.memory * Fraction(scale.get("memory", 1))),
                utilization=_times(p.utilization, utilization),
                memory_utilization=_times(p.memory_utilization, utilization),
                power_w=None,
                estimated=True,
            )
            for p in measured[scale["from"]]
        ]
    ]


def _on_place(measured: Mapping[str, list[Point]], kind: GpuKind, place: Place) -> list[list[Point]]:
    if place.kind is None:
        return _on_gpu(measured, kind)
    devices = [f"{device} MIG {place.kind.name}" for device in kind.devices]
    own = [points for device, points in measured.items() if device in devices]
    return own or [[_on_slice(p, place) for p in points] for points in _on_gpu(measured, kind)]


def _on_slice(p: Point, place: Place) -> Point:
    """Estimate: utilization by 1 / share and at most 1, throughput less where it would exceed 1, p99 by the smaller."""
    used = None if p.utilization is None else p.utilization / place.compute
    read = None if p.memory_utilization is None else p.memory_utilization / place.bandwidth
    slower = 1 / place.compute if used is None else max(Fraction(1), used, read or Fraction(0))
    return replace(
        p,
        throughput=_times(p.throughput, 1 / slower),
        p99_ms=_times(p.p99_ms, 1 / min(place.compute, place.bandwidth)),
        utilization=None if used is None else min(Fraction(1), used),
        memory_utilization=None if read is None else min(Fraction(1), read),
        power_w=None,
        estimated=True,
    )


def _within(points: list[Point], budget: Any) -> list[Point]:
    return [p for p in points if budget is None or (p.p99_ms is not None and p.p99_ms <= budget)]


def _chosen(usable: list[Point], on_whole: list[Point], demand: Mapping[str, Any], files: RequestFiles) -> list[Point]:
    """With a rate every point with a throughput; without, by mode the least memory or the best throughputs."""
    if not usable or _by_rate(demand):
        return [p for p in usable if p.throughput]
    if files.options.get("mode") == "memory":
        return [min(usable, key=lambda p: (p.memory, -(p.throughput or 0)))]
    best = max(p.throughput or Fraction(0) for p in usable)
    if not best:
        raise RefusedError(f"{demand['model']} has no throughput")
    best = max([best, *(p.throughput or Fraction(0) for p in on_whole)])
    keep = Fraction(str(files.options.get("keep_throughput", 1)))
    return [p for p in usable if (p.throughput or 0) >= keep * best]


def _shares(point: Point, demand: Mapping[str, Any], files: RequestFiles) -> Iterator[Point]:
    if not (files.options.get("proportional") and _by_rate(demand)):
        yield point
        return
    for tenths in range(1, 11):
        yield replace(
            point,
            share=Fraction(tenths, 10),
            throughput=_times(point.throughput, Fraction(tenths, 10)),
            utilization=_times(point.utilization, Fraction(tenths, 10)),
            memory_utilization=_times(point.memory_utilization, Fraction(tenths, 10)),
        )


def _check_costs(kind: GpuKind, own: tuple[Point, ...], files: RequestFiles) -> None:
    objective = files.options.get("objective", "gpus")
    if objective == "cost" and "cost_per_hour" not in kind.entry:
        raise RefusedError(f"{kind.name} has no price")
    if objective != "energy":
        return
    if "idle_power_w" in kind.entry and any(p.power_w is None for p in own):
        raise RefusedError(f"power was not measured on {kind.name}")
    if "idle_power_w" not in kind.entry and "power_w" not in kind.entry:
        raise RefusedError(f"{kind.name} has no power")


def _counted(every: list[Point], files: RequestFiles) -> tuple[str, ...]:
    """Utilizations that limit the plan: not one that was measured nowhere; one that only some lack is refused."""
    if files.options.get("mode") == "memory" or not every:
        return ()
    found = []
    for name in ("utilization", "memory_utilization"):
        missing = [getattr(p, name) is None for p in every]
        if not any(missing):
            found.append(name)
        elif not all(missing):
            raise RefusedError(f"{name} was measured for some only")
    if not found:
        raise RefusedError("no utilization was measured")
    return tuple(found)
