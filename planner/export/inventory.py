"""Which real GPUs there are, from a TOML file, saved `nvidia-smi` or `kubectl get nodes` output; and which is which.

`nvidia-smi --query-gpu=index,uuid,name --format=csv` gives the GPUs of one host, `kubectl get nodes -o json` the
nodes with the labels of NVIDIA's GPU feature discovery, but no UUIDs.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from analyzer.errors import UsageError
from planner.inputs.gpu_catalogue import catalogue
from planner.inputs.table_reader import TableEntry, read_input, toml_entries
from planner.placement.document import Placement
from planner.placement.placed_gpu import PlacedGpu, SlicePosition

_GPU_KEYS = ("id", "uuid", "index", "type", "node", "address", "slices")
_SLICE_KEYS = ("profile", "start", "uuid")
_PRODUCT, _COUNT = "nvidia.com/gpu.product", "nvidia.com/gpu.count"
_SHARING = re.compile(r"(-SHARED|-MIG-[0-9a-z.+]+)+$")
_UUID = re.compile(r"(GPU|MIG)-[0-9A-Za-z/-]+")
_HOST = re.compile(r"[0-9A-Za-z]([0-9A-Za-z.:-]*[0-9A-Za-z])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class RealGpu:
    """A GPU that there is.

    Parameters
    ----------
    type : str
        GPU type of the catalogue, or the device's name where the catalogue does not know it.
    node : str
        The host that it is in; empty for a single host without a name.
    address : str
        Where the host is reached; empty where that is not known.
    uuid : str or None
        As ``GPU-…``; None where it is not known.
    index : int or None
        Number of the GPU on its host.
    id : str or None
        The GPU of the plan that it is to be; None where any of its type may be.
    slices : tuple of (SlicePosition, str)
        UUIDs of its MIG slices, as ``MIG-…``.
    """

    type: str
    node: str = ""
    address: str = ""
    uuid: str | None = None
    index: int | None = None
    id: str | None = None
    slices: tuple[tuple[SlicePosition, str], ...] = ()

    def slice_uuid(self, position: SlicePosition) -> str | None:
        """UUID of a slice; None where it is not known."""
        found = dict(self.slices)
        return found.get(SlicePosition(profile=position.profile, start=position.start))


def read_inventory(sources: Sequence[str]) -> tuple[RealGpu, ...]:
    """Read the GPUs that there are, from files of any of the three forms, in the order of the files.

    A source is a file, or ``NODE=FILE`` for the GPUs of one node. A node that `kubectl` lists and another file has GPUs
    of takes its address from `kubectl` and its GPUs from the other file.

    Raises
    ------
    UsageError
        If a file cannot be read or understood, or two GPUs have one UUID or one id.
    """
    listed: list[RealGpu] = []
    nodes: list[RealGpu] = []
    for source in sources:
        node, file = _node_and_file(source)
        name, text = read_input(file)
        if text.lstrip().startswith("{"):
            nodes += _from_kubectl(text, name)
        elif Path(name).suffix == ".toml" or re.search(r"^\s*\[\[gpu\]\]", text, re.MULTILINE):
            listed += _from_toml(text, name, node)
        else:
            listed += _from_nvidia_smi(text, name, node)
    addresses = {gpu.node: gpu.address for gpu in nodes}
    with_gpus = {gpu.node for gpu in listed}
    gpus = [_with_address(gpu, addresses) for gpu in listed] + [gpu for gpu in nodes if gpu.node not in with_gpus]
    for what in ("uuid", "id"):
        seen: set[str] = set()
        for gpu in gpus:
            value = getattr(gpu, what)
            if value is not None and value in seen:
                raise UsageError(f"two GPUs of the inventory have the {what} {value}")
            seen.add(value)
    return tuple(gpus)


def _with_address(gpu: RealGpu, addresses: Mapping[str, str]) -> RealGpu:
    return gpu if gpu.address else replace(gpu, address=addresses.get(gpu.node, ""))


def _node_and_file(source: str) -> tuple[str, str]:
    node, equals, file = source.partition("=")
    if not equals or "/" in node or Path(source).exists():
        return "", source
    return _host(node, source), file


def _host(text: str, where: str) -> str:
    if not _HOST.fullmatch(text):
        raise UsageError(f"{where}: {text!r} is no name of a host")
    return text


def _uuid(text: str, where: str) -> str:
    if not _UUID.fullmatch(text):
        raise UsageError(f"{where}: {text!r} is no UUID of a GPU, such as GPU-8c6b1a6e-…")
    return text


def _type(name: str) -> str:
    """Return the catalogue's type of a device; labels of nodes have ``-`` instead of spaces."""
    bare = _SHARING.sub("", name)
    for known, entry in catalogue().items():
        if bare in (known, *entry.device_names, *(device.replace(" ", "-") for device in entry.device_names)):
            return known
    return bare


