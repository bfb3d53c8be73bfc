"""How a GPU can be cut into MIG slices, from the placements that NVIDIA's tools list (data/mig_profiles.json).

A slice occupies memory slices [start, start + size); slices may not overlap, their compute slices may not exceed the
board's, and no profile may occur more often than its limit. Nothing is derived from a profile's name: 3g + 3g + 1g is
not legal on an A100 although 3 + 3 + 1 = 7.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from analyzer.formats.units import MIB

WHOLE = "whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceProfile:
    """A kind of slice of one board.

    Parameters
    ----------
    compute_slices, memory_slices : int
        How many of the board's slices it takes; `memory_slices` is also the length of a placement.
    starts : tuple of int
        Memory slices at which it may begin.
    most : int
        Largest number of slices of this kind on one GPU.
    memory_bytes : int or None
        Memory that programs can use there; None where no figure was seen.
    sm_count : int or None
        Streaming multiprocessors; None where no figure was seen.
    """

    name: str
    compute_slices: int
    memory_slices: int
    starts: tuple[int, ...]
    most: int
    memory_bytes: int | None
    sm_count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A GPU type that can be cut."""

    name: str
    compute_slices: int
    memory_slices: int
    profiles: tuple[SliceProfile, ...]

    def compute_share(self, profile: SliceProfile) -> float:
        """A slice's part of the board's multiprocessors; of its compute slices where no number of them was seen."""
        largest = max(self.profiles, key=lambda p: p.compute_slices)
        if profile.sm_count and largest.sm_count:
            return profile.sm_count / largest.sm_count
        return profile.compute_slices / self.compute_slices

    def memory_share(self, profile: SliceProfile) -> float:
        """A slice's part of the board's memory, and so of its bandwidth."""
        return profile.memory_slices / self.memory_slices


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Cut:
    """One slice of a geometry."""

    start: int
    profile: str


Geometry = tuple[Cut, ...]  # sorted by start


@cache
def boards() -> Mapping[str, Board]:
    """Read the boards; profiles with attributes (+me, +gfx) are left out: their geometry is that of the plain ones."""
    table = json.loads(files("planner").joinpath("data/mig_profiles.json").read_text(encoding="utf-8"))
    return {name: _board(name, entry) for name, entry in table["gpus"].items()}


def _board(name: str, entry: Mapping[str, object]) -> Board:
    rows = entry["profiles"]
    assert isinstance(rows, list)
    return Board(
        name=name,
        compute_slices=int(str(entry["total_compute_slices"])),
        memory_slices=int(str(entry["total_memory_slices"])),
        profiles=tuple(
            SliceProfile(
                name=row["name"],
                compute_slices=row["compute_slices"],
                memory_slices=row["placement_size"],
                starts=tuple(row["placement_starts"]),
                most=row["max_instances"],
                memory_bytes=row["memory_mib"] * MIB if row.get("memory_mib") else None,
                sm_count=row.get("sm_count"),
            )
            for row in rows
            if "+" not in row["name"]
        ),
    )


def maximal_placements(board: Board, names: frozenset[str] | None = None) -> tuple[Geometry, ...]:
    """Return every legal geometry of a board to which no slice can be added.

    Parameters
    ----------
    names : frozenset of str, optional
        Only slices of these profiles; all of the board's by default.
    """
    profiles = [p for p in board.profiles if names is None or p.name in names]
    kinds = {p.name: p for p in profiles}
    legal = list(_legal(board, profiles, (), 0))
    return tuple(sorted(g for g in legal if g and not any(_additions(board, kinds, g))))


def _legal(board: Board, profiles: list[SliceProfile], taken: Geometry, start: int) -> Iterator[Geometry]:
    """Extend a geometry by slices that begin at `start` or later."""
    yield taken
    for profile in profiles:
        for at in profile.starts:
            cut = Cut(start=at, profile=profile.name)
            if at >= start and _may_add(board, {p.name: p for p in profiles}, taken, cut):
                yield from _legal(board, profiles, (*taken, cut), at + profile.memory_slices)


def _additions(board: Board, kinds: Mapping[str, SliceProfile], taken: Geometry) -> Iterator[Cut]:
    for profile in kinds.values():
        for at in profile.starts:
            cut = Cut(start=at, profile=profile.name)
            if _may_add(board, kinds, taken, cut):
                yield cut


def _may_add(board: Board, kinds: Mapping[str, SliceProfile], taken: Geometry, cut: Cut) -> bool:
    profile = kinds[cut.profile]
    end = cut.start + profile.memory_slices
    if any(cut.start < t.start + kinds[t.profile].memory_slices and t.start < end for t in taken):
        return False
    if sum(kinds[t.profile].compute_slices for t in taken) + profile.compute_slices > board.compute_slices:
        return False
    return sum(t.profile == cut.profile for t in taken) < profile.most and end <= board.memory_slices


def geometries(board: Board, names: frozenset[str] | None = None) -> tuple[Geometry, ...]:
    """Return the geometries that a plan may use.

    Of geometries with the same slices it is the one with the lowest starts. One whose slices are a part of another's
    is left out.
    """
    by_slices: dict[tuple[str, ...], Geometry] = {}
    for geometry in maximal_placements(board, names):
        by_slices.setdefault(tuple(sorted(cut.profile for cut in geometry)), geometry)
    return tuple(
        geometry
        for slices, geometry in by_slices.items()
        if not any(other != slices and _contains(other, slices) for other in by_slices)
    )


def _contains(larger: tuple[str, ...], smaller: tuple[str, ...]) -> bool:
    return all(larger.count(name) >= smaller.count(name) for name in set(smaller))


def placements_of(board: Board, profiles: Sequence[str]) -> tuple[Geometry, ...]:
    """Return every legal way to place these slices on a board; () where they cannot be on one GPU together."""
    kinds = {p.name: p for p in board.profiles}
    if any(name not in kinds for name in profiles):
        return ()
    wanted = sorted(profiles)
    used = [kinds[name] for name in dict.fromkeys(wanted)]
    found = {tuple(sorted(g)) for g in _legal(board, used, (), 0) if sorted(cut.profile for cut in g) == wanted}
    return tuple(sorted(found))
