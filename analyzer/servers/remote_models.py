"""Ask a Triton that is already running which models it has, and which of them are loaded with what configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from analyzer.errors import ServerError
from analyzer.servers.health import ask, loaded_models, loads_on_request, repository_index

_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModels:
    """The models of a running server.

    Parameters
    ----------
    address : str
        ``host:port`` of its HTTP endpoint.
    names : tuple of str
        Every model of its repository.
    loaded : mapping of str to str
        The configuration, in JSON, of each model that is loaded.
    loads_on_request : bool
        Whether it loads and unloads models on request (``--model-control-mode=explicit``).
    """

    address: str
    names: tuple[str, ...]
    loaded: Mapping[str, str] = field(default_factory=dict)
    loads_on_request: bool = True


def read_models(address: str) -> RemoteModels:
    """Ask ``host:port`` for its models; nothing is changed there.

    Raises
    ------
    ServerError
        If it does not answer as Triton does.
    """
    index = repository_index(address, timeout_s=_TIMEOUT_S)
    if index is None:
        raise ServerError(f"Triton at {address} does not name its models: correct `url`, or name its HTTP address")
    loaded = {}
    for name in sorted(loaded_models(index)):
        config = ask(address, f"/v2/models/{quote(name, safe='')}/config", _TIMEOUT_S)
        if config is not None:  # else it was unloaded meanwhile, or is not ready yet
            loaded[name] = config.decode()
    return RemoteModels(
        address=address,
        names=tuple(sorted({str(entry["name"]) for entry in index})),
        loaded=loaded,
        loads_on_request=loads_on_request(address),
    )
