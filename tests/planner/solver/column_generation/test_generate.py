"""Test pattern generation that ends at its time limit."""

from __future__ import annotations

from planner.solver.column_generation.generate import generate
from planner.solver.column_generation.master import Master
from planner.solver.column_generation.rounding_cuts import violated_rows
from planner.solver.column_model import Pattern, build
from planner.solver.limits import SearchLimits
from tests.builders.problems import whole_gpus


def test_generation_out_of_time_has_a_value_for_every_column() -> None:
    """It once returned columns that were added after the LP's last solution. Rounding rows, which pair columns with
    their values, then failed (three GPU types and rates, if the time ended during the first rounds)."""
    model = build(whole_gpus((10, 10), [(5, 2), (4, 3), (3, 6), (2, 2)], [4, 4, 4, 4]))
    needs = model.needs(model.demand, model.replicas)
    master = Master(model, needs, [Pattern(0, ((i, 1),)) for i in range(4)])
    found = None
    for _ in range(50):  # on a busy machine the LP may be stopped before its first solution
        found = found or generate(
            model, master, needs, model.demand, model.replicas, limits=SearchLimits(stop=lambda: True)
        )
    assert found is not None
    assert len(found.relaxed.columns) == len(master.columns)
    assert violated_rows(model, master.columns, found.relaxed.columns) == []
