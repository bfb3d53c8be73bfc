"""Read fleet files: the GPU types there are, in TOML."""

from __future__ import annotations

from pathlib import Path

from analyzer.formats.units import MIB
from planner.inputs.fleet import FleetType, Scaling, Thresholds, devices_of
from planner.inputs.gpu_catalogue import CatalogueType, catalogue, find_type
from planner.inputs.mig_geometry import boards
from planner.inputs.table_reader import TableEntry, read_input, toml_entries, unique

_THRESHOLDS = ("max_memory_pct", "max_utilization_pct", "max_memory_utilization_pct")
_KEYS = (
    "type",
    "memory_mib",
    "reserved_mib",
    "model_overhead_mib",
    "count",
    "cost_per_hour",
    "power_w",
    "idle_power_w",
    "gpus_per_node",
    "devices",
    "mig",
    "slice_memory_mib",
    "scale",
    *_THRESHOLDS,
)
_SCALE_KEYS = ("from", "throughput", "latency", "memory", "utilization")
_MOST_MIB = 2**24  # 16 TiB on one GPU
_MOST_COST = 1e6
_MOST_POWER_W = 1e5
_MOST_FACTOR = 100


def read_fleet(source: str | Path) -> tuple[FleetType, ...]:
    """Read the GPU types of a fleet.

    Parameters
    ----------
    source : str or Path
        A TOML file with a ``[[gpu]]`` for each type, and above them thresholds for all of them; ``-`` is stdin.

    Raises
    ------
    UsageError
        For the first key that is unknown or whose value is not valid; the message names its line.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from planner import read_fleet
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "fleet.toml")
    ...     _ = file.write_text('[[gpu]]\\ntype = "T4"\\ncount = 8\\n[[gpu]]\\ntype = "A100-40GB"\\n')
    ...     [(gpu.type, gpu.limit, gpu.memory_bytes // 2**30) for gpu in read_fleet(file)]
    [('T4', 8, 14), ('A100-40GB', None, 39)]
    """
    file, text = read_input(str(source))
    top, entries = toml_entries(text, file, "gpu", top=_THRESHOLDS, known=_KEYS)
    unique(entries, "type", _type)
    return tuple(_fleet_type(entry, top) for entry in entries)


def _type(entry: TableEntry) -> str:
    return entry.text("type") or entry.fail("type", "is missing")


def _fleet_type(entry: TableEntry, top: TableEntry) -> FleetType:
    name = _type(entry)
    memory_mib = entry.number("memory_mib", high=_MOST_MIB)
    known = find_type(name) if memory_mib is None else _known(name)
    devices = entry.names("devices")
    return FleetType(
        type=name,
        memory_bytes=_bytes(memory_mib) if memory_mib is not None or known is None else known.memory_bytes,
        reserved_bytes=_bytes(entry.number("reserved_mib", high=_MOST_MIB, zero=True)),
        model_overhead_bytes=_bytes(entry.number("model_overhead_mib", high=_MOST_MIB, zero=True)),
        limit=entry.count("count", low=0),
        cost_per_hour=entry.number("cost_per_hour", high=_MOST_COST),
        power_w=entry.number("power_w", high=_MOST_POWER_W),
        idle_power_w=entry.number("idle_power_w", high=_MOST_POWER_W, zero=True),
        gpus_per_node=entry.count("gpus_per_node") or 1,
        devices=tuple(dict.fromkeys((*devices, *devices_of(known.name if known else name), name))),
        scaling=_scaling(entry),
        thresholds=Thresholds(
            memory=_pct(entry, top, "max_memory_pct", 100),
            utilization=_pct(entry, top, "max_utilization_pct", 1000),
            memory_utilization=_pct(entry, top, "max_memory_utilization_pct", 1000),
        ),
        mig=_mig(entry, known),
        slice_memory=_slice_memory(entry, known),
    )


def _known(name: str) -> CatalogueType | None:
    return next((entry for key, entry in catalogue().items() if key.casefold() == name.casefold()), None)


def _mig(entry: TableEntry, known: CatalogueType | None) -> str | None:
    if not entry.flag("mig"):
        return None
    if known is None or known.mig is None:
        entry.fail("mig", f"{_type(entry)} cannot be cut; leave it out")
    return known.mig


def _slice_memory(entry: TableEntry, known: CatalogueType | None) -> tuple[tuple[str, int], ...]:
    table = entry.values.get("slice_memory_mib")
    if table is None:
        return ()
    if not isinstance(table, dict) or known is None or known.mig is None:
        entry.fail("slice_memory_mib", f"must be a table of MIG profiles of a type that can be cut, not {_type(entry)}")
    line = entry.lines.get("slice_memory_mib", entry.line)
    sizes = TableEntry(file=entry.file, line=line, values=table, lines=entry.lines)
    sizes.check_keys([p.name for p in boards()[known.mig].profiles])
    return tuple((name, _bytes(sizes.number(name, high=_MOST_MIB))) for name in sorted(table))


def _scaling(entry: TableEntry) -> Scaling | None:
    table = entry.values.get("scale")
    if table is None:
        return None
    if not isinstance(table, dict):
        entry.fail("scale", "is no table; write [gpu.scale] with from, throughput, latency, memory, utilization")
    scale = TableEntry(file=entry.file, line=entry.lines.get("scale", entry.line), values=table, lines=entry.lines)
    scale.check_keys(_SCALE_KEYS)
    factors = {key: scale.number(key, high=_MOST_FACTOR) or 1.0 for key in _SCALE_KEYS[1:]}
    device = scale.text("from") or scale.fail("from", "is missing; name the device that was measured")
    return Scaling(device=device, **factors)


def _pct(entry: TableEntry, top: TableEntry, key: str, high: float) -> float:
    """The type's own threshold, else the one for all types, else 100 %; as a share of one."""
    found = entry.number(key, high=high) or top.number(key, high=high)
    return 1.0 if found is None else found / 100


def _bytes(mib: float | None) -> int:
    return 0 if mib is None else round(mib * MIB)
