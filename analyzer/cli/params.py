"""Options as people write them: lists of numbers and names, shapes, dynamic batching."""

from __future__ import annotations

import math
import re
from typing import Any

import click

MOST = 1_000_000  # of any number in a list: beyond it is a slip


class Numbers(click.ParamType[Any]):
    """Positive numbers separated by commas, such as ``1,2,4``; each once, in the order given."""

    def __init__(self, kind: type[int] | type[float]) -> None:
        self._kind = kind
        self.name = "N,N,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        """Parse the option's text; see `click.ParamType.convert`."""
        if not isinstance(value, str):
            return tuple(value)
        numbers = []
        for part in value.split(","):
            try:
                number = self._kind(part)
            except ValueError:
                what = "whole number" if self._kind is int else "number"
                self.fail(
                    f"{part.strip() or value!r} is not a {what}; give numbers separated by commas, as 1,2,4", param, ctx
                )
            if not 0 < number <= MOST:
                self.fail(f"{part.strip()} is out of range; give numbers above 0, to {MOST:,}", param, ctx)
            numbers.append(number)
        return tuple(dict.fromkeys(numbers))


class Real(click.FloatRange):
    """A finite number in a range."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse the option's text; see `click.ParamType.convert`."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):  # which is neither below a minimum nor above a maximum
            self.fail(f"{value!r} is not in the range {self._describe_range()}", param, ctx)
        return number


class Names(click.ParamType[Any]):
    """Names separated by commas."""

    name = "NAME,NAME,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Parse the option's text; see `click.ParamType.convert`."""
        if not isinstance(value, str):
            return tuple(value)
        names = tuple(part.strip() for part in value.split(","))
        if not all(names):
            self.fail(f"{value!r} has an empty name", param, ctx)
        return names


class Shape(click.ParamType[Any]):
    """An input's dimensions, ``NAME:d1,d2`` or ``MODEL:NAME:d1,d2``."""

    name = "[MODEL:]NAME:D,D"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the option's text; see `click.ParamType.convert`."""
        if not isinstance(value, str):
            return value
        name, _, dims = value.rpartition(":")
        lengths = dims.split(",")
        if not name or not all(length.strip().isdecimal() and 0 < int(length) <= 2**31 for length in lengths):
            self.fail(
                f"{value!r} is no shape; give the input and its dimensions without the batch, as TOKENS:128", param, ctx
            )
        return name, tuple(int(length) for length in lengths)


class Processes(click.ParamType[Any]):
    """``auto``, which is None here, or a number of processes."""

    name = "auto|N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        """Parse the option's text; see `click.ParamType.convert`."""
        if value == "auto":
            return None
        if not str(value).isdecimal() or not 1 <= int(value) <= 64:
            self.fail(f"{value!r} is neither auto nor a number from 1 to 64", param, ctx)
        return int(value)


class Address(click.ParamType[Any]):
    """A host and a port, ``host:8001``."""

    name = "HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the option's text; see `click.ParamType.convert`."""
        host, _, port = str(value).rpartition(":")
        if not host or "/" in host or not (port.isdecimal() and 0 < int(port) < 65536):
            self.fail(f"{value!r} is not an address such as host:8001", param, ctx)
        return str(value)


class DynamicBatching(click.ParamType[Any]):
    """``off``, ``on`` and ``on:<delay>`` separated by commas → pairs of (on, delay in seconds)."""

    name = "off|on|on:US,…"
    _DELAY = re.compile(r"on:(\d+(?:\.\d+)?)(us|ms)")
    _UNITS_S = {"us": 1e-6, "ms": 1e-3}  # noqa: RUF012 - never changed

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse the option's text; see `click.ParamType.convert`."""
        if not isinstance(value, str):
            return tuple(value)
        return tuple(dict.fromkeys(self._one(part.strip(), param, ctx) for part in value.split(",")))

    def _one(self, text: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[bool, float]:
        if text in ("off", "on"):
            return text == "on", 0.0
        match = self._DELAY.fullmatch(text)
        delay_s = float(match[1]) * self._UNITS_S[match[2]] if match else 0.0
        if match is None or not 1e-6 <= delay_s <= 10:
            self.fail(f"{text!r} is no setting; give off, on, or on with a delay from 1us to 10000ms, as on:100us")
        return True, delay_s


class Word(click.ParamType[Any]):
    """Text without spaces, and some of it: the name of an image, a tag or a URL."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the option's text; see `click.ParamType.convert`."""
        if not value or not value.isprintable() or " " in value:
            self.fail(f"{value!r} is no {self.name.lower()}", param, ctx)
        return str(value)


class FileName(click.ParamType[Any]):
    """The name of a file in a folder of ours: it leads nowhere else."""

    name = "NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the option's text; see `click.ParamType.convert`."""
        if not value or "/" in value or value in (".", "..") or not value.isprintable() or len(value) > 200:
            self.fail(f"{value!r} is no file name; the folder is given with --export-path", param, ctx)
        return str(value)
