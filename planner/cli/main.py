"""The command `plan` and the list of its subcommands."""

from __future__ import annotations

import click

from analyzer import __version__
from planner.cli.lazy_group import LazyGroup

_COMMANDS = {  # name: module, loaded when the command is used so that `plan --help` is instant, and what it does
    "solve": ("planner.cli.solve", "Place the models on as few GPUs as possible, and prove it."),
    "verify": ("planner.cli.verify", "Measure whether a plan holds: run what it packs together, and compare."),
    "export": ("planner.cli.export", "Write a plan for what deploys it: Triton, compose, Kubernetes, Envoy …"),
    "import": ("planner.cli.import_group", "Write a demand from what runs."),
    "interference": ("planner.cli.interference", "Show what co-location costs, as fitted to what was measured."),
    "explain": ("planner.cli.explain", "Say why a plan needs the GPUs it needs, and what would save one."),
    "diff": ("planner.cli.diff", "Say what is different between two placements."),
    "sweep": ("planner.cli.sweep", "Say how many GPUs a growing demand needs, and what they cost."),
    "replicas": ("planner.cli.replicas", "Say how many copies of one model fit."),
}


@click.group(
    cls=LazyGroup, modules=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="plan")
def main() -> None:
    """Decide which models go on which GPUs, from what `analyze` measured.

    \b
    Pack every profiled model on 16 GiB cards, by memory alone:
      plan solve results --mode memory --gpu-memory 16GiB
    Keep every model at its best throughput, no GPU above 80 %:
      plan solve results --mode throughput --gpu T4 --max-utilization 80 -o placement.json
    Copies of a 2 GB model on two 16 GB cards, of which 70 % may be used:
      plan replicas --model-memory 2GB --gpu-memory 16GB --max-memory 70 --gpus 2

    Exit codes: 0 done, 1 a failure, 2 a wrong command line or input file, 3 no plan exists.
    """
