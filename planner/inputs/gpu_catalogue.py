"""The catalogue of GPU types (data/gpus.toml): what a type's name stands for."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from analyzer.errors import UsageError
from analyzer.formats.suggestions import suggest
from analyzer.formats.units import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueType:
    """A GPU type as NVIDIA sells it.

    Parameters
    ----------
    memory_bytes : int
        Memory that programs can use: the total less what the driver keeps.
    mig : str or None
        Its key in mig_profiles.json, where it can be cut.
    device_names : tuple of str
        How NVML names its boards.
    """

    name: str
    memory_bytes: int
    mig: str | None
    device_names: tuple[str, ...]


@cache
def catalogue() -> Mapping[str, CatalogueType]:
    """Read the catalogue, by type name."""
    table = tomllib.loads(files("planner").joinpath("data/gpus.toml").read_text(encoding="utf-8"))
    return {
        name: CatalogueType(
            name=name,
            memory_bytes=entry["usable_mib"] * MIB,
            mig=entry.get("mig"),
            device_names=tuple(entry["device_names"]),
        )
        for name, entry in table.items()
    }


def find_type(name: str) -> CatalogueType:
    """Look a type up by its name; capitals do not matter.

    Raises
    ------
    UsageError
        If there is no such type; the message names the nearest one.
    """
    for known, entry in catalogue().items():
        if known.casefold() == name.casefold():
            return entry
    raise UsageError(
        f"GPU type '{name}' is not in the catalogue; {suggest(name, catalogue())}"
        " Or give its memory, such as `gpu_memory_mib=16384`"
    )


def type_of_device(device: str) -> CatalogueType | None:
    """Return the type with this name, or with a board that the driver names so; None for an unknown device."""
    for name, entry in catalogue().items():
        if device == name or device in entry.device_names:
            return entry
    return None
