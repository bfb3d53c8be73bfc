"""Read the options of a sweep from a YAML file, with other values of some of them for single models.

.. code-block:: yaml

    # analyze --config sweep.yaml
    model-folder: models
    batch: [1, 2, 4]
    concurrency: [1, 4, 16]
    export: true
    models:                        # these override the values above for single models
      chest_xray:
        batch: [1, 8]
        instances: [1, 2]
        dynamic-batching: [off, on, on:100us]
      text_encoder:
        search: climb
        latency-p99-ms: 50

Keys are the long options without their dashes. Options on the command line win over the file, and a model's own
section wins over the rest of the file. Relative paths start at the current folder, as on the command line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analyzer.errors import UsageError
from analyzer.formats.option_values import Option, options_of
from analyzer.formats.suggestions import suggest
from analyzer.sweep.settings import PER_MODEL, SweepSettings

MODELS = "models"
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepFile:
    """The content of a sweep file.

    Parameters
    ----------
    values : mapping
        Values by the option's name in `SweepSettings`.
    models : mapping
        Values for single models, by the model's name and then by the option's.
    where : mapping of str to str
        Place of each model's section in the file (path and line).
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    where: Mapping[str, str] = field(default_factory=dict)


def merge(given: Mapping[str, Any], config: Path | None) -> SweepSettings:
    """Combine given options and a sweep file into settings; a given option wins over the file.

    Parameters
    ----------
    given : mapping
        Options by their names in `SweepSettings`; others have the file's values, or else their defaults.

    Raises
    ------
    UsageError
        See `read_sweep_file` and `SweepSettings`.
    """
    file = read_sweep_file(config) if config else SweepFile()
    own = given.get("per_model", {})
    sections = {name: {k: v for k, v in values.items() if k not in given} for name, values in file.models.items()}
    values = {**file.values, **given}
    values["per_model"] = {name: {**sections.get(name, {}), **own.get(name, {})} for name in {**sections, **own}}
    return SweepSettings(**values, given=frozenset(values) - {"per_model"}, where=file.where)


def read_sweep_file(path: Path) -> SweepFile:
    """Read and check a whole file.

    Raises
    ------
    UsageError
        If the file cannot be read, a key is not known or appears twice, or a value is not valid; the message names
        line and key.
    """
    import yaml

    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise UsageError(f"`config` {path} is larger than 1 MiB; is it a sweep file?")
        root = yaml.compose(content.decode("utf-8-sig"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise UsageError(f"`config` {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"`config` {path} is not UTF-8 text") from None
    except (yaml.YAMLError, RecursionError) as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or "it cannot be parsed"
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise UsageError(f"{where}: not valid YAML: {problem}") from None
    if root is None:
        return SweepFile()
    options = options_of(SweepSettings)
    values: dict[str, Any] = {}
    models: dict[str, dict[str, Any]] = {}
    places: dict[str, str] = {}
    for key, node, where in _entries(root, str(path)):
        if key != MODELS:
            values.update([_value(key, node, where, options)])
            continue
        for name, section, place in _entries(node, where):
            allowed = {each: options[each] for each in PER_MODEL}
            models[name] = dict(_value(k, n, w, allowed) for k, n, w in _entries(section, place))
            places[name] = f"{path}, line {section.start_mark.line + 1}"
    return SweepFile(values=values, models=models, where=places)


def _entries(node: Any, where: str) -> Iterator[tuple[str, Any, str]]:
    """Yield each key of a mapping with its value's node and its place (path and line)."""
    import yaml

    path = where.partition(", line ")[0]
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
        return
    if not isinstance(node, yaml.MappingNode):
        raise UsageError(f"{path}, line {node.start_mark.line + 1}: expected keys with values, such as  batch: [1, 2]")
    seen: set[str] = set()
    for key_node, value in node.value:
        place = f"{path}, line {key_node.start_mark.line + 1}"
        if not isinstance(key_node, yaml.ScalarNode):
            raise UsageError(f"{place}: a key is a name, as batch")
        key = key_node.value
        if key in seen:
            raise UsageError(f"{place}: {key} appears twice; leave one")
        seen.add(key)
        yield key, value, place


def _value(key: str, node: Any, where: str, options: Mapping[str, Option]) -> tuple[str, Any]:
    """Convert one value as the command line does; return it with its option's name."""
    by_key = {declared.flag: name for name, declared in options.items()}
    name = by_key.get(key.replace("_", "-"))
    if name is None:
        raise UsageError(f"{where}: unknown key '{key}'; {suggest(key.replace('_', '-'), [*by_key, MODELS])}")
    kind, texts = options[name].kind, _texts(key, node, where)
    if not texts:
        raise UsageError(f"{where}: {key} has no value")
    try:
        if kind.repeated:
            return name, tuple(dict.fromkeys(one for text in texts for one in kind.parse(text)))
        if len(texts) != 1:
            raise UsageError(f"{where}: {key} takes one value, and here are {len(texts)}")
        return name, kind.parse(texts[0])
    except ValueError as error:
        raise UsageError(f"{where}: {key}: {error}") from None


def _texts(key: str, node: Any, where: str) -> list[str]:
    """Return a scalar or a list of scalars as written in the file: YAML would turn ``off`` into a boolean."""
    import yaml

    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    if not all(isinstance(each, yaml.ScalarNode) for each in nodes):
        raise UsageError(f"{where}: {key} takes a value or a list of values")
    if any(each.tag == "tag:yaml.org,2002:null" for each in nodes):
        raise UsageError(f"{where}: {key} has no value")
    return [str(each.value) for each in nodes]
