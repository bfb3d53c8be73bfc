"""Kinds of option values, with the same checks and messages on the command line, in files and in Python.

A kind parses text (`parse`) and checks a Python value (`check`); both raise ValueError with the same message, to which
the caller adds the option's name.
"""

from __future__ import annotations

import ast
import math
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from analyzer.errors import UsageError

MOST = 1_000_000  # largest number in a list; a larger one is taken for a typing error
_TRUE, _FALSE = {"1", "true", "t", "yes", "y", "on"}, {"0", "false", "f", "no", "n", "off"}
_NAMED = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")


class Kind:
    """A kind of value.

    Attributes
    ----------
    metavar : str
        The placeholder for the value in help texts.
    repeated : bool
        Whether an option of this kind may be given several times; its value is then a tuple of all values.
    """

    metavar = "VALUE"
    repeated = False

    def parse(self, text: str) -> Any:
        """Convert the text of a value, from a command line or a file."""
        return self.check(text)

    def check(self, value: Any) -> Any:
        """Check a value that was given in Python, and return it in the form that a record keeps."""
        raise NotImplementedError


class Number(Kind):
    """A finite number in a range.

    Parameters
    ----------
    low, high : float
        `high` may be infinite.
    open_low : bool
        Whether `low` itself is out of range.
    whole : bool
        Whether the number must be an int.
    """

    def __init__(
        self, low: float, high: float = math.inf, *, open_low: bool = False, whole: bool = False, metavar: str = "N"
    ) -> None:
        self.low, self.high, self.open_low, self.whole, self.metavar = low, high, open_low, whole, metavar

    def parse(self, text: str) -> float:
        """Read the number."""
        try:
            number: float = int(text) if self.whole else float(text)
        except ValueError:
            raise ValueError(self._no_number(text)) from None
        return self.check(number)

    def check(self, value: Any) -> float:
        """Return the number."""
        if not _is_number(value, whole=self.whole):
            raise ValueError(self._no_number(value))
        number: float = value if self.whole else float(value)
        above = self.low < number if self.open_low else self.low <= number
        if not (above and number <= self.high and math.isfinite(number)):  # a NaN is neither above nor below
            raise ValueError(f"{number} is not in the range {self._range()}")
        return number

    def _no_number(self, value: object) -> str:
        return f"{value!r} is not a valid {'integer' if self.whole else 'number'}"

    def _range(self) -> str:
        if self.high == math.inf:
            return f"x{'>' if self.open_low else '>='}{self.low:g}"
        return f"{self.low:.10g}{'<' if self.open_low else '<='}x<={self.high:.10g}"


class Percent(Kind):
    """A share in percent, ``80`` or ``80%``.

    Parameters
    ----------
    high : float
        Largest value that is accepted.
    """

    metavar = "PCT"

    def __init__(self, high: float) -> None:
        self._high = high

    def parse(self, text: str) -> float:
        """Read the percentage."""
        try:
            return self.check(float(text.strip().removesuffix("%")))
        except ValueError as error:
            if "at most" in str(error):
                raise
            raise ValueError(f"{text!r} is no number; write a percentage, such as 80") from None

    def check(self, value: Any) -> float:
        """Return the percentage."""
        if not _is_number(value, whole=False):
            raise ValueError(f"{value!r} is no number; give a percentage, such as 80")
        if not 0 < value <= self._high:
            raise ValueError(f"{value:g} % is out of range; it must be above 0 and at most {self._high:g}")
        return float(value)


class Numbers(Kind):
    """Positive numbers, each once, in the order given; in text they are separated by commas, as ``1,2,4``."""

    metavar = "N,N,…"
    repeated = True

    def __init__(self, number: type[int] | type[float]) -> None:
        self._number = number

    def parse(self, text: str) -> tuple[float, ...]:
        """Read the numbers."""
        numbers = []
        for part in text.split(","):
            try:
                numbers.append(self._number(part))
            except ValueError:
                raise ValueError(self._no_number(part.strip() or text)) from None
        return self.check(numbers)

    def check(self, value: Any) -> tuple[float, ...]:
        """Return the numbers; one alone need not be in a list."""
        numbers = [value] if isinstance(value, int | float) else _listed(value)
        for number in numbers:
            if not _is_number(number, whole=self._number is int):
                raise ValueError(self._no_number(number))
            if not 0 < number <= MOST:
                raise ValueError(f"{number} is out of range; give numbers above 0, to {MOST:,}")
        return tuple(dict.fromkeys(numbers))

    def _no_number(self, value: object) -> str:
        what = "whole number" if self._number is int else "number"
        return f"{value!r} is not a {what}; give numbers separated by commas, as 1,2,4"


class Choice(Kind):
    """One of a few words."""

    metavar = "WORD"

    def __init__(self, words: Sequence[str]) -> None:
        self.words = tuple(words)

    def check(self, value: Any) -> str:
        """Return the word."""
        if value not in self.words:
            raise ValueError(f"{value!r} is not one of {', '.join(map(repr, self.words))}")
        return str(value)


