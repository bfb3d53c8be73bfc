"""The order in which replicas are loaded and unloaded so that no GPU's memory is exceeded on the way.       [pure]"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Action(StrEnum):
    """What is done to a GPU."""

    LOAD = "load"
    UNLOAD = "unload"
    CUT = "cut"  # change its MIG geometry; it must be empty


class Item(NamedTuple):
    """A replica: what it is, and what it takes."""

    model: str
    what: tuple[object, ...]  # the rest of its identity: operating point
    memory_bytes: int


class Seat(NamedTuple):
    """Where replicas run: a GPU, and the slice of it (its profile and start; empty for a whole GPU)."""

    gpu: str
    piece: tuple[str, int] | tuple[()] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do.

    Parameters
    ----------
    gap : bool
        An unload before its replacement is loaded, because nothing else has room: for a while fewer replicas serve.
    """

    action: Action
    gpu: str
    piece: tuple[str, int] | tuple[()] = ()
    item: Item | None = None
    gap: bool = False


def order_steps(
    before: Mapping[Seat, Counter[Item]],
    after: Mapping[Seat, Counter[Item]],
    capacity: Mapping[Seat, int],
    recut: Sequence[str] = (),
) -> tuple[Step, ...]:
    """Get from one state to another; replacements are loaded before what they replace goes, where there is room.

    Parameters
    ----------
    before, after : mapping
        What is on every seat. A seat that is only in one of them belongs to a GPU that is new, left, or in `recut`.
    capacity : mapping
        Memory for models on every seat, in bytes; `before` and `after` each keep within it.
    recut : sequence of str
        GPUs whose geometry changes: they are emptied, cut and filled again.
    """
    work = _Work(before, after, recut)
    steps: list[Step] = []
    while work.pending:
        step = work.cut() or work.load(capacity) or work.unload() or work.unload_with_gap(capacity)
        steps.append(step)
    return tuple(steps)


class _Work:
    """What is where now, and what is still to be done."""

    def __init__(
        self, before: Mapping[Seat, Counter[Item]], after: Mapping[Seat, Counter[Item]], recut: Sequence[str]
    ) -> None:
        self.now = {seat: Counter(content) for seat, content in before.items()}
        self.uncut = sorted(set(recut))
        self.loads: Counter[tuple[Seat, Item]] = Counter()
        self.unloads: Counter[tuple[Seat, Item]] = Counter()
        for seat in {*before, *after}:
            old, new = before.get(seat, Counter()), after.get(seat, Counter())
            if seat.gpu in recut:  # everything on it restarts
                gone, come = Counter(old), Counter(new)
            else:
                gone, come = old - new, new - old
            self.unloads.update({(seat, item): n for item, n in gone.items()})
            self.loads.update({(seat, item): n for item, n in come.items()})

    @property
    def pending(self) -> bool:
        return bool(self.loads or self.unloads or self.uncut)

    def cut(self) -> Step | None:
        """Cut a GPU that is empty."""
        for gpu in self.uncut:
            if not any(content.total() for seat, content in self.now.items() if seat.gpu == gpu):
                self.uncut.remove(gpu)
                return Step(action=Action.CUT, gpu=gpu)
        return None

    def load(self, capacity: Mapping[Seat, int]) -> Step | None:
        """Load the largest replica that fits now."""
        for seat, item in sorted(self.loads, key=lambda k: (-k[1].memory_bytes, k)):
            if seat.gpu not in self.uncut and self._used(seat) + item.memory_bytes <= capacity[seat]:
                self._done(self.loads, seat, item)
                self.now.setdefault(seat, Counter())[item] += 1
                return Step(action=Action.LOAD, gpu=seat.gpu, piece=seat.piece, item=item)
        return None

    def unload(self) -> Step | None:
        """Unload a replica whose model has all its new replicas."""
        waiting = {item.model for _, item in self.loads}
        for seat, item in sorted(self.unloads):
            if item.model not in waiting:
                return self._unload(seat, item, gap=False)
        return None

    def unload_with_gap(self, capacity: Mapping[Seat, int]) -> Step:
        """Unload where the least has to go until a waiting replica fits, or until a GPU can be cut."""
        short: dict[Seat, int] = {}
        for seat, item in self.loads:
            if seat.gpu not in self.uncut:
                missing = self._used(seat) + item.memory_bytes - capacity[seat]
                short[seat] = min(short.get(seat, missing), missing)
        blocked = [k for k in self.unloads if k[0] in short] or list(self.unloads)
        seat, item = min(blocked, key=lambda k: (short.get(k[0], 0), k[1].memory_bytes, k))
        return self._unload(seat, item, gap=True)

    def _unload(self, seat: Seat, item: Item, *, gap: bool) -> Step:
        self._done(self.unloads, seat, item)
        self.now[seat][item] -= 1
        return Step(action=Action.UNLOAD, gpu=seat.gpu, piece=seat.piece, item=item, gap=gap)

    def _used(self, seat: Seat) -> int:
        return sum(item.memory_bytes * n for item, n in self.now.get(seat, Counter()).items())

    @staticmethod
    def _done(work: Counter[tuple[Seat, Item]], seat: Seat, item: Item) -> None:
        work[seat, item] -= 1
        if not work[seat, item]:
            del work[seat, item]
