"""The CP-SAT assignment: `python -m benchmarks.packing.assignment NAME [SECONDS]` prints one line of JSON."""

from __future__ import annotations

import json
import sys

from benchmarks.packing import peers
from benchmarks.packing.instances import cases, problem_of


def main(name: str, time_limit_s: float) -> None:
    """Solve with CP-SAT over as many GPUs as the best greedy rule uses, and print value and lower bound."""
    problem, _ = problem_of(next(case for case in cases() if case.name == name))
    peer = peers.assignment(problem, time_limit_s, min(peers.rules(problem).values()))
    print(json.dumps({"value": peer.found, "lower_bound": peer.bound}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 60.0)
