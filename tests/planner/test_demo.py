"""Test the plans of `make demo` for hosts of different speed and server memory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from analyzer.measurements.record import Measurement
from planner import plan
from planner.inputs.demand_file import read_demand
from planner.inputs.memory_size import MemorySize
from tests.builders.profiles import measurement

ROOT = Path(__file__).parents[2]
DEMAND = ROOT / "sample_models" / "demand.toml"
# What the sample models deliver and take in a Triton of the wheel on an Intel Xeon: batch, concurrency, infer/s, p99 in
# ms, MiB of the model's own.
ALONE = {
    "image_classifier": ((1, 1, 378, 4.3, 69), (1, 4, 407, 11.8, 70), (4, 1, 214, 21.1, 72), (4, 4, 214, 79.8, 73)),
    "segmenter": ((1, 1, 72, 28, 47), (1, 4, 78.6, 54.1, 48), (4, 1, 42.8, 147, 136), (4, 4, 44.4, 426, 137)),
    "text_encoder": ((1, 1, 33.3, 35.4, 273), (1, 4, 34, 122, 273), (4, 1, 42.4, 109, 276), (4, 4, 42.9, 384, 276)),
}


def profiled(speed: float, server_mib: int) -> list[Measurement]:
    """Make the measurements of `make demo` on a host of another speed, each model with half of the processors."""
    return [
        measurement(
            model,
            batch=batch,
            concurrency=concurrency,
            throughput=rate * speed,
            latency_p99_s=p99_ms / speed / 1e3,
            max_memory_mib=server_mib + own_mib,
            server_memory_mib=server_mib,
            utilization=0.52,
            memory_utilization=None,
        )
        for model, points in ALONE.items()
        for batch, concurrency, rate, p99_ms, own_mib in points
    ]


@pytest.mark.parametrize("server_mib", [20, 31, 100])
@pytest.mark.parametrize("speed", [0.5, 1.0, 3.0])
def test_demo_has_two_models_on_one_gpu_and_one_that_cannot_join(speed: float, server_mib: int) -> None:
    """On a host of half to three times the speed, two of the models share a GPU, and the third has one of its own."""
    (size,) = re.findall(r"^GPU_MEMORY \?= .*,(\w+)\)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    memory = MemorySize().parse(size)  # that of a host without a GPU
    for options in ({"mode": "memory"}, {"demand": DEMAND, "max_utilization_pct": 120}):
        result = plan(profiled(speed, server_mib), gpu_memory_mib=memory, **options)
        assert (result.gpus, result.lower_bound) == (2, 2)
        assert sorted(len(gpu.models) for gpu in result.placement.gpus) == [1, 2]
        assert all(model.replicas == 1 for gpu in result.placement.gpus for model in gpu.models)


def test_demand_of_the_demo_is_for_the_sample_models() -> None:
    """Each model of the demo has a rate and a p99 budget, with which the verification judges it."""
    (models,) = re.findall(r"^MODELS \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    demand = read_demand(str(DEMAND))
    assert [each.model for each in demand] == models.split(",")
    assert all(each.rate_infer_per_s and each.latency_p99_s for each in demand)
