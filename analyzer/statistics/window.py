"""Throughput and latency percentiles of request timings, with their confidence intervals.

Arrays have the shape ``(n_requests,)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzer.measurements.stream_figures import StreamFigures

Floats = NDArray[np.floating[Any]]

BLOCKS = 20  # blocks of consecutive completions; their durations give the interval of throughput
STUDENT_T = 2.0930  # 97.5 % quantile of Student's t with BLOCKS - 1 degrees of freedom
NORMAL_Z = 1.9600  # 97.5 % quantile of the normal distribution
MIN_REQUESTS = 100  # with fewer requests there is no meaningful p99
# The 5 % of an interval of p99 that may miss lie mostly above it, where latencies are far apart: so it is narrower.
_MISS_ABOVE, _MISS_BELOW = 0.04, 0.01
_ORDER_STATISTICS_FROM = 321  # smallest n with 0.99**n <= _MISS_ABOVE: the largest of n then bounds the true p99
_WARMUP_BLOCKS = 40
_WARMUP_GAIN = 0.5  # a cut must lower the squared standard error to this share; without a warm-up, few cuts do
_MOST_CORRELATED = 0.9  # lag-1 correlation of blocks above which their number says nothing any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The requests that completed after the warm-up, and their figures.

    Parameters
    ----------
    start_s, end_s : float
        Time of the first and of the last completion, on the clock of the timings.
    requests : int
        Number completed after `start_s`, up to and including `end_s`.
    requests_per_s : float
    throughput_ci, latency_p99_ci : float
        Half width of the 95 % confidence interval as a fraction of the figure; infinite where there are too few
        requests to tell.
    drift : float
        Throughput of the second half divided by that of the first, minus one.
    streams : StreamFigures or None
        Of a decoupled model.
    """

    start_s: float
    end_s: float
    requests: int
    requests_per_s: float
    throughput_ci: float
    latency_avg_s: float
    latency_p50_s: float
    latency_p90_s: float
    latency_p95_s: float
    latency_p99_s: float
    latency_p99_ci: float
    drift: float
    streams: StreamFigures | None = None

    @property
    def duration_s(self) -> float:
        """Length of the window."""
        return self.end_s - self.start_s


def summarize(end_s: Floats, latency_s: Floats, *, concurrency: int = 1) -> Window | None:
    """Discard the warm-up and compute the figures of the rest; None while fewer than two requests are left.

    Parameters
    ----------
    end_s, latency_s : ndarray of float
        In order of completion.
    concurrency : int
        Requests in flight. They may complete together, so a block holds a multiple of them.
    """
    first = max(find_warmup(end_s, concurrency), min(concurrency, len(end_s)), 1)
    ends, latencies = end_s[first - 1 :], np.sort(latency_s[first:])
    count = len(latencies)
    if count < 2 or ends[-1] <= ends[0]:
        return None
    effective = effective_requests(latency_s[first:], concurrency)
    half = len(ends) // 2
    halves = (half / (ends[half] - ends[0]), (len(ends) - 1 - half) / max(ends[-1] - ends[half], 1e-9))
    p99 = percentile(latencies, 0.99)
    return Window(
        start_s=float(ends[0]),
        end_s=float(ends[-1]),
        requests=count,
        requests_per_s=float(count / (ends[-1] - ends[0])),
        throughput_ci=rate_half_width(np.ones(count), ends, concurrency),
        latency_avg_s=float(latencies.mean()),
        latency_p50_s=percentile(latencies, 0.50),
        latency_p90_s=percentile(latencies, 0.90),
        latency_p95_s=percentile(latencies, 0.95),
        latency_p99_s=p99,
        latency_p99_ci=p99_half_width_s(latencies, effective) / p99,
        drift=float(halves[1] / halves[0] - 1.0),
    )


def percentile(ordered: Floats, share: float) -> float:
    """Return the nearest-rank percentile: the smallest value with at least `share` of all at or below it."""
    return float(ordered[max(0, math.ceil(share * len(ordered)) - 1)])


