"""Test options whose value is a list."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import click
import pytest
from click.testing import CliRunner

from analyzer.cli.option_types import click_option, typed
from analyzer.formats.option_values import Names, Numbers, Option

SCRIPTS = ("analyzer.cli.main", "planner.cli.main", "reports.cli")


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ("", {}),
        ("--gpu gpu-3,gpu-5", {"gpu_ids": ("gpu-3", "gpu-5")}),
        ("--gpu gpu-3 --gpu gpu-5", {"gpu_ids": ("gpu-3", "gpu-5")}),
        ("--gpu a,b --gpu c --batch 4", {"gpu_ids": ("a", "b", "c"), "batches": (4,)}),
    ],
)
def test_list_may_be_given_with_commas_or_by_repeating_the_option(arguments: str, given: dict[str, Any]) -> None:
    """Of an option that was given twice only the last value once counted."""
    found = {}

    @click.command
    @click_option("gpu_ids", Option(Names(), "gpu", ()), "GPUs.")
    @click_option("batches", Option(Numbers(int), "batch", (1, 2)), "Batches.")
    @click.pass_context
    def command(ctx: click.Context, /, **options: Any) -> None:
        found.update(typed(ctx, options))

    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.output
    assert found == given
    assert "[default: 1,2]" in CliRunner().invoke(command, "--help").output


def options_of(command: click.Command, ctx: click.Context) -> Iterator[click.Option]:
    """Yield every option of a command and of the commands below it."""
    yield from (param for param in command.params if isinstance(param, click.Option))
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            assert below is not None
            yield from options_of(below, ctx)


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_list_option_may_be_repeated(script: str) -> None:
    """Each option of the console scripts whose help shows commas between values takes them from repetitions as well."""
    main: click.Command = importlib.import_module(script).main
    lists = [option for option in options_of(main, click.Context(main)) if "," in (option.metavar or "")]
    assert lists or script == "reports.cli"
    assert not [option.opts for option in lists if not option.multiple]
