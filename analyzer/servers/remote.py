"""Use a Triton that is already running at an address; it is never stopped, and is left as it was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from analyzer.errors import ServerError, UsageError
from analyzer.servers import Endpoint, RunningServer
from analyzer.servers.health import is_live, is_ready, triton_version
from analyzer.servers.remote_models import RemoteModels, read_models

READY_TIMEOUT_S = 0.9  # used twice: a wrong address must be reported within 2 s
LIVE_TIMEOUT_S = 5.0  # a server under load may be slow to answer although it is alive


class RemoteServer:
    """A Triton that is already running at an address.

    Parameters
    ----------
    url : str
        ``host:port`` of its HTTP endpoint, with or without ``http://``.
    metrics_url : str or None
        Address of its Prometheus page; None if it is not known.

    Raises
    ------
    UsageError
        If an address is not valid.
    """

    def __init__(self, url: str, *, metrics_url: str | None = None) -> None:
        self._http = _check_address(url)
        if metrics_url is not None and urlsplit(metrics_url).scheme not in ("http", "https"):
            raise UsageError(f"`metrics_url` {metrics_url} is not an address such as http://host:8002/metrics")
        self._metrics_url = metrics_url

    @property
    def address(self) -> str:
        """``host:port`` of its HTTP endpoint."""
        return self._http

    def describe(self) -> str:
        """Describe the server in a few words."""
        return f"remote, {self._http}"

    def read_models(self) -> RemoteModels:
        """Ask for its models and their state.

        Raises
        ------
        ServerError
            If it does not answer as Triton does.
        """
        self._check()
        return read_models(self._http)

    @contextmanager
    def serve(self, repository: Path, *, gpus: Sequence[str] = ()) -> Iterator[RunningServer]:
        """Yield the server at the address; `repository` and `gpus` are not used. See `Server.serve`."""
        version = self._check()
        yield RemoteTriton(
            Endpoint(http=self._http, grpc=None, metrics_url=self._metrics_url, process_id=None, server=version)
        )

    def _check(self) -> str:
        """Return Triton's version, if it is ready."""
        if not is_ready(self._http, timeout_s=READY_TIMEOUT_S):
            live = is_live(self._http, timeout_s=READY_TIMEOUT_S)
            what = "is alive but not ready" if live else "does not answer"
            raise ServerError(f"Triton at {self._http} {what}: start it there, or correct `url`")
        return triton_version(self._http)


class RemoteTriton:
    """A Triton that has reported that it is ready."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    @property
    def endpoint(self) -> Endpoint:
        """The server's addresses and version."""
        return self._endpoint

    def death(self) -> str | None:
        """Return a line that says that the server no longer answers; None while it does."""
        if is_live(self._endpoint.http, timeout_s=LIVE_TIMEOUT_S):
            return None
        return f"Triton at {self._endpoint.http} no longer answers"


def _check_address(url: str) -> str:
    """Return an address as ``host:port``."""
    wrong = UsageError(f"`url` {url} is not an address such as host:8000 (plain HTTP)")
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise wrong from error
    if parts.scheme != "http" or not host or not port or parts.path.strip("/") or parts.query or parts.username:
        raise wrong
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
