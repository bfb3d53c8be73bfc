"""Use a Triton that is already running at an address; it is never stopped, and is left as it was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from analyzer.errors import AccessError, NoAnswerError, ServerError, UsageError
from analyzer.servers import Endpoint, RunningServer
from analyzer.servers.access import Access
from analyzer.servers.address import ServerAddress
from analyzer.servers.remote_models import RemoteModels, read_models
from analyzer.servers.single_server import check_single_server
from analyzer.servers.transports import open_transport

READY_TIMEOUT_S = 0.9  # used twice: a wrong address must be reported within 2 s
TLS_TIMEOUT_S = 2.0
LIVE_TIMEOUT_S = 5.0  # a server under load may be slow to answer although it is alive
_GRPC_PORT = 8001  # Triton's default


class RemoteServer:
    """A Triton that is already running at an address.

    Parameters
    ----------
    url : str
        Where control requests go: ``host:port`` or ``https://host`` of its HTTP endpoint, or ``grpc://host:port`` or
        ``grpcs://host`` of a server that is used over gRPC only.
    grpc_url : str or None
        Its gRPC endpoint, if that of `url` is HTTP; by default port 8001 of the same host. Without a scheme it has TLS
        if `url` has.
    metrics_url : str or None
        Address of its Prometheus page; None if it is not known.
    access : Access, optional
        What this client shows there.

    Raises
    ------
    UsageError
        If an address is not valid.
    """

    def __init__(
        self, url: str, *, grpc_url: str | None = None, metrics_url: str | None = None, access: Access | None = None
    ) -> None:
        self._address = ServerAddress.read(url, access=access)
        self._grpc = self._grpc_address(grpc_url)
        if metrics_url is not None and urlsplit(metrics_url).scheme not in ("http", "https"):
            raise UsageError(f"`metrics_url` {metrics_url} is not an address such as http://host:8002/metrics")
        self._metrics_url = metrics_url

    def _grpc_address(self, grpc_url: str | None) -> ServerAddress:
        control = self._address
        if control.protocol == "grpc":
            if grpc_url is not None:
                raise UsageError(f"`url` {control} is a gRPC endpoint already: drop `grpc_url`")
            return control
        host = control.host_port.rpartition(":")[0]
        found = ServerAddress.read(
            grpc_url or f"{host}:{_GRPC_PORT}",
            protocol="grpc",
            tls=control.tls,
            option="grpc_url",
            access=control.access,
        )
        if found.protocol != "grpc":
            raise UsageError(f"`grpc_url` {found} is an HTTP address: write grpc:// or grpcs://")
        return found

    @property
    def address(self) -> ServerAddress:
        """Where control requests go."""
        return self._address

    def describe(self) -> str:
        """Describe the server in a few words."""
        return f"remote, {self._address}"

    def read_models(self) -> RemoteModels:
        """Ask for its models and their state.

        Raises
        ------
        ServerError
            If it does not answer as Triton does.
        SeveralServersError
            If several servers answer at the address.
        """
        self._check()
        check_single_server(self._address)
        return read_models(self._address)

    @contextmanager
    def serve(self, repository: Path, *, gpus: Sequence[str] = ()) -> Iterator[RunningServer]:
        """Yield the server at the address; `repository` and `gpus` are not used. See `Server.serve`."""
        version = self._check()
        over_http = self._address.protocol == "http"
        yield RemoteTriton(
            Endpoint(
                http=str(self._address) if over_http else None,
                grpc=str(self._grpc),
                metrics_url=self._metrics_url,
                process_id=None,
                server=version,
                access=self._address.access,
            )
        )

    def _check(self) -> str:
        """Return Triton's version, if it is ready."""
        address = self._address
        if address.tls:
            address.check_tls(timeout_s=TLS_TIMEOUT_S)
        with closing(open_transport(address, timeout_s=READY_TIMEOUT_S)) as transport:
            try:
                if transport.ready():
                    return transport.version()
                live = transport.live()
            except AccessError:
                raise
            except NoAnswerError:
                live = False
        if live:
            raise ServerError(f"Triton at {address} is alive but not ready: wait until it is, or correct `url`")
        raise ServerError(
            f"Triton at {address} does not answer: start it there, or correct `url` (https://… if it has TLS, grpc://… "
            "for its gRPC endpoint)"
        )


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
        address = self._endpoint.control
        try:
            with closing(open_transport(address, timeout_s=LIVE_TIMEOUT_S)) as transport:
                if transport.live():
                    return None
        except AccessError as error:
            return error.message
        except ServerError:
            pass
        return f"Triton at {address} no longer answers"
