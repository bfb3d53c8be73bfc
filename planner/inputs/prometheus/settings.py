"""The options of an import from Prometheus."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from analyzer.errors import UsageError
from analyzer.formats.option_values import FilePath, Flag, Kind, Number, Text, Word, check_options, option
from planner.inputs.prometheus.promql import LabelFilter, label_filter

_UNITS_S = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}
_LONGEST_S = 10 * 366 * 86400


@dataclass(frozen=True, slots=True)
class Duration:
    """Whole seconds, written with the largest unit up to days that fits: 7d, 36h, 5m, 90s."""

    seconds: int

    @classmethod
    def read(cls, text: str) -> Self:
        """Read a number with its unit.

        Raises
        ------
        ValueError
            If it has no known unit or is out of range.
        """
        match = re.fullmatch(r"([0-9]{1,9})([wdhms])", text.strip())
        if match is None:
            raise ValueError(f"{text!r} is no duration; write a whole number with its unit, such as 7d, 12h or 5m")
        seconds = int(match[1]) * _UNITS_S[match[2]]
        if not 0 < seconds <= _LONGEST_S:
            raise ValueError(f"{text!r} is out of range; it must be above 0 and at most ten years")
        return cls(seconds)

    def __str__(self) -> str:
        unit = next(unit for unit, unit_s in _UNITS_S.items() if self.seconds % unit_s == 0 and unit != "w")
        return f"{self.seconds // _UNITS_S[unit]}{unit}"


class Durations(Kind):
    """A duration with its unit, such as ``7d``."""

    metavar = "DURATION"

    def check(self, value: object) -> Duration:
        """Return the duration."""
        return value if isinstance(value, Duration) else Duration.read(str(value))


class Moment(Kind):
    """A time with its offset from UTC, such as ``2026-11-20T18:00Z``."""

    metavar = "TIME"

    def check(self, value: object) -> datetime:
        """Return the time in UTC."""
        try:
            found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
        except ValueError:
            found = None
        if found is None or found.tzinfo is None:
            raise ValueError(f"{str(value)!r} is no time with an offset; write it as 2026-11-20T18:00Z")
        return found.astimezone(UTC)


class HourRange(Kind):
    """Hours of the day from the first to the second, which is not part of it: ``8-18``, or ``22-6`` over midnight."""

    metavar = "FROM-TO"

    def parse(self, text: str) -> tuple[int, int]:
        """Read the two hours."""
        match = re.fullmatch(r"([0-9]{1,2})-([0-9]{1,2})", text.strip())
        if match is None:
            raise ValueError(f"{text!r} is no range of hours; write it as 8-18")
        return self.check((int(match[1]), int(match[2])))

    def check(self, value: object) -> tuple[int, int]:
        """Return the two hours."""
        if isinstance(value, str):
            return self.parse(value)
        match value:
            case (int(begin), int(end)) if 0 <= begin < 24 and 0 <= end <= 24 and begin != end:
                return begin, end
        raise ValueError(f"{value!r} is no range of hours; give two different ones from 0 to 24, such as 8-18")


class TimeZone(Kind):
    """The name of a time zone, such as ``Europe/Zurich``."""

    metavar = "ZONE"

    def check(self, value: object) -> str:
        """Return the name."""
        try:
            return ZoneInfo(str(value)).key
        except (OSError, ValueError, KeyError):  # no such zone; a name that is no path; no data of time zones here
            raise ValueError(f"{str(value)!r} is no time zone; write UTC, or a name such as Europe/Zurich") from None


class LabelFilters(Kind):
    """Conditions on labels, ``NAME=VALUE``; all must hold."""

    metavar = "NAME=VALUE"
    repeated = True

    def parse(self, text: str) -> tuple[LabelFilter, ...]:
        """Read one condition."""
        return (label_filter(text),)

    def check(self, value: object) -> tuple[LabelFilter, ...]:
        """Return the conditions; one alone need not be in a list."""
        given = (value,) if isinstance(value, str | LabelFilter) else tuple(value)  # type: ignore[arg-type]
        return tuple(one if isinstance(one, LabelFilter) else label_filter(str(one)) for one in given)


class ServerAddress(Kind):
    """The address of a Prometheus, ``http`` or ``https``, with the path before ``/api``; a user and password may be in it."""  # noqa: E501

    metavar = "URL"

    def check(self, value: object) -> str:
        """Return the address."""
        text = str(value)
        try:
            parts = urlsplit(text)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment or not text.isprintable() or " " in text:
            raise ValueError("this is no address of a Prometheus; write it as http://host:9090")  # may hold a password
        return text.rstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSettings:
    """What is asked of a Prometheus, and how it is turned into a demand.

    Parameters
    ----------
    window : Duration
        How far back from `end` samples count.
    end : datetime or None
        End of the window; None for now.
    rate_window : Duration
        Time over which one rate is taken, and between one rate and the next.
    quantile : float
        Of the rates in the window, that which becomes the demand's rate: the least one that this share of them does
        not exceed.
    peak_hours : (int, int) or None
        Hours of the day that count alone.
    rates_by_hour : bool
        Whether a rate is given for each hour of the day.
    timezone : str
        Zone of the hours of the day.
    growth : float
        Written to the demand.
    budgets : bool
        Whether the p99 that was seen is written as the budget; else it is in a comment.
    labels : tuple of LabelFilter
        Restricts the series of Triton.
    profiles : str or None
        Measurements; models without any are written as comments.
    token_file : Path or None
        File with a bearer token.
    token_env : str or None
        Environment variable with a bearer token.
    ca_file : Path or None
        Certificates that sign the server's, in PEM; None for the host's own.
    timeout_s : float
        How long one answer may take, in seconds.

    Raises
    ------
    UsageError
        For the first option whose value is not valid.
    """

    url: str = option(None, ServerAddress())  # needed, see below
    window: Duration = option(Duration(7 * 86400), Durations())
    end: datetime | None = option(None, Moment())
    rate_window: Duration = option(Duration(300), Durations())
    quantile: float = option(0.99, Number(0, 1, open_low=True, metavar="Q"))
    peak_hours: tuple[int, int] | None = option(None, HourRange())
    rates_by_hour: bool = option(False, Flag())
    timezone: str = option("UTC", TimeZone())
    growth: float = option(1.0, Number(0, 1000, open_low=True, metavar="FACTOR"))
    budgets: bool = option(False, Flag())
    labels: tuple[LabelFilter, ...] = option((), LabelFilters(), "label")
    profiles: str | None = option(None, Text("PROFILES"))
    token_file: Path | None = option(None, FilePath("FILE"))
    token_env: str | None = option(None, Word("NAME"))
    ca_file: Path | None = option(None, FilePath("FILE"))
    timeout_s: float = option(30.0, Number(0, 3600, open_low=True, metavar="S"), "timeout")

    def __post_init__(self) -> None:
        check_options(self)
        if not self.url:
            raise UsageError("say where the Prometheus is, with `url`")
        if self.token_file and self.token_env:
            raise UsageError("give either `token_file` or `token_env`, not both")
        if (self.token_file or self.token_env) and urlsplit(self.url).username is not None:
            raise UsageError("give either a user in `url` or a token, not both")
        if self.ca_file and urlsplit(self.url).scheme != "https":
            raise UsageError("`ca_file` has no effect on an address without TLS; write https:// in `url`")
        if self.rates_by_hour and self.peak_hours:
            raise UsageError("`rates_by_hour` gives every hour a rate; leave out `peak_hours`")
        if self.window.seconds < self.rate_window.seconds:
            raise UsageError(f"the window of {self.window} has no rate over {self.rate_window}; give a larger `window`")
