"""Ask a Triton that is already running which models it has, and which of them are loaded with what configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field

from analyzer.errors import ModelError
from analyzer.servers.address import ServerAddress
from analyzer.servers.health import loaded_models
from analyzer.servers.transport import Transport
from analyzer.servers.transports import open_transport

_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteModels:
    """The models of a running server.

    Parameters
    ----------
    address : str
        Where the server answers.
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


def read_models(address: ServerAddress) -> RemoteModels:
    """Ask a server for its models; nothing is changed there.

    Raises
    ------
    ServerError
        If it does not answer as Triton does.
    """
    with closing(open_transport(address, timeout_s=_TIMEOUT_S)) as transport:
        index = transport.index()
        loaded = {}
        for name in sorted(loaded_models(index)):
            with suppress(ModelError):  # it was unloaded meanwhile, or is not ready yet
                loaded[name] = json.dumps(transport.config(name), sort_keys=True)
        return RemoteModels(
            address=str(address),
            names=tuple(sorted({str(entry["name"]) for entry in index})),
            loaded=loaded,
            loads_on_request=_loads_on_request(transport),
        )


def _loads_on_request(transport: Transport) -> bool:
    """Ask whether models are loaded on request (``--model-control-mode=explicit``).

    The request unloads a model that does not exist: Triton 24.10 agrees in this mode, and refuses in the others.
    """
    try:
        transport.unload("tritonpack-probe", dependents=False)
    except ModelError:
        return False
    return True
