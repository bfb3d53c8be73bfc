"""The figures of streams: what a decoupled model, such as a language model, delivered response by response."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFigures:
    """What the streams of a decoupled model delivered over the stable window; None where it was not measured.

    A stream is one request with its responses; empty responses do not count. Tokens are known only where the model
    reports their number.

    Parameters
    ----------
    responses_per_s, responses_ci : float
        Responses of all streams per second, and the half width of the 95 % confidence interval as a fraction of it.
    first_response_avg_s, first_response_p50_s, first_response_p99_s : float
        Time from sending a request to its first response: of a language model the time to first token (TTFT).
    first_response_p99_ci : float
        Half width of the interval, as of all `*_ci`.
    response_gap_avg_s, response_gap_p50_s, response_gap_p99_s, response_gap_p99_ci : float
        Time between two responses of a stream.
    input_tokens_avg, output_tokens_avg : float
        Tokens of a request, and of all its responses.
    output_tokens_per_s, output_tokens_ci : float
        Tokens of all streams.
    itl_avg_s, itl_p50_s, itl_p99_s, itl_p99_ci : float
        Inter-token latency of a stream: (last response - first response) / (output tokens - tokens of the first
        response); the definition of AIPerf.
    """

    responses_per_s: float | None = None
    responses_ci: float | None = None
    first_response_avg_s: float | None = None
    first_response_p50_s: float | None = None
    first_response_p99_s: float | None = None
    first_response_p99_ci: float | None = None
    response_gap_avg_s: float | None = None
    response_gap_p50_s: float | None = None
    response_gap_p99_s: float | None = None
    response_gap_p99_ci: float | None = None
    input_tokens_avg: float | None = None
    output_tokens_avg: float | None = None
    output_tokens_per_s: float | None = None
    output_tokens_ci: float | None = None
    itl_avg_s: float | None = None
    itl_p50_s: float | None = None
    itl_p99_s: float | None = None
    itl_p99_ci: float | None = None
