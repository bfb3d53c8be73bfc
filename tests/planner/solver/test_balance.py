"""Test that `even_out` balances the load of the GPUs at the same cost."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from planner.formulation.candidates import Mode
from planner.formulation.formulate import formulate
from planner.formulation.rules import Rules
from planner.inputs.demand import Requirement, Spread
from planner.inputs.fleet import FleetType
from planner.problem.co_location import Alone, Rule
from planner.problem.plan import GpuGroup, Plan, Replicas, Status
from planner.problem.problem import GpuType, Layout, Option, Place, Problem, Task
from planner.problem.verify import violations
from planner.solver.balance import even_out
from planner.solver.limits import SearchLimits
from planner.solver.solve import solve
from tests.builders.profiles import MIB, point, profile, request


def task(name: str, load: int) -> Task:
    """Make a model of one replica with this load."""
    return Task(name=name, options=(Option(place=0, load=(load,)),))


def problem(*tasks: Task, rules: tuple[Rule, ...] = ()) -> Problem:
    """Make a problem with these tasks on GPUs of capacity 10."""
    gpu = GpuType(name="T4", layouts=(Layout(name="whole", places=(0,)),))
    place = Place(name="T4", capacity=(10,))
    return Problem(resources=("memory",), places=(place,), gpus=(gpu,), tasks=tasks, rules=rules)


def two_gpus(first: tuple[Replicas, ...], second: tuple[Replicas, ...]) -> Plan:
    """Make a plan of two GPUs."""
    gpus = (GpuGroup(gpu=0, layout=0, contents=(first,)), GpuGroup(gpu=0, layout=0, contents=(second,)))
    return Plan(status=Status.OPTIMAL, gpus=gpus, objective=2, lower_bound=2)


def test_replica_goes_where_more_room_is() -> None:
    """GPUs with 5 + 4 + 1 and 3 become 5 + 1 and 3 + 4 (6 and 7), which no single move improves."""
    asked = problem(task("a", 5), task("b", 4), task("c", 1), task("d", 3))
    full = (Replicas(task=0, option=0), Replicas(task=1, option=0), Replicas(task=2, option=0))
    evened = even_out(two_gpus(full, (Replicas(task=3, option=0),)), asked)
    assert not violations(evened, asked)
    sums = sorted(sum(asked.tasks[r.task].options[0].load[0] for r in g.contents[0]) for g in evened.gpus)
    assert sums == [6, 7]


def test_model_with_an_alone_rule_keeps_its_gpu() -> None:
    """No replica moves to the GPU of the model that must be alone, although it is emptier."""
    asked = problem(task("a", 5), task("b", 4), task("c", 1), rules=(Alone(tasks=(2,)),))
    plan = two_gpus((Replicas(task=0, option=0), Replicas(task=1, option=0)), (Replicas(task=2, option=0),))
    assert even_out(plan, asked) == plan


def test_replica_stays_where_others_do_not_tolerate_it() -> None:
    """GPUs with 5 + 4 and 1: the 4 would go to the 1, which tolerates 4 in all; so would the 1 beside 4 + 5."""
    quiet = Task(name="c", options=(Option(place=0, load=(1,), tolerance=(4,)),))
    asked = problem(task("a", 5), task("b", 4), quiet)
    plan = two_gpus((Replicas(task=0, option=0), Replicas(task=1, option=0)), (Replicas(task=2, option=0),))
    assert even_out(plan, asked) == plan
    loud = problem(task("a", 5), task("b", 4), task("c", 1))
    assert even_out(plan, loud) != plan


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(1, 90), st.integers(100, 6000)), min_size=1, max_size=7), st.booleans())
def test_plan_stays_right_and_costs_the_same(models: list[tuple[int, int]], spread: bool) -> None:
    """The balanced plan has the same cost and no violation, and its fullest GPU is no fuller than before."""
    profiles = [profile(f"m{i}", point(utilization=u / 100, memory_mib=size)) for i, (u, size) in enumerate(models)]
    demand = [Requirement(model=p.model, replicas=2, spread=Spread.GPU if spread else None) for p in profiles]
    fleet = FleetType(type="T4", memory_bytes=10_300 * MIB, devices=("T4",))
    asked = formulate(request(profiles, demand, [fleet], Rules(mode=Mode.THROUGHPUT))).problem
    plan = solve(asked, SearchLimits(seconds=10))
    evened = even_out(plan, asked)
    assert not violations(evened, asked)
    assert (evened.objective, evened.n_gpus) == (plan.objective, plan.n_gpus)
    assert _fullest(evened, asked) <= _fullest(plan, asked) + 1e-9


def _fullest(plan: Plan, asked: Problem) -> float:
    return max(
        sum(r.count * asked.tasks[r.task].options[r.option].load[i] for r in g.contents[0]) / c
        for g in plan.gpus
        for i, c in enumerate(asked.places[0].capacity)
    )
