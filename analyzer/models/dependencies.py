"""Find the models that a model needs, and those of them that must be loaded before it.                     [pure]"""

from __future__ import annotations

import re
from collections.abc import Mapping

from analyzer.models.repository import Model

_NOT_READY = re.compile(r"(?:Model '|unknown model: ')([^']+)' is not (?:ready|found)")


def all_dependencies(model: Model, repository: Mapping[str, Model]) -> tuple[str, ...]:
    """Return the names of all models that `model` needs, directly or not, each after those it needs itself."""
    order: dict[str, None] = {}
    seen = {model.name}

    def visit(caller: Model) -> None:
        for name in caller.needs:
            if name in seen or name not in repository:
                continue
            seen.add(name)
            visit(repository[name])
            order[name] = None

    visit(model)
    return tuple(order)


def dependencies_to_load(model: Model, repository: Mapping[str, Model]) -> tuple[str, ...]:
    """Return the dependencies that must be loaded before `model`: those that it calls, and those of `also_load`.

    Triton loads the steps of an ensemble together with the ensemble, but as their files have them; a step whose
    configuration is sent is loaded before, and stays as it is.
    """
    dependencies = all_dependencies(model, repository)
    called: set[str] = set()
    for name in (model.name, *dependencies):
        caller = model if name == model.name else repository[name]
        called |= set(caller.needs) - _steps(caller)
    return tuple(name for name in dependencies if name in called or repository[name].sends_config)


def way_out(cause: str, model: Model, repository: Mapping[str, Model]) -> str:
    """Return what to do about a failed request if its cause is that the model called another one; "" if it is not.

    Parameters
    ----------
    cause : str
        Triton's error in one line.
    repository : mapping of str to Model
        Every model by its name.
    """
    found = _NOT_READY.search(cause)
    name = found[1] if found else ""
    if not name or name == model.name or name in all_dependencies(model, repository):
        return ""
    if name in repository:
        return f"; `also_load={name!r}` loads it too"
    if any(entry.datatype == "BYTES" for entry in model.inputs):
        return f"; no model of the repository is {name!r}: if an input names the model to call, give it in `input_data`"
    return f"; no model of the repository is {name!r}"


def _steps(model: Model) -> set[str]:
    steps = (model.config or {}).get("ensemble_scheduling", {}).get("step", [])
    return {step["model_name"] for step in steps}
