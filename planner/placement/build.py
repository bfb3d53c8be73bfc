"""Make the placement record, in bytes, shares and inferences/s, from a plan in the solver's integers.       [pure]"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

from analyzer import __version__
from analyzer.formats.units import times
from planner.formulation.candidates import Candidate, Mode
from planner.formulation.formulate import Formulation
from planner.formulation.gpu_places import GpuPlace
from planner.formulation.objective import from_units
from planner.formulation.request import Request
from planner.formulation.resources import HourGroup, hour_groups
from planner.inputs.fleet import FleetType
from planner.inputs.profiles import Profile
from planner.interference.fitted import Interference
from planner.placement.document import (
    CountedThresholds,
    GpuTypeInUse,
    Move,
    ObjectiveReached,
    Placement,
    PlanProvenance,
    SearchUsed,
    UnplacedModel,
    as_counted,
)
from planner.placement.placed_gpu import GpuGeometry, PlacedGpu, PlacedModel, PlacedSlice, SlicePosition, gpu_id
from planner.placement.predictions import predictions, with_prediction
from planner.placement.reasons import why_unplaced
from planner.problem.plan import GpuGroup, Plan, Replicas, Unplaced

_Content = Sequence[tuple[int, Candidate, int]]  # replicas in one place: task, operating point, number of replicas
_KEYS_OF_STREAMS = (  # of operating points and demands, in the placement since 1.4
    *("ttft_p99_s", "itl_p99_s", "input_length", "output_length"),
    *("rate_requests_per_s", "memory_is_reservation"),
)


def build_placement(
    plan: Plan,
    formulation: Formulation,
    *,
    group: bool = False,
    search: SearchUsed | None = None,
    ids: Sequence[str] = (),
    moves: Sequence[Move] | None = None,
    plain_lower_bound: int | None = None,
) -> Placement:
    """Make the placement of a plan; it holds no times and no paths, so that the same input gives the same placement.

    Parameters
    ----------
    group : bool
        Give GPUs with the same geometry and content one entry with a count.
    search : SearchUsed, optional
        Limits of the search, for the provenance.
    ids : sequence of str, optional
        Ids of the plan's GPUs, whose groups then have one GPU each; without it they are numbered in the plan's order.
    moves : sequence of Move, optional
        The steps from the placement in force.
    plain_lower_bound : int, optional
        The lower bound of the same problem without what co-location costs.
    """
    request = formulation.request
    mode = request.rules.mode
    whole = [place for place in formulation.places if not place.slice_name]
    return Placement(
        schema_version=_version(request),
        status=plan.status,
        mode=mode,
        objective=_objective(plan, formulation, plain_lower_bound),
        thresholds=_tightest([as_counted(place.fleet_type.thresholds, mode) for place in whole]),
        gpus=tuple(_gpus(plan, formulation, ids, group=group)),
        unplaced=tuple(_unplaced(u, formulation) for u in plan.unplaced),
        gpu_types=tuple(_gpu_type(place, mode) for place in whole),
        demand=request.requirements,
        rules=request.rules,
        interference=_fits(request),
        moves=None if moves is None else tuple(moves),
        provenance=PlanProvenance(
            tool="tritonpack",
            tool_version=__version__,
            devices=tuple(sorted({p.device for p in request.profiles})),
            profiles_sha256=_fingerprint(request.profiles),
            search=search,
            notes=formulation.notes,
        ),
    )


def _fits(request: Request) -> tuple[Interference, ...]:
    """Return the fits of the devices that the plan's profiles were measured on."""
    devices = {profile.device for profile in request.profiles}
    return tuple(fit for fit in request.learnt.fits if fit.device in devices)


def _version(request: Request) -> str:
    """Return the oldest version that has all keys."""
    points = [point for profile in request.profiles for point in profile.points]
    if any(_has(one, _KEYS_OF_STREAMS) for one in (*points, *request.requirements)):
        return "1.4"
    if any(r.rates_by_hour_infer_per_s for r in request.requirements):
        return "1.3"
    if _fits(request):
        return "1.2"
    return "1.1" if any(r.group_max for r in request.requirements) else "1.0"