class Flag(Kind):
    """True or false."""

    def parse(self, text: str) -> bool:
        """Read ``true``, ``yes``, ``on`` … or their opposites."""
        word = text.strip().lower()
        if word not in _TRUE | _FALSE:
            raise ValueError(f"{text!r} is not a valid boolean; write true or false")
        return word in _TRUE

    def check(self, value: Any) -> bool:
        """Return the flag."""
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is neither True nor False")
        return value


class Names(Kind):
    """Names, of which none is empty; in text they are separated by commas."""

    metavar = "NAME,NAME,…"
    repeated = True

    def parse(self, text: str) -> tuple[str, ...]:
        """Read the names."""
        return self._none_empty(tuple(part.strip() for part in text.split(",")), text)

    def check(self, value: Any) -> tuple[str, ...]:
        """Return the names; one alone need not be in a list."""
        return self._none_empty((value,) if isinstance(value, str) else tuple(map(str, _listed(value))), value)

    @staticmethod
    def _none_empty(names: tuple[str, ...], given: object) -> tuple[str, ...]:
        if not all(names):
            raise ValueError(f"{given!r} has an empty name")
        return names


class Word(Kind):
    """Text without spaces that is not empty: the name of an image, a tag, a URL."""

    def __init__(self, metavar: str) -> None:
        self.metavar = metavar

    def check(self, value: Any) -> str:
        """Return the text."""
        text = str(value)
        if not text or not text.isprintable() or " " in text:
            raise ValueError(f"{text!r} is no {self.metavar.lower()}")
        return text


class Text(Kind):
    """Any text in one line that is not empty."""

    def __init__(self, metavar: str) -> None:
        self.metavar = metavar

    def check(self, value: Any) -> str:
        """Return the text."""
        text = str(value)
        if not text.strip() or not text.isprintable():
            raise ValueError(f"{text!r} is no {self.metavar.lower()}")
        return text


class Address(Kind):
    """A host and a port, ``host:8001``."""

    metavar = "HOST:PORT"

    def check(self, value: Any) -> str:
        """Return the address."""
        host, _, port = str(value).rpartition(":")
        if not host or "/" in host or not (port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(f"{value!r} is not an address such as host:8001")
        return str(value)


class FileName(Kind):
    """The name of a file, without a folder."""

    metavar = "NAME"

    def check(self, value: Any) -> str:
        """Return the name."""
        name = str(value)
        if not name or "/" in name or name in (".", "..") or not name.isprintable() or len(name) > 200:
            raise ValueError(f"{name!r} is no file name; the folder is given with `export_path`")
        return name


class FilePath(Kind):
    """A file or a folder."""

    def __init__(self, metavar: str) -> None:
        self.metavar = metavar

    def check(self, value: Any) -> Path:
        """Return the path."""
        if not isinstance(value, str | Path) or not str(value):
            raise ValueError(f"{value!r} is no path")
        return Path(value)


def _is_number(value: object, *, whole: bool) -> bool:
    return isinstance(value, int if whole else int | float) and not isinstance(value, bool)


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        raise ValueError(f"{value!r} is no list")
    return list(value)


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a settings record.

    Parameters
    ----------
    flag : str
        Its long name on the command line, without dashes.
    """

    kind: Kind
    flag: str
    default: Any


def option(default: Any, kind: Kind, flag: str = "") -> Any:
    """Declare a field of a settings record: its default, its kind, and its flag if that is not the field's name."""
    return field(default=default, metadata={"kind": kind, "flag": flag})


def options_of(record: type) -> dict[str, Option]:
    """Return every option of a settings record by its name in Python."""
    return {
        f.name: Option(f.metadata["kind"], f.metadata["flag"] or f.name.replace("_", "-"), f.default)
        for f in fields(record)
        if "kind" in f.metadata
    }


def check_options(record: Any) -> None:
    """Check every option of a settings record that is not at its default; store each as its kind returns it.

    Raises
    ------
    UsageError
        For the first value that is not valid.
    """
    for name, declared in options_of(type(record)).items():
        value = getattr(record, name)
        if value is declared.default:
            continue
        try:
            object.__setattr__(record, name, declared.kind.check(value))
        except ValueError as error:
            raise UsageError(f"Invalid value for `{name}`: {error}") from None


def in_flags(text: str, flags: Mapping[str, str]) -> str:
    """Replace option names in a message by command line flags: ```max_moves=3``` becomes ``--max-moves 3``.

    Parameters
    ----------
    text : str
        A message with options in backquotes; other names in backquotes are not changed.
    flags : mapping of str to str
        Each option's flag, without dashes, by its name in Python.
    """

    def flag(match: re.Match[str]) -> str:
        name, value = match[1], match[2]
        if name not in flags:
            return match[0]
        if value in (None, "True"):
            return f"--{flags[name]}"
        given = shlex.quote(ast.literal_eval(value)) if value[:1] in ("'", '"') else value
        return f"--{flags[name]} {given}{'MiB' if name.endswith('_mib') else ''}"

    return _NAMED.sub(flag, text)
