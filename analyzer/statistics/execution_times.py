"""Execution times on the server by batch size, and the slow-down of one run against another.               [pure]"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from analyzer.statistics.window import BLOCKS, STUDENT_T

_LEAST_BLOCKS = 5  # increments from which an interval is computed; see `ExecutionTimes.relative_error`


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionTimes:
    """How long a model's executions took on the server in a window, by the number of inferences in each.

    Parameters
    ----------
    by_batch : mapping of int to (int, float)
        For each batch size the number of executions, and the seconds that they took together.
    relative_error : float or None
        Standard error of the mean execution time as a fraction of it; None where the window was too short to tell.
    """

    by_batch: Mapping[int, tuple[int, float]] = field(default_factory=dict)
    relative_error: float | None = None

    @property
    def executions(self) -> int:
        """Executions of all batch sizes."""
        return sum(count for count, _ in self.by_batch.values())

    def mean_s(self, batch: int) -> float | None:
        """Return the mean time of executions of a batch size, in seconds; linear between two that were executed.

        None beyond the smallest and the largest that were.
        """
        sizes = sorted(size for size, (count, _) in self.by_batch.items() if count)
        at = bisect_left(sizes, batch)
        if at == len(sizes) or (at == 0 and sizes[0] != batch):
            return None
        upper = sizes[at]
        if upper == batch:
            return self._mean_s(upper)
        lower = sizes[at - 1]
        share = (batch - lower) / (upper - lower)
        return (1 - share) * self._mean_s(lower) + share * self._mean_s(upper)

    def _mean_s(self, batch: int) -> float:
        count, total_s = self.by_batch[batch]
        return total_s / count


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A model's counters on the server at one time: executions and their seconds, by batch size."""

    time_s: float
    by_batch: Mapping[int, tuple[int, float]]


def executions_between(snapshots: Sequence[Snapshot], start_s: float, end_s: float) -> ExecutionTimes:
    """Return the executions of a window, from snapshots of counters that only grow.

    Of the snapshots, those within the window count. The error of the mean is that of batch means: the increments
    between snapshots are joined to at most `BLOCKS` blocks, each is compared with the mean time of its own batch
    sizes, and the spread of these ratios gives the error.

    Parameters
    ----------
    start_s, end_s : float
        On the clock of the snapshots.
    """
    inside = [snapshot for snapshot in snapshots if start_s <= snapshot.time_s <= end_s]
    if len(inside) < 2:
        return ExecutionTimes()
    whole = ExecutionTimes(by_batch=_grown(inside[0], inside[-1]))
    step = max(1, (len(inside) - 1) // BLOCKS)
    ratios = []
    for before, after in pairwise(inside[::step]):
        ratio = _ratio(_grown(before, after), whole)
        if ratio is not None:
            ratios.append(ratio)
    if len(ratios) < _LEAST_BLOCKS:
        return whole
    mean = sum(ratios) / len(ratios)
    variance = sum((ratio - mean) ** 2 for ratio in ratios) / (len(ratios) - 1)
    return ExecutionTimes(by_batch=whole.by_batch, relative_error=math.sqrt(variance / len(ratios)) / mean)


def _grown(before: Snapshot, after: Snapshot) -> dict[int, tuple[int, float]]:
    """Return how much the counters grew, for the batch sizes that were executed."""
    found = {}
    for batch, (count, total_s) in after.by_batch.items():
        count_before, before_s = before.by_batch.get(batch, (0, 0.0))
        if count > count_before:
            found[batch] = (count - count_before, max(0.0, total_s - before_s))
    return found


def _ratio(by_batch: Mapping[int, tuple[int, float]], reference: ExecutionTimes) -> float | None:
    """Return the time of executions divided by what the same batches take in the reference."""
    took_s = expected_s = 0.0
    for batch, (count, total_s) in by_batch.items():
        mean_s = reference.mean_s(batch)
        if mean_s is not None:
            took_s += total_s
            expected_s += count * mean_s
    return took_s / expected_s if expected_s > 0 else None


def slow_down(together: ExecutionTimes, alone: ExecutionTimes) -> tuple[float, float | None] | None:
    """Return how many times as long executions took beside others, with half of its 95 % interval.

    Each batch size is compared with itself, weighted by how often it was executed beside others: a dynamic batcher
    makes other batches under other loads, which is no slow-down. Batch sizes beyond those executed alone are left out.
    None where nothing can be compared.

    Returns
    -------
    (float, float or None) or None
        The ratio, and the half width of its interval in the same unit where both runs tell their error.
    """
    ratio = _ratio(together.by_batch, alone)
    if ratio is None:
        return None
    if together.relative_error is None or alone.relative_error is None:
        return ratio, None
    return ratio, ratio * STUDENT_T * math.hypot(together.relative_error, alone.relative_error)
