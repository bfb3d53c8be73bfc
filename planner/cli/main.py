"""The command `plan` and the list of its subcommands."""

from __future__ import annotations

from importlib import import_module

import click

from analyzer import __version__
from analyzer.cli.command import Group

_COMMANDS = {  # name: module, loaded when the command is used so that `plan --help` is instant, and what it does
    "solve": ("planner.cli.solve", "Place the models on as few GPUs as possible, and prove it."),
    "verify": ("planner.cli.verify", "Measure whether a plan holds: run what it packs together, and compare."),
    "export": ("planner.cli.export", "Write a plan for what deploys it: Triton, compose, Kubernetes, Envoy …"),
    "interference": ("planner.cli.interference", "Show what co-location costs, as fitted to what was measured."),
    "explain": ("planner.cli.explain", "Say why a plan needs the GPUs it needs, and what would save one."),
    "diff": ("planner.cli.diff", "Say what is different between two placements."),
    "sweep": ("planner.cli.sweep", "Say how many GPUs a growing demand needs, and what they cost."),
    "replicas": ("planner.cli.replicas", "Say how many copies of one model fit."),
}


class _Lazy(Group):
    """A group whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(_COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
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
