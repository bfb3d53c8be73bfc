"""The command `analyze`: its options, its help text and its exit status."""

from __future__ import annotations

import atexit
import gc
from typing import Any

import click

from analyzer import __version__
from analyzer.cli.command import GroupedCommand
from analyzer.cli.options import sweep_options
from analyzer.errors import EXIT_FAILURE
from analyzer.sweep.signals import signals_as_interrupts


@click.command(
    cls=GroupedCommand,
    context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]},
)
@sweep_options
@click.version_option(__version__, prog_name="tritonpack")
@click.pass_context
def main(ctx: click.Context, /, **values: Any) -> None:
    """Measure throughput, latency, memory and utilization of models on Triton Inference Server.

    Every model is loaded alone on one server, and every batch size is tried at every concurrency while memory,
    utilization and power of the device are recorded. Each result is stored at once: an interrupted sweep
    continues where it stopped, and a changed model is measured again.

    \b
    Every batch size at every concurrency, with CSV files and plots:
      analyze --model-folder models --batch 1,2,4 --concurrency 1,2,4 --export
    One instance against two, with and without the dynamic batcher:
      analyze --batch 1 --concurrency 8 --instances 1,2 --dynamic-batching off,on:100us
    The knee of each model at batch 1 and 8, and the request rate that keeps a p99 of 50 ms:
      analyze --batch 1,8 --search climb --latency-p99-ms 50 --find-peak
    Options from a file, with other values for single models:
      analyze --config sweep.yaml

    \b
    sweep.yaml has the long options as keys, and a section for models with other values:
      batch: [1, 2, 4]
      concurrency: [1, 4]
      models:
        chest_xray: {batch: [1, 8], instances: [1, 2], dynamic-batching: [off, "on:100us"]}
        text_encoder: {search: climb, latency-p99-ms: 50}

    Exit status: 0 if every trial has figures, 1 if one has none, 2 for a wrong command line or file.
    """
    with signals_as_interrupts():
        if values["check"]:
            from analyzer.cli.host_check import capability_table
            from analyzer.sweep.host_check import check_host

            click.echo(capability_table(check_host()))
            return
        from analyzer.cli.analyze import analyze

        # else the interpreter looks for cycles in all that NumPy, SQLAlchemy and matplotlib hold before it ends: 0.1 s
        atexit.register(gc.freeze)
        failed = analyze(ctx, values)
    if failed:
        raise SystemExit(EXIT_FAILURE)
