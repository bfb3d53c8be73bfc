"""Click commands that report a failure in one line on stderr, with options named by their flags."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from analyzer.errors import TritonpackError, UsageError
from analyzer.formats.option_values import in_flags
from analyzer.formats.suggestions import suggest


class Failure(click.ClickException):
    """A failure that ends the command: ``Error: message`` on stderr, and its exit code."""

    def __init__(self, error: TritonpackError, command: click.Command) -> None:
        super().__init__(in_flags(error.message, flags_of(command)))
        self.exit_code = error.exit_code  # type: ignore[misc]


def flags_of(command: click.Command) -> dict[str, str]:
    """Return each option's long flag, without dashes, by its name in Python."""
    options = [param for param in command.params if isinstance(param, click.Option) and param.name]
    return {str(option.name): max(option.opts, key=len).lstrip("-") for option in options}


@contextmanager
def _one_line(command: click.Command) -> Iterator[None]:
    """Turn failures into one line on stderr, without the usage text that click writes above its own."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        raise Failure(UsageError(" ".join(error.format_message().split())), command) from None
    except TritonpackError as error:
        raise Failure(error, command) from None


class Command(click.Command):
    """A command that reports a failure in one line."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the command line; an error is reported without a usage text above it."""
        with _one_line(self):
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _one_line(self):
            return super().invoke(ctx)


class Group(click.Group):
    """A group of commands that reports an error in the command line in one line."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Parse the command line; an error is reported without a usage text above it."""
        with _one_line(self):
            return super().make_context(*args, **kwargs)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the command line names."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise UsageError(f"no command '{args[0]}'; {suggest(args[0], self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that the command line names."""
        with _one_line(self):
            return super().invoke(ctx)


class GroupedOption(click.Option):
    """An option with the name of its group in the help."""

    group = "Options"


class GroupedCommand(Command):
    """A command whose help shows options by group."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, each under its group's heading."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                groups.setdefault(getattr(param, "group", "Others"), []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)
