"""Test the options of the import: durations, times, hours, and what contradicts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from analyzer.errors import UsageError
from planner.inputs.prometheus.settings import Duration, ImportSettings

URL = "http://127.0.0.1:9090"


@pytest.mark.parametrize(
    ("text", "seconds", "shown"),
    [("7d", 604800, "7d"), ("1w", 604800, "7d"), ("36h", 129600, "36h"), ("5m", 300, "5m"), ("90s", 90, "90s")],
)
def test_duration_is_read_and_written(text: str, seconds: int, shown: str) -> None:
    """A week has 604,800 s; a duration is written with the largest unit, up to days, of which it is a whole number."""
    assert Duration.read(text) == Duration(seconds)
    assert str(Duration.read(text)) == shown


def test_values_may_be_given_as_text() -> None:
    """In Python the options take the text that the command line takes."""
    settings = ImportSettings(
        url=f"{URL}/",
        window="2d",  # type: ignore[arg-type]
        end="2026-11-20T18:00+01:00",  # type: ignore[arg-type]
        peak_hours="22-6",  # type: ignore[arg-type]
        labels=("a=b", "c!~d"),  # type: ignore[arg-type]
    )
    assert (settings.url, settings.window, settings.peak_hours) == (URL, Duration(2 * 86400), (22, 6))
    assert settings.end == datetime(2026, 11, 20, 17, tzinfo=UTC)
    assert [str(one) for one in settings.labels] == ["a=b", "c!~d"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": ""}, "`url`"),
        ({"url": "127.0.0.1:9090"}, "write it as http://host:9090"),
        ({"url": "file:///etc/passwd"}, "write it as http://host:9090"),
        ({"url": f"{URL}/graph?q=1"}, "write it as http://host:9090"),
        ({"url": "http://[::1"}, "write it as http://host:9090"),
        ({"window": "7"}, "such as 7d, 12h or 5m"),
        ({"window": "0d"}, "above 0"),
        ({"window": "1m"}, "give a larger `window`"),
        ({"end": "2026-11-20T18:00"}, "2026-11-20T18:00Z"),
        ({"end": "yesterday"}, "2026-11-20T18:00Z"),
        ({"quantile": 0}, "0<x<=1"),
        ({"peak_hours": "8"}, "write it as 8-18"),
        ({"peak_hours": (8, 25)}, "from 0 to 24"),
        ({"ca_file": "ca.pem"}, "write https:// in `url`"),
        ({"peak_hours": "8-18", "rates_by_hour": True}, "leave out `peak_hours`"),
        ({"timezone": "Mars/Olympus"}, "no time zone"),
        ({"timezone": "../../etc/passwd"}, "no time zone"),
        ({"labels": ("prod",)}, "no label filter"),
        ({"token_env": "A", "token_file": "b"}, "either `token_file` or `token_env`"),
        ({"url": "http://me:secret@host", "token_env": "A"}, "either a user in `url` or a token"),
    ],
)
def test_wrong_option_is_refused_with_the_way_out(options: dict[str, Any], message: str) -> None:
    """The error names what would be right, and shows no password."""
    with pytest.raises(UsageError) as caught:
        ImportSettings(**{"url": URL, **options})
    assert message in caught.value.message
    assert "secret" not in caught.value.message


def test_password_of_a_bad_address_is_not_shown() -> None:
    """The address may hold a password, so the error about it does not repeat it."""
    with pytest.raises(UsageError) as caught:
        ImportSettings(url="htp://me:secret@host")
    assert "secret" not in str(caught.value)
