"""The distinct contents of a placement's GPUs: what runs together on one server, and under which load.     [pure]"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from analyzer.errors import UsageError
from analyzer.formats.suggestions import suggest
from analyzer.measurements.co_location import CoLocation
from analyzer.measurements.record import Measurement, Trial, Variant
from planner.placement.busiest_hour import in_busiest_hour, shares_by_hour
from planner.placement.document import CountedThresholds, Placement
from planner.placement.placed_gpu import PlacedGpu, PlacedModel, PlacedSlice

_LEAST_SHARE = 0.01  # of a model's highest rate is sent to it, also in an hour in which it has none


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedContent:
    """The models of one server of a plan: those of a GPU, or of one of its MIG slices.

    Parameters
    ----------
    gpus : tuple of str
        Ids of the GPUs that have this content, the first one first; a slice's id has its place, as ``gpu-2/1g.10gb@0``.
    type : str
        GPU type of the plan.
    slice_profile : str or None
        MIG profile of the slice; None for a whole GPU.
    models : tuple of PlacedModel
        In the order of the placement; on a slice their utilizations are shares of the slice.
    memory_bytes, memory_capacity_bytes : int
        Memory of the models and the server as planned, and what there is before thresholds.
    utilization, memory_utilization : float or None
        Sums over the models as planned, as shares of the GPU or of the slice.
    thresholds : CountedThresholds
        What the plan promises to stay within.
    """

    gpus: tuple[str, ...]
    type: str
    slice_profile: str | None
    models: tuple[PlacedModel, ...]
    memory_bytes: int
    memory_capacity_bytes: int
    utilization: float | None
    memory_utilization: float | None
    thresholds: CountedThresholds

    @property
    def name(self) -> str:
        """The first GPU with this content, and how many more have it."""
        return self.gpus[0] if len(self.gpus) == 1 else f"{self.gpus[0]} and {len(self.gpus) - 1} like it"

    @property
    def risk(self) -> float:
        """How near the content is to a limit: the largest planned share of one that the plan promises to stay within.

        Without a threshold on utilization, a sum of busy shares of one counts as the limit.
        """
        shares = [self.memory_bytes / self.memory_capacity_bytes / (self.thresholds.memory or 1.0)]
        for planned, limit in (
            (self.utilization, self.thresholds.utilization),
            (self.memory_utilization, self.thresholds.memory_utilization),
        ):
            if planned is not None:
                shares.append(planned / (limit or 1.0))
        return max(shares)


def contents_of(placement: Placement) -> tuple[PlannedContent, ...]:
    """Return the distinct contents of a placement, each once, in the order of their first GPUs.

    Where the demand has rates by hour, a content's rates are those of the hour in which its utilization is largest.
    """
    found: dict[PlannedContent, list[str]] = defaultdict(list)
    shares = shares_by_hour(placement.demand)
    for gpu in placement.one_by_one():
        for content, name in _servers(gpu, placement.thresholds_of(gpu.type)):
            found[replace(content, models=in_busiest_hour(content.models, shares, least=_LEAST_SHARE))].append(name)
    return tuple(replace(content, gpus=tuple(names)) for content, names in found.items())


def _servers(gpu: PlacedGpu, thresholds: CountedThresholds) -> Iterable[tuple[PlannedContent, str]]:
    """Yield what each server of a GPU runs, with the GPU's or the slice's name."""
    for cut, models in gpu.servers():
        place: PlacedGpu | PlacedSlice = gpu if cut is None else cut
        content = PlannedContent(
            gpus=(),
            type=gpu.type,
            slice_profile=None if cut is None else cut.profile,
            models=models if cut is None else _of_slice(models, cut.utilization),
            memory_bytes=place.memory_bytes,
            memory_capacity_bytes=place.memory_capacity_bytes,
            utilization=place.utilization,
            memory_utilization=place.memory_utilization,
            thresholds=thresholds,
        )
        yield content, gpu.id if cut is None else f"{gpu.id}/{cut.name}"


def _of_slice(models: Sequence[PlacedModel], utilization: float | None) -> tuple[PlacedModel, ...]:
    """Return the models of a slice with their utilization as shares of it; the placement has shares of the whole GPU.

    Parameters
    ----------
    utilization : float or None
        Sum over the models, as a share of the slice.
    """
    of_gpu = sum(model.utilization or 0.0 for model in models)
    factor = utilization / of_gpu if utilization and of_gpu else 1.0
    return tuple(
        replace(model, slice=None, utilization=None if model.utilization is None else model.utilization * factor)
        for model in models
    )


def choose(
    contents: Sequence[PlannedContent], *, gpus: Sequence[str] = (), most: int | None = None
) -> tuple[PlannedContent, ...]:
    """Return the contents to measure: those of the named GPUs, and of these the `most` that are nearest to a limit.

    Raises
    ------
    UsageError
        If a named GPU is not in the placement.
    """
    names = {name.partition("/")[0] for content in contents for name in content.gpus}
    for wanted in gpus:
        if wanted.partition("/")[0] not in names:
            raise UsageError(f"the placement has no GPU {wanted!r}; {suggest(wanted, names)}")
    chosen = [
        content
        for content in contents
        if not gpus or any(wanted in (name, name.partition("/")[0]) for wanted in gpus for name in content.gpus)
    ]
    if most is None or most >= len(chosen):
        return tuple(chosen)
    kept = sorted(range(len(chosen)), key=lambda i: (-chosen[i].risk, i))[:most]
    return tuple(chosen[i] for i in sorted(kept))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLoad:
    """What is sent to one model of a content.

    Parameters
    ----------
    trial : Trial
        Its variant, batch and concurrency or rate; those of all replicas together.
    instances : int or None
        Instances that the model is loaded with, those of all its replicas on the server; None for its own number.
    """

    placed: PlacedModel
    trial: Trial
    instances: int | None


def loads_of(content: PlannedContent, *, arrivals: str = "poisson") -> tuple[ModelLoad, ...]:
    """Return the load of each model: at its planned rate where there is one, else at its planned concurrency.

    Replicas of a model on one server are instances of one model there, so the load of all of them is sent to it.

    Raises
    ------
    UsageError
        If the content has a model in two configurations, which one server cannot have at once.
    """
    variants: dict[str, Variant] = {}
    instances: dict[str, int] = defaultdict(int)
    for placed in content.models:
        variant = Variant.named(placed.variant)
        if variants.setdefault(placed.name, variant) != variant:
            raise UsageError(f"{placed.name} is planned there in two configurations, and one server has it in one")
        instances[placed.name] += placed.replicas * placed.instances
    single = {placed.name for placed in content.models if instances[placed.name] == placed.instances}
    return tuple(
        ModelLoad(
            placed=placed,
            trial=_trial(placed, variants[placed.name], arrivals),
            instances=None if placed.name in single else instances[placed.name],
        )
        for placed in content.models
    )


def _trial(placed: PlacedModel, variant: Variant, arrivals: str) -> Trial:
    closed = Trial(
        model=placed.name,
        variant=variant,
        batch=placed.batch,
        concurrency=placed.concurrency * placed.replicas,
        input_length=placed.input_length,
        output_length=placed.output_length,
    )
    if placed.rate_infer_per_s is None:
        return closed
    rate_per_s = placed.rate_infer_per_s / placed.batch
    return replace(closed, concurrency=0, request_rate_per_s=rate_per_s, arrivals=arrivals)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredContent:
    """What was measured of a content.

    Parameters
    ----------
    models : CoLocation
        In the order of the content's models.
    alone : tuple of Measurement
        Each model alone at the same load.
    control : Measurement or None
        One of its models alone again at its profile's operating point.
    """

    content: PlannedContent
    loads: tuple[ModelLoad, ...]
    models: CoLocation
    alone: tuple[Measurement, ...]
    control: Measurement | None
