"""`analyze` beside perf_analyzer and Model Analyzer: same server, same models, one run. See ../README.md."""
