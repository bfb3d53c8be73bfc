"""Send requests, closed or open loop, and time them."""

SEQUENCE_LENGTH = 20  # steps of a sequence of random inputs; perf_analyzer's default as well
