"""Benchmark of `analyze` against perf_analyzer and Model Analyzer, on the same server and models (../README.md)."""
