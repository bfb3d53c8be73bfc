"""Carry out the steps of a re-planning one by one, as a scheduler would, and say what goes wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tests.checker.least_cost import Position
from tests.checker.placed import Document, Placed
from tests.checker.places import MIB, GpuKind

Replica = tuple[str, int]  # model, and memory in thousandths of a MiB


class Fleet:
    """GPUs with their geometry and their replicas while the steps are carried out."""

    def __init__(self, current: Sequence[Placed]) -> None:
        self.kinds: dict[str, GpuKind] = {gpu.name: gpu.kind for gpu in current}
        self.cuts: dict[str, tuple[tuple[str, int], ...]] = {gpu.name: gpu.cuts for gpu in current}
        self.held = contents(current)

    def load(self, gpu: str, at: Position, replica: Replica) -> str:
        """Load a replica; say where the slice is not there or the memory is exceeded."""
        cuts = self.cuts.get(gpu, ())
        if (at is None and cuts) or (at is not None and at not in cuts):
            return f"{gpu} has no {at}"
        self.held[gpu, at, replica] += 1
        used = sum(n * memory for (name, where, (_, memory)), n in self.held.items() if (name, where) == (gpu, at))
        room = next(p.room for p in self.kinds[gpu].places if p.slice_name == (at and at[0]))
        return f"{gpu} {at}: {used / 1000} MiB in {room / MIB}" if used / 1000 > room / MIB + 0.01 else ""

    def unload(self, gpu: str, at: Position, replica: Replica) -> str:
        """Unload a replica; say where it is not there."""
        if not self.held[gpu, at, replica]:
            return f"{gpu} {at} does not hold {replica}"
        self.held[gpu, at, replica] -= 1
        return ""

    def cut(self, gpu: str, cuts: tuple[tuple[str, int], ...]) -> str:
        """Change the geometry of a GPU; say where it holds models."""
        self.cuts[gpu] = cuts
        return f"{gpu} is cut with models on it" if any(n for (g, _, _), n in self.held.items() if g == gpu) else ""

    def replicas(self) -> Counter[str]:
        """Return the number of replicas of each model."""
        found: Counter[str] = Counter()
        for (_, _, (model, _)), n in self.held.items():
            found[model] += n
        return found


def contents(gpus: Sequence[Placed]) -> Counter[tuple[str, Position, Replica]]:
    """Return the replicas by GPU and position."""
    held: Counter[tuple[str, Position, Replica]] = Counter()
    for gpu in gpus:
        for (_, point, at), n in gpu.counts.items():
            held[gpu.name, at, (point.model, round(point.memory / MIB * 1000))] += n
    return held


def step_faults(moves: Sequence[Document], current: Sequence[Placed], new: Sequence[Placed]) -> list[str]:
    """Say what is wrong with the steps from a placement to the next one; empty for right ones."""
    fleet = Fleet(current)
    fleet.kinds |= {gpu.name: gpu.kind for gpu in new}
    target = {gpu.name: gpu for gpu in new}
    before, after = fleet.replicas(), Fleet(new).replicas()
    faults, with_gap = [], False
    for step in moves:
        faults.append(_carry_out(step, fleet, target))
        with_gap = with_gap or bool(step.get("reason"))
        fewer = [m for m, n in fleet.replicas().items() if n < min(before[m], after[m])]
        if fewer and not with_gap:
            faults.append(f"step {step['step']}: fewer replicas of {fewer} serve, and no reason is given")
    if +fleet.held != contents(new):
        faults.append(f"the steps lead to {+fleet.held}, not to {contents(new)}")
    faults += [f"{gpu.name} is cut into {fleet.cuts.get(gpu.name)}, not {gpu.cuts}" for gpu in new
               if fleet.cuts.get(gpu.name, ()) != gpu.cuts]  # fmt: skip
    if [step["step"] for step in moves] != list(range(1, len(moves) + 1)):
        faults.append("the steps are not numbered from 1")
    return [fault for fault in faults if fault]


def _carry_out(step: Document, fleet: Fleet, target: Mapping[str, Placed]) -> str:
    gpu, at = step["gpu"], _position(step)
    if step["action"] == "cut":
        return fleet.cut(gpu, target[gpu].cuts)
    replica = (step["model"], round(step["memory_mib"] * 1000))
    return (fleet.load if step["action"] == "load" else fleet.unload)(gpu, at, replica)


def _position(step: Document) -> Any:
    return (step["slice"]["profile"], step["slice"]["start"]) if "slice" in step else None


def loads(moves: Sequence[Document]) -> int:
    """Return the number of replicas that are loaded."""
    return sum(step["action"] == "load" for step in moves)
