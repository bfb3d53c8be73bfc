"""`python -m benchmarks.verification`: measure a portion of the contents, and write what is known to RESULTS.md."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from analyzer.sweep.signals import sigint_as_interrupt
from benchmarks.profiler.report import Table, machine
from benchmarks.verification.evaluate import (
    PAIRS_PER_MODEL,
    Case,
    Errors,
    errors_of,
    mean_and_p90,
    training_pairs,
    ways,
)
from benchmarks.verification.measure import Measured, key_of, measure_portion, read
from planner.verification.document import Verdict

RESULTS = Path(__file__).parent / "RESULTS.md"


@click.command(epilog="Example: python -m benchmarks.verification --store DIR --portion-seconds 600")
@click.option("--store", "folder", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option("--brief-seconds", "brief_s", default=4.0, show_default=True, help="Longest brief trial.")
@click.option("--long-seconds", "long_s", default=60.0, show_default=True, help="Window of a long measurement.")
@click.option("--portion-seconds", "portion_s", default=3600.0, show_default=True, help="Stop after about this time.")
@click.option("--results", type=click.Path(path_type=Path, dir_okay=False), default=RESULTS, show_default=True)
def main(folder: Path, *, brief_s: float, long_s: float, portion_s: float, results: Path) -> None:
    """Measure how well verdicts and predictions of plan verify agree with long measurements.

    What is measured stays in the folder of --store, and the next run goes on from there; --portion-seconds 0 measures
    nothing and writes the results again.
    """
    with sigint_as_interrupt():
        if portion_s > 0:
            measure_portion(
                folder,
                brief_s=brief_s,
                long_s=long_s,
                portion_s=portion_s,
                say=lambda text: click.echo(text, err=True),
            )
    text = report(read(folder))
    click.echo(text)
    results.write_text(text)


def cases_of(measured: Measured) -> list[Case]:
    """Return the contents of which every model has figures in both measurements.

    What the server keeps of its first model is in that model's figure; so the server counts as it was before, as the
    idle server of a plan does.
    """
    servers = [alone.server_memory_bytes for alone in measured.alone.values() if alone.server_memory_bytes is not None]
    return [
        Case(
            key=key,
            brief=brief,
            long=measured.long[key],
            alone=tuple(measured.alone[key_of([model.measurement.trial])] for model in brief.models),
            capacities=tuple(measured.capacities[model.measurement.trial.model] for model in brief.models),
            server_bytes=min(servers, default=None),
        )
        for key, brief in measured.brief.items()
        if brief.measured and measured.long[key].measured
    ]


def report(measured: Measured) -> str:
    """Write what was measured, and how well it was predicted, as Markdown."""
    cases = cases_of(measured)
    when = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    lines = [f"# Results of `python -m benchmarks.verification`\n\n{when}; {machine()}."]
    lines.append(f"{len(cases)} of {measured.planned} contents were measured both ways.")
    if not cases:
        return "\n\n".join(lines) + "\n"
    windows = sorted(case.long.models[0].measurement.window_s or 0.0 for case in cases)
    lines.append(f"The windows of the long measurements are {windows[0]:.0f} to {windows[-1]:.0f} s.")
    held_out = [case for case in cases if case not in training_pairs(cases)]
    tables = [_verdicts(cases), _predictions(cases, held_out), _memory(cases), _contents(cases)]
    return "\n\n".join(lines) + "\n\n" + "\n".join(table.markdown() for table in tables)


def _verdicts(cases: list[Case]) -> Table:
    pairs = [(case.verdict(case.brief), case.verdict(case.long)) for case in cases]
    agree = sum(brief.shown_to_hold is long.shown_to_hold for brief, long in pairs)
    rows = [
        [name, *(str(sum(both[i] is verdict for both in pairs)) for i in (0, 1))]
        for name, verdict in (
            ("holds", Verdict.HOLDS),
            ("within noise", Verdict.WITHIN_NOISE),
            ("misses", Verdict.MISSES),
        )
    ]
    note = (
        f"{agree} of {len(pairs)} ({agree / len(pairs):.0%}) agree on whether the content misses; within noise counts "
        "as no miss, as in the exit code."
    )
    return Table(title="Verdicts, in contents", header=["", "brief", "long"], rows=rows, notes=[note])


def _predictions(cases: list[Case], held_out: list[Case]) -> Table:
    device = cases[0].content.device
    rows = []
    for name, knows in ways(cases, device).items():
        errors = errors_of(held_out, knows)
        rows.append([name, *_both(errors.slow_down), *_both(errors.p99), str(errors.endless), _coverage(errors)])
    header = ["prediction", "slow-down, mean error", "p90", "p99, mean error", "p90", "p99 endless", "under the margin"]
    note = (
        f"Over the {len(held_out)} contents that are not among the {len(cases) - len(held_out)} pairs of (b), which has"
        f" {PAIRS_PER_MODEL} of each model as far as they were measured. Against the long measurements. Targets: the "
        "mean error of (b) at most half of that of (a); 85 to 95 % under the margin."
    )
    return Table(title="Errors of predictions", header=header, rows=rows, notes=[note])


def _both(errors: tuple[float, ...]) -> tuple[str, str]:
    found = mean_and_p90(errors)
    return ("", "") if found is None else (f"{found[0]:.1%}", f"{found[1]:.1%}")


def _coverage(errors: Errors) -> str:
    count = len(errors.slow_down)
    return "not calibrated" if errors.under is None or not count else f"{errors.under / count:.0%} of {count}"


def _memory(cases: list[Case]) -> Table:
    both = [found for case in cases if (found := case.memory) is not None]
    off = mean_and_p90([abs(planned / measured - 1) for planned, measured in both])
    rows = [["" if off is None else f"{off[0]:.1%}", "" if off is None else f"{off[1]:.1%}", str(len(both))]]
    note = "The idle server and the models alone added up, against what was measured of all together. Target: 3 %."
    return Table(title="Memory", header=["mean error", "p90", "contents"], rows=rows, notes=[note])


def _contents(cases: list[Case]) -> Table:
    rows = []
    for case in cases:
        slow_downs = [f"{model.slow_down:.2f}" if model.slow_down else "-" for model in case.long.models]
        rows.append([case.key, ", ".join(slow_downs), case.verdict(case.brief).value, case.verdict(case.long).value])
    return Table(title="Contents", header=["content", "slow-downs", "verdict, brief", "verdict, long"], rows=rows)


if __name__ == "__main__":
    main()
