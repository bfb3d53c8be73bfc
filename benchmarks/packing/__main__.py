"""`python -m benchmarks.packing [CASE …]`: run the cases, print their rows, write the table to RESULTS.md."""

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

from benchmarks.packing import days, fleets, peers
from benchmarks.packing.instances import DATA, Case, cases, drawn, problem_of

RESULTS = Path(__file__).parent / "RESULTS.md"
PLANNER = ("target", "found", "bound", "proven", "wall s", "CPU s", "peak MiB", "first-fit decreasing", "best rule")
PEERS = ("CP-SAT assignment", "arc-flow")
HEADER = ("case", *PLANNER, *PEERS, "run by")

Cells = dict[str, str]  # cells of one row, by column


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one process found, and the time and memory that it took from its start to its end."""

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
              help="Run the slow peers instead of the planner, each for this time at most.")  # fmt: skip
@click.option("--vpsolver", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="FOLDER",
              help="Folder with VPSolver's programs vbp2afg and afg2mps; without it arc-flow is not run.")  # fmt: skip
@click.option("--no-results", is_flag=True, help="Print the rows and leave RESULTS.md as it is.")
def main(
    names: tuple[str, ...], time_limit_s: float, peer_s: float, vpsolver: Path | None, *, no_results: bool
) -> None:
    """Solve all cases, or those whose names begin with a CASE, each in its own process; other rows are kept."""
    known = read_results()
    for case in cases():
        if names and not any(case.name.startswith(name) for name in names):
            continue
        new = run_peers(case, peer_s, vpsolver) if peer_s else run_planner(case, time_limit_s)
        known[case.name] = known.get(case.name, {}) | new
        print(case.name, " ".join(f"{column}: {cell};" for column, cell in new.items()), flush=True)
        if not no_results:
            RESULTS.write_text("\n".join(report(known)) + "\n")


def run_planner(case: Case, time_limit_s: float) -> Cells:
    """Run the planner and the greedy rules on one case; return their cells."""
    run = solve_in_process(case, time_limit_s)
    problem, known = problem_of(case)
    rules = peers.rules(problem)
    cells = (
        case.target.replace("known", str(known)), str(run.found), str(run.bound),
        "yes" if run.found == run.bound else "no", f"{run.wall_s:.1f}", f"{run.cpu_s:.1f}",
        f"{run.peak_bytes / 2**20:.0f}", str(rules.get("decreasing sum", "-")), str(min(rules.values())),
    )  # fmt: skip
    return dict(zip(PLANNER, cells, strict=True)) | {"run by": "plan solve" if run.command_line else "engine"}


def run_peers(case: Case, time_limit_s: float, vpsolver: Path | None) -> Cells:
    """Run the slow peers on one case; return their cells."""
    problem, _ = problem_of(case)
    found: Cells = {PEERS[0]: str(peers.run_in_process("assignment", [case.name], time_limit_s))}
    if vpsolver is not None:
        found[PEERS[1]] = str(peers.arc_flow(case.name, problem, time_limit_s, vpsolver) or "-")
    return found


def solve_in_process(case: Case, time_limit_s: float) -> Run:
    """Run `plan solve`, or the solver alone where `plan solve` cannot read the case, in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        options = write_files(case, Path(folder))
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
            _, status, used = os.wait4(process.pid, 0)  # usage of this process only, unlike RUSAGE_CHILDREN
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


def write_files(case: Case, folder: Path) -> list[str] | None:
    """Write a case as files, and return the options of `plan solve` for them; None where it cannot read the case."""
    if case.kind == "mixed":
        for file in (DATA / "mixed" / str(case.sizes[0])).iterdir():
            shutil.copy(file, folder)
        fleet = ["--fleet", str(folder / "fleet.toml"), "--objective", "cost"]
        return [str(folder / "metrics-model.csv"), "--demand", str(folder / "demand.csv"), *fleet]
    if case.kind in ("hours", "peaks"):
        return days.write(case.sizes[0], case.seed, folder, by_hour=case.kind == "hours")
    if case.kind in ("parvagpu", "slowed") or case.kind.startswith("openb"):
        return None
    instance = drawn(case)
    fleets.write(instance, folder)
    mode = "memory" if len(instance["C"]) == 1 else "throughput"
    memory = f"{instance['C'][0] + fleets.SERVER_MIB}MiB"
    options = ["--demand", str(folder / "demand.csv"), "--mode", mode, "--gpu-memory", memory]
    return [str(folder / "metrics-model.csv"), *options, "--server-memory", f"{fleets.SERVER_MIB}MiB"]


def read_results() -> dict[str, Cells]:
    """Read the rows of the table in RESULTS.md, by case."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return {cells[0]: dict(zip(rows[0][1:], cells[1:], strict=True)) for cells in rows[1:]}


def report(rows: dict[str, Cells]) -> Iterator[str]:
    """Yield the lines of the table as Markdown, with the machine that it was measured on."""
    yield "# The planner on instances with known answers"
    yield ""
    load = os.getloadavg()[1]
    yield (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores of {_processor()}, Python {platform.python_version()}, "
        f"load average {load:.1f} at the end; start-up included. `*` is proven; costs where the case has prices, else "
        "GPUs. What the columns say and how they are measured: [README.md](README.md)."
    )
    yield ""
    yield "| " + " | ".join(HEADER) + " |"
    yield "|" + "---|" * len(HEADER)
    for case in cases():
        if case.name in rows:
            cells = rows[case.name]
            yield "| " + " | ".join([case.name, *(cells.get(column, "-") for column in HEADER[1:])]) + " |"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    main()
