"""Where replicas can run, by docs/planning.md: whole GPUs and MIG slices, with what they have for models."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any

from tests.checker.request_files import RequestFiles

MIB = 2**20
_DATA = Path(__file__).parents[2] / "planner" / "data"


class RefusedError(Exception):
    """The request cannot be planned because figures are missing or do not go together: an error, not infeasible."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceKind:
    """A kind of MIG slice of a board: the memory slices where it may begin, and how many there may be."""

    name: str
    compute: int
    length: int
    starts: tuple[int, ...]
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A whole GPU of a type, or one kind of its slices.

    Parameters
    ----------
    memory : int
        Bytes in all.
    room : int
        Bytes for models: within the threshold, beside the server and what is reserved.
    compute, bandwidth : Fraction
        Share of the GPU's multiprocessors and of its memory's bandwidth.
    """

    kind: SliceKind | None
    memory: int
    room: int
    server: int
    compute: Fraction = Fraction(1)
    bandwidth: Fraction = Fraction(1)

    @property
    def slice_name(self) -> str | None:
        """The MIG profile; None for a whole GPU."""
        return self.kind.name if self.kind else None


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuKind:
    """A GPU type of the fleet."""

    name: str
    entry: Mapping[str, Any]
    devices: tuple[str, ...]
    thresholds: Mapping[str, Fraction]  # memory, utilization, memory_utilization as shares of one
    whole: Place
    slices: tuple[Place, ...] = ()
    compute_slices: int = 0
    memory_slices: int = 0
    places: tuple[Place, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", (self.whole, *self.slices))

    @property
    def count(self) -> int | None:
        """GPUs at most."""
        return self.entry.get("count")

    @property
    def node_size(self) -> int:
        """GPUs in a node."""
        return self.entry.get("gpus_per_node", 1)

    def in_node(self, node: int) -> int:
        """Return how many GPUs a node has: the last one holds the rest of the count."""
        size = self.node_size
        return size if self.count is None else max(0, min(size, self.count - node * size))

    @property
    def scale(self) -> Mapping[str, Any] | None:
        """Factors on the figures of another device."""
        return self.entry.get("scale")


@cache
def _catalogue() -> Mapping[str, Any]:
    return tomllib.loads((_DATA / "gpus.toml").read_text())


@cache
def _boards() -> Mapping[str, Any]:
    return json.loads((_DATA / "mig_profiles.json").read_text())["gpus"]


def board_of(device: str) -> str:
    """Return the GPU that a device is, or is a slice of."""
    return device.partition(" MIG ")[0]


def gpu_kinds(files: RequestFiles, rows: list[dict[str, str]]) -> tuple[GpuKind, ...]:
    """Return the GPU types of the fleet; the server's memory is the largest in the rows of a type's devices."""
    return tuple(_gpu_kind(entry, files, rows) for entry in files.fleet["gpu"])


def devices_of(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the devices whose figures count as measured on a type."""
    known = _catalogue().get(entry["type"], {})
    return (*entry.get("devices", ()), entry["type"], *known.get("device_names", ()))


def source_devices(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the devices whose figures are used for a type, those that it scales included."""
    return (*devices_of(entry), *([entry["scale"]["from"]] if "scale" in entry else []))


def _gpu_kind(entry: Mapping[str, Any], files: RequestFiles, rows: list[dict[str, str]]) -> GpuKind:
    known = _catalogue().get(entry["type"], {})
    thresholds = {}
    for name in ("memory", "utilization", "memory_utilization"):
        key = f"max_{name}_pct"
        pct = files.options.get(key) or entry.get(key) or files.fleet.get(key) or 100
        thresholds[name] = Fraction(pct) / 100
    sources = source_devices(entry)
    server = max((server_bytes(row, files) for row in rows if board_of(row["device"]) in sources), default=0)
    reserved = round(Fraction(entry.get("reserved_mib", 0)) * MIB)

    def place(memory: int, **more: Any) -> Place:
        share = more.get("bandwidth", 1)
        room = int(memory * thresholds["memory"]) - server - ceil(reserved * share)
        return Place(memory=memory, room=room, server=server, **{"kind": None, **more})

    whole = place(round(Fraction(entry.get("memory_mib") or known["usable_mib"]) * MIB))
    if whole.room < 0:
        raise RefusedError(f"the server does not fit {entry['type']}")
    kind = GpuKind(name=entry["type"], entry=entry, devices=devices_of(entry), thresholds=thresholds, whole=whole)
    if not (entry.get("mig") or (files.options.get("mig") and "mig" in known)):
        return kind
    board = _boards()[known["mig"]]
    plain = [p for p in board["profiles"] if "+" not in p["name"]]  # others have the same geometry
    largest = max(plain, key=lambda p: p["compute_slices"])
    slices = []
    for p in plain:
        memory_mib = entry.get("slice_memory_mib", {}).get(p["name"]) or p.get("memory_mib")
        if memory_mib is None:
            continue
        by_sm = p.get("sm_count") and largest.get("sm_count")
        found = place(
            round(Fraction(memory_mib) * MIB),
            kind=SliceKind(
                name=p["name"],
                compute=p["compute_slices"],
                length=p["placement_size"],
                starts=tuple(p["placement_starts"]),
                most=p["max_instances"],
            ),
            compute=Fraction(p["sm_count"], largest["sm_count"])
            if by_sm
            else Fraction(p["compute_slices"], board["total_compute_slices"]),
            bandwidth=Fraction(p["placement_size"], board["total_memory_slices"]),
        )
        if found.room >= 0:
            slices.append(found)
    return GpuKind(
        name=kind.name,
        entry=entry,
        devices=kind.devices,
        thresholds=thresholds,
        whole=whole,
        slices=tuple(slices),
        compute_slices=board["total_compute_slices"],
        memory_slices=board["total_memory_slices"],
    )


def server_bytes(row: Mapping[str, str], files: RequestFiles) -> int:
    """Return the idle server's memory in a row, or as the options give it."""
    given = files.options.get("server_memory_mib")
    return round(Fraction(str(given) if given is not None else row["server_memory_mib"]) * MIB)
