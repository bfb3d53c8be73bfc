"""Kinds of option values as click's types."""

from __future__ import annotations

import math
from typing import Any

import click

from analyzer.formats.option_values import Choice, Flag, Kind, Number


class Parsed(click.ParamType[Any]):
    """A value as its kind reads it."""

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
    name = "integer"


class _Range(click.FloatRange):
    """A finite number in a range."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse the option's text; see `click.ParamType.convert`."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):  # which is neither below a minimum nor above a maximum
            self.fail(f"{value!r} is not in the range {self._describe_range()}", param, ctx)
        return number


def click_type(kind: Kind) -> click.ParamType[Any]:
    """Return click's type of a kind; its own where it has one, whose ranges the help shows."""
    if isinstance(kind, Number):
        high = None if kind.high == math.inf else kind.high
        if kind.whole:
            return _WholeRange(int(kind.low), None if high is None else int(high))
        return _Range(kind.low, high, min_open=kind.open_low)
    if isinstance(kind, Choice):
        return click.Choice(kind.words)
    return click.BOOL if isinstance(kind, Flag) else Parsed(kind)
