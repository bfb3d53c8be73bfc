"""Test the options of a container."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from analyzer.servers.docker_container import container_options
from analyzer.servers.ports import Ports

PORTS = Ports(http=8000, grpc=8001, metrics=8002)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_container_has_the_processors_that_the_process_may_use(tmp_path: Path) -> None:
    """A process that is kept to one of several processors keeps its container there; else it has all of them."""
    before = os.sched_getaffinity(0)
    one = min(before)
    assert container_options("triton", tmp_path, (), PORTS, None).get("cpuset_cpus") in (
        None,
        ",".join(map(str, before)),
    )
    os.sched_setaffinity(0, {one})
    try:
        assert container_options("triton", tmp_path, (), PORTS, None)["cpuset_cpus"] == str(one)
    finally:
        os.sched_setaffinity(0, before)
