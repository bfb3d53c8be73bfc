"""A sweep in a YAML file: the command line's options as keys, and other values of some for single models.

.. code-block:: yaml

    # analyze --config sweep.yaml
    model-folder: models
    batch: [1, 2, 4]
    concurrency: [1, 4, 16]
    export: true
    models:                        # these override the values above; a model not named here has those
      chest_xray:
        batch: [1, 8]
        instances: [1, 2]
        dynamic-batching: [off, on, on:100us]
      text_encoder:
        search: climb
        latency-p99-ms: 50

Keys are the long options without their dashes. What is on the command line wins over the file, and the model's
own section over the rest of it. Folders are taken from where the command runs, as they are on the command line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from analyzer.errors import UsageError
from analyzer.output.suggestions import suggest

MODELS = "models"
PER_MODEL = (  # parameters that a model's section may set
    *("batch", "concurrency", "request_rate", "arrivals", "instances", "dynamic_batching", "max_batch_size"),
    *("search", "max_concurrency", "max_instances", "latency_p99_ms", "find_peak"),
)
_NOT_IN_FILE = ("config", "help", "version", "check")
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepFile:
    """What a file says, as the options' types give it.

    Parameters
    ----------
    values : mapping
        By the parameter's name.
    models : mapping
        By the model's name, then as `values`.
    lines : mapping of str to int
        Where each model's section stands.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    lines: Mapping[str, int] = field(default_factory=dict)


def read_sweep_file(path: Path, ctx: click.Context) -> SweepFile:
    """Read and check a whole file.

    Raises
    ------
    UsageError
        If the file cannot be read, a key is not known or stands there twice, or a value cannot be taken; line and
        key are named.
    """
    import yaml

    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise UsageError(f"--config {path} is larger than 1 MiB; is it a sweep file?")
        root = yaml.compose(content.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--config {path} is not UTF-8 text") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise UsageError(f"{where}: no YAML: {getattr(error, 'problem', None) or 'it cannot be parsed'}") from None
    if root is None:
        return SweepFile()
    parameters = {p.name: p for p in ctx.command.params if p.name and p.name not in _NOT_IN_FILE}
    values: dict[str, Any] = {}
    models: dict[str, dict[str, Any]] = {}
    lines: dict[str, int] = {}
    for key, node, where in _entries(root, str(path)):
        if key != MODELS:
            values.update([_value(key, node, where, parameters, ctx)])
            continue
        for name, section, place in _entries(node, where):
            allowed = {each: parameters[each] for each in PER_MODEL if each in parameters}
            models[name] = dict(_value(k, n, w, allowed, ctx) for k, n, w in _entries(section, place))
            lines[name] = section.start_mark.line + 1
    return SweepFile(values=values, models=models, lines=lines)


def _entries(node: Any, where: str) -> Iterator[tuple[str, Any, str]]:
    """Yield each key of a mapping with its value's node and where it stands."""
    import yaml

    path = where.partition(", line ")[0]
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
        return
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{path}, line {node.start_mark.line + 1}: not keys with values; write them as  batch: [1, 2]")
    seen: set[str] = set()
    for key_node, value in node.value:
        place = f"{path}, line {key_node.start_mark.line + 1}"
        if not isinstance(key_node, yaml.ScalarNode):
            raise UsageError(f"{place}: a key is a name, as batch")
        key = key_node.value
        if key in seen:
            raise UsageError(f"{place}: {key} stands there twice; leave one")
        seen.add(key)
        yield key, value, place


def _value(
    key: str, node: Any, where: str, parameters: Mapping[str, click.Parameter], ctx: click.Context
) -> tuple[str, Any]:
    """Convert one value as the command line would; return it with its parameter's name."""
    by_key = {_key(parameter): parameter for parameter in parameters.values()}
    parameter = by_key.get(key.replace("_", "-"))
    if parameter is None:
        raise UsageError(f"{where}: unknown key '{key}'; {suggest(key.replace('_', '-'), [*by_key, MODELS])}")
    texts = _texts(key, node, where)
    single = not isinstance(parameter.type, _list_types())
    if not texts:
        raise UsageError(f"{where}: {key} has no value")
    if single and not parameter.multiple and len(texts) != 1:
        raise UsageError(f"{where}: {key} takes one value, and here are {len(texts)}")
    given: Any = texts if parameter.multiple else ",".join(texts)
    try:
        return str(parameter.name), parameter.type_cast_value(ctx, given)
    except click.BadParameter as error:
        raise UsageError(f"{where}: {key}: {' '.join(error.message.split())}") from None


def _key(parameter: click.Parameter) -> str:
    return max(parameter.opts, key=len).lstrip("-")


def _list_types() -> tuple[type, ...]:
    from analyzer.cli.params import DynamicBatching, Names, Numbers

    return (DynamicBatching, Names, Numbers)


def _texts(key: str, node: Any, where: str) -> list[str]:
    """Take a scalar or a list of scalars as it is written: YAML would make a truth of ``off``."""
    import yaml

    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not all(isinstance(each, yaml.ScalarNode) for each in nodes):
        raise UsageError(f"{where}: {key} takes a value or a list of values")
    if any(each.tag == "tag:yaml.org,2002:null" for each in nodes):
        raise UsageError(f"{where}: {key} has no value")
    return [str(each.value) for each in nodes]
