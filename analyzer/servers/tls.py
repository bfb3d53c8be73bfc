"""Open TLS connections, with the server's name checked, and say why one cannot be opened.

The module imports only the standard library and our errors, because it runs in the load generator's process too.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.errors import UsageError

if TYPE_CHECKING:
    import ssl

HTTP, HTTP2 = "http/1.1", "h2"  # names of protocols for ALPN (RFC 7301)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The certificates of a client, in PEM.

    Parameters
    ----------
    ca : Path or None
        Certificates that sign the server's; None for those that this host trusts.
    certificate, key : Path or None
        The client's own, for servers that ask for one; the key may be in the file of the certificate.
    alpn : str
        The protocol that is spoken inside.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    alpn: str = HTTP

    def context(self, *, ca_option: str = "ssl_ca") -> ssl.SSLContext:
        """Read the files; the context checks certificates and the server's name.

        Parameters
        ----------
        ca_option : str
            Name of the option that gives `ca`, for messages.

        Raises
        ------
        UsageError
            If a file cannot be read, or holds no certificate or key.
        """
        import ssl

        files = (self.ca, self.certificate, self.key)
        try:
            return _read(self, tuple(file.stat().st_mtime_ns for file in files if file is not None and file.exists()))
        except ssl.SSLError:
            raise UsageError(f"`{ca_option}` {self.ca} holds no certificate in PEM") from None
        except OSError as error:
            raise UsageError(f"`{ca_option}` {self.ca} cannot be read: {error.strerror}") from None


@lru_cache(maxsize=8)
def _read(tls: Tls, changed_ns: tuple[int, ...]) -> ssl.SSLContext:
    """Read the certificates; what this host trusts takes 10 ms and more, so it is read again only after a change."""
    import ssl

    context = ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
    if tls.certificate is not None:
        _add_certificate(context, tls.certificate, tls.key)
    context.set_alpn_protocols([tls.alpn])
    return context


def _add_certificate(context: ssl.SSLContext, certificate: Path, key: Path | None) -> None:
    import ssl

    for option, path in (("ssl_certificate", certificate), ("ssl_key", key)):
        try:
            if path is not None:
                path.open("rb").close()
        except OSError as error:
            raise UsageError(f"`{option}` {path} cannot be read: {error.strerror}") from None
    try:
        context.load_cert_chain(certificate, key, password="")  # without one, OpenSSL would ask for it on the terminal
    except ssl.SSLError as error:
        if "MISMATCH" in (error.reason or ""):
            raise UsageError(
                f"`ssl_key` {key or certificate} is not the key of `ssl_certificate` {certificate}"
            ) from None
        where = f"`ssl_certificate` {certificate}" + (f" and `ssl_key` {key}" if key else "")
        raise UsageError(f"{where} hold no certificate with its key in PEM, without a password") from None


def open_plain(host: str, port: int, *, timeout_s: float) -> socket.socket:
    """Connect; small messages leave at once, and not when the last one is acknowledged, up to 40 ms later.

    Raises
    ------
    OSError
        If there is no connection.
    """
    sock = socket.create_connection((host, port), timeout=timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def open_tls(host: str, port: int, tls: Tls, *, timeout_s: float) -> ssl.SSLSocket:
    """Connect, and return once the server's certificate is checked.

    Raises
    ------
    OSError
        If there is no connection; see `tls_failure`.
    """
    return over_tls(open_plain(host, port, timeout_s=timeout_s), tls.context(), host)


def over_tls(plain: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    """Return a TLS connection over a connected socket, once the server's certificate is checked; see `open_tls`."""
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except BaseException:
        plain.close()
        raise


def tls_failure(error: object, *, certificate_given: bool = False, ca_option: str = "ssl_ca") -> str | None:
    """Say why a TLS connection failed, and what to do; None for what is no failure of TLS.

    Parameters
    ----------
    error : object
        The exception, or the reason in one of urllib.
    certificate_given : bool
        Whether the client showed a certificate of its own.
    ca_option : str
        Name of the option that gives the certificates of the server's authority.
    """
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        if "match" in error.verify_message:  # the name or address of the server
            return f"its certificate is another server's ({error.verify_message}): use the name that is in it"
        return (
            f"it has no certificate that is trusted here: {error.verify_message}; give the certificate of its "
            f"authority with `{ca_option}`"
        )
    cut_off = isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError)
    if cut_off or (isinstance(error, ssl.SSLError) and "EOF" in str(error).upper()):
        way = "" if certificate_given else "give `ssl_certificate` and `ssl_key` if it asks for a certificate, and "
        return f"it breaks off the TLS connection: {way}check that it has TLS there"
    if not isinstance(error, ssl.SSLError):
        return None
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "wrong version number" in reason or "record layer failure" in reason:
        return "it has no TLS there: write an address without it, such as http://"
    if "alert" in reason and ("certificate" in reason or "unknown ca" in reason or "handshake failure" in reason):
        way = "it does not accept `ssl_certificate`" if certificate_given else "give `ssl_certificate` and `ssl_key`"
        return f"it asks for a certificate of the client ({reason}): {way}"
    return f"no TLS connection ({' '.join(reason.split())}): check the address, and its https:// or grpcs://"
