"""Test plans for models that stream: budgets for their latencies, lengths of requests, and reserved memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analyzer.errors import UsageError
from planner import plan
from planner.inputs.demand import Requirement
from planner.inputs.fleet import FleetType, Scaling
from planner.inputs.profiles import OperatingPoint, Profile
from planner.placement.document import Placement
from planner.problem.plan import Status
from tests.builders.profiles import MIB, point, profile

T4 = FleetType(type="T4", memory_bytes=15000 * MIB, devices=("T4",))


def stream(concurrency: int, throughput: float, ttft_s: float, **more: object) -> OperatingPoint:
    """Make an operating point of a language model with requests of 512 and answers of 128 tokens."""
    known = {"ttft_p99_s": ttft_s, "itl_p99_s": 0.02, "input_length": 512, "output_length": 128, **more}
    return replace(point(concurrency=concurrency, throughput=throughput), **known)  # type: ignore[arg-type]


SLOW, FAST = stream(8, 40.0, 0.5), stream(1, 10.0, 0.1)
LLM = profile("llm", FAST, SLOW)


def place(*profiles: Profile, **asked: object) -> Placement:
    """Place one model ``llm`` with this demand on any number of T4."""
    wanted = Requirement(model="llm", **asked)  # type: ignore[arg-type]
    return plan(list(profiles), demand=[wanted], fleet=[T4], mode="memory").placement


@pytest.mark.parametrize(
    ("asked", "concurrency", "replicas"),
    [
        ({}, 8, 1),
        ({"ttft_p99_s": 0.5}, 8, 1),
        ({"ttft_p99_s": 0.2}, 1, 4),
        ({"ttft_p99_s": 0.2, "itl_p99_s": 0.02}, 1, 4),
    ],
)
def test_a_budget_leaves_the_points_within_it(asked: dict[str, float], concurrency: int, replicas: int) -> None:
    """40 requests/s need one replica at concurrency 8, and four at concurrency 1 where the first token is due early."""
    found = place(LLM, rate_requests_per_s=40, **asked)
    assert [(m.concurrency, m.replicas, m.input_length) for gpu in found.gpus for m in gpu.models] == [
        (concurrency, replicas, 512)
    ]
    assert found.schema_version == "1.4"


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (
            {"ttft_p99_s": 0.05},
            "no operating point on T4 with a p99 time to the first response within 50 ms; its lowest",
        ),
        ({"itl_p99_s": 0.01}, "with a p99 inter-token latency within 10 ms; its lowest is 20.0 ms"),
        (
            {"input_length": 513},
            "on T4 with inputs of 512 tokens and answers of 128 tokens at most, which is less than",
        ),
        ({"output_length": 129}, "which is less than what is asked for: measure it with longer ones"),
    ],
)
def test_nothing_is_promised_beyond_what_was_measured(asked: dict[str, float], reason: str) -> None:
    """Shorter latencies and longer requests than measured have no plan, and the reason has the measured figure."""
    found = place(LLM, rate_requests_per_s=1, **asked)
    assert found.status is Status.INFEASIBLE
    assert reason in found.unplaced[0].reason


def test_answers_that_ended_early_count_with_their_own_length() -> None:
    """128 tokens were asked for and the model gave 60 on average: a demand of 100 is beyond what was measured."""
    ended = profile("llm", replace(SLOW, output_tokens=60.2))
    assert place(ended, rate_requests_per_s=1, output_length=60).status is Status.OPTIMAL
    assert place(ended, rate_requests_per_s=1, output_length=100).status is Status.INFEASIBLE


def test_lengths_are_not_guessed() -> None:
    """A model that was measured with several lengths needs the demand's; then the longer points count as well."""
    short = replace(SLOW, input_length=128, throughput_infer_per_s=80.0)
    both = profile("llm", short, SLOW)
    with pytest.raises(UsageError, match="measured with requests of 128, 512 tokens; give input_length in the demand"):
        place(both, rate_requests_per_s=40)
    with pytest.raises(UsageError, match="give input_length"):
        plan([both], fleet=[T4])
    used = [place(both, rate_requests_per_s=80, input_length=n).gpus[0].models[0] for n in (100, 500)]
    assert [(m.input_length, m.replicas) for m in used] == [(128, 1), (512, 2)]


def test_requests_are_promised_at_batch_one_only() -> None:
    """A request of four inferences is no four requests."""
    batched = profile("llm", replace(SLOW, batch=4, throughput_infer_per_s=400.0), FAST)
    assert place(batched, rate_requests_per_s=10).gpus[0].models[0].batch == 1
    only = place(profile("llm", replace(SLOW, batch=4)), rate_requests_per_s=10)
    assert only.unplaced[0].reason == "llm was not measured at batch 1 on T4, so that no requests/s can be promised"


def test_reserved_memory_is_not_carried_to_another_device() -> None:
    """A reservation is packed as it stands, with a note, and says nothing of a type that figures are scaled to."""
    reserving = replace(LLM, points=(replace(SLOW, memory_bytes=9000 * MIB, memory_is_reservation=True),))
    found = place(reserving, rate_requests_per_s=80)
    assert found.objective.gpus == 2
    assert all(m.memory_is_reservation and m.memory_bytes == 9000 * MIB for gpu in found.gpus for m in gpu.models)
    assert any("the memory of llm is what the backend reserves" in note for note in found.provenance.notes)
    scaled = FleetType(
        type="L4", memory_bytes=24000 * MIB, devices=("L4",), scaling=Scaling(device="T4", throughput=2.0)
    )
    for known, status in ((LLM, Status.OPTIMAL), (reserving, Status.INFEASIBLE)):
        wanted = [Requirement(model="llm", rate_requests_per_s=40)]
        assert plan([known], demand=wanted, fleet=[scaled], mode="memory").placement.status is status