def find_warmup(end_s: Floats, concurrency: int = 1) -> int:
    """Count the requests at the start that belong to the warm-up, at most half of all.

    Marginal standard error rule (MSER; K. P. White, "An effective truncation heuristic for bias reduction in
    simulation output", Simulation 69(6), 1997): cut where the standard error of what is left is smallest. A cut that
    lowers it little is no warm-up but noise; it would shorten the window, and choose its quietest part.
    """
    durations = _block_durations(end_s, _WARMUP_BLOCKS, concurrency)
    count = len(durations)
    if count < 4:
        return 0
    left = np.arange(count, 0, -1)
    sums, squares = np.cumsum(durations[::-1])[::-1], np.cumsum(durations[::-1] ** 2)[::-1]
    errors = (squares - sums**2 / left) / left.astype(float) ** 2
    cut = int(np.argmin(errors[: count // 2 + 1]))
    return cut * ((len(end_s) - 1) // count) if errors[cut] <= _WARMUP_GAIN * errors[0] else 0


def _block_durations(end_s: Floats, blocks: int, concurrency: int) -> Floats:
    """Split completions into `blocks` blocks of the same count, and return how long each block took.

    Blocks have equal counts rather than equal durations: with slow requests, the count of a duration would be coarse.
    """
    size = block_size(len(end_s) - 1, blocks, concurrency)
    if size < 1:
        return np.empty(0)
    return np.diff(end_s[::size][: blocks + 1])


def block_size(count: int, blocks: int, concurrency: int) -> int:
    """Return how many of `count` requests each block has: if it is large, a multiple of those in flight."""
    size = count // blocks
    return size - size % concurrency if size > 4 * concurrency else size


def variance_of_mean(blocks: Floats) -> float:
    """Variance of the mean of consecutive blocks, which may be correlated.

    Between neighbours whose correlation falls by the factor r, it is (1 + r) / (1 - r) times that of independent blocks
    (A. Tafazzoli, J. R. Wilson, "Skart: a skewness- and autoregression-adjusted batch-means procedure for simulation
    analysis", IIE Transactions 43(2), 2011). A sample's r is low by about 1 / blocks (Kendall, 1954), which is added.
    """
    centred = blocks - blocks.mean()
    squares = float((centred**2).sum())
    if squares <= 0:
        return 0.0
    r = float((centred[1:] * centred[:-1]).sum()) / squares + 1 / len(blocks)
    r = min(max(r, 0.0), _MOST_CORRELATED)
    return squares / (len(blocks) - 1) / len(blocks) * (1 + r) / (1 - r)


def _block_bounds(count: int, concurrency: int) -> NDArray[np.int_]:
    """Split `count` requests into `BLOCKS` blocks; return where they begin and the last one ends, nothing for too few.

    Small blocks differ in size, so that each has a multiple of the requests in flight, and all requests are used.
    """
    size = block_size(count, BLOCKS, concurrency)
    if size < 1:
        return np.empty(0, dtype=int)
    if concurrency < size <= 4 * concurrency:
        return np.arange(BLOCKS + 1) * count // (BLOCKS * concurrency) * concurrency
    return np.arange(BLOCKS + 1) * size


def rate_half_width(counts: Floats, end_s: Floats, concurrency: int = 1) -> float:
    """Half width of the 95 % interval of a rate by batch means, as a fraction of it.

    A rate is the ratio of two means over blocks of consecutive requests, of what they delivered and how long they took;
    the variance of a ratio is that of the differences between what a block delivered and what its time gives at that
    rate (W. G. Cochran, "Sampling Techniques", 3rd edition, section 6.4).

    Parameters
    ----------
    counts : ndarray of float, shape (n_requests,)
        What each request delivered: itself, or its responses or tokens.
    end_s : ndarray of float, shape (n_requests + 1,)
        When the window began and when each request ended.
    concurrency : int
        Requests in flight; see `summarize`.
    """
    bounds = _block_bounds(len(counts), concurrency)
    if len(bounds) == 0 or counts.sum() <= 0 or end_s[bounds[-1]] <= end_s[0]:
        return math.inf
    delivered = np.add.reduceat(counts[: bounds[-1]], bounds[:-1])
    durations = np.diff(end_s[bounds])
    differences = delivered - durations * (delivered.sum() / durations.sum())
    return float(STUDENT_T * math.sqrt(variance_of_mean(differences)) / delivered.mean())


def effective_requests(latency_s: Floats, concurrency: int = 1) -> float:
    """Return how many independent requests would tell the p99 as precisely as these.

    Slow requests come together where requests wait for each other or something slows all of them for a while. So the
    share of the requests that are as slow as the p99 varies more between blocks than that of independent requests.

    Parameters
    ----------
    latency_s : ndarray of float
        In order of completion.
    concurrency : int
        Requests in flight; see `summarize`.
    """
    count = len(latency_s)
    size = block_size(count, BLOCKS, concurrency)
    if size < 1:
        return float(count)
    slow = latency_s >= percentile(np.sort(latency_s), 0.99)
    share = float(slow.mean())
    variance = variance_of_mean(slow[: size * BLOCKS].reshape(BLOCKS, size).mean(axis=1))
    return min(float(count), share * (1 - share) / variance) if variance > 0 else float(count)


def p99_half_width_s(ordered: Floats, effective: float | None = None) -> float:
    """Half width of the 95 % confidence interval of the 99th percentile: the wider of its two sides.

    From order statistics: of n independent requests the number above the true p99 is binomial(n, 0.01), which bounds
    the ranks between which it lies. Below 321 independent requests the upper rank lies beyond the largest latency
    seen, which is then taken instead. As that interval is too narrow, it is made at least as wide as that of an
    exponential tail above the 90th percentile: with the mean excess b, p99 is p90 + b ln 10 with a standard error of
    b ln 10 / sqrt(exceedances). So few requests do not show a second, slower mode of one or two percent of them. The
    result is infinite below `MIN_REQUESTS`.

    Parameters
    ----------
    ordered : ndarray of float
        Latencies in ascending order.
    effective : float, optional
        The number of independent requests that they are worth; all of them by default.
    """
    count = len(ordered)
    if count < MIN_REQUESTS:
        return math.inf
    independent = count if effective is None else max(1, int(effective))
    fewest, most = (round(k * count / independent) for k in _binomial_bounds(independent, 0.01))
    p99 = percentile(ordered, 0.99)
    half_width = max(float(ordered[count - fewest]) - p99, p99 - float(ordered[max(0, count - most - 1)]))
    if independent >= _ORDER_STATISTICS_FROM:
        return half_width
    # the upper rank is beyond the largest of so few independent requests
    half_width = max(half_width, float(ordered[-1]) - p99)
    above = ordered[math.ceil(0.9 * count) :]
    excess = float(above.mean() - ordered[math.ceil(0.9 * count) - 1])
    return max(half_width, NORMAL_Z * excess * math.log(10) / math.sqrt(0.1 * independent))


def _binomial_bounds(count: int, share: float) -> tuple[int, int]:
    """Return the smallest k (at least 1) with P(K <= k) > `_MISS_ABOVE`, and that with P(K <= k) >= 1 - `_MISS_BELOW`.

    `count` requests are independent, and each exceeds the percentile with the probability `share`.
    """
    mean, deviation = count * share, math.sqrt(count * share * (1 - share))
    ks = np.arange(min(count, int(mean + 8 * deviation + 10)) + 1)
    # log P(K = k), built up from P(K = 0) by the ratio of neighbours
    steps = np.log((count - ks[:-1]) / (ks[:-1] + 1.0) * share / (1 - share))
    cumulative = np.cumsum(np.exp(count * math.log1p(-share) + np.concatenate(([0.0], np.cumsum(steps)))))
    fewest = max(1, int(np.searchsorted(cumulative, _MISS_ABOVE, side="right")))
    return fewest, int(np.searchsorted(cumulative, 1 - _MISS_BELOW))
