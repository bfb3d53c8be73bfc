"""The placement file: a plan with its figures, as JSON that schedulers and reports read.                    [pure]"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from planner.formulation.candidates import Choice, Mode
from planner.formulation.formulate import Formulation
from planner.formulation.gpu_places import Site
from planner.formulation.objective import from_units
from planner.inputs.fleet import FleetType
from planner.inputs.memory_size import to_mib
from planner.inputs.profiles import Profile
from planner.placement.reasons import why_unplaced
from planner.problem.plan import PlacedGpu, Plan, Replicas, Unplaced
from planner.problem.problem import Layout

SCHEMA_VERSION = "1.0"
_DIGITS = 6  # decimals kept of figures that come from sums of floats, so that equal plans are equal bytes

Placement = Mapping[str, Any]  # a document that data/placement.schema.json describes


def build_placement(
    plan: Plan,
    formulation: Formulation,
    profiles: Sequence[Profile],
    *,
    group: bool = False,
    search: Mapping[str, int | float] | None = None,
    ids: Sequence[str] = (),
    moves: Sequence[Mapping[str, Any]] | None = None,
) -> Placement:
    """Write a plan out in the user's units, without times or paths: the same input gives the same document.

    Parameters
    ----------
    group : bool
        Give GPUs that are cut and filled alike one entry with a count.
    search : mapping, optional
        How the search was limited (time limit, seed, workers).
    ids : sequence of str, optional
        Of the plan's GPUs, which then stand for one each; numbered in the plan's order without it.
    moves : sequence of mapping, optional
        The steps from the placement that was in force.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "status": plan.status.value,
        "mode": formulation.rules.mode.value,
        "objective": _objective(plan, formulation),
        "thresholds": _common_thresholds([s.fleet_type for s in formulation.sites], formulation.rules.mode),
        "gpus": _gpus(plan, formulation, ids, group=group),
        "unplaced": [_unplaced(u, formulation) for u in plan.unplaced],
        "gpu_types": [_gpu_type(s, formulation.rules.mode) for s in formulation.sites if not s.slice_name],
        "demand": [_requirement(formulation, i) for i in range(len(formulation.requirements))],
        "rules": _rules(formulation),
        **({} if moves is None else {"moves": list(moves)}),
        "provenance": {
            "tool": "tritonpack",
            "tool_version": version("tritonpack"),
            "devices": sorted({p.device for p in profiles}),
            "profiles_sha256": _fingerprint(profiles),
            "search": dict(search or {}),
            "notes": list(formulation.notes),
        },
    }


def _objective(plan: Plan, formulation: Formulation) -> dict[str, Any]:
    kind, divisor = formulation.rules.objective, formulation.cost_divisor
    found = plan.objective is not None
    return {
        "kind": kind.value,
        "unit": kind.unit,
        "value": _number(from_units(plan.objective, divisor)) if plan.objective is not None else None,
        "gpus": plan.n_gpus if found else None,
        "lower_bound": _number(from_units(plan.lower_bound, divisor)),
        "gap": None if plan.gap is None else round(plan.gap, _DIGITS),
        "bound_source": plan.bound_source,
    }


def _gpus(plan: Plan, formulation: Formulation, ids: Sequence[str], *, group: bool) -> list[dict[str, Any]]:
    rates = _rates(plan, formulation)
    entries: list[dict[str, Any]] = []
    n = 0
    for i, placed in enumerate(plan.gpus):
        figures = _placed(placed, formulation, rates)
        if ids:
            entries.append({"id": ids[i], **_nodes(placed.nodes), **figures})
        elif group:
            entries.append({"id": f"gpu-{n}", "count": placed.count, **_nodes(placed.nodes), **figures})
        else:
            entries += [
                {"id": f"gpu-{n + k}", **_nodes(placed.nodes[k : k + 1]), **figures} for k in range(placed.count)
            ]
        n += placed.count
    return entries


def _rates(plan: Plan, formulation: Formulation) -> dict[int, float]:
    """For each task with a rate, the rate to serve for every inference/s that its replicas can deliver together."""
    delivered: dict[int, float] = defaultdict(float)
    for placed in plan.gpus:
        for task, choice, n in (item for content in placed.contents for item in _choices(content, formulation)):
            delivered[task] += placed.count * n * (choice.throughput_infer_per_s or 0.0)
    asked = [r.rate_to_serve for r in formulation.requirements]
    return {t: rate / total for t, total in delivered.items() if (rate := asked[t]) is not None and total}


