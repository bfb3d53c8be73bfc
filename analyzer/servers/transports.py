"""Choose how control requests are sent to an address."""

from __future__ import annotations

from analyzer.servers.address import ServerAddress
from analyzer.servers.grpc_transport import GrpcTransport
from analyzer.servers.http_transport import HttpTransport
from analyzer.servers.transport import Transport


def open_transport(address: ServerAddress, *, timeout_s: float) -> Transport:
    """Return the transport of an address.

    Parameters
    ----------
    timeout_s : float
        Longest time of a call, in seconds.
    """
    if address.protocol == "grpc":
        return GrpcTransport(address, timeout_s=timeout_s)
    return HttpTransport(address, timeout_s=timeout_s)
