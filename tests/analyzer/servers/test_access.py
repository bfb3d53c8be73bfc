"""Test what a client shows to a server of others, and that no value of it is written out."""

from __future__ import annotations

from pathlib import Path

import pytest

from analyzer.errors import UsageError
from analyzer.servers.access import Access, Header
from analyzer.servers.address import ServerAddress
from analyzer.sweep.settings import SweepSettings


def test_token_is_read_anew_each_time(tmp_path: Path) -> None:
    """A token that is replaced in its file is shown from then on; headers keep their own values."""
    file = tmp_path / "token"
    file.write_text("first\n")
    access = Access(token_file=file, headers=(Header(name="X-Tenant", value="demo"),))
    assert access.request_headers() == {"x-tenant": "demo", "authorization": "Bearer first"}
    file.write_text("second")
    assert access.request_headers()["authorization"] == "Bearer second"
    file.unlink()
    with pytest.raises(UsageError, match=r"`token_file` .*token cannot be read"):
        access.request_headers()


def test_values_are_removed_from_what_a_server_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server may repeat what it was shown, whole, without its first word, or cut off at the end."""
    monkeypatch.setenv("TOKEN_OF_TEST", "abcdefgh")
    access = Access(token_env="TOKEN_OF_TEST", headers=(Header(name="X-Key", value="opensesame"),))
    assert access.clean("no Bearer abcdefgh, nor abcdefgh or opensesame") == "no [secret], nor [secret] or [secret]"
    assert access.clean("you sent abcde") == "you sent [secret]"
    assert access.clean("a plain text") == "a plain text"
    assert "opensesame" not in repr(access) + repr(SweepSettings(headers={"X-Key": "opensesame"}))


@pytest.mark.parametrize(
    ("url", "page", "shown"),
    [
        ("https://a.b", "https://a.b:9443/metrics", True),
        ("https://a.b", "http://a.b:8002/metrics", False),  # a token does not leave TLS
        ("http://a.b:8000", "http://a.b:8002/metrics", True),
        ("http://a.b:8000", "http://c.d:8002/metrics", False),
        ("grpcs://a.b", "https://a.b/metrics", True),
    ],
)
def test_headers_go_to_the_same_host_and_not_without_tls(url: str, page: str, shown: bool) -> None:
    """A metrics page elsewhere, or without the TLS that the server has, gets no headers."""
    address = ServerAddress.read(url, access=Access(headers=(Header(name="X-Key", value="opensesame"),)))
    assert bool(address.access_at(page).request_headers()) is shown


@pytest.mark.parametrize(
    ("text", "written", "protocol", "tls", "port"),
    [
        ("host:8000", "host:8000", "http", False, 8000),
        ("http://host:8000/", "host:8000", "http", False, 8000),
        ("https://host", "https://host:443", "http", True, 443),
        ("grpc://[::1]:8001", "grpc://[::1]:8001", "grpc", False, 8001),
        ("grpcs://host:8443", "grpcs://host:8443", "grpc", True, 8443),
    ],
)
def test_addresses_are_read_and_written(text: str, written: str, protocol: str, tls: bool, port: int) -> None:
    """The scheme says protocol and TLS; plain HTTP is written without one, as it is in stores."""
    address = ServerAddress.read(text)
    assert (str(address), address.protocol, address.tls, address.port) == (written, protocol, tls, port)


@pytest.mark.parametrize(
    "text", ["host", "host:0", "ftp://host:1", "host:8000/path", "http://", "http://u:pass-word@host:1", "host:99999"]
)
def test_wrong_addresses_are_refused_without_a_password(text: str) -> None:
    """What is no address is named with the option, and a password in it is not repeated."""
    with pytest.raises(UsageError, match=r"`url` .* is not an address such as host:8000") as caught:
        ServerAddress.read(text)
    assert "pass-word" not in caught.value.message


@pytest.mark.parametrize(
    "header", ["no colon of opensesame", "Host: opensesame", "a b: opensesame", "grpc-timeout: opensesame", "X-Key: é"]
)
def test_wrong_headers_are_refused_without_their_value(header: str) -> None:
    """The message names the header at most."""
    with pytest.raises(UsageError, match="Invalid value for `headers`") as caught:
        SweepSettings(headers=[header])
    assert "opensesame" not in caught.value.message
