"""What is different between two placements.                                                                 [pure]"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.placement.document import Placement

Item = tuple[Any, ...]  # what one replica is: model, variant, instances, batch, concurrency, slice


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """Replicas of a model that are on one GPU of the first placement and on another one of the second.

    Parameters
    ----------
    source, target : str or None
        GPUs by their ids in the first placement; one that is only in the second is ``new`` with its id there. None
        where the model is added or removed.
    """

    model: str
    count: int
    memory_mib: float
    source: str | None
    target: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The second placement less the first.

    Parameters
    ----------
    figures : tuple of (str, object, object)
        What was asked or came out differently: its name, before and after.
    matched : tuple of (str, str)
        GPUs that hold the most in common: id before, id after.
    moves : tuple of Move
        Apart from those.
    """

    figures: tuple[tuple[str, object, object], ...]
    matched: tuple[tuple[str, str], ...]
    moves: tuple[Move, ...]


def difference(before: Placement, after: Placement) -> Difference:
    """Compare two placements; GPUs are matched by what they hold, not by their ids."""
    first, second = expanded(before), expanded(after)
    matched = match(first, second)
    return Difference(
        figures=tuple(_figures(before, after)),
        matched=tuple((first[i]["id"], second[j]["id"]) for i, j in matched),
        moves=tuple(_moves(first, second, matched)),
    )


def expanded(placement: Placement) -> list[dict[str, Any]]:
    """The GPUs one by one, where the file counts those that are alike."""
    found = []
    for gpu in placement["gpus"]:
        first, nodes = int(gpu["id"].rpartition("-")[2] or 0) if "count" in gpu else 0, gpu.get("nodes", [])
        for k in range(gpu.get("count", 1)):
            own = {**gpu, "nodes": nodes[k : k + 1]} if nodes else dict(gpu)
            if "count" in own:
                own["id"] = f"{gpu['id'].rpartition('-')[0]}-{first + k}"
                del own["count"]
            found.append(own)
    return found


def contents(gpu: Mapping[str, Any]) -> Counter[Item]:
    """The replicas on a GPU, counted by what they are."""
    found: Counter[Item] = Counter()
    for model in gpu["models"]:
        found[_item(model)] += model.get("replicas", 1)
    return found


def _item(model: Mapping[str, Any]) -> Item:
    piece = model.get("slice") or {}
    return (
        model["name"],
        model.get("variant", "default"),
        model["instances"],
        model["batch"],
        model["concurrency"],
        piece.get("profile", ""),
        piece.get("start", -1),
        model["memory_mib"] / model.get("replicas", 1),
    )


def match(first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]]) -> list[tuple[int, int]]:
    """Pair GPUs of the same type and cut that have the most memory in common; each at most once.

    Greedy from the largest common memory down: exact where each GPU's content has one counterpart, as between plans
    of one fleet.
    """
    where: dict[Item, list[int]] = {}
    held = [contents(gpu) for gpu in second]
    for j, content in enumerate(held):
        for item in content:
            where.setdefault(item, []).append(j)
    pairs = []
    for i, gpu in enumerate(first):
        common: Counter[int] = Counter()
        for item, n in contents(gpu).items():
            for j in where.get(item, ()):
                if _cut(gpu) == _cut(second[j]):
                    common[j] += min(n, held[j][item]) * item[-1]
        pairs += [(-size, i, j) for j, size in common.items()]
    used_first: set[int] = set()
    used_second: set[int] = set()
    matched = []
    for _, i, j in sorted(pairs):
        if i not in used_first and j not in used_second:
            used_first.add(i)
            used_second.add(j)
            matched.append((i, j))
    return sorted(matched)


def _cut(gpu: Mapping[str, Any]) -> tuple[str, str]:
    return gpu["type"], (gpu.get("geometry") or {}).get("name", "whole")


def _moves(
    first: Sequence[Mapping[str, Any]], second: Sequence[Mapping[str, Any]], matched: Sequence[tuple[int, int]]
) -> Iterator[Move]:
    partner = dict(matched)
    names = [f"new {gpu['id']}" for gpu in second]
    for i, j in matched:
        names[j] = first[i]["id"]
    gone: dict[str, list[tuple[str, int, float]]] = {}
    come: dict[str, list[tuple[str, int, float]]] = {}
    for i, gpu in enumerate(first):
        new = contents(second[partner[i]]) if i in partner else Counter()
        _collect(gone, gpu["id"], contents(gpu) - new)
        if i in partner:
            _collect(come, gpu["id"], new - contents(gpu))
    for j, gpu in enumerate(second):
        if j not in partner.values():
            _collect(come, names[j], contents(gpu))
    for model in sorted({*gone, *come}):
        yield from _pair(model, gone.get(model, []), come.get(model, []))


def _collect(into: dict[str, list[tuple[str, int, float]]], gpu: str, items: Counter[Item]) -> None:
    for item, n in sorted(items.items()):
        into.setdefault(item[0], []).append((gpu, n, item[-1]))


def _pair(model: str, gone: Sequence[tuple[str, int, float]], come: Sequence[tuple[str, int, float]]) -> Iterator[Move]:
    sources = [(gpu, size) for gpu, n, size in gone for _ in range(n)]
    targets = [(gpu, size) for gpu, n, size in come for _ in range(n)]
    counted: Counter[tuple[str | None, str | None, float]] = Counter()
    for k in range(max(len(sources), len(targets))):
        source = sources[k] if k < len(sources) else None
        target = targets[k] if k < len(targets) else None
        size = target[1] if target else source[1] if source else 0.0
        counted[source[0] if source else None, target[0] if target else None, size] += 1
    for (source_id, target_id, size), n in counted.items():
        yield Move(model=model, count=n, memory_mib=round(size * n, 6), source=source_id, target=target_id)


def _figures(before: Placement, after: Placement) -> Iterator[tuple[str, object, object]]:
    for part in ("mode", "status"):
        if before[part] != after[part]:
            yield part, before[part], after[part]
    for part in ("objective", "thresholds", "rules"):
        old, new = before.get(part, {}), after.get(part, {})
        for key in sorted({*old, *new}):
            if old.get(key) != new.get(key) and key != "bound_source":
                yield f"{part} {key}", old.get(key), new.get(key)
    types_before, types_after = _types(before), _types(after)
    for name in sorted({*types_before, *types_after}):
        if types_before[name] != types_after[name]:
            yield f"GPUs of type {name}", types_before[name], types_after[name]
    if before["provenance"].get("profiles_sha256") != after["provenance"].get("profiles_sha256"):
        yield "profiles", "one set of measurements", "another one"


def _types(placement: Placement) -> Counter[str]:
    found: Counter[str] = Counter()
    for gpu in placement["gpus"]:
        found[gpu["type"]] += gpu.get("count", 1)
    return found
