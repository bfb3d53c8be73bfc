"""The options of the commands that plan; what each takes and its default are declared with the settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from analyzer.cli.option_types import click_type, option_of
from analyzer.errors import UsageError
from planner.formulation.settings import PlanSettings
from planner.inputs.memory_size import MemorySize

Command = TypeVar("Command", bound=Callable[..., Any])

_option = option_of(PlanSettings)


_PLANNING = (
    _option("demand", "What must be served, as TOML or CSV; - is stdin. Without it, one copy of each model."),
    _option("mode", "What limits the models on a GPU. memory: memory alone. throughput: both utilizations as well."),
    _option("objective",
            "What the plan minimises; cost and energy need a --fleet file with prices or powers."),
    _option("gpus", "GPU type from the catalogue, with how many there are at most; may be repeated."),
    _option("gpu_memory_mib",
            "Memory of one GPU that models and server can use, such as 16GiB; overrides the catalogue."),
    _option("fleet", "The GPU types there are, as TOML; in place of --gpu."),
    _option("mig", "GPUs may be cut into MIG slices, where their type can be."),
    _option("max_memory_pct", "Share of the GPU's memory that may be used.  [default: 100]"),
    _option("max_utilization_pct",
            "Highest sum of GPU utilization; above 100 accepts some slow-down.  [default: 100]"),
    _option("max_memory_utilization_pct", "Highest sum of memory utilization.  [default: 100]"),
    _option("keep_throughput", "For models without a rate: least share of its best throughput that each keeps."),
    _option("proportional", "Charge a replica utilization in proportion to the rate that it serves, in tenths."),
    _option("spare", "GPUs that may be lost at once while every demand is still met."),
    _option("spare_of", "Whether --spare counts GPUs or whole nodes."),
    _option("batch", "Use only operating points with this batch size."),
    _option("concurrency", "Use only operating points with this concurrency."),
    _option("model_names", "Plan only these models."),
    _option("device", "Use only profiles measured on this device."),
    _option("server_memory_mib",
            "Memory of the idle server; overrides what is found beside the measurements."),
    _option("interference",
            "What co-location costs models with a rate. auto: as fitted to what plan verify measured in PROFILES. "
            "none: nothing. FILE: as plan interference -o wrote it."),
    _option("time_limit_s", "Time of the search; then the best plan so far is given."),
    _option("seed", "Seed of the randomised parts of the search."),
    _option("workers", "Threads; with one thread, the same input gives the same bytes."),
)  # fmt: skip

MAX_MOVES = _option("max_moves", "With --current: replicas that may be loaded on a GPU that does not hold them.")
GROUP = _option("group", "In the JSON, one entry with a count for GPUs that are filled alike.")


def planning_options(command: Command) -> Command:
    """Give a command the options that say what is to be planned, and how long the search may take."""
    for option in reversed(_PLANNING):
        command = option(command)
    return command


def size_option(flag: str, name: str, help_: str, *, zero: bool = False) -> Callable[[Command], Command]:
    """Make an option for a size with its unit, in MiB."""
    return click.option(flag, name, type=click_type(MemorySize(zero=zero)), metavar="SIZE", help=help_)


def check_folder_of(output: str | None) -> None:
    """Make sure, before any work is done, that the file of ``-o`` can be written; ``-`` is stdout.

    Raises
    ------
    UsageError
        If its folder is not there.
    """
    if output and output != "-" and not Path(output).parent.is_dir():
        raise UsageError(f"there is no folder {Path(output).parent} for -o {output}; make it first")
