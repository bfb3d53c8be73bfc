"""The model repository of one server: configurations as measured, and links to the user's files.          [pure]

The user's repository is not touched. Model and version folders have the names that clients call.
"""

from __future__ import annotations

import shlex
import unicodedata

from analyzer.errors import UsageError
from analyzer.models.config_file import CONFIG_FILE
from analyzer.models.repository import Model
from planner.export.files import ExportFile, ExportLink
from planner.export.serving import ServingPlan, TritonServer


def overlay(plan: ServingPlan, server: TritonServer, folder: str) -> tuple[list[ExportFile], list[ExportLink]]:
    """Return the files and links of a server's model repository.

    Parameters
    ----------
    folder : str
        Where it is in the export, with ``/``.
    """
    files: list[ExportFile] = []
    links: list[ExportLink] = []
    for model in server.models:
        _check_name(model.name, plan.repository[model.source])
        path = plan.repository[model.source].path
        assert path is not None, "a repository that was read from a folder has a path for each model"
        if model.config is not None:
            files.append(ExportFile(path=f"{folder}/{model.name}/{CONFIG_FILE}", text=model.config))
        links += [
            ExportLink(path=f"{folder}/{model.name}/{part.name}", source=part.resolve())
            for part in sorted(path.iterdir())
            if part.name != CONFIG_FILE and not part.name.startswith(".")
        ]
    for name in server.dependencies:
        path = plan.repository[name].path
        assert path is not None, "a repository that was read from a folder has a path for each model"
        links.append(ExportLink(path=f"{folder}/{name}", source=path.resolve()))
    return files, links


def check_names(plan: ServingPlan) -> None:
    """Raise UsageError for a model whose name a server's repository cannot have."""
    for server in plan.servers:
        for model in server.models:
            _check_name(model.name, plan.repository.get(model.source))


def _check_name(name: str, source: Model | None) -> None:
    """Raise UsageError for a name that no folder can have, or that Triton would not treat as a name."""
    if "/" in name or name in (".", "..") or any(unicodedata.category(sign) == "Cc" for sign in name):
        raise UsageError(f"{name!r} cannot be the name of a folder in a model repository")
    # Triton 24.10's Python backend starts a model with `bash -c "exec … FOLDER/1/model.py …"`, without quotes
    if source is not None and source.backend in ("python", "") and shlex.quote(name) != name:
        raise UsageError(
            f"Triton's Python backend cannot serve {name!r}: it runs the folder's name in a shell, so only letters "
            "without accents, digits and @%+=:,.-_ are safe; give the model another name"
        )
