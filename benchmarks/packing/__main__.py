"""`python -m benchmarks.packing [CASE …]`: run the cases, print the table, keep it in RESULTS.md beside this file."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from benchmarks.packing import fleets, peers
from benchmarks.packing.instances import DATA, Case, cases, drawn, problem_of

RESULTS = Path(__file__).parent / "RESULTS.md"
HEADER = ("case", "target", "found", "bound", "proven", "wall s", "CPU s", "peak MiB", "first-fit decreasing")
HEADER += ("best rule", "CP-SAT assignment", "arc-flow", "run by")
_ASSIGNED = 200  # models up to which the plain assignment is tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one process found and took, its start-up included."""

    found: int | None
    bound: int
    wall_s: float
    cpu_s: float
    peak_bytes: int
    command_line: bool


@click.command(epilog="Example: python -m benchmarks.packing gpuL-N1000-m100 mixed-50")
@click.argument("names", nargs=-1, metavar="[CASE]…")
@click.option("--time-limit", "time_limit_s", type=float, default=60.0, show_default=True, metavar="S")
@click.option("--peers", "peer_s", type=float, default=0.0, show_default=True, metavar="S",
              help="Seconds for each slow peer (CP-SAT assignment, arc-flow); 0 leaves them out.")  # fmt: skip
@click.option("--no-results", is_flag=True, help="Print only.")
def main(names: tuple[str, ...], time_limit_s: float, peer_s: float, *, no_results: bool) -> None:
    """Solve the cases, each in a process of its own, beside the rules and, on request, slower peers."""
    chosen = [case for case in cases() if not names or any(case.name.startswith(name) for name in names)]
    rows = []
    for case in chosen:
        rows.append(row(case, time_limit_s, peer_s))
        print("  ".join(rows[-1]), flush=True)
    if not no_results:
        RESULTS.write_text("\n".join(report(rows)) + "\n")


def row(case: Case, time_limit_s: float, peer_s: float) -> tuple[str, ...]:
    """One line of the table."""
    run = solve_apart(case, time_limit_s)
    problem, known = problem_of(case)
    rules = peers.rules(problem)
    models = sum(task.demand for task in problem.tasks) if case.kind != "mixed" else 0
    assigned = arcs = "-"
    if peer_s and 0 < models <= _ASSIGNED:
        assigned = str(peers.assignment(problem, peer_s, min(rules.values())))
        arcs = str(peers.arc_flow(problem) or "-")
    proven = "yes" if run.found == run.bound else "no"
    target = case.target.replace("known", str(known))
    return (
        case.name, target, str(run.found), str(run.bound), proven, f"{run.wall_s:.1f}", f"{run.cpu_s:.1f}",
        f"{run.peak_bytes / 2**20:.0f}", str(rules.get("decreasing sum", "-")), str(min(rules.values())),
        assigned, arcs, "plan solve" if run.command_line else "engine",
    )  # fmt: skip


def solve_apart(case: Case, time_limit_s: float) -> Run:
    """Run `plan solve` on the case's files; a process with the engine where the case is no file."""
    with tempfile.TemporaryDirectory() as folder:
        options = files(case, Path(folder))
        placement = Path(folder) / "placement.json"
        if options is None:
            command = [sys.executable, "-m", "benchmarks.packing.one", case.name, str(time_limit_s)]
        else:
            plan = str(Path(sys.executable).with_name("plan"))
            command = [plan, "solve", *options, "--time-limit", str(time_limit_s), "-o", str(placement), "--group"]
        out, error = Path(folder) / "out", Path(folder) / "error"
        began_s = time.perf_counter()
        with out.open("wb") as stdout, error.open("wb") as stderr:
            process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
            _, status, used = os.wait4(process.pid, 0)  # of this process alone, unlike RUSAGE_CHILDREN
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - began_s
        if process.returncode:
            raise click.ClickException(f"{case.name}: {error.read_text()[-500:]}")
        found = json.loads(out.read_text()) if options is None else json.loads(placement.read_text())["objective"]
    return Run(
        found=round(found["value"]),
        bound=round(found["lower_bound"]),
        wall_s=wall_s,
        cpu_s=used.ru_utime + used.ru_stime,
        peak_bytes=used.ru_maxrss * 1024,
        command_line=options is not None,
    )


def files(case: Case, folder: Path) -> list[str] | None:
    """The case as `plan solve` reads it; None where only the engine can be asked."""
    if case.kind == "mixed":
        for file in (DATA / "mixed" / str(case.sizes[0])).iterdir():
            shutil.copy(file, folder)
        fleet = ["--fleet", str(folder / "fleet.toml"), "--objective", "cost"]
        return [str(folder / "metrics-model.csv"), "--demand", str(folder / "demand.csv"), *fleet]
    if case.kind == "parvagpu" or case.kind.startswith("openb"):
        return None
    instance = drawn(case)
    fleets.write(instance, folder)
    mode = "memory" if len(instance["C"]) == 1 else "throughput"
    memory = f"{instance['C'][0] + fleets.SERVER_MIB}MiB"
    options = ["--demand", str(folder / "demand.csv"), "--mode", mode, "--gpu-memory", memory]
    return [str(folder / "metrics-model.csv"), *options, "--server-memory", f"{fleets.SERVER_MIB}MiB"]


def report(rows: list[tuple[str, ...]]) -> Iterator[str]:
    """The table as Markdown, with the machine it was measured on."""
    yield "# The planner on instances with known answers"
    yield ""
    load = os.getloadavg()[1]
    yield (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores of {_processor()}, Python {platform.python_version()}, "
        f"load average {load:.1f}; start-up included. `*` is proven; costs where the case has prices, else GPUs."
    )
    yield ""
    yield "| " + " | ".join(HEADER) + " |"
    yield "|" + "---|" * len(HEADER)
    for cells in rows:
        yield "| " + " | ".join(cells) + " |"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
