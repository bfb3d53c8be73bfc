"""Parametrize the tests by seeds, and plan the request of a seed."""

from __future__ import annotations

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a test each seed of the run, or every nth, where its module says EVERY = n."""
    if "seed" in metafunc.fixturenames:
        first, n = (metafunc.config.getoption(name) for name in ("--first-seed", "--seeds"))
        every = getattr(metafunc.module, "EVERY", 1)
        seeds = [seed for seed in range(first, first + n) if seed % every == 0]
        metafunc.parametrize("seed", seeds, ids=lambda seed: f"seed-{seed}")
