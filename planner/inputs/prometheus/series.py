"""Series of samples on a grid of times, and their sums, shares and quantiles.   [pure]"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """A series: its labels, and its samples by their times in whole seconds since 1970; a gap has no entry."""

    labels: Mapping[str, str]
    samples: Mapping[int, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The times of a window at which Prometheus evaluates, in seconds since 1970: `step_s` after `start_s`, to `end_s`.

    A sample stands for the step that ends at its time.
    """

    start_s: int
    end_s: int
    step_s: int

    @classmethod
    def until(cls, end_s: float, *, window_s: int, step_s: int) -> Grid:
        """Return the grid of whole steps before `end_s`; its times are multiples of the step."""
        last = math.floor(end_s / step_s) * step_s
        return cls(start_s=last - window_s // step_s * step_s, end_s=last, step_s=step_s)

    @property
    def times(self) -> range:
        """The times, in order."""
        return range(self.start_s + self.step_s, self.end_s + 1, self.step_s)

    def chunks(self, points: int) -> Iterable[range]:
        """Yield the times in runs of at most `points`."""
        times = self.times
        return (times[k : k + points] for k in range(0, len(times), points))

    def hours(self, zone: str) -> dict[int, int]:
        """Return the hour of the day of each time, which is that of the middle of its step."""
        place = ZoneInfo(zone)
        return {time: datetime.fromtimestamp(time - self.step_s / 2, place).hour for time in self.times}


def in_hours(hour: int, begin: int, end: int) -> bool:
    """Say whether an hour of the day is from `begin` to before `end`, which may be after midnight."""
    return begin <= hour < end if begin < end else hour >= begin or hour < end


def total(series: Iterable[Series]) -> dict[int, float]:
    """Sum series at each time at which at least one has a sample."""
    sums: dict[int, float] = {}
    for one in series:
        for time, value in one.samples.items():
            sums[time] = sums.get(time, 0.0) + value
    return dict(sorted(sums.items()))


def at(samples: Mapping[int, float], times: Iterable[int]) -> list[float]:
    """Return the samples at these times, without gaps."""
    return [samples[time] for time in times if time in samples]


def ratio(above: Mapping[int, float], below: Mapping[int, float], times: Iterable[int]) -> float | None:
    """Divide two sums over the times at which both have samples; None if the lower one is 0."""
    both = [time for time in times if time in above and time in below]
    bottom = sum(below[time] for time in both)
    return sum(above[time] for time in both) / bottom if bottom else None


def nearest_rank(values: Sequence[float], quantile: float) -> float | None:
    """Return the least of the values that the share `quantile` of them does not exceed; None without values."""
    if not values:
        return None
    rank = math.ceil(round(quantile * len(values), 9))  # 0.99 x 100 is 99.00000000000001 in floats
    return sorted(values)[max(rank, 1) - 1]
