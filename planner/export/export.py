"""Export a placement: read what it refers to, hand it to the target's exporter, and write the files."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from analyzer.errors import UsageError
from analyzer.models.repository import read_repository
from planner.export.files import Export, write_export
from planner.export.inventory import read_inventory
from planner.export.serving import serving_plan
from planner.export.settings import ExportSettings
from planner.placement.document import Placement
from planner.placement.file import read_placement


def export_plan(placement: Placement | str | Path, *, to: str, output: str | Path, **settings: Any) -> Export:
    """Write a placement in the format of a system that deploys it.

    Parameters
    ----------
    placement : Placement, str or Path
        A placement, or its file.
    to : str
        The target: ``triton``, ``compose``, ``kubernetes``, ``dra``, ``mig-parted``, ``device-plugin``, ``helm``,
        ``envoy`` or ``prometheus``.
    output : str or Path
        Folder that the files are written to; files of an earlier export to it are replaced.
    settings
        Options of `plan export` by their names in Python.

    Raises
    ------
    UsageError
        If an option, the inventory or the model repository does not fit the plan; with ``strict=True`` also if the
        target cannot express a part of the plan.
    TritonpackError
        If the folder cannot be written to.
    """
    plan = placement if isinstance(placement, Placement) else read_placement(placement)
    return export_with(plan, ExportSettings(to=to, output=Path(output), **settings))


def export_with(placement: Placement, settings: ExportSettings) -> Export:
    """Write a placement as checked settings say; see `export_plan`."""
    folder = settings.model_folder
    plan = serving_plan(
        placement,
        repository={model.name: model for model in read_repository(folder)} if folder else None,
        inventory=read_inventory(settings.inventory),
        first_port=settings.first_port,
    )
    module = import_module(f"planner.export.{settings.to.replace('-', '_')}")
    export: Export = module.export(plan, settings)
    if settings.strict and export.not_expressed:
        raise UsageError(f"{settings.to} cannot express all of the plan: {'; '.join(export.not_expressed)}")
    assert settings.output is not None, "the settings ask for it"
    write_export(export, settings.output, copy=settings.copy_models)
    return export
