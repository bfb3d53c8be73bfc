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
from planner.replan.repair import CurrentGpu, ReplicaKey

_Signature = tuple[Any, ...]  # place, model, variant, instances, batch, concurrency and load share of a replica
_GAP = "no GPU has room to load its replacement first: fewer replicas serve until it is loaded"


def current_gpus(placement: Placement, formulation: Formulation) -> tuple[CurrentGpu, ...]:
    """Return the GPUs of a placement whose type is in the fleet; replicas that match no option are left out."""
    options = _options(formulation)
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


def replica_sizes(formulation: Formulation) -> dict[tuple[int, int], int]:
    """Return the MiB that a replica takes, by task and option; at least 1, so that no move counts as nothing."""
    return {
        (t, k): max(1, -(-candidate.memory_bytes // MIB))
        for t, task in enumerate(formulation.problem.tasks)
        for k, candidate in enumerate(map(_candidate_of, task.options))
    }


def moves_between(
    placement: Placement, gpus: Sequence[GpuGroup], ids: Sequence[str], formulation: Formulation
) -> tuple[Move, ...]:
    """Return the ordered steps from a placement to a plan whose GPUs have these ids."""
    sizes = {
        _identity(c): c.memory_bytes for task in formulation.problem.tasks for c in map(_candidate_of, task.options)
    }
    before, layouts, capacity = _parts_before(placement, formulation, sizes)
    after, recut = _parts_after(gpus, ids, formulation, layouts, capacity)
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


def _identity(candidate: Candidate) -> tuple[Any, ...]:
    """Return the model and operating point of a candidate."""
    p = candidate.point
    return candidate.model, p.variant, p.instances, p.batch, p.concurrency


def _placed_identity(model: PlacedModel) -> tuple[Any, ...]:
    """Return the model and operating point of a placed model."""
    return model.name, model.variant, model.instances, model.batch, model.concurrency


def _options(formulation: Formulation) -> dict[_Signature, list[tuple[int, int, str]]]:
    """Return task, option and served model of every option of the problem, by the signature of its replica."""
    found: dict[_Signature, list[tuple[int, int, str]]] = defaultdict(list)
    for t, task in enumerate(formulation.problem.tasks):
        for k, option in enumerate(task.options):
            candidate = _candidate_of(option)
            signature = (option.place, *_identity(candidate), round(candidate.share, 6))
            found[signature].append((t, k, formulation.request.requirements[t].model))
    return found


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
    options: Mapping[_Signature, Sequence[tuple[int, int, str]]],
) -> dict[ReplicaKey, int]:
    chosen = formulation.problem.gpus[g].layouts[layout]
    counts: Counter[ReplicaKey] = Counter()
    for model in gpu.models:
        start = model.slice.start if model.slice else 0
        j = chosen.starts.index(start) if start in chosen.starts else 0
        signature = (chosen.places[j], *_placed_identity(model), round(model.load_share, 6))
        match = next(((t, k) for t, k, name in options.get(signature, ()) if name == model.served), None)
        if match:
            counts[(j, *match)] += model.replicas
    return dict(counts)


def _parts_before(
    placement: Placement, formulation: Formulation, sizes: Mapping[tuple[Any, ...], int]
) -> tuple[dict[GpuPart, Counter[ServedReplica]], dict[str, str], dict[GpuPart, int]]:
    """Return the replicas of every GPU and slice now, each GPU's geometry, and each part's memory for models."""
    rooms = {(p.fleet_type.type, p.slice_name): p.memory_for_models for p in formulation.places}
    parts: dict[GpuPart, Counter[ServedReplica]] = {}
    layouts, capacity = {}, {}
    for gpu in placement.one_by_one():
        layouts[gpu.id] = _geometry_of(gpu)
        for model in gpu.models:
            part = GpuPart(gpu.id, (model.slice.profile, model.slice.start) if model.slice else ())
            parts.setdefault(part, Counter())[_replica_before(model, sizes)] += model.replicas
            room = rooms.get((gpu.type, model.slice.profile if model.slice else None), 0)
            capacity[part] = max(room, sum(r.memory_bytes * n for r, n in parts[part].items()))
    return parts, layouts, capacity


def _replica_before(model: PlacedModel, sizes: Mapping[tuple[Any, ...], int]) -> ServedReplica:
    """Return a current replica; its memory is that of the new profiles where they have its operating point."""
    then = round(model.memory_bytes / model.replicas)
    identity = _placed_identity(model)
    return ServedReplica(model.name, identity[1:], sizes.get(identity, then))


def _parts_after(
    gpus: Sequence[GpuGroup],
    ids: Sequence[str],
    formulation: Formulation,
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
                c = _candidate_of(formulation.problem.tasks[r.task].options[r.option])
                replicas[ServedReplica(c.model, _identity(c)[1:], c.memory_bytes)] += r.count
    return parts, recut
