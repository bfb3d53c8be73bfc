"""Find out which backends a server has, where that can be known before it runs."""

from __future__ import annotations

from pathlib import Path

from analyzer.servers import Server
from analyzer.servers.local import Installation, LocalServer

_DEFAULT_FOLDER = Path("/opt/tritonserver/backends")  # of a tritonserver without --backend-directory


def known_backends(server: Server) -> frozenset[str] | None:
    """Return the names of a server's backends; None where only the running server knows them.

    The backends of a Triton on this host are folders. Those of an image, or of a server elsewhere, are not seen.
    """
    installation = Installation.find() if isinstance(server, LocalServer) else None
    if installation is None:
        return None
    folder = installation.package / "backends" if installation.package else _DEFAULT_FOLDER
    return frozenset(entry.name for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else None
