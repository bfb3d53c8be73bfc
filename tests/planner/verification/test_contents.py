"""Test the contents of a placement: each once, slice by slice, in the order of risk, and what is sent to each."""

from __future__ import annotations

import pytest

from analyzer.errors import UsageError
from analyzer.measurements.record import Variant
from planner.placement.file import from_document
from planner.verification.contents import choose, contents_of, loads_of
from planner.verification.verify import mismatch
from tests.builders.placements import document, gpu, model

TWICE = [model("a", 1000), model("b", 2000, 30)]
PLACEMENT = from_document(document(gpu(0, *TWICE), gpu(1, model("c", 9000, 70)), gpu(2, *TWICE)))


def test_gpus_with_the_same_models_are_one_content() -> None:
    """Three GPUs of which two are filled alike have two contents, named after the first GPU of each."""
    first, second = contents_of(PLACEMENT)
    assert first.gpus == ("gpu-0", "gpu-2")
    assert first.name == "gpu-0 and 1 like it"
    assert [m.name for m in first.models] == ["a", "b"]
    assert second.gpus == ("gpu-1",)


def test_contents_nearest_to_a_limit_come_first() -> None:
    """Of two contents, `most` 1 keeps the one that uses more of a threshold; the order stays the placement's."""
    contents = contents_of(PLACEMENT)
    first, second = contents
    assert second.risk > first.risk
    assert choose(contents, most=1) == (second,)
    assert choose(contents, most=5) == contents


def test_named_gpus_stand_for_their_content() -> None:
    """A GPU names the content that it shares with others; an unknown one is refused with the nearest."""
    contents = contents_of(PLACEMENT)
    assert choose(contents, gpus=["gpu-2"]) == contents[:1]
    with pytest.raises(UsageError, match="no GPU 'gpu-9'"):
        choose(contents, gpus=["gpu-9"])


def test_slices_are_contents_of_their_own() -> None:
    """A cut GPU has a server on each slice in use, with that slice's models and memory; empty slices have none."""
    cut = gpu(0, model("a", 1000, 10, slice={"profile": "1g.5gb", "start": 0}))
    cut["geometry"] = {
        "name": "1g.5gb@0+1g.5gb@1",
        "slices": [
            {"profile": "1g.5gb", "start": 0, "memory_capacity_mib": 4864, "memory_mib": 1309, "utilization_pct": 70},
            {"profile": "1g.5gb", "start": 1, "memory_capacity_mib": 4864, "memory_mib": 0},
        ],
    }
    (content,) = contents_of(from_document(document(cut)))
    assert content.gpus == ("gpu-0/1g.5gb@0",)
    assert content.slice_profile == "1g.5gb"
    assert content.memory_bytes == 1309 << 20
    assert content.models[0].slice is None
    # 10 % of the GPU is 70 % of its slice, by which the slow-down is predicted; 10 % once was
    assert content.models[0].utilization == pytest.approx(0.7)
    assert choose([content], gpus=["gpu-0"]) == (content,)
    plan = from_document(document(cut))
    assert mismatch(content, plan, "NVIDIA A100-SXM4-40GB MIG 1g.5gb") == ""
    assert "planned on a slice 1g.5gb" in mismatch(content, plan, "NVIDIA A100-SXM4-40GB")
    whole, _ = contents_of(PLACEMENT)
    assert "planned on a whole T4" in mismatch(whole, PLACEMENT, "NVIDIA A100-SXM4-40GB MIG 1g.5gb")
    assert mismatch(whole, PLACEMENT, "Tesla T4") == ""


def test_load_is_the_planned_rate_or_the_planned_concurrency() -> None:
    """A rate is divided by the batch; replicas of a model are instances of one model, which gets the load of all."""
    rated = model("a", 1000, rate_infer_per_s=50, replicas=2, instances=3)
    rated["variant"] = "instances=3;dynamic_batching=on:100us"
    (content,) = contents_of(from_document(document(gpu(0, rated, model("b", 100)))))
    first, second = loads_of(content)
    assert first.trial.request_rate_per_s == 25
    assert first.trial.concurrency == 0
    assert first.trial.variant == Variant(instances=3, dynamic_batching=True, max_queue_delay_s=1e-4)
    assert first.instances == 6
    assert (second.trial.concurrency, second.trial.request_rate_per_s, second.instances) == (4, None, None)


def test_two_configurations_of_a_model_on_one_server_are_refused() -> None:
    """One server holds a model once."""
    (content,) = contents_of(from_document(document(gpu(0, model("a", 1), model("a", 1, variant="instances=2")))))
    with pytest.raises(UsageError, match="two configurations"):
        loads_of(content)


@pytest.mark.parametrize(
    "variant",
    [
        Variant(),
        Variant(instances=2),
        Variant(dynamic_batching=False, max_batch_size=8),
        Variant(instances=4, dynamic_batching=True, max_queue_delay_s=0.0025, max_batch_size=16),
    ],
)
def test_variant_is_found_by_its_name(variant: Variant) -> None:
    """The name of a variant is read back as the same variant; other texts are refused."""
    assert Variant.named(variant.name) == variant
    with pytest.raises(ValueError, match="names no configuration"):
        Variant.named(f"{variant.name};more=1")


def test_content_with_rates_by_hour_is_measured_in_its_busiest_hour() -> None:
    """Of a model with 100 infer/s by day and 10 by night, and one with 0 by day and 50 by night, at 60 and 50 %, the
    day is busier: 100 infer/s are sent to the one, and a hundredth of its peak to the other."""
    day, night = [100.0] * 12 + [10.0] * 12, [0.0] * 12 + [50.0] * 12
    models = [model("a", 1000, 60, rate_infer_per_s=100), model("b", 2000, 50, rate_infer_per_s=50)]
    demand = [{"model": name, "rates_by_hour_infer_per_s": rates} for name, rates in (("a", day), ("b", night))]
    (content,) = contents_of(from_document(document(gpu(0, *models), demand=demand)))
    assert [m.rate_infer_per_s for m in content.models] == [100, 0.5]
    assert [m.utilization for m in content.models] == [0.6, 0.005]