def _has(record: object, names: Sequence[str]) -> bool:
    return any(getattr(record, name, None) for name in names)


def _objective(plan: Plan, formulation: Formulation, plain_lower_bound: int | None) -> ObjectiveReached:
    divisor = formulation.cost_divisor
    return ObjectiveReached(
        kind=formulation.request.rules.objective,
        value=None if plan.objective is None else from_units(plan.objective, divisor),
        gpus=None if plan.objective is None else plan.n_gpus,
        lower_bound=from_units(plan.lower_bound, divisor),
        plain_lower_bound=None if plain_lower_bound is None else from_units(plain_lower_bound, divisor),
        gap=plan.gap,
        bound_source=plan.bound_source,
        within_moves=plan.within_moves,
    )


def _gpus(plan: Plan, formulation: Formulation, ids: Sequence[str], *, group: bool) -> list[PlacedGpu]:
    rates = _rates(plan, formulation)
    hours = hour_groups(formulation.request.requirements)
    entries: list[PlacedGpu] = []
    n = 0
    for i, placed in enumerate(plan.gpus):
        entry = _placed(placed, formulation, rates, hours, ids[i] if ids else gpu_id(n))
        entries += [entry] if ids or group else entry.one_by_one()
        n += placed.count
    return [replace(entry, count=None) for entry in entries] if ids else entries


def _rates(plan: Plan, formulation: Formulation) -> dict[int, float]:
    """Return for each task with a rate: the rate to serve, divided by what all its replicas can deliver together."""
    delivered: dict[int, float] = defaultdict(float)
    for placed in plan.gpus:
        for task, candidate, n in (item for content in placed.contents for item in _candidates(content, formulation)):
            delivered[task] += placed.count * n * (candidate.throughput_infer_per_s or 0.0)
    asked = [r.rate_to_serve for r in formulation.request.requirements]
    return {t: rate / total for t, total in delivered.items() if (rate := asked[t]) is not None and total}


def _placed(
    placed: GpuGroup, formulation: Formulation, rates: Mapping[int, float], hours: Sequence[HourGroup], name: str
) -> PlacedGpu:
    layout = formulation.problem.gpus[placed.gpu].layouts[placed.layout]
    places = [formulation.places[p] for p in layout.places]
    contents = [_candidates(content, formulation) for content in placed.contents]
    everything = [(place, *item) for place, content in zip(places, contents, strict=True) for item in content]
    return PlacedGpu(
        id=name,
        count=placed.count,
        nodes=placed.nodes,
        type=places[0].fleet_type.type,
        memory_capacity_bytes=places[0].fleet_type.memory_bytes,
        memory_bytes=sum(_memory(place, content) for place, content in zip(places, contents, strict=True)),
        utilization=_most([(t, times(c.utilization, place.compute_share * n)) for place, t, c, n in everything], hours),
        memory_utilization=_most(
            [(t, times(c.memory_utilization, place.memory_share * n)) for place, t, c, n in everything], hours
        ),
        models=tuple(
            model
            for place, start, content in zip(places, layout.starts, contents, strict=True)
            for model in _models(content, place, start, formulation, rates)
        ),
        geometry=_geometry(layout.name, layout.starts, places, contents, hours),
    )


def _candidates(content: Sequence[Replicas], formulation: Formulation) -> _Content:
    found = []
    for replicas in content:
        candidate = formulation.problem.tasks[replicas.task].options[replicas.option].candidate
        assert isinstance(candidate, Candidate)
        found.append((replicas.task, candidate, replicas.count))
    return found


def _memory(place: GpuPlace, content: _Content) -> int:
    """Return the bytes in use in a place: its models and one server; 0 without models."""
    return place.server_bytes + sum(c.memory_bytes * n for _, c, n in content) if content else 0


def _models(
    content: _Content, place: GpuPlace, start: int, formulation: Formulation, rates: Mapping[int, float]
) -> list[PlacedModel]:
    request = formulation.request
    predicted = predictions([(c, n) for _, c, n in content], request.learnt)
    return [
        with_prediction(
            _model(candidate, n, request.requirements[task].model, place, start, rates.get(task)), candidate, prediction
        )
        for (task, candidate, n), prediction in zip(content, predicted, strict=True)
    ]


