"""Figures of streams, the requests of a decoupled model with their responses, with confidence intervals.      [pure]

The responses of a stream depend on each other, and so do their times. So the stream is the unit: blocks hold whole
streams, and where there are fewer streams than blocks, all responses of a stream tell no more than one would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analyzer.measurements.stream_figures import StreamFigures
from analyzer.statistics.window import (
    BLOCKS,
    Floats,
    block_size,
    effective_requests,
    p99_half_width_s,
    percentile,
    rate_half_width,
    variance_of_mean,
)


@dataclass(frozen=True, slots=True)
class Streams:
    """What streams delivered, as arrays of the shape ``(n_streams,)``; the last two ``(n_gaps,)``.

    Parameters
    ----------
    responses : ndarray of float
        Responses that are not empty.
    first_s, last_s : ndarray of float
        From sending the request to the first and to the last of them; not a number where there is none.
    input_tokens, output_tokens, first_tokens : ndarray of float
        Tokens of the request, of all responses and of the first; not a number where the model does not report them.
    gaps_s : ndarray of float
        Times between two responses of a stream.
    stream_of_gap : ndarray of int
        The place of each gap's stream, in ascending order.
    """

    responses: Floats
    first_s: Floats
    last_s: Floats
    input_tokens: Floats
    output_tokens: Floats
    first_tokens: Floats
    gaps_s: Floats
    stream_of_gap: NDArray[np.int_]

    def take(self, places: NDArray[np.int_]) -> Streams:
        """Return the streams at these places, in their order."""
        new_place = np.full(len(self.responses), -1)
        new_place[places] = np.arange(len(places))
        of_gap = new_place[self.stream_of_gap]
        order = np.argsort(of_gap, kind="stable")[np.count_nonzero(of_gap < 0) :]
        return Streams(
            responses=self.responses[places],
            first_s=self.first_s[places],
            last_s=self.last_s[places],
            input_tokens=self.input_tokens[places],
            output_tokens=self.output_tokens[places],
            first_tokens=self.first_tokens[places],
            gaps_s=self.gaps_s[order],
            stream_of_gap=of_gap[order],
        )


def stream_figures(streams: Streams, end_s: Floats, *, concurrency: int = 1) -> StreamFigures:
    """Compute the figures of the streams of a window.

    Parameters
    ----------
    streams : Streams
        Those that ended in the window, in order of completion; not empty.
    end_s : ndarray of float, shape (n_streams + 1,)
        When the window began and when each stream ended, on the window's clock.
    concurrency : int
        Streams in flight; see `window.summarize`.
    """
    duration_s = float(end_s[-1] - end_s[0])
    figures: dict[str, float | None] = {
        "responses_per_s": float(streams.responses.sum()) / duration_s,
        "responses_ci": _finite(rate_half_width(streams.responses, end_s, concurrency)),
        **_times("first_response", streams.first_s[np.isfinite(streams.first_s)], concurrency),
        **_gaps(streams, concurrency),
    }
    if np.isfinite(streams.input_tokens).all():
        figures["input_tokens_avg"] = float(streams.input_tokens.mean())
    tokens = np.where((streams.responses == 0) & ~np.isnan(streams.output_tokens).all(), 0.0, streams.output_tokens)
    if np.isfinite(tokens).all():
        figures["output_tokens_avg"] = float(tokens.mean())
        figures["output_tokens_per_s"] = float(tokens.sum()) / duration_s
        figures["output_tokens_ci"] = _finite(rate_half_width(tokens, end_s, concurrency))
        later: Floats = tokens - np.nan_to_num(streams.first_tokens)
        several = (later > 0) & (streams.responses > 1)
        itl_s = (streams.last_s - streams.first_s)[several] / later[several]
        figures |= _times("itl", itl_s, concurrency)
    return StreamFigures(**figures)


def effective_gaps(streams: Streams, concurrency: int = 1) -> float:
    """Return how many independent gaps would tell the p99 of all gaps as precisely as these."""
    count, n_streams = len(streams.gaps_s), len(streams.responses)
    size = block_size(n_streams, BLOCKS, concurrency)
    if size < 1:
        return float(min(n_streams, count))
    slow = streams.gaps_s >= percentile(np.sort(streams.gaps_s), 0.99)
    used = streams.stream_of_gap < size * BLOCKS
    block = streams.stream_of_gap[used] // size
    gaps = np.bincount(block, minlength=BLOCKS)
    above = np.bincount(block, weights=slow[used], minlength=BLOCKS)
    share = float(slow.mean())
    variance = variance_of_mean(above - share * gaps) / float(gaps.mean()) ** 2
    return min(float(count), share * (1 - share) / variance) if variance > 0 else float(count)


def _gaps(streams: Streams, concurrency: int) -> dict[str, float | None]:
    if len(streams.gaps_s) == 0:
        return {}
    return _of_times("response_gap", streams.gaps_s, effective_gaps(streams, concurrency))


def _times(name: str, times_s: Floats, concurrency: int) -> dict[str, float | None]:
    """Return the figures of times of which each stream has one."""
    if len(times_s) == 0:
        return {}
    return _of_times(name, times_s, effective_requests(times_s, concurrency))


def _of_times(name: str, times_s: Floats, effective: float) -> dict[str, float | None]:
    ordered = np.sort(times_s)
    p99 = percentile(ordered, 0.99)
    return {
        f"{name}_avg_s": float(ordered.mean()),
        f"{name}_p50_s": percentile(ordered, 0.50),
        f"{name}_p99_s": p99,
        f"{name}_p99_ci": _finite(p99_half_width_s(ordered, effective) / p99) if p99 > 0 else None,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
