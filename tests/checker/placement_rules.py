"""Check a placement against every rule of docs/planning.md: limits, demands, groups, nodes and losses."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from tests.checker.least_cost import SAME
from tests.checker.operating_points import Asked
from tests.checker.placed import Document, Placed, Reader


def faults(document: Document, asked: Asked) -> list[str]:
    """Say in words everything that is wrong with a placement file; empty for a right one."""
    reader = Reader(document, asked)
    if document["objective"]["value"] is None:
        return reader.faults
    gpus = reader.gpus
    found = [*reader.faults, *_fleet(gpus, asked), *_demands(gpus, asked), *_groups(gpus, asked)]
    for gpu in gpus:
        found += [*_geometry(gpu), *_limits(gpu, asked)]
    return found


def _geometry(gpu: Placed) -> Iterator[str]:
    """Slices begin where they may and do not overlap; no more of each kind, and in all, than the board has."""
    kinds = {place.slice_name: place.kind for place in gpu.kind.slices}
    taken: Counter[int] = Counter()
    compute = 0
    for name, start in gpu.cuts:
        kind = kinds.get(name)
        if kind is None or start not in kind.starts:
            yield f"{gpu.name}: no slice {name} at {start}"
            return
        taken.update(range(start, start + kind.length))
        compute += kind.compute
    if any(n > 1 for n in taken.values()) or compute > gpu.kind.compute_slices > 0:
        yield f"{gpu.name}: slices {gpu.cuts} overlap, or have {compute} compute slices"
    for name, n in Counter(name for name, _ in gpu.cuts).items():
        if n > kinds[name].most:
            yield f"{gpu.name}: {n} slices {name}"


def _limits(gpu: Placed, asked: Asked) -> Iterator[str]:
    """Memory, and the counted utilizations in every hour, are within their limits; a GPU that is listed has a model."""
    if not gpu.counts:
        yield f"{gpu.name} is empty"
    for at in {at for _, _, at in gpu.counts}:
        here = [(r, point, n) for (r, point, other), n in gpu.counts.items() if other == at]
        memory, room = sum(n * point.memory for _, point, n in here), gpu.place(at).room
        if memory > room:
            yield f"{gpu.name} {at}: models of {memory} bytes in {room}"
        for name in asked.counted:
            used = max(sum(n * getattr(point, name) * shares[r] for r, point, n in here) for shares in asked.hours)
            if used > gpu.kind.thresholds[name] + 2 * SAME:
                yield f"{gpu.name} {at}: {name} of {float(used):.4f}"


def _fleet(gpus: Sequence[Placed], asked: Asked) -> Iterator[str]:
    """No more GPUs of a type than its count, nor in a node than it holds; a node is named where nodes matter."""
    if len({gpu.name for gpu in gpus}) < len(gpus):
        yield "two GPUs have the same id"
    spare_of_nodes = asked.files.options.get("spare") and asked.files.options.get("spare_of") == "node"
    nodes_matter = spare_of_nodes or any(m.get("spread") == "node" for m in asked.models)
    for kind in asked.kinds:
        own = [gpu for gpu in gpus if gpu.kind is kind]
        if kind.count is not None and len(own) > kind.count:
            yield f"{len(own)} GPUs of type {kind.name}"
        if not nodes_matter:
            continue
        for node, n in Counter(gpu.node for gpu in own).items():
            if node is None or node < 0 or n > kind.in_node(node):
                yield f"{n} GPUs of type {kind.name} in node {node}"


def _demands(gpus: Sequence[Placed], asked: Asked) -> Iterator[str]:
    """Every rate is served and every number of copies is there, also without the GPUs or nodes that may be lost."""
    spare = asked.files.options.get("spare", 0)
    of_nodes = asked.files.options.get("spare_of") == "node"
    parts: dict[Any, list[Placed]] = defaultdict(list)
    for gpu in gpus:
        parts[(gpu.kind.name, gpu.node) if of_nodes else gpu.name].append(gpu)
    for r, demand in enumerate(asked.models):
        rate, copies = asked.rate(r), demand.get("replicas", 1 if asked.rate(r) is None else 0)
        for lost in combinations(parts, min(spare, len(parts))):
            left = [gpu for part, own in parts.items() if part not in lost for gpu in own]
            replicas = sum(gpu.replicas(r) for gpu in left)
            served = sum(n * (p.throughput or 0) for g in left for (own, p, _), n in g.counts.items() if own == r)
            if rate is not None and served < rate * (1 - 2 * SAME):
                yield f"{demand['model']}: {float(served)} of {float(rate)} served without {lost}"
            if replicas < copies or (rate is None and not spare and replicas > copies):
                yield f"{demand['model']}: {replicas} of {copies} replicas without {lost}"


def _groups(gpus: Sequence[Placed], asked: Asked) -> Iterator[str]:
    """The rules on who shares a GPU, and on replicas of one model on a GPU or a node."""
    members: dict[tuple[str, str], list[int]] = defaultdict(list)
    most: dict[str, int] = {}
    on_node: Counter[tuple[str, int | None, int]] = Counter()
    for r, demand in enumerate(asked.models):
        for key in ("apart", "together", "group_max"):
            for name in demand.get(key, ()):
                members[key, name].append(r)
        most |= demand.get("group_max", {})
    for gpu in gpus:
        there = {r: n for r in range(len(asked.models)) if (n := gpu.replicas(r))}
        yield from _own_rules(gpu, there, asked)
        on_node.update({(gpu.kind.name, gpu.node, r): n for r, n in there.items()})
        for (key, name), group in members.items():
            here = [r for r in group if r in there]
            if (
                (key == "apart" and len(here) > 1)
                or (key == "together" and 0 < len(here) < len(group))
                or (key == "group_max" and sum(there[r] for r in here) > most[name])
            ):
                yield f"{gpu.name}: {key} of {name}: {there}"
    for (kind, node, r), n in on_node.items():
        if asked.models[r].get("spread") == "node" and n > 1:
            yield f"{n} replicas of {asked.models[r]['model']} on node {node} of {kind}"


def _own_rules(gpu: Placed, there: Mapping[int, int], asked: Asked) -> Iterator[str]:
    for r, n in there.items():
        demand = asked.models[r]
        if demand.get("alone") and len(there) > 1:
            yield f"{gpu.name}: {demand['model']} is not alone"
        if demand.get("spread") == "gpu" and n > 1:
            yield f"{gpu.name}: {n} replicas of {demand['model']}"
