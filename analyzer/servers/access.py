"""What a client shows to a server that others own: certificates, headers and a token. Values are never written out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from analyzer.errors import UsageError
from analyzer.servers.tls import Tls

_SECRET = "[secret]"  # noqa: S105 - stands where a secret was
_SHORTEST_SECRET = 4  # a shorter value, such as 1, is part of many words


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """A header that every request carries."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a client shows to a server.

    Parameters
    ----------
    tls : Tls
        Its certificates, where the server has TLS.
    headers : tuple of Header
    token_file, token_env : Path or None, str or None
        File, or environment variable, with a bearer token. It is read again for every request or trial, since tokens
        of workloads expire and are replaced in place.
    """

    tls: Tls = field(default_factory=Tls)
    headers: tuple[Header, ...] = ()
    token_file: Path | None = None
    token_env: str | None = None

    def request_headers(self) -> dict[str, str]:
        """Return the headers of a request now, by their names in lower case.

        Raises
        ------
        UsageError
            If the token cannot be read.
        """
        headers = {header.name.lower(): header.value for header in self.headers}
        token = read_token(self.token_file, self.token_env)
        return headers if token is None else headers | {"authorization": f"Bearer {token}"}

    @property
    def shows_secrets(self) -> bool:
        """Whether requests carry something that others should not read."""
        return bool(self.headers or self.token_file or self.token_env)

    def without_secrets(self) -> Self:
        """Return it without headers and token, for another server."""
        return replace(self, headers=(), token_file=None, token_env=None)

    def clean(self, text: str) -> str:
        """Replace every value that a request carries in a text, such as an error message of the server."""
        if not self.shows_secrets:
            return text
        try:
            values = set(self.request_headers().values())
        except UsageError:  # the token is gone meanwhile
            values = {header.value for header in self.headers}
        values |= {word for value in values for word in value.split()[1:]}  # the token without its "Bearer"
        for value in sorted(values, key=len, reverse=True):
            if len(value) >= _SHORTEST_SECRET:
                text = _cut_end(text.replace(value, _SECRET), value)
        return text


def _cut_end(text: str, secret: str) -> str:
    """Replace the beginning of a secret at the end of a text that was cut off."""
    for length in range(min(len(secret), len(text)), _SHORTEST_SECRET - 1, -1):
        if text.endswith(secret[:length]):
            return text[:-length] + _SECRET
    return text


def read_token(file: Path | None, variable: str | None) -> str | None:
    """Read a bearer token from a file or an environment variable; None if neither is given.

    Messages name where it is from, never what it is.

    Raises
    ------
    UsageError
        If it cannot be read, or is no token.
    """
    if variable:
        where, token = f"`token_env` {variable}", os.environ.get(variable, "")
    elif file:
        where = f"`token_file` {file}"
        try:
            token = Path(file).read_text(encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{where} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            token = "\0"  # noqa: S105 - refused below
    else:
        return None
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"{where} holds no token: it is empty, or more than one word")
    return token
