"""The address of a Triton: protocol, host and port, with or without TLS, and what its clients show."""

from __future__ import annotations

import socket
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Self
from urllib.parse import urlsplit

from analyzer.errors import AccessError, UsageError
from analyzer.servers.access import Access
from analyzer.servers.tls import HTTP, HTTP2, Tls, open_plain, open_tls, tls_failure

_SCHEMES = {"http": ("http", False), "https": ("http", True), "grpc": ("grpc", False), "grpcs": ("grpc", True)}
_TLS_PORT = 443  # of addresses with TLS that name none
_HTTP2_BEGIN = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # and settings: none
_FIRST_BYTES_S = 1.0  # a server then sends its own settings


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """Where one endpoint of a Triton listens.

    Parameters
    ----------
    protocol : str
        ``http`` or ``grpc``.
    host_port : str
        ``host:port``; an IPv6 address is in brackets.
    tls : bool
    access : Access
        What its clients show.
    """

    protocol: str
    host_port: str
    tls: bool = False
    access: Access = field(default_factory=Access)

    @classmethod
    def read(
        cls, text: str, *, protocol: str = "http", tls: bool = False, option: str = "url", access: Access | None = None
    ) -> Self:
        """Read an address such as ``host:8000`` or ``grpcs://host``.

        Parameters
        ----------
        protocol, tls
            Those of an address without a scheme.
        option : str
            Name of the option that gives it, for messages.

        Raises
        ------
        UsageError
            If it is no address.
        """
        hidden = "the address" if "@" in text else text  # it may hold a password
        wrong = UsageError(f"`{option}` {hidden} is not an address such as host:8000, https://host or grpc://host:8001")
        try:
            parts = urlsplit(text if "://" in text else f"//{text}")
            host, port = parts.hostname, parts.port
        except ValueError:
            raise wrong from None
        if parts.scheme and parts.scheme not in _SCHEMES:
            raise wrong
        if parts.scheme:
            protocol, tls = _SCHEMES[parts.scheme]
        port = port or (_TLS_PORT if tls and port is None else None)
        if not host or not port or parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
            raise wrong
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return cls(protocol=protocol, host_port=where, tls=tls, access=access or Access())

    def __str__(self) -> str:
        scheme = next(name for name, kind in _SCHEMES.items() if kind == (self.protocol, self.tls))
        return self.host_port if scheme == "http" else f"{scheme}://{self.host_port}"

    @property
    def host(self) -> str:
        """The host's name or address, without brackets."""
        return self.host_port.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port."""
        return int(self.host_port.rpartition(":")[2])

    @property
    def certificates(self) -> Tls | None:
        """The client's certificates for this protocol; None without TLS."""
        return replace(self.access.tls, alpn=HTTP2 if self.protocol == "grpc" else HTTP) if self.tls else None

    def access_at(self, url: str) -> Access:
        """Return what clients show at another address: headers and token only on this host, and not without TLS."""
        parts = urlsplit(url)
        same = parts.hostname == self.host and (parts.scheme == "https" or not self.tls)
        return self.access if same else self.access.without_secrets()

    def connect(self, *, timeout_s: float) -> socket.socket:
        """Open a connection, with TLS where the server has it.

        Raises
        ------
        OSError
            If there is none.
        """
        if self.certificates is None:
            return open_plain(self.host, self.port, timeout_s=timeout_s)
        return open_tls(self.host, self.port, self.certificates, timeout_s=timeout_s)

    def check_tls(self, *, timeout_s: float) -> None:
        """Say what is wrong with the TLS of an address; return if nothing is, or if nothing answers there.

        Raises
        ------
        UsageError
            If a certificate of ours cannot be read.
        AccessError
            If one side does not accept the other.
        """
        try:
            with closing(self.connect(timeout_s=timeout_s)) as sock:
                if self.protocol == "grpc":  # in TLS 1.3, a server refuses a client only after the handshake
                    sock.settimeout(_FIRST_BYTES_S)
                    sock.sendall(_HTTP2_BEGIN)
                    if not sock.recv(1):
                        raise ConnectionResetError
        except TimeoutError:
            return
        except OSError as error:
            failure = self.tls_failure(error)
            if failure is not None:
                raise failure from None

    def tls_failure(self, error: object) -> AccessError | None:
        """Return the error for a TLS connection that failed; None for a failure of another kind."""
        why = tls_failure(error, certificate_given=self.access.tls.certificate is not None) if self.tls else None
        return None if why is None else AccessError(f"Triton at {self} cannot be used: {why}")
