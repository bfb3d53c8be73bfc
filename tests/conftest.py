"""Parts that tests of several packages use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import nvml


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the fake libnvidia-ml.so.1, compiled once."""
    return nvml.build(tmp_path_factory.mktemp("nvml"))
