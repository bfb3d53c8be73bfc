"""Ask a Prometheus over its HTTP API (prometheus.io/docs/prometheus/latest/querying/api), with the standard library."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlencode, urlsplit, urlunsplit
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from analyzer.errors import TritonpackError
from analyzer.formats.units import printable, shortened
from analyzer.servers.redirects import NoRedirects
from analyzer.servers.tls import Tls, tls_failure
from planner.inputs.prometheus.series import Grid, Series

POINTS = 2000  # of a series in one answer; Prometheus refuses more than 11,000, and large answers take long
_MOST_BYTES = 2**28
_TOO_MUCH = (422, 503, 504)  # too many samples for its limits, or too long
_FORMAT = "`url` is the address before /api/v1"


class PrometheusClient:
    """Sends queries to one Prometheus.

    Parameters
    ----------
    url : str
        Its address, with or without a user and password.
    token : str or None
        A bearer token. It goes to this address alone: redirects are not followed.
    ca_file : Path or None
        Certificates that sign the server's; None for the host's own.
    timeout_s : float
        How long one answer may take.

    Attributes
    ----------
    url : str
        The address without user and password.
    warnings : dict of str to None
        What the server said about its answers, each once, such as that one is partial.
    """

    def __init__(
        self, url: str, *, token: str | None = None, ca_file: Path | None = None, timeout_s: float = 30.0
    ) -> None:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        self.url = urlunsplit((parts.scheme, host, parts.path.rstrip("/"), "", ""))
        self.warnings: dict[str, None] = {}
        self._timeout_s = timeout_s
        self._headers = {"Accept": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        elif parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        self._opener = _opener(parts.hostname or "", ca_file)

    def now(self, expression: str, at_s: int) -> tuple[Series, ...]:
        """Evaluate an expression at one time.

        Raises
        ------
        TritonpackError
            If there is no usable answer.
        """
        return self._ask("query", {"query": expression, "time": str(at_s)}, "vector")

    def over(self, expression: str, grid: Grid) -> tuple[Series, ...]:
        """Evaluate an expression at all times of a grid, in several queries if there are many.

        Raises
        ------
        TritonpackError
            If there is no usable answer.
        """
        found: dict[tuple[tuple[str, str], ...], dict[int, float]] = {}
        for times in grid.chunks(POINTS):
            asked = {"query": expression, "start": str(times[0]), "end": str(times[-1]), "step": str(grid.step_s)}
            for series in self._ask("query_range", asked, "matrix"):
                found.setdefault(tuple(sorted(series.labels.items())), {}).update(series.samples)
        return tuple(Series(labels=dict(labels), samples=samples) for labels, samples in sorted(found.items()))

    def _ask(self, path: str, asked: Mapping[str, str], result_type: str) -> tuple[Series, ...]:
        answer = self._get(f"/api/v1/{path}?{urlencode(asked)}")
        for warning in answer.get("warnings") or ():
            self.warnings[str(warning)] = None
        try:
            if answer["data"]["resultType"] != result_type:
                raise ValueError(result_type)
            return tuple(_series(one) for one in answer["data"]["result"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):  # a time may be 1e999
            raise TritonpackError(f"{self.url} does not answer as Prometheus' HTTP API does; {_FORMAT}") from None

    def _get(self, path: str) -> dict[str, Any]:
        request = Request(self.url + path, headers=self._headers)  # noqa: S310 - the scheme is checked in the settings
        try:
            with self._opener.open(request, timeout=self._timeout_s) as response:
                body, kind = response.read(_MOST_BYTES + 1), response.headers.get_content_type()
        except HTTPError as error:
            with error:
                self._refused(error.code, error.headers.get("Location"), _read_some(error))
        except (OSError, HTTPException, UnicodeError) as error:  # a host such as a..b is no name in IDNA
            self._unreachable(error.reason if isinstance(error, URLError) else error)
        if len(body) > _MOST_BYTES:
            raise TritonpackError(f"{self.url} answers with more than 256 MiB; restrict the series with `labels`")
        return self._document(body, kind)

    def _document(self, body: bytes, kind: str) -> dict[str, Any]:
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise TritonpackError(f"{self.url} answers with {kind} in place of JSON; {_FORMAT}") from None
        if not isinstance(document, dict) or document.get("status") != "success":
            raise TritonpackError(f"{self.url} does not answer as Prometheus' HTTP API does; {_FORMAT}")
        return document

    def _refused(self, code: int, location: str | None, body: bytes) -> NoReturn:
        if code in (401, 403):
            given = "Authorization" in self._headers
            way = "what was given is not accepted" if given else "give `token_file` or `token_env`, or a user in `url`"
            raise TritonpackError(f"{self.url} refuses access (HTTP {code}): {way}")
        if location:
            raise TritonpackError(
                f"{self.url} sends on to {_without_user(location)} (HTTP {code}); give the address itself with `url`"
            )
        try:
            said = str(json.loads(body)["error"])
        except (ValueError, KeyError, TypeError, RecursionError):
            text = body.decode(errors="replace").strip()
            said = "" if text.startswith("<") else text
        said = f": {_one_line(said)}" if said else f"; {_FORMAT}"
        if code in _TOO_MUCH:
            said += "; ask for a shorter `window`, or restrict the series with `labels`"
        raise TritonpackError(f"{self.url} does not answer the query (HTTP {code}){said}")

    def _unreachable(self, reason: object) -> NoReturn:
        if failure := tls_failure(reason, ca_option="ca_file"):
            raise TritonpackError(f"{self.url} cannot be used: {_one_line(failure)}") from None
        if isinstance(reason, TimeoutError):
            way = "give it more with `timeout_s`, or ask for a shorter `window`"
            raise TritonpackError(f"{self.url} does not answer within {self._timeout_s:g} s; {way}") from None
        said = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
        way = "check the address, and that Prometheus runs"
        raise TritonpackError(f"no answer from {self.url}: {_one_line(said) or 'it closed the connection'}; {way}")


def _opener(host: str, ca_file: Path | None) -> OpenerDirector:
    context = Tls(ca=ca_file).context(ca_option="ca_file")
    proxies = ProxyHandler({}) if _is_loopback(host) else ProxyHandler()
    return build_opener(proxies, HTTPSHandler(context=context), NoRedirects)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _series(one: Any) -> Series:
    """Turn a series of an answer into a record; samples that are no number are gaps."""
    pairs = one["values"] if "values" in one else [one["value"]]
    samples = {round(float(time)): float(value) for time, value in pairs}
    labels = {str(name): str(value) for name, value in one["metric"].items()}
    return Series(labels=labels, samples={time: value for time, value in samples.items() if math.isfinite(value)})


def _read_some(error: HTTPError) -> bytes:
    try:
        return error.read(4096)
    except (OSError, HTTPException):
        return b""


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return _one_line(urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")))


def _one_line(text: str) -> str:
    return shortened(" ".join(printable(text).split()), 300)
