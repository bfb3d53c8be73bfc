"""The files and options of a request, written for `plan solve` and read again by the checker's own reader."""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

COLUMNS = (
    *("model", "device", "variant", "instances", "batch", "concurrency", "status", "throughput_infer_per_s"),
    *("latency_p99_ms", "max_memory_mib", "server_memory_mib", "max_utilization_pct", "max_memory_utilization_pct"),
    *("power_w", "request_rate_per_s"),
)
DEMAND_KEYS = (
    *("model", "rate_infer_per_s", "latency_p99_ms", "replicas", "spread", "alone", "apart", "together"),
    *("group_max", "variants", "growth", "overhead_mib", "rates_by_hour_infer_per_s"),
)
FLEET_KEYS = (
    *("type", "memory_mib", "reserved_mib", "model_overhead_mib", "count", "cost_per_hour", "power_w"),
    *("idle_power_w", "gpus_per_node", "devices", "mig", "slice_memory_mib", "scale"),
    *("max_memory_pct", "max_utilization_pct", "max_memory_utilization_pct"),
)
_WHOLE = ("replicas",)
_NUMBERS = ("rate_infer_per_s", "latency_p99_ms", "growth", "overhead_mib")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFiles:
    """What `plan solve` is given.

    Parameters
    ----------
    rows : list of dict
        Cells of the measurements by column; absent ones are empty.
    demand : dict
        The document of demand.toml: ``growth`` and the tables ``model``.
    fleet : dict
        The document of fleet.toml: thresholds and the tables ``gpu``.
    options : dict
        Keywords of `planner.plan`.
    demand_in_csv : bool
        Whether the demand is written as CSV.
    """

    rows: list[dict[str, str]]
    demand: dict[str, Any]
    fleet: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    demand_in_csv: bool = False

    def write(self, folder: Path) -> None:
        """Write measurements.csv, the demand and fleet.toml."""
        with (folder / "measurements.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        (folder / "fleet.toml").write_text(_toml(self.fleet, "gpu"))
        if self.demand_in_csv:
            with (folder / "demand.csv").open("w", newline="") as file:
                cells = csv.DictWriter(file, DEMAND_KEYS, restval="")
                cells.writeheader()
                cells.writerows({key: _cell(value) for key, value in model.items()} for model in self.demand["model"])
        else:
            (folder / "demand.toml").write_text(_toml(self.demand, "model"))

    def arguments(self, folder: Path) -> dict[str, Any]:
        """Return the keywords of `planner.plan` for the files in a folder."""
        demand = "demand.csv" if self.demand_in_csv else "demand.toml"
        return {"demand": str(folder / demand), "fleet": str(folder / "fleet.toml"), **self.options}


def read_files(folder: Path, options: Mapping[str, Any]) -> RequestFiles:
    """Read the files of a request; numbers with decimals are exact fractions."""
    with (folder / "measurements.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    fleet = tomllib.loads((folder / "fleet.toml").read_text(), parse_float=Fraction)
    in_csv = (folder / "demand.csv").exists()
    if in_csv:
        with (folder / "demand.csv").open(newline="") as file:
            demand = {"model": [_typed(row) for row in csv.DictReader(file)]}
    else:
        demand = tomllib.loads((folder / "demand.toml").read_text(), parse_float=Fraction)
    return RequestFiles(rows=rows, demand=demand, fleet=fleet, options=dict(options), demand_in_csv=in_csv)


def command_line(files: RequestFiles, folder: Path) -> list[str]:
    """Return the arguments of `plan solve` for the files in a folder."""
    flags = {"max_memory_pct": "--max-memory", "max_utilization_pct": "--max-utilization"}
    flags |= {"max_memory_utilization_pct": "--max-memory-utilization", "time_limit_s": "--time-limit"}
    flags |= {"server_memory_mib": "--server-memory"}
    found = ["solve", str(folder / "measurements.csv")]
    for name, value in files.arguments(folder).items():
        flag = flags.get(name, "--" + name.replace("_", "-"))
        text = f"{value}MiB" if name == "server_memory_mib" else str(value)
        if value is not None and value is not False:
            found += [flag] if value is True else [flag, text]
    return found


def _toml(document: Mapping[str, Any], table: str) -> str:
    lines = [f"{key} = {_value(value)}" for key, value in document.items() if key != table]
    for entry in document[table]:
        lines += [f"[[{table}]]", *(f"{key} = {_value(value)}" for key, value in entry.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f'"{key}" = {_value(each)}' for key, each in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _number(value)


def _number(value: float | Fraction) -> str:
    return str(value) if isinstance(value, int) else repr(float(value))


def _cell(value: Any) -> str:
    if isinstance(value, Mapping):
        return ";".join(f"{name}={number}" for name, number in value.items())
    if isinstance(value, list | tuple):
        return ";".join(each if isinstance(each, str) else _number(each) for each in value)
    return str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else _number(value)


def _typed(row: Mapping[str, str]) -> dict[str, Any]:
    """Turn the cells of a demand CSV into the values that the same keys have in TOML."""
    found: dict[str, Any] = {}
    for key, cell in row.items():
        if cell == "":
            continue
        if key in ("apart", "together", "variants"):
            found[key] = cell.split(";")
        elif key == "group_max":
            found[key] = {name: int(number) for name, number in (pair.split("=") for pair in cell.split(";"))}
        elif key == "rates_by_hour_infer_per_s":
            found[key] = [Fraction(number) for number in cell.split(";")]
        elif key == "alone":
            found[key] = cell == "true"
        else:
            found[key] = int(cell) if key in _WHOLE else Fraction(cell) if key in _NUMBERS else cell
    return found
