"""`python -m benchmarks.profiler [CASE …]`: run the cases, print their tables, write them to RESULTS.md."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType

import click

from analyzer.errors import TritonpackError
from benchmarks.profiler import accuracy, climb, memory, rate, startup, sweep
from benchmarks.profiler.bench import Bench
from benchmarks.profiler.peers import Peers
from benchmarks.profiler.processes import PeerError
from benchmarks.profiler.report import Table, busy_share, section, store_section

CASES = {
    "rate": rate.run_case,
    "sweep": sweep.run_case,
    "accuracy": accuracy.run_case,
    "memory": memory.run_case,
    "startup": startup.run_case,
    **{model.name.replace("_", "-"): climb.case_of(model) for model in climb.MODELS},
}
RESULTS = Path(__file__).parent.parent / "RESULTS.md"
_IDLE = 0.10  # share of the processors in use above which the machine does not count as idle


@click.command(context_settings={"max_content_width": 100}, epilog="Example: python -m benchmarks.profiler rate sweep")
@click.argument("cases", nargs=-1, type=click.Choice(list(CASES)), metavar="[CASE]…")
@click.option("--quick", is_flag=True, help="Use short settings to try the benchmark; RESULTS.md stays as it is.")
@click.option("--no-brute", is_flag=True, help="Leave Model Analyzer's brute search out of the cases climb-*.")
@click.option(
    "--results",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="File to write the results to.  [default: benchmarks/RESULTS.md]",
)
def main(cases: tuple[str, ...], *, quick: bool, no_brute: bool, results: Path | None) -> None:
    """Compare `analyze` with perf_analyzer and Model Analyzer: rate, sweep, accuracy, memory, startup, climb.

    Without a CASE all are run, in that order. benchmarks/README.md says what each compares.
    """
    signal.signal(signal.SIGTERM, _end)
    began_s = time.perf_counter()
    bench = Bench(peers=Peers(), quick=quick, brute=not no_brute)
    keep = results or (None if quick else RESULTS)
    try:
        _ = bench.peers.folder  # fetches the peers before anything is timed
    except PeerError as error:
        bench.say(f"no peers: {error}; their rows will say so")
    for name in cases or CASES:
        busy = busy_share()
        if busy > _IDLE:
            bench.say(f"{name}: the machine is not idle, {busy:.0%} of its processors are in use")
        case_began_s = time.perf_counter()
        try:
            tables = CASES[name](bench)
        except (PeerError, TritonpackError) as error:
            tables = [Table(title=name, header=["Failed"], rows=[[str(error)]])]
        text = section(name, tables, busy=busy, wall_s=time.perf_counter() - case_began_s, quick=quick)
        click.echo(text)
        if keep is not None:
            store_section(keep, name, text)
    click.echo(f"Total: {time.perf_counter() - began_s:.0f} s")


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit("ended by SIGTERM")  # leaves every `with`, so that nothing is left running


if __name__ == "__main__":
    main()
