"""Every option of a plan with its kind of value and its default, for `planner.plan` and for `plan solve`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analyzer.formats.option_values import (
    Choice,
    Flag,
    Kind,
    Names,
    Number,
    Percent,
    Text,
    check_options,
    option,
    options_of,
)
from planner.formulation.candidates import Mode
from planner.formulation.objective import Objective
from planner.inputs.demand import Requirement, Spread
from planner.inputs.fleet import FleetType
from planner.inputs.memory_size import MemorySize
from planner.interference.fitted import Interference


class FileOrRecords(Kind):
    """A file, or what was read from one: a tuple of records."""

    metavar = "FILE"

    def __init__(self, record: type) -> None:
        self._record = record

    def check(self, value: Any) -> Any:
        """Return the file's name, or the records."""
        if isinstance(value, str | Path):
            if not str(value):
                raise ValueError("'' is no file")
            return str(value)
        records = tuple(value) if hasattr(value, "__iter__") else (value,)
        if not records or not all(isinstance(record, self._record) for record in records):
            raise ValueError(f"{value!r} is neither a file nor records of {self._record.__name__}")
        return records


class GpuTypes(Kind):
    """GPU types from the catalogue, each with how many there are at most."""

    metavar = "TYPE[:COUNT]"
    repeated = True

    def check(self, value: Any) -> tuple[str, ...]:
        """Return the types as they were given."""
        return (value,) if isinstance(value, str) else tuple(map(str, value))


class Fits(Kind):
    """What co-location costs: ``auto``, ``none``, a file of `plan interference`, or what was read from one."""

    metavar = "auto|none|FILE"

    def check(self, value: Any) -> Any:
        """Return the word, the file's name or the fits."""
        if isinstance(value, str | Path):
            if not str(value):
                raise ValueError("'' is neither auto, none nor a file")
            return str(value)
        fits = tuple(value.values() if isinstance(value, Mapping) else value)
        if not all(isinstance(fit, Interference) for fit in fits):
            raise ValueError(f"{value!r} is neither auto, none, a file nor fits")
        return fits


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """Every option of a plan; `planner.plan` says what each means.

    Raises
    ------
    UsageError
        For the first option whose value is not valid.
    """

    demand: str | tuple[Requirement, ...] | None = option(None, FileOrRecords(Requirement))
    mode: str = option(Mode.THROUGHPUT.value, Choice([mode.value for mode in Mode]))
    objective: str = option(Objective.GPUS.value, Choice([objective.value for objective in Objective]))
    gpus: tuple[str, ...] = option((), GpuTypes(), "gpu")
    gpu_memory_mib: float | None = option(None, MemorySize(), "gpu-memory")
    fleet: str | tuple[FleetType, ...] | None = option(None, FileOrRecords(FleetType))
    mig: bool = option(False, Flag())
    max_memory_pct: float | None = option(None, Percent(100), "max-memory")
    max_utilization_pct: float | None = option(None, Percent(1000), "max-utilization")
    max_memory_utilization_pct: float | None = option(None, Percent(1000), "max-memory-utilization")
    keep_throughput: float = option(1.0, Number(0, 1, open_low=True, metavar="X"))
    proportional: bool = option(False, Flag())
    spare: int = option(0, Number(0, whole=True))
    spare_of: str = option(Spread.GPU.value, Choice([spread.value for spread in Spread]))
    batch: int | None = option(None, Number(1, whole=True))
    concurrency: int | None = option(None, Number(1, whole=True))
    model_names: tuple[str, ...] = option((), Names())
    device: str | None = option(None, Text("NAME"))
    server_memory_mib: float | None = option(None, MemorySize(zero=True), "server-memory")
    interference: str | tuple[Interference, ...] = option("auto", Fits())
    time_limit_s: float = option(60.0, Number(0, open_low=True, metavar="S"), "time-limit")
    seed: int = option(0, Number(0, whole=True))
    workers: int = option(1, Number(1, whole=True))
    max_moves: int | None = option(None, Number(0, whole=True))
    group: bool = option(False, Flag())

    def __post_init__(self) -> None:
        check_options(self)


FLAGS = {name: declared.flag for name, declared in options_of(PlanSettings).items()}
