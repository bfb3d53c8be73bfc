"""The chain on a real NVIDIA card, beside what PyTorch and CUDA's own clocks say. See ../README.md."""
