"""Express a placement in force in the integers of a new Problem, and list the moves to the new plan.         [pure]"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from analyzer.formats.units import MIB
from planner.formulation.candidates import Candidate
from planner.formulation.formulate import Formulation
from planner.inputs.mig_geometry import WHOLE
from planner.placement.document import Move, Placement
from planner.placement.placed_gpu import PlacedGpu, PlacedModel, SlicePosition
from planner.problem.plan import GpuGroup
from planner.problem.problem import Option
from planner.replan.migration_steps import GpuPart, ServedReplica, order_steps
from planner.replan.repair import CurrentGpu, LoadedAs, ReplicaKey

_Identity = tuple[Any, ...]  # place, model, variant, instances, batch and concurrency of a replica
_GAP = "no GPU has room to load its replacement first: fewer replicas serve until it is loaded"


def current_gpus(placement: Placement, formulation: Formulation) -> tuple[CurrentGpu, ...]:
    """Return the GPUs of a placement whose type is in the fleet; replicas that match no option are left out."""
    options = _Options(formulation)
    types = {gpu.name: g for g, gpu in enumerate(formulation.problem.gpus)}
    found = []
    for gpu in placement.one_by_one():
        g = types.get(gpu.type)
        if g is None:
            continue
        layout = _layout_index(formulation, g, gpu)
        found.append(
            CurrentGpu(
                id=gpu.id,
                gpu=g,
                layout=layout,
                node=gpu.nodes[0] if gpu.nodes else None,
                counts=_counts(gpu, formulation, g, layout, options) if layout is not None else {},
            )
        )
    return tuple(found)


def loaded_as(formulation: Formulation) -> dict[tuple[int, int], LoadedAs]:
    """Return what is loaded for a replica, by task and option; at least 1 MiB, so that no move counts as nothing."""
    kinds: dict[tuple[Any, ...], int] = {}
    found = {}
    for t, task in enumerate(formulation.problem.tasks):
        for k, c in enumerate(map(_candidate_of, task.options)):
            kind = kinds.setdefault((*_identity(c), c.device, c.memory_bytes), len(kinds))
            found[t, k] = LoadedAs(kind, max(1, -(-c.memory_bytes // MIB)))
    return found


def moves_between(
    placement: Placement, gpus: Sequence[GpuGroup], ids: Sequence[str], formulation: Formulation
) -> tuple[Move, ...]:
    """Return the ordered steps from a placement to a plan whose GPUs have these ids."""
    kinds = loaded_as(formulation)
    before, layouts, capacity = _parts_before(placement, formulation, kinds)
    after, recut = _parts_after(gpus, ids, formulation, kinds, layouts, capacity)
    return tuple(
        Move(
            step=number,
            action=step.action,
            gpu=step.gpu,
            slice=SlicePosition(profile=step.slice_position[0], start=step.slice_position[1])
            if step.slice_position
            else None,
            model=step.replica.model if step.replica else None,
            memory_bytes=step.replica.memory_bytes if step.replica else None,
            reason=_GAP if step.gap else "",
        )
        for number, step in enumerate(order_steps(before, after, capacity, recut), start=1)
    )


def _candidate_of(option: Option) -> Candidate:
    assert isinstance(option.candidate, Candidate)
    return option.candidate


def _identity(candidate: Candidate) -> _Identity:
    p = candidate.point
    return candidate.place, candidate.model, p.variant, p.instances, p.batch, p.concurrency


class _Options:
    """Finds the option of the problem that a placed model runs as."""

    def __init__(self, formulation: Formulation) -> None:
        self._requirements = formulation.request.requirements
        self._found: dict[_Identity, list[tuple[int, int, Candidate]]] = defaultdict(list)
        for t, task in enumerate(formulation.problem.tasks):
            for k, candidate in enumerate(map(_candidate_of, task.options)):
                self._found[_identity(candidate)].append((t, k, candidate))

    def match(self, model: PlacedModel, place: int) -> tuple[int, int] | None:
        """Return the task and option of a placed model; None where the problem has none with its operating point.

        Of several it is the nearest by what it serves, by its memory (another device's point has another) and by its
        load share.
        """
        one_bytes = model.memory_bytes / model.replicas

        def distance(found: tuple[int, int, Candidate]) -> tuple[bool, float, float]:
            t, _, candidate = found
            serves_another = self._requirements[t].model != model.served
            return serves_another, abs(candidate.memory_bytes - one_bytes), abs(candidate.share - model.load_share)

        identity = (place, model.name, model.variant, model.instances, model.batch, model.concurrency)
        nearest = min(self._found.get(identity, ()), key=distance, default=None)
        return nearest and nearest[:2]


def _layout_index(formulation: Formulation, g: int, gpu: PlacedGpu) -> int | None:
    layouts = formulation.problem.gpus[g].layouts
    return next((i for i, layout in enumerate(layouts) if layout.name == _geometry_of(gpu)), None)


def _geometry_of(gpu: PlacedGpu) -> str:
    return gpu.geometry.name if gpu.geometry else WHOLE


def _counts(
    gpu: PlacedGpu,
    formulation: Formulation,
    g: int,
    layout: int,
    options: _Options,
) -> dict[ReplicaKey, int]:
    chosen = formulation.problem.gpus[g].layouts[layout]
    counts: Counter[ReplicaKey] = Counter()
    for model in gpu.models:
        start = model.slice.start if model.slice else 0
        j = chosen.starts.index(start) if start in chosen.starts else 0
        match = options.match(model, chosen.places[j])
        if match:
            counts[(j, *match)] += model.replicas
    return dict(counts)


def _parts_before(
    placement: Placement, formulation: Formulation, kinds: Mapping[tuple[int, int], LoadedAs]
) -> tuple[dict[GpuPart, Counter[ServedReplica]], dict[str, str], dict[GpuPart, int]]:
    """Return the replicas of every GPU and slice now, each GPU's geometry, and each part's memory for models."""
    places = {(p.fleet_type.type, p.slice_name): number for number, p in enumerate(formulation.places)}
    options = _Options(formulation)
    parts: dict[GpuPart, Counter[ServedReplica]] = {}
    layouts, capacity = {}, {}
    for gpu in placement.one_by_one():
        layouts[gpu.id] = _geometry_of(gpu)
        for model in gpu.models:
            part = GpuPart(gpu.id, (model.slice.profile, model.slice.start) if model.slice else ())
            place = places.get((gpu.type, model.slice.profile if model.slice else None))
            found = options.match(model, place) if place is not None else None
            replica = (
                _replica(formulation, found, kinds)
                if found
                else ServedReplica(model.name, -1, round(model.memory_bytes / model.replicas))
            )
            parts.setdefault(part, Counter())[replica] += model.replicas
            room = formulation.places[place].memory_for_models if place is not None else 0
            capacity[part] = max(room, sum(r.memory_bytes * n for r, n in parts[part].items()))
    return parts, layouts, capacity


def _replica(
    formulation: Formulation, found: tuple[int, int], kinds: Mapping[tuple[int, int], LoadedAs]
) -> ServedReplica:
    """Return the replica of an option, with the memory of the profiles."""
    candidate = _candidate_of(formulation.problem.tasks[found[0]].options[found[1]])
    return ServedReplica(candidate.model, kinds[found].kind, candidate.memory_bytes)


def _parts_after(
    gpus: Sequence[GpuGroup],
    ids: Sequence[str],
    formulation: Formulation,
    kinds: Mapping[tuple[int, int], LoadedAs],
    layouts: Mapping[str, str],
    capacity: dict[GpuPart, int],
) -> tuple[dict[GpuPart, Counter[ServedReplica]], list[str]]:
    """Return the replicas of every GPU and slice in the plan, and the GPUs to be cut; add capacities of new parts."""
    parts: dict[GpuPart, Counter[ServedReplica]] = {}
    recut = []
    for placed, name in zip(gpus, ids, strict=True):
        layout = formulation.problem.gpus[placed.gpu].layouts[placed.layout]
        if layout.name != layouts.get(name, WHOLE):
            recut.append(name)
        for number, start, content in zip(layout.places, layout.starts, placed.contents, strict=True):
            place = formulation.places[number]
            part = GpuPart(name, (place.slice_name, start) if place.slice_name else ())
            capacity[part] = max(capacity.get(part, 0), place.memory_for_models)
            replicas = parts.setdefault(part, Counter())
            for r in content:
                replicas[_replica(formulation, (r.task, r.option), kinds)] += r.count
    return parts, recut
