"""Read a model repository: find its models, read their configurations, and select models by name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analyzer.errors import UsageError
from analyzer.formats.suggestions import suggest
from analyzer.models.called_models import models_named_in_code
from analyzer.models.config_file import CONFIG_FILE, parse_config
from analyzer.models.content_hash import hash_files, within


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An input of a model as its configuration declares it.

    Parameters
    ----------
    datatype : str
        Triton's name of the data type, such as ``FP32`` or ``BYTES``.
    dims : tuple of int
        Dimensions without the batch; -1 for a variable one.
    optional : bool
        Whether a request may leave it out.
    """

    name: str
    datatype: str
    dims: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model of a repository, with its configuration.

    Parameters
    ----------
    path : Path or None
        The model's folder; None for a model that only a running server has (see `on_server`).
    config : dict or None
        The whole configuration in the JSON form of Triton's load API; None if there is no config.pbtxt and Triton
        has not been asked yet (see `completed`). The fields below then have their defaults.
    max_batch_size : int or None
        0 for a model without batching; None if it is not known.
    instances : int
        Instances of all instance groups together.
    backend : str
        Backend or platform; empty if it is not known.
    depends_on : tuple of str
        Models that it calls: the steps of an ensemble, and for business logic scripting the names in the
        configuration's parameter ``depends_on``, separated by commas.
    calls : tuple of str
        Other models that it may call: those that its code names, unless its configuration has ``depends_on``.
    also_load : tuple of str
        Models that the user has loaded with it.
    decoupled, sequence : bool
        Whether it may answer a request with any number of responses, and whether it keeps state across requests.
    content_hash : str
        SHA-256 over the paths and contents of its files and of the models it depends on; empty until `select`
        has read them. Without a path, a hash of what the server says of it.
    error : str
        Why it cannot be loaded, in one line; empty if no error was found.
    served_by : str
        What runs it, or a model that it needs, in place of one of Triton's backends; part of the provenance.
    sends_config : bool
        Whether `config` differs from the file's, and so is sent with each load.
    """

    name: str
    path: Path | None
    config: dict[str, Any] | None = None
    max_batch_size: int | None = None
    instances: int = 1
    inputs: tuple[Input, ...] = ()
    backend: str = ""
    depends_on: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    also_load: tuple[str, ...] = ()
    decoupled: bool = False
    sequence: bool = False
    content_hash: str = ""
    error: str = ""
    served_by: str = ""
    sends_config: bool = False

    @property
    def ensemble(self) -> bool:
        """Whether it is an ensemble, which passes requests on to its steps and has no instances of its own."""
        return "ensemble_scheduling" in (self.config or {})

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the models that are loaded with it, without those that these need in turn."""
        return tuple(dict.fromkeys((*self.depends_on, *self.calls, *self.also_load)))


def read_repository(path: str | Path) -> tuple[Model, ...]:
    """Read every model of a repository, in the order of their names.

    A folder is a model if it holds a config.pbtxt or a version (a folder named by a number); anything else is
    ignored. A model whose config.pbtxt cannot be read is returned with its `error`.

    Parameters
    ----------
    path : str or Path
        The folder that Triton calls its model repository.

    Raises
    ------
    UsageError
        If the path is not a folder, cannot be read, or holds no model.

    Examples
    --------
    >>> from analyzer import read_repository
    >>> models = {model.name: model for model in read_repository("sample_models")}
    >>> models["segmenter"].max_batch_size, models["segmenter"].backend
    (8, 'python')
    """
    path = Path(path)
    try:
        folders = sorted(entry for entry in path.iterdir() if _is_model(entry))
    except NotADirectoryError:
        raise UsageError(f"{path} is not a folder; give the model repository, a folder of models") from None
    except FileNotFoundError:
        raise UsageError(f"{path} does not exist; give the model repository, a folder of models") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if not folders:
        if _is_model(path):
            raise UsageError(f"{path} is a model; give the folder above it: {path.resolve().parent}")
        raise UsageError(f"{path} holds no model; a model is a folder <name>/1/… with a {CONFIG_FILE}")
    names = [folder.name for folder in folders]
    return tuple(_with_calls(_read_model(folder), names) for folder in folders)


