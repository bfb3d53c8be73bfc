"""Describe the models of a Triton that is already running, as far as it tells them.                       [pure]"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

from analyzer.models.repository import Model, completed
from analyzer.servers.remote_models import RemoteModels


def models_of(remote: RemoteModels, *, reload: bool) -> tuple[Model, ...]:
    """Return every model of a server's repository; those that are loaded have their configuration.

    Their files are not seen, so the hash is over the server's address, the name and the configuration.

    Parameters
    ----------
    reload : bool
        Whether loaded models are loaded anew to be measured, and not measured as they are.
    """
    return tuple(_as_told(Model(name=name, path=None), remote, reload=reload) for name in remote.names)


def as_found(models: Sequence[Model], remote: RemoteModels) -> tuple[Model, ...]:
    """Replace the models that are loaded on a server by what is loaded there, which may be other files."""
    return tuple(_as_told(model, remote, reload=False) if model.name in remote.loaded else model for model in models)


def _as_told(model: Model, remote: RemoteModels, *, reload: bool) -> Model:
    config = remote.loaded.get(model.name)
    state = "as found" if config is not None and not reload else "loaded by us"
    digest = hashlib.sha256("\0".join((remote.address, model.name, state, config or "")).encode()).hexdigest()
    told = replace(model, path=None, content_hash=digest, error="")
    return told if config is None else completed(told, json.loads(config))