def _from_toml(text: str, file: str, node: str) -> list[RealGpu]:
    _, entries = toml_entries(text, file, "gpu", top=(), known=_GPU_KEYS)
    return [_gpu(entry, node) for entry in entries]


def _gpu(entry: TableEntry, node: str) -> RealGpu:
    where = f"{entry.file} line {entry.line}"
    uuid, host, address = entry.text("uuid"), entry.text("node") or node, entry.text("address")
    slices = entry.values.get("slices", [])
    if not isinstance(slices, list) or not all(isinstance(one, dict) for one in slices):
        entry.fail("slices", 'must be a list such as [{profile = "1g.10gb", start = 0, uuid = "MIG-…"}]')
    return RealGpu(
        type=_type(entry.text("type") or entry.fail("type", "is missing")),
        node=_host(host, where) if host else "",
        address=_host(address, where) if address else "",
        uuid=_uuid(uuid, where) if uuid else None,
        index=entry.count("index", low=0),
        id=entry.text("id"),
        slices=tuple(_slice(TableEntry(file=entry.file, line=entry.line, values=one)) for one in slices),
    )


def _slice(entry: TableEntry) -> tuple[SlicePosition, str]:
    entry.check_keys(_SLICE_KEYS)
    profile = entry.text("profile") or entry.fail("profile", "is missing")
    start = entry.count("start", low=0)
    uuid = entry.text("uuid") or entry.fail("uuid", "is missing")
    if start is None:
        entry.fail("start", "is missing")
    return SlicePosition(profile=profile, start=start), _uuid(uuid, f"{entry.file} line {entry.line}")


def _from_nvidia_smi(text: str, file: str, node: str) -> list[RealGpu]:
    rows = list(csv.reader(io.StringIO(text, newline=""), skipinitialspace=True))
    heading = [title.strip().partition(" [")[0] for title in rows[0]] if rows else []
    if "uuid" not in heading or "name" not in heading:
        raise UsageError(
            f"{file} is no inventory: write TOML with [[gpu]] tables, or save the output of "
            "nvidia-smi --query-gpu=index,uuid,name --format=csv or of kubectl get nodes -o json"
        )
    found = []
    for number, cells in enumerate(rows[1:], start=2):
        if not cells:
            continue
        if len(cells) != len(heading):
            raise UsageError(f"{file} line {number}: {len(cells)} cells under {len(heading)} columns")
        row = dict(zip(heading, (cell.strip() for cell in cells), strict=True))
        index = row.get("index", "")
        found.append(
            RealGpu(
                type=_type(row["name"]),
                node=node,
                uuid=_uuid(row["uuid"], f"{file} line {number}"),
                index=int(index) if index.isdecimal() else None,
            )
        )
    return found


def _from_kubectl(text: str, file: str) -> list[RealGpu]:
    try:
        document = json.loads(text)
        items = document.get("items", [document])
        return [gpu for item in items for gpu in _of_node(item, file)]
    except json.JSONDecodeError as error:
        raise UsageError(f"{file} is no JSON: {error}") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(f"{file} is no output of kubectl get nodes -o json: {error!r} is missing or wrong") from None


def _of_node(item: Mapping[str, Any], file: str) -> list[RealGpu]:
    metadata = item["metadata"]
    name, labels = _host(str(metadata["name"]), file), metadata.get("labels", {})
    capacity = item.get("status", {}).get("capacity", {}).get("nvidia.com/gpu", 0)
    count = int(labels.get(_COUNT, capacity))  # the label counts cards; shared ones are multiplied in the capacity
    if not count:
        return []
    if _PRODUCT not in labels:
        raise UsageError(f"{file}: the node {name} has GPUs but no label {_PRODUCT}; run GPU feature discovery on it")
    addresses = {entry["type"]: str(entry["address"]) for entry in item.get("status", {}).get("addresses", ())}
    address = addresses.get("InternalIP", "")
    gpu_type = _type(str(labels[_PRODUCT]))
    return [
        RealGpu(type=gpu_type, node=name, address=_host(address, file) if address else "", index=k)
        for k in range(count)
    ]


