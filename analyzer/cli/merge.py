"""Command line and sweep file as one: the command line wins, then a model's section, then the file's top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click
from click.core import ParameterSource

from analyzer.cli.sweep_file import SweepFile, read_sweep_file


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Every option with its value, and which were given rather than left at their defaults.

    Parameters
    ----------
    values : mapping
        By the parameter's name.
    given : frozenset of str
        On the command line or at the file's top.
    typed : frozenset of str
        On the command line.
    file : SweepFile
    """

    values: Mapping[str, Any]
    given: frozenset[str]
    typed: frozenset[str]
    file: SweepFile

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def of(self, model: str) -> Options:
        """Return the options as they are for one model."""
        section = {k: v for k, v in self.file.models.get(model, {}).items() if k not in self.typed}
        return Options(
            values={**self.values, **section}, given=self.given | section.keys(), typed=self.typed, file=self.file
        )


def merge(ctx: click.Context, values: Mapping[str, Any]) -> Options:
    """Read the sweep file, if one is named, under the command line's values.

    Raises
    ------
    UsageError
        See `read_sweep_file`.
    """
    typed = frozenset(k for k in values if ctx.get_parameter_source(k) is ParameterSource.COMMANDLINE)
    file = read_sweep_file(values["config"], ctx) if values["config"] else SweepFile()
    top = {k: v for k, v in file.values.items() if k not in typed}
    return Options(values={**values, **top}, given=typed | top.keys(), typed=typed, file=file)
