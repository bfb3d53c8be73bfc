"""Before anything is started, say which models lack their backend on the server, and what this package runs itself."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from copy import deepcopy
from dataclasses import replace

from analyzer.errors import UsageError
from analyzer.formats.units import listed, shortened_list
from analyzer.models.backend import backend_to_find
from analyzer.models.dependencies import all_dependencies
from analyzer.models.repository import Model
from analyzer.servers import Server
from analyzer.servers.backends import known_backends, own_backends, where_to_find
from analyzer.servers.onnx_backend import BACKEND
from analyzer.servers.onnx_backend.onnx_options import not_honoured, unsupported
from analyzer.sweep.job import Job


def check_backends(job: Job, server: Server, *, leave_out: bool = False) -> Job:
    """Return a job that is fit for the backends of a server, with notes on what does not run as configured.

    Models whose backend is missing, or that of a model that they need, have an error. Those that this package runs
    in place of a backend of Triton's say so, and their instances are on the processor.

    Parameters
    ----------
    leave_out : bool
        Whether models that lack a backend are left out of the job, and not measured as failures.

    Raises
    ------
    UsageError
        If no model is left.
    """
    return fit_backends(job, server, known_backends(server), own_backends(server), leave_out=leave_out)


def fit_backends(
    job: Job,
    server: Server,
    backends: Collection[str] | None,
    own: Mapping[str, str],
    *,
    leave_out: bool = False,
) -> Job:
    """Return a job that is fit for a server with these backends, and its own ones; see `check_backends`."""
    marked = job if backends is None else _mark_missing(job, backends, server, leave_out=leave_out)
    return _with_own(marked, own)


def _mark_missing(job: Job, backends: Collection[str], server: Server, *, leave_out: bool) -> Job:
    models, notes = [], list(job.notes)
    for model in job.models:
        error = model.error or _missing(model, job, backends, server)
        if error != model.error:
            notes.append(f"{model.name} {'is left out' if leave_out else 'cannot be loaded'}: {error}")
            if leave_out:
                continue
        models.append(replace(model, error=error))
    if all(model.error for model in models):
        raise UsageError("; ".join(f"{model.name}: {model.error}" for model in models) or "; ".join(notes))
    return replace(job, models=models, notes=tuple(notes))


def _missing(model: Model, job: Job, backends: Collection[str], server: Server) -> str:
    for name in (model.name, *all_dependencies(model, job.repository)):
        backend = backend_to_find(job.repository[name])
        if backend is None or any(_is_of(folder, backend) for folder in backends):
            continue
        whose = "its backend" if name == model.name else f"the backend of {name}"
        return (
            f"{whose}, {backend}, is missing: Triton ({server.describe()}) has "
            f"{', '.join(sorted(backends)) or 'none'}; {where_to_find(backend, server)}"
        )
    return ""


def _is_of(folder: str, backend: str) -> bool:
    """Whether a folder of backends is that of this backend; some folders' names end in a version."""
    return re.fullmatch(rf"{re.escape(backend)}[_.\d]*", folder) is not None


def _with_own(job: Job, own: Mapping[str, str]) -> Job:
    """Return a job whose models say what runs them, if it is none of Triton's backends."""
    if not own:
        return job
    models = [_adapted(model, job.repository, own) for model in job.models]
    notes = [
        f"{new.name} cannot be loaded: {new.error}"
        for new, old in zip(models, job.models, strict=True)
        if new.error != old.error
    ]
    for backend, by in own.items():
        named = [model.name for model in models if by in model.served_by and not model.error]
        if named:
            notes.append(f"{shortened_list(named, 8)}: run by {by}, in place of Triton's backend {backend}")
    notes += [
        f"{name}: {listed(lost)} {'has' if len(lost) == 1 else 'have'} no effect there"
        for name, lost in _without_effect(job, own).items()
    ]
    if all(model.error for model in models):
        raise UsageError("; ".join(f"{model.name}: {model.error}" for model in models))
    repository = {name: _adapted(model, job.repository, own) for name, model in job.repository.items()}
    return replace(job, models=models, repository=repository, notes=(*job.notes, *notes))


def _adapted(model: Model, repository: Mapping[str, Model], own: Mapping[str, str]) -> Model:
    """Return a model that says what runs it; its instances are on the processor if it is run by us."""
    names = (model.name, *all_dependencies(model, repository))
    backends = dict.fromkeys(backend_to_find(repository[name]) or "" for name in names)
    model = replace(model, served_by=", ".join(own[name] for name in backends if name in own))
    if backend_to_find(model) not in own or model.config is None:
        return model
    if reason := unsupported(model.config):
        return replace(
            model, error=model.error or f"{reason}, and {model.served_by} does not do that; {where_to_find(BACKEND)}"
        )
    config = deepcopy(model.config)
    for group in config.get("instance_group", []):
        if group.get("kind") == "KIND_GPU":
            group["kind"] = "KIND_CPU"
            group.pop("gpus", None)
    return replace(model, config=config, sends_config=config != model.config)


def _without_effect(job: Job, own: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the options that have no effect, of each model that is run by us for one that is measured."""
    measured = [name for model in job.models for name in (model.name, *all_dependencies(model, job.repository))]
    found = {
        name: not_honoured(job.repository[name].config or {})
        for name in dict.fromkeys(measured)
        if backend_to_find(job.repository[name]) in own
    }
    return {name: lost for name, lost in found.items() if lost}
