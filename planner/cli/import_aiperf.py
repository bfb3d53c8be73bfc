"""`plan import aiperf`: make measurements of AIPerf's exports."""

from __future__ import annotations

from pathlib import Path

import click

from analyzer.cli.command import Command
from analyzer.errors import TritonpackError
from analyzer.formats.units import counted
from analyzer.measurements.csv_file import write_measurements_csv
from analyzer.measurements.text import measurement_table
from planner.cli.options import check_folder_of, size_option
from planner.inputs.aiperf import read_aiperf


@click.command(name="aiperf", cls=Command)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--device", metavar="NAME", help="The GPU, by the driver's name or a type of plan solve --gpu.")
@size_option("--memory", "memory_mib", "GPU memory that the server takes, as 72GiB.")
@click.option("--gpu-index", metavar="N", type=click.IntRange(0), help="The server's GPU, where telemetry has several.")
@click.option("-o", "--output", metavar="FILE", help="Write the measurements as a CSV file, which plan solve reads.")
def command(
    files: tuple[str, ...], device: str | None, memory_mib: float | None, gpu_index: int | None, output: str | None
) -> None:
    """Make measurements of AIPerf's exports, for servers with an OpenAI endpoint.

    FILE is a profile_export_aiperf.json, or the folder that it is in; each load is one file. Memory and utilization
    come from the GPU telemetry of the export. All memory in use on the GPU counts as reserved by the server.

    \b
    Two loads, and a plan for 12 requests/s with their lengths:
      aiperf profile ... --concurrency 4 --gpu-telemetry http://localhost:9400/metrics --output-artifact-dir c4
      aiperf profile ... --concurrency 8 --gpu-telemetry http://localhost:9400/metrics --output-artifact-dir c8
      plan import aiperf c4 c8 -o llm.csv
      plan solve llm.csv --demand demand.toml --gpu H100-80GB --mode memory
    Exports without telemetry:
      plan import aiperf c4 --device H100-80GB --memory 72GiB -o llm.csv

    Exit codes: 0 done, 1 the file cannot be written, 2 a wrong command line or input.
    """
    check_folder_of(output)
    found = read_aiperf(files, device=device, memory_mib=memory_mib, gpu_index=gpu_index)
    click.echo(measurement_table(found))
    if output:
        try:
            write_measurements_csv(Path(output), found)
        except OSError as error:
            raise TritonpackError(f"{output} cannot be written: {error.strerror}") from None
        click.echo(f"{counted(len(found), 'measurement')} written to {output}", err=True)
