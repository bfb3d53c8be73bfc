"""Find the models that a model needs, and those of them that must be loaded before it.                     [pure]"""

from __future__ import annotations

from collections.abc import Mapping

from analyzer.models.repository import Model


def all_dependencies(model: Model, repository: Mapping[str, Model]) -> tuple[str, ...]:
    """Return the names of all models that `model` needs, directly or not, each after those it needs itself."""
    order: dict[str, None] = {}
    seen = {model.name}

    def visit(caller: Model) -> None:
        for name in caller.depends_on:
            if name in seen or name not in repository:
                continue
            seen.add(name)
            visit(repository[name])
            order[name] = None

    visit(model)
    return tuple(order)


def dependencies_to_load(model: Model, repository: Mapping[str, Model]) -> tuple[str, ...]:
    """Return the dependencies that must be loaded before `model`: those that business logic scripting calls.

    Triton loads the steps of an ensemble together with the ensemble.
    """
    dependencies = all_dependencies(model, repository)
    called: set[str] = set()
    for name in (model.name, *dependencies):
        caller = model if name == model.name else repository[name]
        called |= set(caller.depends_on) - _steps(caller)
    return tuple(name for name in dependencies if name in called)


def _steps(model: Model) -> set[str]:
    steps = (model.config or {}).get("ensemble_scheduling", {}).get("step", [])
    return {step["model_name"] for step in steps}