def _nodes(nodes: Sequence[int]) -> dict[str, Any]:
    return {"nodes": list(nodes)} if nodes else {}


def _placed(placed: PlacedGpu, formulation: Formulation, rates: Mapping[int, float]) -> dict[str, Any]:
    layout = formulation.problem.gpus[placed.gpu].layouts[placed.layout]
    sites = [formulation.sites[p] for p in layout.places]
    contents = [_choices(content, formulation) for content in placed.contents]
    everything = [(site, choice, n) for site, content in zip(sites, contents, strict=True) for _, choice, n in content]
    fleet_type = sites[0].fleet_type
    return {
        "type": fleet_type.type,
        "memory_capacity_mib": to_mib(fleet_type.memory_bytes),
        "memory_mib": to_mib(sum(_memory(s, content) for s, content in zip(sites, contents, strict=True))),
        "utilization_pct": _sum_pct([_of_gpu(c.utilization, s.compute_share * n) for s, c, n in everything]),
        "memory_utilization_pct": _sum_pct(
            [_of_gpu(c.memory_utilization, s.memory_share * n) for s, c, n in everything]
        ),
        "models": [
            _model(choice, count, formulation.requirements[task].model, site, rates.get(task)) | _where(site, start)
            for site, start, content in zip(sites, layout.starts, contents, strict=True)
            for task, choice, count in content
        ],
        **_geometry(layout, sites, contents),
    }


def _memory(site: Site, content: Sequence[tuple[int, Choice, int]]) -> int:
    """Bytes in use: the models and, where there are any, the server."""
    return site.server_bytes + sum(c.memory_bytes * n for _, c, n in content) if content else 0


def _of_gpu(share: float | None, factor: float) -> float | None:
    return None if share is None else share * factor


def _geometry(
    layout: Layout, sites: Sequence[Site], contents: Sequence[Sequence[tuple[int, Choice, int]]]
) -> dict[str, Any]:
    """How the GPU is cut, with each slice's own figures; nothing for a whole GPU."""
    if sites[0].slice_name is None:
        return {}
    pieces = [
        {
            "profile": site.slice_name,
            "start": start,
            "memory_capacity_mib": to_mib(site.memory_bytes),
            "memory_mib": to_mib(_memory(site, content)),
            "utilization_pct": _sum_pct([_of_gpu(c.utilization, n) for _, c, n in content]),
            "memory_utilization_pct": _sum_pct([_of_gpu(c.memory_utilization, n) for _, c, n in content]),
        }
        for site, start, content in zip(sites, layout.starts, contents, strict=True)
    ]
    return {"geometry": {"name": layout.name, "slices": pieces}}


def _choices(content: Sequence[Replicas], formulation: Formulation) -> list[tuple[int, Choice, int]]:
    found = []
    for replicas in content:
        choice = formulation.problem.tasks[replicas.task].options[replicas.option].point
        assert isinstance(choice, Choice)
        found.append((replicas.task, choice, replicas.count))
    return found


def _where(site: Site, start: int) -> dict[str, Any]:
    return {"slice": {"profile": site.slice_name, "start": start}} if site.slice_name else {}


def _model(choice: Choice, count: int, served: str, site: Site, rate: float | None) -> dict[str, Any]:
    """One entry for equal replicas; memory, throughput and utilizations (of the whole GPU) are those of all of them."""
    point = choice.point
    entry: dict[str, Any] = {
        "name": choice.model,
        "batch": point.batch,
        "concurrency": point.concurrency,
        "instances": point.instances,
        "memory_mib": to_mib(choice.memory_bytes * count),
        "throughput_infer_per_s": _times(choice.throughput_infer_per_s, count),
        "replicas": count,
        "variant": point.variant,
        "latency_p99_ms": _times(point.latency_p99_s, 1000),
        "utilization_pct": _times(choice.utilization, 100 * count * site.compute_share),
        "memory_utilization_pct": _times(choice.memory_utilization, 100 * count * site.memory_share),
        "load_share": _number(choice.share),
    }
    if rate is not None:
        entry["rate_infer_per_s"] = _times(choice.throughput_infer_per_s, count * rate)
    if served != choice.model:
        entry["serves"] = served
    if point.estimate:
        entry["estimate"] = point.estimate
    return entry