def select(models: Sequence[Model], names: Iterable[str] = ()) -> tuple[Model, ...]:
    """Select models by name, in the order given and each once, and hash their files.

    Parameters
    ----------
    names : iterable of str
        Empty for every model.

    Raises
    ------
    UsageError
        If a name is not in the repository, or none of the selected models can be loaded.
    """
    by_name = {model.name: model for model in models}
    wanted = list(dict.fromkeys(names)) or list(by_name)
    for name in wanted:
        if name not in by_name:
            raise UsageError(f"no model {name!r} in the repository; {suggest(name, by_name)}")
    picked = tuple(_with_hash(by_name[name], by_name) for name in wanted)
    if all(model.error for model in picked):
        raise UsageError("; ".join(f"{model.name}: {model.error}" for model in picked))
    return picked


def completed(model: Model, config: dict[str, Any]) -> Model:
    """Return a model with the values of a configuration, such as the one that Triton completed by itself."""
    groups = config.get("instance_group", [])
    parameter = config.get("parameters", {}).get("depends_on", {}).get("string_value", "")
    steps = [step["model_name"] for step in config.get("ensemble_scheduling", {}).get("step", [])]
    steps += [name.strip() for name in parameter.split(",") if name.strip()]
    return replace(
        model,
        config=config,
        max_batch_size=config.get("max_batch_size", 0),
        instances=max(1, sum(group.get("count", 1) for group in groups)),
        inputs=tuple(_read_input(entry) for entry in config.get("input", [])),
        backend=config.get("backend") or config.get("platform", ""),
        depends_on=tuple(dict.fromkeys(steps)),
        decoupled=config.get("model_transaction_policy", {}).get("decoupled", False),
        sequence="sequence_batching" in config,
    )


def _is_model(folder: Path) -> bool:
    if folder.name.startswith((".", "__")) or not folder.is_dir():
        return False
    if (folder / CONFIG_FILE).exists():
        return True
    return any(entry.name.isdigit() and entry.is_dir() for entry in folder.iterdir())


def _read_model(folder: Path) -> Model:
    model = Model(name=folder.name, path=folder)
    try:
        within(folder, folder.parent)
        text = (folder / CONFIG_FILE).read_text(encoding="utf-8") if (folder / CONFIG_FILE).exists() else None
        if text is None:
            return model
        config = parse_config(text)
    except (OSError, ValueError) as error:
        return replace(model, error=f"{CONFIG_FILE}: {error}" if isinstance(error, ValueError) else str(error))
    if config.setdefault("name", folder.name) != folder.name:
        return replace(model, error=f"{CONFIG_FILE}: name {config['name']!r} differs from the folder {folder.name!r}")
    return completed(model, config)


def _with_calls(model: Model, names: Sequence[str]) -> Model:
    """Return a model with the models that its code names; what its configuration says of them comes first."""
    said = "depends_on" in (model.config or {}).get("parameters", {})
    if said or model.error or model.path is None or model.backend not in ("", "python"):
        return model
    return replace(model, calls=models_named_in_code(model.path, [name for name in names if name != model.name]))


def _read_input(entry: dict[str, Any]) -> Input:
    datatype = entry.get("data_type", "TYPE_INVALID").removeprefix("TYPE_")
    return Input(
        name=entry.get("name", ""),
        datatype="BYTES" if datatype == "STRING" else datatype,
        dims=tuple(entry.get("dims", ())),
        optional=entry.get("optional", False),
    )


def _with_hash(model: Model, by_name: dict[str, Model]) -> Model:
    """Return a model with the hash of its files and of those of all models it depends on, directly or not."""
    digest = hashlib.sha256()
    todo, seen = [model.name], {model.name}
    try:
        while todo:
            part = by_name[todo.pop(0)]
            if part.path is None:
                digest.update(part.content_hash.encode())
            else:
                hash_files(part.path, digest)
            missing = [name for name in part.depends_on if name not in by_name]
            if missing and not model.error:
                return replace(model, error=f"needs {', '.join(missing)}, which the repository does not hold")
            todo += [name for name in part.needs if name not in seen]
            seen.update(part.needs)
    except (OSError, ValueError) as error:
        return replace(model, error=model.error or str(error))
    return replace(model, content_hash=digest.hexdigest())
