"""Put loads and unloads in an order in which no GPU's memory is exceeded at any step.                       [pure]"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from planner.placement.document import Action


class ServedReplica(NamedTuple):
    """A replica: its model, its kind (that of `LoadedAs`; -1 where no option has it), and its memory."""

    model: str
    kind: int
    memory_bytes: int


class GpuPart(NamedTuple):
    """Where replicas run: a GPU, and its slice by profile and first memory slice (empty for a whole GPU)."""

    gpu: str
    slice_position: tuple[str, int] | tuple[()] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One load, unload or change of geometry.

    Parameters
    ----------
    gap : bool
        True for an unload before its replacement is loaded, because no GPU has room for it: fewer replicas serve.
    """

    action: Action
    gpu: str
    slice_position: tuple[str, int] | tuple[()] = ()
    replica: ServedReplica | None = None
    gap: bool = False


def order_steps(
    before: Mapping[GpuPart, Counter[ServedReplica]],
    after: Mapping[GpuPart, Counter[ServedReplica]],
    capacity: Mapping[GpuPart, int],
    recut: Sequence[str] = (),
) -> tuple[Step, ...]:
    """Return the steps from one state to another; where there is room, a replacement is loaded before the old one goes.

    Parameters
    ----------
    before, after : mapping
        Replicas on every part. A part in only one of them is on a GPU that is new, no longer used, or in `recut`.
    capacity : mapping
        Memory for models on every part, in bytes; `before` and `after` are within it.
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
    """The replicas of each part after the steps so far, and the steps that are still to be done."""

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
                removed, added = Counter(old), Counter(new)
            else:
                removed, added = old - new, new - old
            self.unloads.update({(part, replica): n for replica, n in removed.items()})
            self.loads.update({(part, replica): n for replica, n in added.items()})

    @property
    def pending(self) -> bool:
        return bool(self.loads or self.unloads or self.uncut)

    def cut(self) -> Step | None:
        """Cut a GPU of `recut` that is empty."""
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
                return Step(action=Action.LOAD, gpu=part.gpu, slice_position=part.slice_position, replica=replica)
        return None

    def unload(self) -> Step | None:
        """Unload a replica of a model whose new replicas are all loaded."""
        waiting = {replica.model for _, replica in self.loads}
        for part, replica in sorted(self.unloads):
            if replica.model not in waiting:
                return self._unload(part, replica, gap=False)
        return None

    def unload_with_gap(self, capacity: Mapping[GpuPart, int]) -> Step:
        """Unload a replica from the part that lacks the fewest bytes for a waiting replica, or from a GPU to be cut."""
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
        return Step(action=Action.UNLOAD, gpu=part.gpu, slice_position=part.slice_position, replica=replica, gap=gap)

    def _used(self, part: GpuPart) -> int:
        return sum(replica.memory_bytes * n for replica, n in self.now.get(part, Counter()).items())

    @staticmethod
    def _done(work: Counter[tuple[GpuPart, ServedReplica]], part: GpuPart, replica: ServedReplica) -> None:
        work[part, replica] -= 1
        if not work[part, replica]:
            del work[part, replica]
