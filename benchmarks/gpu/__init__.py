"""Benchmark of `analyze` and `plan verify` on an NVIDIA GPU, against the figures of PyTorch and CUDA (../README.md)."""
