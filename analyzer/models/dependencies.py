"""The models that a model needs beside itself, and who loads them.                                         [pure]"""

from __future__ import annotations

from collections.abc import Mapping

from analyzer.models.repository import Model


def all_parts(model: Model, repository: Mapping[str, Model]) -> tuple[str, ...]:
    """Name every model that `model` needs, directly or through others, each after those it needs itself."""
    order: dict[str, None] = {}
    seen = {model.name}

    def visit(whole: Model) -> None:
        for name in whole.depends_on:
            if name in seen or name not in repository:
                continue
            seen.add(name)
            visit(repository[name])
            order[name] = None

    visit(model)
    return tuple(order)


def parts_to_load(model: Model, repository: Mapping[str, Model]) -> tuple[str, ...]:
    """Name the parts that must be loaded before `model`: those that business logic calls.

    The steps of an ensemble are loaded by Triton together with it.
    """
    parts = all_parts(model, repository)
    called: set[str] = set()
    for name in (model.name, *parts):
        whole = model if name == model.name else repository[name]
        called |= set(whole.depends_on) - _steps(whole)
    return tuple(name for name in parts if name in called)


def _steps(model: Model) -> set[str]:
    steps = (model.config or {}).get("ensemble_scheduling", {}).get("step", [])
    return {step["model_name"] for step in steps}
