"""Options as people write them: sizes with units, percentages, lists."""

from __future__ import annotations

from typing import Any

import click

from analyzer.errors import UsageError
from planner.inputs.memory_size import parse_size

_MOST_FACTOR = 10_000


def _called(param: click.Parameter | None) -> str:
    return max(param.opts, key=len) if param and param.opts else "the size"


class Size(click.ParamType[int]):
    """Memory with its unit, in bytes."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read ``309MiB`` or ``16GB``."""
        return value if isinstance(value, int) else parse_size(str(value), _called(param))


class Percent(click.ParamType[float]):
    """A share in percent, as a fraction of one.

    Parameters
    ----------
    highest : float
        In percent; above it is a slip.
    """

    name = "percent"

    def __init__(self, highest: float) -> None:
        self.highest = highest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read ``80`` or ``80%``."""
        if isinstance(value, float):
            return value
        text = str(value).strip().removesuffix("%")
        try:
            percent = float(text)
        except ValueError:
            raise UsageError(
                f"{_called(param)} is '{value}', which is no number; write a percentage, such as 80"
            ) from None
        if not 0 < percent <= self.highest:
            raise UsageError(f"{_called(param)} is {value} %; it must be above 0 and at most {self.highest:g}")
        return percent / 100


class Names(click.ParamType[tuple[str, ...]]):
    """Names separated by commas."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read ``chest_xray,covid19_xray``."""
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in str(value).split(",") if name.strip())
        if not names:
            raise UsageError(f"{_called(param)} is empty; give names separated by commas")
        return names


class Factors(click.ParamType[tuple[float, ...]]):
    """Positive factors separated by commas."""

    name = "factors"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Read ``1,1.5,2``."""
        if isinstance(value, tuple):
            return value
        try:
            factors = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            raise UsageError(
                f"{_called(param)} is '{value}'; give numbers separated by commas, such as 1,1.5,2"
            ) from None
        if not all(0 < factor <= _MOST_FACTOR for factor in factors):
            raise UsageError(f"{_called(param)} is '{value}'; each must be above 0 and at most {_MOST_FACTOR:,}")
        return factors
