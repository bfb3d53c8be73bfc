"""Load a variant of a model with the models it needs, and learn its configuration as Triton completed it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from analyzer.errors import ModelError, ServerError
from analyzer.measurements.record import Variant
from analyzer.models.dependencies import all_dependencies, dependencies_to_load
from analyzer.models.repository import Model, completed
from analyzer.models.variants import variant_config
from analyzer.servers import Control


def with_needed(model: Model, repository: Mapping[str, Model]) -> tuple[str, ...]:
    """Return the names of a model and of those it needs, in the order in which they are unloaded."""
    return (model.name, *reversed(all_dependencies(model, repository)))


def load_variant(control: Control, model: Model, variant: Variant, repository: Mapping[str, Model]) -> Model:
    """Load a model as a variant, after the models it calls; return it as Triton completed it.

    The configuration of a model without config.pbtxt must be known before it can be varied.

    Raises
    ------
    ModelError
        If one of them cannot be loaded; none of them is left loaded.
    ServerError
        If the server ends while loading it.
    """
    override = None
    if variant != Variant() or model.sends_config:
        assert model.config is not None  # noqa: S101 - from the file, or read from Triton before
        override = variant_config(model.config, variant)
    try:
        for name in dependencies_to_load(model, repository):
            _load_dependency(control, repository[name])
        control.load(model.name, None if override is None else json.dumps(override))
    except ModelError:
        with suppress(ModelError, ServerError):  # dependencies, or steps of an ensemble, may be loaded
            control.unload(*with_needed(model, repository))
        raise
    as_loaded = completed(model, control.config(model.name))
    return as_loaded if override is None else replace(as_loaded, config=model.config)


def _load_dependency(control: Control, model: Model) -> None:
    try:
        control.load(model.name, json.dumps(model.config) if model.sends_config else None)
    except ModelError as error:
        raise ModelError(f"{model.name}, which is loaded with it: {error.message}") from None
