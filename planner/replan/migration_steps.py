"""The order in which replicas are loaded and unloaded so that no GPU's memory is exceeded on the way.       [pure]"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from planner.placement.document import Action


class ServedReplica(NamedTuple):
    """A replica: what it is, and what it takes."""

    model: str
    what: tuple[object, ...]  # the rest of its identity: operating point
    memory_bytes: int


class GpuPart(NamedTuple):
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
    replica: ServedReplica | None = None
    gap: bool = False


def order_steps(
    before: Mapping[GpuPart, Counter[ServedReplica]],
    after: Mapping[GpuPart, Counter[ServedReplica]],
    capacity: Mapping[GpuPart, int],
    recut: Sequence[str] = (),
) -> tuple[Step, ...]:
    """Get from one state to another; replacements are loaded before what they replace goes, where there is room.

    Parameters
    ----------
    before, after : mapping
        What is on every part. A part that is only in one of them belongs to a GPU that is new, left, or in `recut`.
    capacity : mapping
        Memory for models on every part, in bytes; `before` and `after` each keep within it.
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
        self,
        before: Mapping[GpuPart, Counter[ServedReplica]],
        after: Mapping[GpuPart, Counter[ServedReplica]],
        recut: Sequence[str],
    ) -> None:
        self.now = {part: Counter(content) for part, content in before.items()}
        self.uncut = sorted(set(recut))
        self.loads: Counter[tuple[GpuPart, ServedReplica]] = Counter()
        self.unloads: Counter[tuple[GpuPart, ServedReplica]] = Counter()
        for part in {*before, *after}:
            old, new = before.get(part, Counter()), after.get(part, Counter())
            if part.gpu in recut:  # everything on it restarts
                gone, come = Counter(old), Counter(new)
            else:
                gone, come = old - new, new - old
            self.unloads.update({(part, replica): n for replica, n in gone.items()})
            self.loads.update({(part, replica): n for replica, n in come.items()})

    @property
    def pending(self) -> bool:
        return bool(self.loads or self.unloads or self.uncut)

    def cut(self) -> Step | None:
        """Cut a GPU that is empty."""
        for gpu in self.uncut:
            if not any(content.total() for part, content in self.now.items() if part.gpu == gpu):
                self.uncut.remove(gpu)
                return Step(action=Action.CUT, gpu=gpu)
        return None

    def load(self, capacity: Mapping[GpuPart, int]) -> Step | None:
        """Load the largest replica that fits now."""
        for part, replica in sorted(self.loads, key=lambda k: (-k[1].memory_bytes, k)):
            if part.gpu not in self.uncut and self._used(part) + replica.memory_bytes <= capacity[part]:
                self._done(self.loads, part, replica)
                self.now.setdefault(part, Counter())[replica] += 1
                return Step(action=Action.LOAD, gpu=part.gpu, piece=part.piece, replica=replica)
        return None

    def unload(self) -> Step | None:
        """Unload a replica whose model has all its new replicas."""
        waiting = {replica.model for _, replica in self.loads}
        for part, replica in sorted(self.unloads):
            if replica.model not in waiting:
                return self._unload(part, replica, gap=False)
        return None

    def unload_with_gap(self, capacity: Mapping[GpuPart, int]) -> Step:
        """Unload where the least has to go until a waiting replica fits, or until a GPU can be cut."""
        short: dict[GpuPart, int] = {}
        for part, replica in self.loads:
            if part.gpu not in self.uncut:
                missing = self._used(part) + replica.memory_bytes - capacity[part]
                short[part] = min(short.get(part, missing), missing)
        blocked = [k for k in self.unloads if k[0] in short] or list(self.unloads)
        part, replica = min(blocked, key=lambda k: (short.get(k[0], 0), k[1].memory_bytes, k))
        return self._unload(part, replica, gap=True)

    def _unload(self, part: GpuPart, replica: ServedReplica, *, gap: bool) -> Step:
        self._done(self.unloads, part, replica)
        self.now[part][replica] -= 1
        return Step(action=Action.UNLOAD, gpu=part.gpu, piece=part.piece, replica=replica, gap=gap)

    def _used(self, part: GpuPart) -> int:
        return sum(replica.memory_bytes * n for replica, n in self.now.get(part, Counter()).items())

    @staticmethod
    def _done(work: Counter[tuple[GpuPart, ServedReplica]], part: GpuPart, replica: ServedReplica) -> None:
        work[part, replica] -= 1
        if not work[part, replica]:
            del work[part, replica]
