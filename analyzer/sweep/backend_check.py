"""Name the models whose backend the server does not have, before anything is started."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from analyzer.errors import UsageError
from analyzer.models.backend import backend_to_find
from analyzer.models.dependencies import all_dependencies
from analyzer.models.repository import Model
from analyzer.sweep.job import Job


def mark_missing_backends(job: Job, backends: Collection[str] | None, server: str) -> Job:
    """Return a job whose models have an error if they, or models that they need, have a backend that is missing.

    Parameters
    ----------
    backends : collection of str or None
        The server's backends; None if they are not known, and nothing is marked.
    server : str
        The server in a few words.

    Raises
    ------
    UsageError
        If no model is left.
    """
    if backends is None:
        return job
    models, notes = [], list(job.notes)
    for model in job.models:
        error = model.error or _missing(model, job, backends, server)
        if error != model.error:
            notes.append(f"{model.name} cannot be loaded: {error}")
        models.append(replace(model, error=error))
    if all(model.error for model in models):
        raise UsageError("; ".join(f"{model.name}: {model.error}" for model in models))
    return replace(job, models=models, notes=tuple(notes))


def _missing(model: Model, job: Job, backends: Collection[str], server: str) -> str:
    for name in (model.name, *all_dependencies(model, job.repository)):
        backend = backend_to_find(job.repository[name])
        if backend is None or any(known.startswith(backend) for known in backends):  # some names end in a version
            continue
        whose = "its backend" if name == model.name else f"the backend of {name}"
        return (
            f"{whose}, {backend}, is missing: Triton ({server}) has {', '.join(sorted(backends)) or 'none'}; use one "
            "that has it: `launch_mode='docker'`, or `url` of one that runs"
        )
    return ""
