"""Test the client on a loopback server that stands for Prometheus, and answers well or badly."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from analyzer.errors import TritonpackError, UsageError
from planner.inputs.prometheus import client as client_module
from planner.inputs.prometheus.client import PrometheusClient
from planner.inputs.prometheus.series import Grid
from tests.builders.prometheus_api import Asked, Reply, prometheus_api, series_reply


def failure(answer: Callable[[Asked], Reply], *, token: str | None = None) -> str:
    """Return the message about an answer; it is one line, and holds no token."""
    with prometheus_api(answer) as api, pytest.raises(TritonpackError) as caught:
        PrometheusClient(api.url, token=token).now("up", 10)
    message = caught.value.message
    assert message.isprintable()
    assert token is None or token not in message
    return message


def test_long_window_is_asked_in_parts_and_joined() -> None:
    """5,000 steps are asked in three queries of at most 2,000, and are one series in the end."""

    def answer(asked: Asked) -> Reply:
        start, end, step = (int(asked.query[name]) for name in ("start", "end", "step"))
        values = [[time, str(time / step)] for time in range(start, end + 1, step)]
        return series_reply("matrix", {"metric": {"model": "m"}, "values": values})

    with prometheus_api(answer) as api:
        (series,) = PrometheusClient(api.url).over("x", Grid(start_s=0, end_s=50_000, step_s=10))
    assert [(int(one.query["end"]) - int(one.query["start"])) // 10 + 1 for one in api.asked] == [2000, 2000, 1000]
    assert series.samples == {10 * k: float(k) for k in range(1, 5001)}
    assert client_module.POINTS < 11_000  # what Prometheus refuses


def test_samples_that_are_no_number_are_gaps() -> None:
    """A summary without observations is NaN, and that is no sample."""
    reply = series_reply("matrix", {"metric": {}, "values": [[10, "NaN"], [20, "2"], [30, "+Inf"]]})
    with prometheus_api(lambda _: reply) as api:
        (series,) = PrometheusClient(api.url).over("x", Grid(start_s=0, end_s=30, step_s=10))
    assert series.samples == {20: 2.0}


@pytest.mark.parametrize(
    ("user", "token", "header"),
    [("", "abc", "Bearer abc"), ("me:a%40b@", None, "Basic bWU6YUBi"), ("", None, None)],  # base64 of me:a@b
)
def test_token_or_user_is_sent_and_not_shown(user: str, token: str | None, header: str | None) -> None:
    """A token goes as bearer, a user of the address as basic authentication; the address is shown without the user."""
    with prometheus_api(lambda _: series_reply("vector")) as api:
        client = PrometheusClient(api.url.replace("//", f"//{user}"), token=token)
        assert client.now("up", 10) == ()
    assert api.asked[0].headers.get("Authorization") == header
    assert client.url == api.url


def test_path_before_the_api_is_kept() -> None:
    """A Prometheus behind a path is asked there."""
    with prometheus_api(lambda _: series_reply("vector")) as api:
        PrometheusClient(f"{api.url}/prometheus").now("up", 10)
    assert api.asked[0].path == "/prometheus/api/v1/query"


def test_redirect_is_not_followed_so_the_token_stays_here() -> None:
    """A redirect to another host is an error that names it; that host gets no request, and so no token."""
    with prometheus_api(lambda _: series_reply("vector")) as other:
        said = failure(lambda _: Reply(code=302, location=f"{other.url}/login?x=1"), token="tok-1")
        assert f"sends on to {other.url}/login (HTTP 302)" in said
        assert other.asked == []


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            Reply(body=b"<html>Log in</html>", kind="text/html"),
            "answers with text/html in place of JSON",
        ),
        (Reply(body=b"<html></html>", code=404, kind="text/html"), "(HTTP 404); `url` is the address before /api/v1"),
        (Reply(body=b'{"a": 1}'), "does not answer as Prometheus' HTTP API does"),
        (Reply(body=b"[" * 100_000), "in place of JSON"),
        (Reply(body=b'{"status": "success", "data": {"resultType": "vector"}}'), "does not answer as Prometheus"),
        (series_reply("vector", {"metric": {}, "value": [1]}), "does not answer as Prometheus"),
        (series_reply("vector", {"metric": {}, "value": [1, "x"]}), "does not answer as Prometheus"),
        (series_reply("vector", {"metric": {}, "value": [float("inf"), "1"]}), "does not answer as Prometheus"),
        (series_reply("scalar"), "does not answer as Prometheus"),
        (Reply(code=401), "(HTTP 401): give `token_file` or `token_env`, or a user in `url`"),
        (Reply(code=400, body=b'{"status": "error", "error": "parse\\nerror"}'), "(HTTP 400): parse error"),
        (Reply(code=500, body=b"broken\x1b[2J"), "(HTTP 500): broken [2J"),
        (Reply(code=422, body=b'{"error": "too many samples"}'), "too many samples; ask for a shorter `window`"),
    ],
)
def test_bad_answer_is_one_line(reply: Reply, expected: str) -> None:
    """A page, another program's JSON, no access and an error of Prometheus are each told in one line."""
    assert expected in failure(lambda _: reply)


def test_token_that_is_refused_is_not_repeated() -> None:
    """A wrong token is told apart from none."""
    assert "(HTTP 403): what was given is not accepted" in failure(lambda _: Reply(code=403), token="tok-1")


def test_server_that_hangs_is_given_up() -> None:
    """No answer within the time is an error that names the option."""
    release = threading.Event()

    def answer(_: Asked) -> Reply:
        release.wait(10)
        return Reply()

    with prometheus_api(answer) as api:
        try:
            with pytest.raises(TritonpackError, match=r"within 0\.2 s; give it more with `timeout_s`"):
                PrometheusClient(api.url, timeout_s=0.2).now("up", 10)
        finally:
            release.set()


def test_server_that_is_down_is_named() -> None:
    """A port on which nothing listens is told as such."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(TritonpackError, match=f"no answer from {url}: Connection refused"):
        PrometheusClient(url).now("up", 10)


def test_host_that_is_no_name_is_told() -> None:
    """A host that cannot be written in a name query is an error, not a traceback."""
    with pytest.raises(TritonpackError, match=r"no answer from http://a\.\.b"):
        PrometheusClient("http://a..b").now("up", 10)


def test_https_to_a_server_without_tls_says_so() -> None:
    """The error offers http://."""
    with (
        prometheus_api(lambda _: Reply()) as api,
        pytest.raises(TritonpackError, match="no TLS there: write an address without it, such as http://"),
    ):
        PrometheusClient(api.url.replace("http:", "https:")).now("up", 10)


def test_certificate_file_must_hold_certificates(tmp_path: Path) -> None:
    """A missing file and a file without certificates are errors of the command line."""
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        PrometheusClient("https://host", ca_file=tmp_path / "none")
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(UsageError, match="holds no certificate"):
        PrometheusClient("https://host", ca_file=tmp_path / "ca.pem")


def test_proxy_is_not_asked_for_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """http_proxy is for other hosts: a request to a loopback address goes there at once."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with prometheus_api(lambda _: series_reply("vector")) as api:
        assert PrometheusClient(api.url).now("up", 10) == ()


def test_warning_of_the_server_is_kept() -> None:
    """A server that has only a part of the data says so, and that is passed on once."""
    with prometheus_api(lambda _: series_reply("vector", warnings=["a store is down"])) as api:
        client = PrometheusClient(api.url)
        client.now("up", 10)
        client.now("up", 20)
    assert list(client.warnings) == ["a store is down"]
