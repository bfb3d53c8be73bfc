"""VPSolver's arc-flow with HiGHS: `python -m benchmarks.packing.arcflow FOLDER NAME [SECONDS]` prints a line of JSON.

VPSolver (Brandao and Pedroso, 2016) turns copies of models on one GPU type into a flow over a compressed graph, whose
linear relaxation is as strong as that of column generation; the HiGHS inside OR-Tools solves the integer programme.
FOLDER has VPSolver's programs `vbp2afg` and `afg2mps`; README.md says where they come from.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from math import ceil
from pathlib import Path

from benchmarks.packing.instances import cases, problem_of
from planner.problem.problem import Problem
from planner.solver.presolve import reduce


def main(folder: Path, name: str, time_limit_s: float) -> None:
    """Build the graph, solve it, and print the number of GPUs found and the lower bound."""
    deadline = time.monotonic() + time_limit_s
    problem = reduce(problem_of(next(case for case in cases() if case.name == name))[0]).problem
    with tempfile.TemporaryDirectory() as scratch:
        instance, graph, programme = (Path(scratch) / f"a.{kind}" for kind in ("vbp", "afg", "mps"))
        instance.write_text(to_vbp(problem))
        for command in (["vbp2afg", instance, graph], ["afg2mps", graph, programme]):
            subprocess.run(
                [folder / command[0], *command[1:]], check=True, stdout=subprocess.DEVNULL, timeout=left_s(deadline)
            )
        print(json.dumps(solve_mps(programme, deadline)))


def left_s(deadline: float) -> float:
    """Return the seconds until a time of `time.monotonic`, at least 0.1."""
    return max(0.1, deadline - time.monotonic())


def to_vbp(problem: Problem) -> str:
    """Write a problem as VPSolver reads it: dimensions, capacity, kinds, and a line of loads and demand for each."""
    capacity = problem.places[0].capacity
    kinds = [(*task.options[0].load, task.demand) for task in problem.tasks]
    lines = [(len(capacity),), capacity, (len(kinds),), *kinds]
    return "\n".join(" ".join(str(x) for x in line) for line in lines) + "\n"


def solve_mps(programme: Path, deadline: float) -> dict[str, int | None]:
    """Return the GPUs found and the lower bound; None for what HiGHS did not find in time."""
    from ortools.linear_solver.python import model_builder

    model = model_builder.Model()
    model.import_from_mps_file(str(programme))
    solver = model_builder.Solver("HIGHS")
    solver.set_time_limit_in_seconds(left_s(deadline))
    status = solver.solve(model)
    found = status in (model_builder.SolveStatus.OPTIMAL, model_builder.SolveStatus.FEASIBLE)
    if status is model_builder.SolveStatus.OPTIMAL:
        value = round(solver.objective_value)
        return {"value": value, "lower_bound": value}
    bound = ceil(solver.best_objective_bound - 1e-6) if found else None
    return {"value": round(solver.objective_value) if found else None, "lower_bound": bound}


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 60.0)
