"""Other solvers on the same case: greedy rules, a CP-SAT assignment, and VPSolver's arc-flow where installed."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from planner.problem.plan import Status, cost_of
from planner.problem.problem import Problem
from planner.solver.column_model import build
from planner.solver.greedy import RULES, pack
from planner.solver.limits import SearchLimits
from planner.solver.presolve import reduce

_MEMORY_BYTES = 4 * 2**30  # limit of a slow peer's address space
_GRACE_S = 5.0  # time after its limit in which a solver may end by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """The cost that a peer found and its lower bound, or why it found none."""

    found: int | None
    bound: int | None = None
    reason: str = "none"

    def __str__(self) -> str:
        """Return 23* for a proven cost of 23, else 23/22 for cost and bound."""
        if self.found is None:
            return self.reason
        return f"{self.found}*" if self.found == self.bound else f"{self.found}/{self.bound}"


def rules(problem: Problem) -> dict[str, int]:
    """Return the cost by each greedy rule that serves the whole demand."""
    smaller = reduce(problem).problem
    model = build(smaller)
    found = {}
    for rule, name in enumerate(RULES):
        groups = pack(model, model.demand, model.replicas, SearchLimits(), rule=rule)
        if groups is not None:
            found[name] = cost_of(groups, smaller)
    return found


def assignment(problem: Problem, time_limit_s: float, at_most: int) -> Peer:
    """Solve with CP-SAT over individual GPUs, with one integer for each kind of replica on each GPU."""
    from planner.solver.cp_sat.model import search

    found = search(reduce(problem).problem, upper_bound=at_most, limits=SearchLimits(seconds=time_limit_s))
    if found.status is Status.INFEASIBLE or not found.gpus:
        return Peer(found=None)
    cost = sum(problem.gpus[g.gpu].cost * g.count for g in found.gpus)
    return Peer(found=cost, bound=found.lower_bound)


def run_in_process(module: str, arguments: Sequence[str], time_limit_s: float) -> Peer:
    """Run a peer in its own process, within a time limit and a memory limit.

    `module` prints a line of JSON with `value` and `lower_bound`.
    """
    command = [sys.executable, "-m", f"benchmarks.packing.{module}", *arguments, str(time_limit_s)]
    try:
        ended = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=time_limit_s + _GRACE_S,
            preexec_fn=_limit_memory,
        )
    except subprocess.TimeoutExpired:
        return Peer(found=None, reason="time")
    if ended.returncode:
        late = "TimeoutExpired" in ended.stderr
        return Peer(found=None, reason="time" if late else "memory" if _out_of_memory(ended) else "failed")
    answer = json.loads(ended.stdout.splitlines()[-1])
    return Peer(found=answer["value"], bound=answer["lower_bound"], reason="time")


def arc_flow(name: str, problem: Problem, time_limit_s: float, folder: Path) -> Peer | None:
    """Solve with VPSolver; None where the case is not just copies of models on one GPU type."""
    if len(problem.places) > 1 or any(len(task.options) != 1 for task in problem.tasks):
        return None
    return run_in_process("arcflow", [str(folder), name], time_limit_s)


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


def _out_of_memory(ended: subprocess.CompletedProcess[str]) -> bool:
    """Whether a process ran out of memory: a Python or C++ error on stderr, or an end by a signal."""
    return ended.returncode < 0 or any(word in ended.stderr for word in ("MemoryError", "bad_alloc", "SIGABRT"))
