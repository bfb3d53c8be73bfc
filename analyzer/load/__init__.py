"""Send inference requests in a closed or an open loop, and time them."""

SEQUENCE_LENGTH = 20  # steps of a sequence of random inputs; perf_analyzer's default as well
