"""A placement that is in force, in the terms of a new Problem; and the way from it to the new plan.         [pure]"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from analyzer.formats.units import MIB
from planner.formulation.candidates import Choice
from planner.formulation.formulate import Formulation
from planner.inputs.memory_size import to_mib
from planner.inputs.mig_geometry import WHOLE
from planner.placement.difference import expanded
from planner.placement.document import Placement
from planner.problem.plan import PlacedGpu
from planner.problem.problem import Option
from planner.replan.migration_steps import Item, Seat, order_steps
from planner.replan.repair import Held, Key

_Signature = tuple[Any, ...]  # of a replica: place, model, variant, instances, batch, concurrency, share


def held_gpus(placement: Placement, formulation: Formulation) -> tuple[Held, ...]:
    """The GPUs of a placement that are of a type of the fleet; what has no option any more is left out."""
    options = _options(formulation)
    types = {gpu.name: g for g, gpu in enumerate(formulation.problem.gpus)}
    held = []
    for gpu in expanded(placement):
        g = types.get(gpu["type"])
        if g is None:
            continue
        layout = _layout_index(formulation, g, gpu)
        held.append(
            Held(
                id=gpu["id"],
                gpu=g,
                layout=layout,
                node=gpu["nodes"][0] if gpu.get("nodes") else None,
                counts=_counts(gpu, formulation, g, layout, options) if layout is not None else {},
            )
        )
    return tuple(held)


def replica_sizes(formulation: Formulation) -> dict[tuple[int, int], int]:
    """MiB that a replica takes, by task and option; at least 1, so that no move is free."""
    return {
        (t, k): max(1, -(-choice.memory_bytes // MIB))
        for t, task in enumerate(formulation.problem.tasks)
        for k, choice in enumerate(map(_choice_of, task.options))
    }


def steps_between(
    placement: Placement, gpus: Sequence[PlacedGpu], ids: Sequence[str], formulation: Formulation
) -> list[dict[str, Any]]:
    """The ordered steps from a placement to a plan whose GPUs have these ids, as the placement file lists them."""
    sizes = {_what(c): c.memory_bytes for task in formulation.problem.tasks for c in map(_choice_of, task.options)}
    before, layouts, capacity = _seats_before(placement, formulation, sizes)
    after, recut = _seats_after(gpus, ids, formulation, layouts, capacity)
    steps = order_steps(before, after, capacity, recut)
    listed = []
    for number, step in enumerate(steps, start=1):
        entry: dict[str, Any] = {"step": number, "action": step.action.value, "gpu": step.gpu}
        if step.piece:
            entry["slice"] = {"profile": step.piece[0], "start": step.piece[1]}
        if step.item:
            entry |= {"model": step.item.model, "memory_mib": to_mib(step.item.memory_bytes)}
        if step.gap:
            entry["reason"] = "no GPU has room to load its replacement first: fewer replicas serve until it is loaded"
        listed.append(entry)
    return listed


def _choice_of(option: Option) -> Choice:
    assert isinstance(option.point, Choice)
    return option.point


def _what(choice: Choice) -> tuple[Any, ...]:
    """The model and its operating point."""
    p = choice.point
    return choice.model, p.variant, p.instances, p.batch, p.concurrency


def _options(formulation: Formulation) -> dict[_Signature, list[tuple[int, int, str]]]:
    """Task, option and served model of every way to run a replica, by its signature."""
    found: dict[_Signature, list[tuple[int, int, str]]] = defaultdict(list)
    for t, task in enumerate(formulation.problem.tasks):
        for k, option in enumerate(task.options):
            choice = _choice_of(option)
            key = (option.place, *_what(choice), round(choice.share, 6))
            found[key].append((t, k, formulation.requirements[t].model))
    return found


def _layout_index(formulation: Formulation, g: int, gpu: Mapping[str, Any]) -> int | None:
    name = (gpu.get("geometry") or {}).get("name", WHOLE)
    layouts = formulation.problem.gpus[g].layouts
    return next((i for i, layout in enumerate(layouts) if layout.name == name), None)


def _counts(
    gpu: Mapping[str, Any],
    formulation: Formulation,
    g: int,
    layout: int,
    options: Mapping[_Signature, Sequence[tuple[int, int, str]]],
) -> dict[Key, int]:
    chosen = formulation.problem.gpus[g].layouts[layout]
    counts: Counter[Key] = Counter()
    for model in gpu["models"]:
        start = (model.get("slice") or {}).get("start", 0)
        j = chosen.starts.index(start) if start in chosen.starts else 0
        key = (
            chosen.places[j],
            model["name"],
            model.get("variant", "default"),
            model["instances"],
            model["batch"],
            model["concurrency"],
            round(model.get("load_share", 1), 6),
        )
        served = model.get("serves", model["name"])
        match = next(((t, k) for t, k, name in options.get(key, ()) if name == served), None)
        if match:
            counts[(j, *match)] += model.get("replicas", 1)
    return dict(counts)


def _seats_before(
    placement: Placement, formulation: Formulation, sizes: Mapping[tuple[Any, ...], int]
) -> tuple[dict[Seat, Counter[Item]], dict[str, str], dict[Seat, int]]:
    """What is on every GPU and slice now, how each GPU is cut, and what fits there."""
    sites = {(s.fleet_type.type, s.slice_name): s.memory_for_models for s in formulation.sites}
    seats: dict[Seat, Counter[Item]] = {}
    layouts, capacity = {}, {}
    for gpu in expanded(placement):
        layouts[gpu["id"]] = (gpu.get("geometry") or {}).get("name", WHOLE)
        for model in gpu["models"]:
            piece = model.get("slice")
            seat = Seat(gpu["id"], (piece["profile"], piece["start"]) if piece else ())
            seats.setdefault(seat, Counter())[_item_before(model, sizes)] += model.get("replicas", 1)
            room = sites.get((gpu["type"], piece["profile"] if piece else None), 0)
            capacity[seat] = max(room, sum(i.memory_bytes * n for i, n in seats[seat].items()))
    return seats, layouts, capacity


def _item_before(model: Mapping[str, Any], sizes: Mapping[tuple[Any, ...], int]) -> Item:
    """A replica that is there; its memory as it is known now, which may have been measured anew since."""
    what = (model.get("variant", "default"), model["instances"], model["batch"], model["concurrency"])
    then = round(model["memory_mib"] / model.get("replicas", 1) * MIB)
    return Item(model["name"], what, sizes.get((model["name"], *what), then))


def _seats_after(
    gpus: Sequence[PlacedGpu],
    ids: Sequence[str],
    formulation: Formulation,
    layouts: Mapping[str, str],
    capacity: dict[Seat, int],
) -> tuple[dict[Seat, Counter[Item]], list[str]]:
    """What will be on every GPU and slice, and which GPUs are cut anew; adds the new seats' capacities."""
    seats: dict[Seat, Counter[Item]] = {}
    recut = []
    for placed, name in zip(gpus, ids, strict=True):
        layout = formulation.problem.gpus[placed.gpu].layouts[placed.layout]
        if layout.name != layouts.get(name, WHOLE):
            recut.append(name)
        for place, start, content in zip(layout.places, layout.starts, placed.contents, strict=True):
            site = formulation.sites[place]
            seat = Seat(name, (site.slice_name, start) if site.slice_name else ())
            capacity[seat] = max(capacity.get(seat, 0), site.memory_for_models)
            items = seats.setdefault(seat, Counter())
            for r in content:
                c = _choice_of(formulation.problem.tasks[r.task].options[r.option])
                items[Item(c.model, _what(c)[1:], c.memory_bytes)] += r.count
    return seats, recut
