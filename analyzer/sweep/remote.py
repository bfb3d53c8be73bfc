"""Read the models of a sweep from a folder or a running server, and check what may be done on that server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analyzer.errors import ServerError, UsageError
from analyzer.formats.units import shortened_list
from analyzer.models.on_server import as_found, models_of
from analyzer.models.repository import Model, read_repository
from analyzer.servers.remote_models import RemoteModels
from analyzer.sweep.settings import SweepSettings

_MOST_NAMED = 5
_CHANGES = ("instances", "dynamic_batching", "max_batch_sizes", "max_instances")  # options that need another load


def sample_models() -> Path:
    """Find the sample models, which are installed beside this package."""
    return Path(__file__).parents[2] / "sample_models"


def read_models_of(settings: SweepSettings, remote: RemoteModels | None) -> tuple[Model, ...]:
    """Read every model that could be measured: of the folder that is given, else of the server, else the samples.

    Raises
    ------
    UsageError
        If the folder cannot be read, or the server has no models.
    """
    if remote is None:
        return read_repository(settings.model_folder or sample_models())
    if settings.model_folder is None:
        if not remote.names:
            raise UsageError(f"Triton at {remote.address} has no models in its repository")
        models = models_of(remote, reload=settings.allow_reload)
        wanted = settings.model_names or remote.loads_on_request
        return models if wanted else tuple(model for model in models if model.name in remote.loaded) or models
    models = read_repository(settings.model_folder)
    return models if settings.allow_reload else as_found(models, remote)


def check_remote(settings: SweepSettings, models: Sequence[Model], remote: RemoteModels) -> list[str]:
    """Check that the server lets these models be measured as asked; return notes for the user.

    Raises
    ------
    UsageError
        If a model that others loaded there would need another configuration, and it must not be reloaded.
    ServerError
        If the server does not load models on request, and a model would have to be loaded.
    """
    measured = [model.name for model in models]
    found = [name for name in measured if name in remote.loaded]
    absent = [name for name in measured if name not in remote.loaded]
    if not remote.loads_on_request:
        _check_without_loads(settings, found, absent, remote)
    if settings.allow_reload:
        kept = sorted(remote.loaded.keys() - set(measured))
        return _others(kept, remote)
    for name in found:
        own = settings.of(name)
        if option := _changing(own):
            raise UsageError(
                f"`{option}` gives {name} another configuration, and it is loaded at {remote.address}, where "
                "others may use it: drop it, or add `allow_reload=True`, which loads the model again as it was"
            )
    notes = _others(sorted(remote.loaded.keys() - set(measured)), remote)
    if found:
        one = len(found) == 1
        way = " without `allow_reload=True`" if remote.loads_on_request else ", as the server loads none on request"
        notes.append(
            f"{', '.join(found)} {'was' if one else 'were'} loaded before, and {'is' if one else 'are'} measured as "
            f"{'it is' if one else 'they are'}: own memory is not known{way}"
        )
    return notes


def _check_without_loads(
    settings: SweepSettings, found: Sequence[str], absent: Sequence[str], remote: RemoteModels
) -> None:
    """Reject what needs a load on a server that polls its repository, or has loaded all of it at its start."""
    why = f"Triton at {remote.address} does not load models on request (--model-control-mode=none or poll)"
    if absent:
        listing = ", ".join(sorted(remote.loaded)) or "none"
        raise ServerError(
            f"{why}, and {shortened_list(absent, _MOST_NAMED)} {'is' if len(absent) == 1 else 'are'} not loaded there: "
            f"start it with --model-control-mode=explicit, or name models that are with `model_names` ({listing})"
        )
    needs = {name: option for name in found if (option := _changing(settings.of(name)))}
    needs |= {name: "allow_reload" for name in found if settings.allow_reload}
    for name, option in needs.items():
        raise UsageError(
            f"`{option}` needs a load of {name}, and {why}: drop it to measure {name} as it is, or start the server "
            "with --model-control-mode=explicit"
        )


def _changing(settings: SweepSettings) -> str | None:
    """Return an option that gives a model another configuration; None if there is none."""
    return next((option for option in _CHANGES if settings.is_given(option) and getattr(settings, option)), None)


def _others(kept: Sequence[str], remote: RemoteModels) -> list[str]:
    if not kept:
        return []
    return [f"{', '.join(kept)} stay loaded at {remote.address}, and count as part of the server"]
