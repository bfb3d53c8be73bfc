"""What is different between two placements.                                                                 [pure]"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from analyzer.formats.json_keys import Key, write_record
from analyzer.formats.units import MIB
from planner.formulation.rules import RULES_KEYS
from planner.inputs.mig_geometry import WHOLE
from planner.placement.document import OBJECTIVE_KEYS, THRESHOLD_KEYS, Placement
from planner.placement.placed_gpu import PlacedGpu, PlacedModel, SlicePosition

if TYPE_CHECKING:
    import pandas as pd


class PlacedReplica(NamedTuple):
    """One replica on a GPU: its model, operating point, place and memory."""

    model: str
    variant: str
    instances: int
    batch: int
    concurrency: int
    profile: str  # MIG profile of its slice; empty on a whole GPU
    start: int  # first memory slice; -1 on a whole GPU
    memory_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Relocation:
    """Replicas of a model that are on one GPU in the first placement and on another one in the second.

    Parameters
    ----------
    source, target : str or None
        Ids of the GPUs in the first placement; a GPU that is only in the second is ``new`` and its id there. `source`
        is None where the replicas are added, `target` where they are removed.
    """

    model: str
    count: int
    memory_mib: float
    source: str | None
    target: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What is different between a first and a second placement.

    Parameters
    ----------
    figures : tuple of (str, object, object)
        Settings and results that differ: name, value before, value after.
    matched : tuple of (str, str)
        GPUs that are taken as the same one: id before, id after.
    moves : tuple of Relocation
        Replicas that are added, removed, loaded anew or on another GPU than before.
    """

    figures: tuple[tuple[str, object, object], ...]
    matched: tuple[tuple[str, str], ...]
    moves: tuple[Relocation, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return the moves as a table with a row for each."""
        from planner.placement.frame import records_frame

        return records_frame(self.moves, Relocation)


def difference(before: Placement, after: Placement) -> Difference:
    """Compare two placements; GPUs are matched by what they hold, not by their ids.

    Examples
    --------
    >>> from planner import difference, plan
    >>> before = plan("tests/data/case-study.csv", gpu_memory_mib=16384)
    >>> after = plan("tests/data/case-study.csv", gpu_memory_mib=16384, max_utilization_pct=80)
    >>> found = difference(before.placement, after.placement)
    >>> found.figures[0], found.to_frame()["memory_mib"].sum() > 0
    (('objective gpus', 6, 8), True)
    """
    first, second = before.one_by_one(), after.one_by_one()
    matched = match(first, second)
    return Difference(
        figures=tuple(_figures(before, after)),
        matched=tuple((first[i].id, second[j].id) for i, j in matched),
        moves=tuple(_moves(first, second, matched)),
    )


def contents(gpu: PlacedGpu) -> Counter[PlacedReplica]:
    """Return the number of equal replicas on a GPU, by replica."""
    found: Counter[PlacedReplica] = Counter()
    for model in gpu.models:
        found[_replica(model)] += model.replicas
    return found


def _replica(model: PlacedModel) -> PlacedReplica:
    place = model.slice or SlicePosition(profile="", start=-1)
    return PlacedReplica(
        model=model.name,
        variant=model.variant,
        instances=model.instances,
        batch=model.batch,
        concurrency=model.concurrency,
        profile=place.profile,
        start=place.start,
        memory_bytes=model.memory_bytes / model.replicas,
    )


def match(first: Sequence[PlacedGpu], second: Sequence[PlacedGpu]) -> list[tuple[int, int]]:
    """Pair GPUs of the same type and geometry whose equal replicas take the most memory; each GPU at most once.

    The pair with the most memory in common is taken first. So the total is not always the largest possible; it is where
    each GPU shares replicas with one other GPU at most.
    """
    where: dict[PlacedReplica, list[int]] = {}
    held = [contents(gpu) for gpu in second]
    for j, content in enumerate(held):
        for replica in content:
            where.setdefault(replica, []).append(j)
    pairs = []
    for i, gpu in enumerate(first):
        common: Counter[int] = Counter()
        for replica, n in contents(gpu).items():
            for j in where.get(replica, ()):
                if _geometry_of(gpu) == _geometry_of(second[j]):
                    common[j] += min(n, held[j][replica]) * replica.memory_bytes  # type: ignore[assignment]
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


def _geometry_of(gpu: PlacedGpu) -> tuple[str, str]:
    return gpu.type, gpu.geometry.name if gpu.geometry else WHOLE


_ByModel = dict[str, list[tuple[str, int, float]]]  # for each model: GPU, number of replicas, bytes of one replica


def _moves(
    first: Sequence[PlacedGpu], second: Sequence[PlacedGpu], matched: Sequence[tuple[int, int]]
) -> Iterator[Relocation]:
    partner = dict(matched)
    names = [f"new {gpu.id}" for gpu in second]
    for i, j in matched:
        names[j] = first[i].id
    removed: _ByModel = {}
    added: _ByModel = {}
    for i, gpu in enumerate(first):
        new = contents(second[partner[i]]) if i in partner else Counter()
        _collect(removed, gpu.id, contents(gpu) - new)
        if i in partner:
            _collect(added, gpu.id, new - contents(gpu))
    for j, gpu in enumerate(second):
        if j not in partner.values():
            _collect(added, names[j], contents(gpu))
    for model in sorted({*removed, *added}):
        yield from _pair(model, removed.get(model, []), added.get(model, []))


def _collect(into: _ByModel, gpu: str, replicas: Counter[PlacedReplica]) -> None:
    for replica, n in sorted(replicas.items()):
        into.setdefault(replica.model, []).append((gpu, n, replica.memory_bytes))


def _pair(
    model: str, removed: Sequence[tuple[str, int, float]], added: Sequence[tuple[str, int, float]]
) -> Iterator[Relocation]:
    sources = [(gpu, size) for gpu, n, size in removed for _ in range(n)]
    targets = [(gpu, size) for gpu, n, size in added for _ in range(n)]
    counted: Counter[tuple[str | None, str | None, float]] = Counter()
    for k in range(max(len(sources), len(targets))):
        source = sources[k] if k < len(sources) else None
        target = targets[k] if k < len(targets) else None
        size = target[1] if target else source[1] if source else 0.0
        counted[source[0] if source else None, target[0] if target else None, size] += 1
    for (source_id, target_id, size), n in counted.items():
        yield Relocation(model=model, count=n, memory_mib=round(size * n / MIB, 6), source=source_id, target=target_id)


def _figures(before: Placement, after: Placement) -> Iterator[tuple[str, object, object]]:
    """Give each setting and result that differs, under the names and in the units of the placement files."""
    if before.mode != after.mode:
        yield "mode", before.mode.value, after.mode.value
    if before.status != after.status:
        yield "status", before.status.value, after.status.value
    for part, keys in (("objective", OBJECTIVE_KEYS), ("thresholds", THRESHOLD_KEYS), ("rules", RULES_KEYS)):
        old, new = (_written(getattr(placement, part), keys) for placement in (before, after))
        for name in sorted({*old, *new} - {"bound_source"}):
            if old.get(name) != new.get(name):
                yield f"{part} {name}", old.get(name), new.get(name)
    types_before, types_after = _types(before), _types(after)
    for name in sorted({*types_before, *types_after}):
        if types_before[name] != types_after[name]:
            yield f"GPUs of type {name}", types_before[name], types_after[name]
    if before.provenance.profiles_sha256 != after.provenance.profiles_sha256:
        yield "profiles", "one set of measurements", "another one"


def _written(record: Any, keys: Sequence[Key]) -> dict[str, Any]:
    return {} if record is None else write_record(record, keys)


def _types(placement: Placement) -> Counter[str]:
    found: Counter[str] = Counter()
    for gpu in placement.gpus:
        found[gpu.type] += gpu.gpus
    return found