def _unplaced(unplaced: Unplaced, formulation: Formulation) -> dict[str, Any]:
    requirement = formulation.requirements[unplaced.task]
    by_rate = requirement.rate_to_serve is not None
    return {
        "name": requirement.model,
        "missing": _number(unplaced.missing / 1e6) if by_rate else unplaced.missing,
        "missing_unit": "infer_per_s" if by_rate else "copies",
        "cause": unplaced.cause.value,
        "reason": why_unplaced(unplaced, formulation),
    }


def _common_thresholds(types: Sequence[FleetType], mode: Mode) -> dict[str, float | None]:
    """The tightest of the types' thresholds; each type's own are under gpu_types."""
    every = [_thresholds(t, mode) for t in types]
    return {
        key: min((t[key] for t in every if t[key] is not None), default=None)  # type: ignore[type-var]
        for key in ("memory_pct", "utilization_pct", "memory_utilization_pct")
    }


def _thresholds(fleet_type: FleetType, mode: Mode) -> dict[str, float | None]:
    t, counted = fleet_type.thresholds, mode is Mode.THROUGHPUT
    return {
        "memory_pct": _number(t.memory * 100),
        "utilization_pct": _number(t.utilization * 100) if counted else None,
        "memory_utilization_pct": _number(t.memory_utilization * 100) if counted else None,
    }


def _gpu_type(site: Site, mode: Mode) -> dict[str, Any]:
    t = site.fleet_type
    return {
        "type": t.type,
        "memory_mib": to_mib(t.memory_bytes),
        "server_memory_mib": to_mib(site.server_bytes),
        "reserved_mib": to_mib(t.reserved_bytes),
        "model_overhead_mib": to_mib(t.model_overhead_bytes),
        "limit": t.limit,
        "cost_per_hour": t.cost_per_hour,
        "power_w": t.power_w,
        "idle_power_w": t.idle_power_w,
        "gpus_per_node": t.gpus_per_node,
        "devices": list(t.devices),
        "scaling": asdict(t.scaling) if t.scaling else None,
        "thresholds": _thresholds(t, mode),
        "mig": t.mig,
        "slice_memory_mib": {name: to_mib(size) for name, size in t.slice_memory},
    }


def _requirement(formulation: Formulation, index: int) -> dict[str, Any]:
    r = formulation.requirements[index]
    return {
        "model": r.model,
        "rate_infer_per_s": r.rate_infer_per_s,
        "latency_p99_ms": _times(r.latency_p99_s, 1000),
        "replicas": r.replicas,
        "spread": r.spread.value if r.spread else None,
        "alone": r.alone,
        "apart": list(r.apart),
        "together": list(r.together),
        "variants": list(r.variants),
        "growth": r.growth,
        "overhead_mib": to_mib(r.overhead_bytes),
    }


def _rules(formulation: Formulation) -> dict[str, Any]:
    rules = formulation.rules
    return {
        "keep_throughput": rules.keep_throughput,
        "proportional": rules.proportional,
        "spare": rules.spare,
        "spare_of": rules.spare_of.value,
        "batch": rules.batch,
        "concurrency": rules.concurrency,
    }


def _fingerprint(profiles: Sequence[Profile]) -> str:
    """SHA-256 over every figure of the profiles: says whether two plans rest on the same measurements."""
    digest = hashlib.sha256()
    for profile in profiles:
        digest.update(repr(profile).encode())
    return digest.hexdigest()


def _sum_pct(shares: Sequence[float | None]) -> float | None:
    """The sum in percent; None where one of them was not measured."""
    known = [share for share in shares if share is not None]
    return _number(math.fsum(known) * 100) if len(known) == len(shares) else None


def _times(figure: float | None, factor: float) -> float | None:
    return None if figure is None else _number(figure * factor)


def _number(figure: float) -> float:
    rounded = round(figure, _DIGITS)
    return int(rounded) if rounded == int(rounded) else rounded
