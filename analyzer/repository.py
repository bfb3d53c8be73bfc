"""Model repositories: folders of models with a config.pbtxt each, as Triton reads them."""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from analyzer.errors import ModelError, UsageError
from analyzer.measurements.record import Variant
from analyzer.model_files import hash_files, within
from analyzer.output.suggestions import suggest

CONFIG_FILE = "config.pbtxt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """An input of a model as its configuration declares it.

    Parameters
    ----------
    datatype : str
        Triton's name for it, such as ``FP32`` or ``BYTES``.
    dims : tuple of int
        Without the batch dimension; -1 where the length varies.
    optional : bool
        Whether a request may leave it out.
    """

    name: str
    datatype: str
    dims: tuple[int, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model of a repository and what its configuration says.

    Parameters
    ----------
    path : Path
        The model's folder.
    config : dict or None
        The whole configuration in the JSON form of Triton's load API; None where there is no config.pbtxt and
        Triton has not been asked yet (see `completed`), and then the figures below have their defaults.
    max_batch_size : int or None
        0 for a model without batching; None where it is not known.
    instances : int
        Of all instance groups together.
    backend : str
        Backend or platform; empty where it is not known.
    depends_on : tuple of str
        Models that it calls: the steps of an ensemble, and for business logic scripting the names in the
        configuration's parameter ``depends_on``, separated by commas.
    decoupled, sequence : bool
        Whether it answers a request with any number of responses, and whether it keeps state over requests.
    content_hash : str
        SHA-256 over the paths and contents of its files and of the models it depends on; empty until `select`
        has read them.
    error : str
        Why it cannot be loaded, in one line; empty for a sound model.
    """

    name: str
    path: Path
    config: dict[str, Any] | None = None
    max_batch_size: int | None = None
    instances: int = 1
    inputs: tuple[Input, ...] = ()
    backend: str = ""
    depends_on: tuple[str, ...] = ()
    decoupled: bool = False
    sequence: bool = False
    content_hash: str = ""
    error: str = ""

    @property
    def ensemble(self) -> bool:
        """Whether it only passes requests on to its steps; it has no instances of its own then."""
        return "ensemble_scheduling" in (self.config or {})


def read_repository(path: Path) -> tuple[Model, ...]:
    """Read every model of a repository, in the order of their names.

    A folder is a model if it holds a config.pbtxt or a version (a folder named by a number); anything else is
    ignored. A model whose config.pbtxt cannot be read is returned with its `error`.

    Raises
    ------
    UsageError
        If the path is not a folder, cannot be read, or holds no model.
    """
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
    return tuple(_read_model(folder) for folder in folders)


