"""What simpler rules would do with the same demand: first-fit decreasing, and the cloud vendors' rule of thumb. [pure]

Both use whole GPUs of one type, run each model by the option that needs the least of a GPU for what it serves, and heed
neither rules about sharing GPUs, nor spare GPUs, nor limits; where these are asked for, the sentence says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from analyzer.formats.units import counted, mib, number, printable
from planner.formulation.candidates import Candidate
from planner.formulation.formulate import Formulation
from planner.formulation.objective import from_units
from planner.inputs.demand import SHARING_FIELDS
from planner.inputs.mig_geometry import WHOLE
from planner.problem.problem import GpuType, Option, Task

MOST_MODELS = 12  # models of one GPU that a sentence names
RULE_OF_THUMB_SHARE = 0.7  # of the GPU's memory for models: Oracle Cloud, Data Science, "GPU Inference"

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overfull:
    """A GPU that would run out of memory under a rule's choice."""

    gpu: int
    memory_bytes: int
    capacity_bytes: int
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The GPUs that a rule would use.

    Parameters
    ----------
    gpus : int or None
        None where some model fits no GPU of the type.
    value : float
        Their cost in the plan's objective and its unit; infinite without them.
    ignored : tuple of str
        What the plan is asked for and the rule does not heed: ``apart``, ``spare``, ``limit`` ...
    n_overfull : int
        GPUs that would run out of memory.
    n_overloaded : int
        GPUs that would exceed a threshold of utilization.
    worst : Overfull or None
        The fullest of them.
    """

    name: str
    gpu_type: str
    gpus: int | None
    value: float
    ignored: tuple[str, ...] = ()
    n_overfull: int = 0
    n_overloaded: int = 0
    worst: Overfull | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copies:
    """Equal replicas that a rule has to place."""

    name: str
    load: tuple[int, ...]
    memory_bytes: int
    count: int


def baselines(formulation: Formulation, *, seed: int = 0) -> tuple[Baseline, ...]:
    """Run both rules on each type of the fleet and give the cheapest outcome of each rule."""
    by_fit, by_thumb = [], []
    for g, gpu in enumerate(formulation.problem.gpus):
        copies = _copies(formulation, gpu)
        if copies is not None:
            by_fit.append(_first_fit(formulation, g, copies))
            by_thumb.append(_rule_of_thumb(formulation, g, copies, seed))
    cheapest = (min(found, key=_rank) for found in (by_fit, by_thumb) if found)
    return tuple(replace(found, ignored=_ignored(formulation, found)) for found in cheapest)


def _ignored(formulation: Formulation, found: Baseline) -> tuple[str, ...]:
    """Return what is asked beyond rates, copies and thresholds, none of which the rules heed."""
    request = formulation.request
    ignored = [
        name
        for name, nothing, _ in SHARING_FIELDS
        if any(getattr(requirement, name) != nothing for requirement in request.requirements)
    ]
    if request.rules.spare:
        ignored.append("spare")
    limit = next(gpu.limit for gpu in formulation.problem.gpus if gpu.name == found.gpu_type)
    if limit is not None and found.gpus is not None and found.gpus > limit:
        ignored.append(f"the limit of {limit}")
    return tuple(ignored)


def _rank(baseline: Baseline) -> tuple[bool, float]:
    return baseline.gpus is None, baseline.value


def _whole(gpu: GpuType) -> int:
    return next(layout.places[0] for layout in gpu.layouts if layout.name == WHOLE)


def _copies(formulation: Formulation, gpu: GpuType) -> list[_Copies] | None:
    """The replicas of every task by its most frugal option; None where one has no option on the type."""
    place = _whole(gpu)
    capacity = formulation.problem.places[place].capacity
    found = []
    for task in formulation.problem.tasks:
        options = [o for o in task.options if o.place == place]
        if not options:
            return None
        option = min(options, key=lambda o: _share(o, capacity) / min(o.supply, max(1, task.demand)))
        candidate = option.candidate
        assert isinstance(candidate, Candidate)
        found.append(
            _Copies(name=task.name, load=option.load, memory_bytes=candidate.memory_bytes, count=_needed(task, option))
        )
    return found


def _share(option: Option, capacity: Sequence[int]) -> float:
    return max(x / max(c, 1) for x, c in zip(option.load, capacity, strict=True))


def _needed(task: Task, option: Option) -> int:
    return max(math.ceil(task.demand / option.supply), task.min_replicas)


def _first_fit(formulation: Formulation, g: int, copies: Sequence[_Copies]) -> Baseline:
    """First-fit decreasing by the largest share of any counted resource.

    Copies of one model follow each other, so that each GPU takes as many as fit before the next one: for each model one
    pass over the GPUs.
    """
    gpu = formulation.problem.gpus[g]
    capacity = np.array(formulation.problem.places[_whole(gpu)].capacity, dtype=np.int64)
    free: Ints = np.empty((0, len(capacity)), dtype=np.int64)
    for item in sorted(
        copies, key=lambda c: (-max(x / max(1, k) for x, k in zip(c.load, capacity, strict=True)), c.name)
    ):
        load = np.array(item.load, dtype=np.int64)
        per_gpu = _fits(capacity[None, :], load)[0]
        if not per_gpu:
            return Baseline(name="first-fit decreasing", gpu_type=gpu.name, gpus=None, value=math.inf)
        room = np.minimum(_fits(free, load), item.count)
        placed = np.diff(np.minimum(np.cumsum(room), item.count), prepend=0)
        free = free - placed[:, None] * load[None, :]
        left = item.count - int(placed.sum())
        if left:
            new = np.full(math.ceil(left / per_gpu), per_gpu, dtype=np.int64)
            new[-1] = left - per_gpu * (len(new) - 1)
            free = np.concatenate([free, capacity[None, :] - new[:, None] * load[None, :]])
    return Baseline(
        name="first-fit decreasing", gpu_type=gpu.name, gpus=len(free), value=len(free) * _price(formulation, g)
    )


def _fits(free: Ints, load: Ints) -> Ints:
    counted = load > 0
    if not counted.any():
        return np.full(len(free), np.iinfo(np.int32).max, dtype=np.int64)
    return np.asarray((free[:, counted] // load[counted]).min(axis=1, initial=np.iinfo(np.int32).max), dtype=np.int64)


def _rule_of_thumb(formulation: Formulation, g: int, copies: Sequence[_Copies], seed: int) -> Baseline:
    """GPUs so that 70 % of their memory holds all copies, which are then dealt out at random."""
    gpu = formulation.problem.gpus[g]
    place = formulation.places[_whole(gpu)]
    counts = np.array([c.count for c in copies], dtype=np.int64)
    memory = np.array([c.memory_bytes for c in copies], dtype=np.int64)
    n_gpus = max(1, math.ceil(float(memory @ counts) / (RULE_OF_THUMB_SHARE * place.memory_bytes)))
    drawn = np.repeat(np.arange(len(copies)), counts)
    where = np.random.default_rng(seed).integers(n_gpus, size=len(drawn))
    used = np.full(n_gpus, place.server_bytes, dtype=np.int64)
    np.add.at(used, where, memory[drawn])
    overfull = int((used > place.memory_bytes).sum())
    rooms = formulation.problem.places[_whole(gpu)].capacity
    loads = np.zeros((n_gpus, len(rooms)))
    np.add.at(loads, where, np.array([c.load for c in copies], dtype=float)[drawn])
    overloaded = int((loads[:, 1:] > np.array(rooms[1:])).any(axis=1).sum())  # the first resource is memory
    worst = int(used.argmax())
    fullest = Overfull(
        gpu=worst,
        memory_bytes=int(used[worst]),
        capacity_bytes=place.memory_bytes,
        models=tuple(copies[i].name for i in sorted(drawn[where == worst].tolist())),
    )
    return Baseline(
        name="rule of thumb",
        gpu_type=gpu.name,
        gpus=n_gpus,
        value=n_gpus * _price(formulation, g),
        n_overfull=overfull,
        n_overloaded=overloaded,
        worst=fullest if overfull else None,
    )


def _price(formulation: Formulation, g: int) -> float:
    return from_units(formulation.problem.gpus[g].cost, formulation.cost_divisor)


def baseline_text(baseline: Baseline, unit: str) -> str:
    """Say in a sentence what a simpler rule would use, and where it would run out of memory."""
    if baseline.gpus is None:
        return f"for comparison, {baseline.name}: some model fits no GPU"
    needs = counted(baseline.gpus, "GPU")
    if unit != "GPUs":
        needs += f" of type {baseline.gpu_type}, {number(baseline.value)} {unit}"
    text = f"for comparison, {baseline.name}: {needs}"
    faults = []
    if baseline.n_overfull:
        faults.append(f"{baseline.n_overfull} would run out of memory")
    if baseline.n_overloaded:
        faults.append(f"{baseline.n_overloaded} would exceed a threshold of utilization")
    if faults:
        text += f", of which {' and '.join(faults)}"
    worst = baseline.worst
    if worst is not None:
        models = ", ".join(worst.models[:MOST_MODELS]) + (" ..." if len(worst.models) > MOST_MODELS else "")
        text += f"; the fullest would need {mib(worst.memory_bytes)} of {mib(worst.capacity_bytes)} MiB ({models})"
    if baseline.ignored:
        text += f"; ignores {', '.join(baseline.ignored)}"
    return printable(text)
