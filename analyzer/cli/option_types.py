"""Convert the options of settings records to click options, and kinds of values to click types."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from analyzer.formats.option_values import Choice, Flag, Kind, Number, Option, options_of

Command = TypeVar("Command", bound=Callable[..., Any])


class Parsed(click.ParamType[Any]):
    """The click type of a kind of value, which parses the text."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self.name = kind.metavar

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the option's text; see `click.ParamType.convert`."""
        if not isinstance(value, str):
            return value
        try:
            return self._kind.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class _WholeRange(click.IntRange):
    """A whole number, with its range in the help."""

    def __init__(self, kind: Number) -> None:
        super().__init__(int(kind.low), None if kind.high == math.inf else int(kind.high))
        self._parsed = Parsed(kind)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the option's text; see `click.ParamType.convert`."""
        return self._parsed.convert(value, param, ctx)


class _Range(click.FloatRange):
    """A number, with its range in the help."""

    def __init__(self, kind: Number) -> None:
        super().__init__(kind.low, None if kind.high == math.inf else kind.high, min_open=kind.open_low)
        self._parsed = Parsed(kind)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the option's text; see `click.ParamType.convert`."""
        return self._parsed.convert(value, param, ctx)


class _Words(click.Choice[str]):
    """One of a few words, which the help shows."""

    def __init__(self, kind: Choice) -> None:
        super().__init__(kind.words)
        self._parsed = Parsed(kind)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the option's text; see `click.ParamType.convert`."""
        return self._parsed.convert(value, param, ctx)


def click_type(kind: Kind) -> click.ParamType[Any]:
    """Return the click type of a kind; ranges and choices have types by which the help shows them."""
    if isinstance(kind, Number):
        return _WholeRange(kind) if kind.whole else _Range(kind)
    if isinstance(kind, Choice):
        return _Words(kind)
    return click.BOOL if isinstance(kind, Flag) else Parsed(kind)


def click_option(
    name: str, declared: Option, help_: str, *short: str, **attributes: Any
) -> Callable[[Command], Command]:
    """Make the click option of a setting, with the setting's flag, type and default.

    Parameters
    ----------
    name : str
        The setting's name in Python.
    short : str
        Other flags of the option, such as ``-o``.
    attributes
        Further arguments of `click.option`.
    """
    kind, default = declared.kind, declared.default
    return click.option(
        *short,
        f"--{declared.flag}",
        name,
        type=click_type(kind),
        is_flag=isinstance(kind, Flag),
        multiple=kind.repeated,
        default=_texts(default) if kind.repeated else _text(default),
        show_default=default not in (None, ()) and default is not False,
        metavar=None if isinstance(kind, Choice | Flag) else kind.metavar,
        help=help_,
        **attributes,
    )


def option_of(settings: type, **attributes: Any) -> Callable[..., Callable[[Command], Command]]:
    """Return a function that makes the click option of one setting of a record: of its name, its help and other flags.

    Parameters
    ----------
    attributes
        Further arguments of `click.option`, for all of them.
    """
    declared = options_of(settings)

    def option(name: str, help_: str, *short: str) -> Callable[[Command], Command]:
        return click_option(name, declared[name], help_, *short, **attributes)

    return option


def _text(default: Any) -> Any:
    """Write a default as it would be typed on the command line."""
    return str(default) if isinstance(default, Path) else default


def _texts(default: tuple[Any, ...]) -> list[str]:
    """Write the default of an option that may be repeated: all of its values, given once."""
    return [",".join(map(str, default))] if default else []


def typed(ctx: click.Context, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that were given on the command line; the values of a repeated one are joined in a tuple."""
    found = {}
    for param in ctx.command.params:
        name = str(param.name)
        if name in values and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            several = isinstance(param, click.Option) and param.multiple
            found[name] = tuple(one for each in values[name] for one in each) if several else values[name]
    return found
