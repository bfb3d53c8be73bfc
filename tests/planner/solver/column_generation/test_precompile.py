"""Test that the functions compiled in advance are those that the solver calls."""

from __future__ import annotations

from planner.solver.column_generation.precompile import warm_up
from planner.solver.limits import SearchLimits
from planner.solver.solve import solve
from tests.builders.problems import slowed, whole_gpus


def test_solver_needs_no_other_versions_than_the_ones_compiled_ahead() -> None:
    """After warm-up and solving each function has one signature; a second one would have to be compiled."""
    from planner.solver.column_generation import close_patterns, cover_kernel, knapsack, knapsack_dp, subset_rows

    warm_up()
    solve(
        whole_gpus((1000, 1000), [(200 + 7 * i % 301, 150 + 11 * i % 307) for i in range(60)]), SearchLimits(seconds=5)
    )
    solve(slowed(60, 1), SearchLimits(seconds=5))  # with tolerances
    loads = [(200 + 7 * i % 301,) for i in range(60)]
    solve(whole_gpus((1000,), loads), SearchLimits(seconds=5))
    compiled = [
        knapsack.best_contents, knapsack.fast_fill, knapsack_dp._table, knapsack_dp._search,
        cover_kernel.least_covers, cover_kernel.gains, close_patterns.most_profit, close_patterns.contents_above,
        subset_rows.pair_values, subset_rows.violated_triples,
    ]  # fmt: skip
    assert [len(function.signatures) for function in compiled] == [1] * len(compiled)