def assign(placement: Placement, gpus: Sequence[RealGpu]) -> dict[str, RealGpu]:
    """Return the real GPU of each GPU of a plan: the one with its id, else the next one of its type.

    GPUs that the plan has on one node are put on one node, and those of different nodes on different ones.

    Raises
    ------
    UsageError
        If the inventory has too few GPUs of a type.
    """
    planned = placement.one_by_one()
    ids = {gpu.id for gpu in planned}
    for real in gpus:
        if real.id is not None and real.id not in ids:
            raise UsageError(f"the inventory names {real.id}, which the plan does not have")
    found = {real.id: real for real in gpus if real.id is not None}
    devices = {in_use.type: {_type(device) for device in in_use.devices} for in_use in placement.gpu_types}
    for gpu_type in dict.fromkeys(gpu.type for gpu in planned):
        accepted = {gpu_type, _type(gpu_type), *devices.get(gpu_type, ())}
        for gpu in planned:
            if gpu.type == gpu_type and gpu.id in found and found[gpu.id].type not in accepted:
                raise UsageError(f"{gpu.id} is planned as {gpu_type}; the inventory has a {found[gpu.id].type} there")
        wanted = [gpu for gpu in planned if gpu.type == gpu_type and gpu.id not in found]
        taken = {id(real) for real in found.values()}  # two types of a plan may be one type of GPU
        free = [real for real in gpus if real.type in accepted and id(real) not in taken]
        if len(free) < len(wanted):
            raise UsageError(
                f"the plan needs {len(wanted)} GPUs of type {gpu_type} and the inventory has {len(free)} "
                f"(of {', '.join(sorted({real.type for real in gpus})) or 'no type'})"
            )
        of_type = [gpu for gpu in planned if gpu.type == gpu_type and gpu.nodes]
        named = {gpu.nodes[0]: found[gpu.id].node for gpu in of_type if gpu.id in found}
        found |= _by_node(wanted, free, named) if any(gpu.nodes for gpu in wanted) else _in_order(wanted, free)
    _check_nodes(planned, found)
    return found


def _check_nodes(planned: Sequence[PlacedGpu], found: Mapping[str, RealGpu]) -> None:
    """Raise UsageError where ids of the inventory put GPUs of two planned nodes on one, or of one on two."""
    pairs = {(gpu.type, gpu.nodes[0], found[gpu.id].node): None for gpu in planned if gpu.nodes}
    numbers = Counter((gpu_type, number) for gpu_type, number, _ in pairs)
    nodes = Counter((gpu_type, node) for gpu_type, _, node in pairs)
    for gpu_type, number, node in pairs:
        if numbers[gpu_type, number] > 1 or nodes[gpu_type, node] > 1:
            raise UsageError(
                f"by the ids of the inventory, {gpu_type}s of different nodes of the plan are on {node}, or those "
                "of one node on several"
            )


def _in_order(wanted: Sequence[PlacedGpu], free: Sequence[RealGpu]) -> dict[str, RealGpu]:
    return {gpu.id: real for gpu, real in zip(wanted, free, strict=False)}


def _by_node(wanted: Sequence[PlacedGpu], free: Sequence[RealGpu], named: Mapping[int, str]) -> dict[str, RealGpu]:
    """Match planned nodes with real ones: those that ids name, then those with most GPUs first."""
    planned: dict[int, list[PlacedGpu]] = defaultdict(list)
    real: dict[str, list[RealGpu]] = defaultdict(list)
    for gpu in wanted:
        planned[gpu.nodes[0]].append(gpu)
    for each in free:
        real[each.node].append(each)
    found: dict[str, RealGpu] = {}
    for number, node in named.items():
        there = real.pop(node, [])
        gpus = planned.pop(number, [])
        if len(there) < len(gpus):
            raise UsageError(
                f"the plan has {len(gpus)} more GPUs of type {gpus[0].type} on the node {node} than there are"
            )
        found |= _in_order(gpus, there)
    most_first = sorted(real.values(), key=len, reverse=True)
    for k, gpus in enumerate(sorted(planned.values(), key=len, reverse=True)):
        if k >= len(most_first) or len(most_first[k]) < len(gpus):
            raise UsageError(
                f"the plan puts {len(gpus)} GPUs of type {gpus[0].type} on one of {len(planned)} nodes, and the "
                f"inventory has {', '.join(str(len(node)) for node in most_first)} on its nodes"
            )
        found |= _in_order(gpus, most_first[k])
    return found