def _model(
    candidate: Candidate, count: int, served: str, place: GpuPlace, start: int, rate: float | None
) -> PlacedModel:
    point = candidate.point
    return PlacedModel(
        name=candidate.model,
        batch=point.batch,
        concurrency=point.concurrency,
        instances=point.instances,
        memory_bytes=candidate.memory_bytes * count,
        throughput_infer_per_s=times(candidate.throughput_infer_per_s, count),
        replicas=count,
        variant=point.variant,
        latency_p99_s=point.latency_p99_s,
        utilization=times(candidate.utilization, count * place.compute_share),
        memory_utilization=times(candidate.memory_utilization, count * place.memory_share),
        load_share=candidate.share,
        rate_infer_per_s=None if rate is None else times(candidate.throughput_infer_per_s, count * rate),
        serves=None if served == candidate.model else served,
        estimate=point.estimate,
        ttft_p99_s=point.ttft_p99_s,
        itl_p99_s=point.itl_p99_s,
        input_length=point.input_length,
        output_length=point.output_length,
        memory_is_reservation=point.memory_is_reservation,
        slice=SlicePosition(profile=place.slice_name, start=start) if place.slice_name else None,
    )


def _geometry(
    name: str,
    starts: Sequence[int],
    places: Sequence[GpuPlace],
    contents: Sequence[_Content],
    hours: Sequence[HourGroup],
) -> GpuGeometry | None:
    """Return how the GPU is cut, with the figures of each slice; None for a whole GPU."""
    if places[0].slice_name is None:
        return None
    return GpuGeometry(
        name=name,
        slices=tuple(
            PlacedSlice(
                profile=place.slice_name or "",
                start=start,
                memory_capacity_bytes=place.memory_bytes,
                memory_bytes=_memory(place, content),
                utilization=_most([(t, times(c.utilization, n)) for t, c, n in content], hours),
                memory_utilization=_most([(t, times(c.memory_utilization, n)) for t, c, n in content], hours),
            )
            for place, start, content in zip(places, starts, contents, strict=True)
        ),
    )


def _unplaced(unplaced: Unplaced, formulation: Formulation) -> UnplacedModel:
    requirement = formulation.request.requirements[unplaced.task]
    by_rate = requirement.rate_to_serve is not None
    return UnplacedModel(
        name=requirement.model,
        missing=unplaced.missing / 1e6 if by_rate else unplaced.missing,
        missing_unit="infer_per_s" if by_rate else "copies",
        cause=unplaced.cause,
        reason=why_unplaced(unplaced, formulation),
    )


def _tightest(every: Sequence[CountedThresholds]) -> CountedThresholds:
    return CountedThresholds(
        **{
            name: min((t for c in every if (t := getattr(c, name)) is not None), default=None)
            for name in ("memory", "utilization", "memory_utilization")
        }
    )


def _gpu_type(place: GpuPlace, mode: Mode) -> GpuTypeInUse:
    given = {f.name: getattr(place.fleet_type, f.name) for f in fields(FleetType)}
    return GpuTypeInUse(**given, server_bytes=place.server_bytes, counted=as_counted(place.fleet_type.thresholds, mode))


def _fingerprint(profiles: Sequence[Profile]) -> str:
    """Return the SHA-256 over every figure of the profiles; it tells whether two plans use the same measurements."""
    digest = hashlib.sha256()
    for profile in profiles:
        digest.update(repr(profile).encode())
    return digest.hexdigest()


def _most(figures: Sequence[tuple[int, float | None]], hours: Sequence[HourGroup]) -> float | None:
    """Return the sum over tasks and their shares in the hours in which it is largest; None where one is not known."""
    known = [(task, figure) for task, figure in figures if figure is not None]
    if len(known) < len(figures):
        return None
    return max(math.fsum(figure * group.shares[task] for task, figure in known) for group in hours)
