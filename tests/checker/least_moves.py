"""The model of the planning rules with a placement in force: the least cost within a number of loads."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from tests.checker.least_cost import LeastCost, NamedGpu, Position
from tests.checker.operating_points import Asked
from tests.checker.placed import Placed


class LeastCostWithinMoves(LeastCost):
    """GPUs of the placement keep their names; what a GPU does not hold is loaded, and all of it where it is cut anew.

    Parameters
    ----------
    current : sequence of Placed
    max_moves : int or None
        Replicas that may be loaded.
    """

    def __init__(self, asked: Asked, current: Sequence[Placed], max_moves: int | None) -> None:
        super().__init__(asked, {gpu.name: (gpu.kind.name, gpu.node or 0) for gpu in current})
        before = {gpu.name: gpu for gpu in current}
        loads = [load for gpu in self.gpus for load in self._loads(gpu, before.get(gpu.name))]
        if max_moves is not None:
            self.model.add(sum(loads) <= max_moves)

    def _loads(self, gpu: NamedGpu, before: Placed | None) -> list[Any]:
        counts: dict[tuple[Position, tuple[Any, ...]], list[Any]] = defaultdict(list)
        for (_, point, at), n in gpu.counts.items():
            counts[at, point.identity].append(n)
        if before is None:
            return [n for own in counts.values() for n in own]
        held = held_replicas(before)
        kept = self._kept(gpu, before)
        found = []
        for key, own in counts.items():
            loaded = self.model.new_int_var(0, 1000, "")
            self.model.add(loaded >= sum(own) - held[key] * kept)
            found.append(loaded)
        return found

    def _kept(self, gpu: NamedGpu, before: Placed) -> Any:
        """Return a variable that is 0 where the GPU is cut in another way than before."""
        kept = self.model.new_bool_var("")
        if not before.cuts:
            self.model.add(kept <= gpu.whole)
        for at, cut in gpu.cuts.items():
            self.model.add(kept <= cut if at in before.cuts else kept + cut <= 1)
        return kept


def held_replicas(gpu: Placed) -> Counter[tuple[Position, tuple[Any, ...]]]:
    """Return the replicas on a GPU by position and by what is loaded for them."""
    held: Counter[tuple[Position, tuple[Any, ...]]] = Counter()
    for (_, point, at), n in gpu.counts.items():
        held[at, point.identity] += n
    return held


def least_value_within(asked: Asked, current: Sequence[Placed], max_moves: int | None) -> tuple[str, Fraction | None]:
    """Return ``optimal`` with the least value within the moves, ``infeasible``, or ``unknown``."""
    found = LeastCostWithinMoves(asked, current, max_moves).solve()
    if not found.known:
        return "unknown", None
    return ("infeasible", None) if found.infeasible else ("optimal", found.value)
