"""Benchmark of `analyze` on an NVIDIA GPU against the figures of PyTorch and CUDA (../README.md)."""