def select(models: Sequence[Model], names: Iterable[str] = ()) -> tuple[Model, ...]:
    """Pick models by name, in the order given and each once, and read their files for their hash.

    Parameters
    ----------
    names : iterable of str
        Empty for every model.

    Raises
    ------
    UsageError
        If a name is not in the repository, or none of the models picked can be loaded.
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
    """Fill a model from a configuration, such as the one that Triton completed by itself."""
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


def variant_config(model_config: dict[str, Any], variant: Variant) -> dict[str, Any]:
    """Apply a variant to a model's whole configuration, for the load API's override.

    Of several instance groups the first stays, with the variant's count, so that the model has that many
    instances in all. Preferred batch sizes above a smaller `max_batch_size` are dropped.

    Raises
    ------
    ModelError
        If the model cannot have the variant: an ensemble has no instances of its own, and Triton batches
        sequences and ensembles in ways that exclude dynamic batching.
    """
    config = copy.deepcopy(model_config)
    scheduler = next((key for key in ("ensemble_scheduling", "sequence_batching") if key in config), None)
    if variant.max_batch_size is not None:
        config["max_batch_size"] = variant.max_batch_size
    if variant.instances is not None:
        if scheduler == "ensemble_scheduling":
            raise ModelError("an ensemble has no instances of its own; vary those of its steps")
        groups = config.get("instance_group") or [{}]
        config["instance_group"] = [{**groups[0], "count": variant.instances}]
    if variant.dynamic_batching:
        if scheduler is not None:
            raise ModelError(f"dynamic batching cannot be switched on beside {scheduler}")
        delay_us = round(variant.max_queue_delay_s * 1e6)
        batching = {**config.get("dynamic_batching", {}), "max_queue_delay_microseconds": delay_us}
        config["dynamic_batching"] = batching
    elif variant.dynamic_batching is False:
        config.pop("dynamic_batching", None)
    preferred = config.get("dynamic_batching", {}).get("preferred_batch_size")
    if preferred:
        fitting = [size for size in preferred if size <= config.get("max_batch_size", 0)]
        config["dynamic_batching"]["preferred_batch_size"] = fitting
    return config


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


def parse_config(text: str) -> dict[str, Any]:
    """Parse a config.pbtxt into the JSON form of Triton's load API.

    Raises
    ------
    ValueError
        If the text is no model configuration; the message names line and key.
    """
    from google.protobuf import text_format

    message = _model_config_pb2().ModelConfig()
    try:
        text_format.Parse(text, message)
    except text_format.ParseError as error:
        where = f"line {error.GetLine()}: " if error.GetLine() else ""
        raise ValueError(where + _said(str(error).partition(" : ")[2], message)) from None
    return _as_json(message)


def _said(text: str, message: Any) -> str:
    """Make protobuf's complaint one line, with the nearest known key where one is not known."""
    unknown = re.match(r'Message type "([\w.]+)" has no field named "(\w+)"', text)
    if unknown is None:
        return text.replace("\n", " ")
    fields = message.DESCRIPTOR.file.pool.FindMessageTypeByName(unknown[1]).fields_by_name
    return f"unknown key '{unknown[2]}'; {suggest(unknown[2], fields)}"


@cache
def _model_config_pb2() -> Any:
    """Load tritonclient's message types alone; their package would bring all of grpc, its threads and 0.1 s."""
    package = importlib.util.find_spec("tritonclient")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("tritonclient")
    file = Path(package.submodule_search_locations[0], "grpc", "model_config_pb2.py")
    spec = importlib.util.spec_from_file_location("model_config_pb2", file)
    assert spec is not None and spec.loader is not None  # noqa: S101 - a .py file always has them
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _as_json(message: Any) -> dict[str, Any]:
    """Do as protobuf's MessageToDict, but keep 64-bit integers as numbers, the form that Triton answers in."""
    plain: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            entry = field.message_type.fields_by_name["value"]
            plain[field.name] = {key: _as_plain(entry, value[key]) for key in value}
        elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
            plain[field.name] = [_as_plain(field, item) for item in value]
        else:
            plain[field.name] = _as_plain(field, value)
    return plain


def _as_plain(field: Any, value: Any) -> Any:
    if field.message_type is not None:
        return _as_json(value)
    return field.enum_type.values_by_number[value].name if field.enum_type is not None else value


def _read_input(entry: dict[str, Any]) -> Input:
    datatype = entry.get("data_type", "TYPE_INVALID").removeprefix("TYPE_")
    return Input(
        name=entry.get("name", ""),
        datatype="BYTES" if datatype == "STRING" else datatype,
        dims=tuple(entry.get("dims", ())),
        optional=entry.get("optional", False),
    )


def _with_hash(model: Model, by_name: dict[str, Model]) -> Model:
    """Hash a model's files with those of the models it depends on, however deep."""
    digest = hashlib.sha256()
    todo, seen = [model.name], {model.name}
    try:
        while todo:
            part = by_name[todo.pop(0)]
            hash_files(part.path, digest)
            missing = [name for name in part.depends_on if name not in by_name]
            if missing and not model.error:
                return replace(model, error=f"needs {', '.join(missing)}, which the repository does not hold")
            todo += [name for name in part.depends_on if name not in seen]
            seen.update(part.depends_on)
    except (OSError, ValueError) as error:
        return replace(model, error=model.error or str(error))
    return replace(model, content_hash=digest.hexdigest())
