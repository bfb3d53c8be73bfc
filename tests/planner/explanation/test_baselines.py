"""Test the baselines: first-fit decreasing and the rule of thumb."""

from __future__ import annotations

from dataclasses import replace

from planner.explanation.baselines import baseline_text, baselines
from planner.formulation.candidates import Mode
from planner.formulation.formulate import formulate
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement
from planner.inputs.fleet import FleetType
from tests.builders.profiles import MIB, point, profile, request

T4 = FleetType(type="T4", memory_bytes=10_300 * MIB, devices=("T4",))
MEMORY = Rules(mode=Mode.MEMORY)


def models(*sizes_mib: int) -> list:  # type: ignore[type-arg]
    """Make profiles of models with these sizes, on a GPU with 10,000 MiB beside the server."""
    return [profile(f"m{i}", point(memory_mib=size)) for i, size in enumerate(sizes_mib)]


def test_first_fit_decreasing_opens_a_gpu_only_when_none_has_room() -> None:
    """With a capacity of 10,000, first fit puts 4000 beside 6000 although the second GPU came later: two GPUs."""
    profiles = models(4000, 5000, 5000, 6000)
    demand = [Requirement(model=p.model) for p in profiles]
    fit, _ = baselines(formulate(request(profiles, demand, [T4], MEMORY)))
    assert (fit.name, fit.gpus) == ("first-fit decreasing", 2)


def test_first_fit_decreasing_can_miss_the_optimum() -> None:
    """Two GPUs could hold 4400+3000+2600 and 3600+3400+3000; first fit fills 4400+3600, 3400+3000+3000 and 2600."""
    profiles = models(4400, 3000, 2600, 3600, 3400, 3000)
    demand = [Requirement(model=p.model) for p in profiles]
    fit, _ = baselines(formulate(request(profiles, demand, [T4], MEMORY)))
    assert fit.gpus == 3


def test_each_gpu_takes_as_many_replicas_as_fit() -> None:
    """Three replicas of 3000 fit on a GPU: seven take three GPUs, and the model of 3900 fits on the third."""
    profiles = models(3000, 3900)
    demand = [Requirement(model="m0", replicas=7), Requirement(model="m1")]
    fit, _ = baselines(formulate(request(profiles, demand, [T4], MEMORY)))
    assert fit.gpus == 3


def test_rule_of_thumb_says_where_it_runs_out_of_memory() -> None:
    """14 x 1500 = 21,000 MiB at 70 % of 10,300 are three GPUs; placed at random, one gets more than the 6 that fit."""
    profiles = models(1500)
    found = formulate(request(profiles, [Requirement(model="m0", replicas=14)], [T4], MEMORY))
    outcomes = [baselines(found, seed=seed)[1] for seed in range(20)]
    assert {o.gpus for o in outcomes} == {3}
    overfull = [o for o in outcomes if o.worst]
    assert overfull  # P(no GPU above six of fourteen) is far below 1
    for o in overfull:
        assert o.worst is not None
        copies = len(o.worst.models)
        assert copies > 6
        assert o.worst.memory_bytes == (300 + 1500 * copies) * MIB > o.worst.capacity_bytes


def test_rule_of_thumb_says_where_it_exceeds_a_threshold() -> None:
    """Ten models of 100 MiB and 60 % are put on one GPU by their memory: 600 % of its time was called one GPU."""
    profiles = [profile(f"m{i}", point(memory_mib=100, utilization=0.6)) for i in range(10)]
    demand = [Requirement(model=p.model) for p in profiles]
    _, thumb = baselines(formulate(request(profiles, demand, [T4], Rules(mode=Mode.THROUGHPUT))))
    assert (thumb.gpus, thumb.n_overfull, thumb.n_overloaded) == (1, 0, 1)
    assert baseline_text(thumb, "GPUs").endswith("1 GPU, of which 1 would exceed a threshold of utilization")


def test_what_is_asked_and_not_heeded_is_named() -> None:
    """Two models that must be apart, with a spare GPU and one T4 at most: the rules use what is not allowed."""
    profiles = models(4000, 7000)
    demand = [Requirement(model="m0", apart=("a",)), Requirement(model="m1", apart=("a",), replicas=2)]
    fleet = [replace(T4, limit=1)]
    for outcome in baselines(formulate(request(profiles, demand, fleet, replace(MEMORY, spare=1)))):
        assert outcome.ignored[:2] == ("apart", "spare")
        assert "; ignores apart, spare, the limit of 1" in baseline_text(outcome, "GPUs")
