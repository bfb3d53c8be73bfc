"""Explain a plan: why it needs its GPUs, and what would save one (`planner.explain`, `plan explain`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.errors import UsageError
from analyzer.formats.option_values import Number, check_options, option
from analyzer.measurements.record import Measurement
from planner.explanation.bottlenecks import Fill, LastGpu, binding, last_gpu
from planner.explanation.resource_bounds import resource_bounds
from planner.explanation.what_if import Relaxation, conflict, is_form_of, relaxations
from planner.formulation.formulate import formulate
from planner.formulation.request import Request, check_models
from planner.formulation.settings import PlanSettings
from planner.inputs.memory_size import MemorySize
from planner.inputs.profiles import Profile, at_configuration
from planner.placement.document import Placement
from planner.placement.file import read_placement
from planner.placement.text import headline
from planner.planning import load_profiles
from planner.problem.plan import Status
from planner.solver.limits import SearchLimits

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainSettings:
    """Every option of an explanation; `planner.explain` says what each means.

    Raises
    ------
    UsageError
        For the first option whose value is not valid.
    """

    server_memory_mib: float | None = option(None, MemorySize(zero=True), "server-memory")
    time_limit_s: float = option(60.0, Number(0, open_low=True, metavar="S"), "time-limit")
    seed: int = option(0, Number(0, whole=True))

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a plan needs the GPUs it needs.

    Parameters
    ----------
    headline : str
        What the plan needs, in a sentence.
    binding : dict of str to Fill
        For each GPU, by its id, the resource that is nearest to its threshold.
    last_gpu : LastGpu or None
        The emptiest GPU and why it is needed; None where the plan has fewer than two.
    bounds : dict of str to float or None
        Lower bound on every plan's cost by each resource alone, in the objective's unit; None without profiles, as the
        following.
    relaxations : tuple of Relaxation or None
        Single changes that save something; None also where there is no plan.
    conflict : tuple of str or None
        Where no plan exists: models whose demands cannot be met together.
    """

    headline: str
    binding: dict[str, Fill]
    last_gpu: LastGpu | None
    bounds: dict[str, float] | None = None
    relaxations: tuple[Relaxation, ...] | None = None
    conflict: tuple[str, ...] | None = None


def explain(
    placement: str | Path | Placement,
    profiles: str | Path | pd.DataFrame | Sequence[Profile] | Sequence[Measurement] | None = None,
    *,
    server_memory_mib: float | None = None,
    time_limit_s: float = 60.0,
    seed: int = 0,
) -> Explanation:
    """Say why a plan needs the GPUs it needs, and what would save one; the Python form of `plan explain`.

    From the placement alone: which resource binds on which GPU, and why the emptiest GPU is needed. With the profiles
    that it was made from also the bound by each resource alone, and which single change (of a threshold, of a model's
    p99 budget, of another requirement) saves GPUs; where there is no plan, a smallest set of demands that conflict.

    Parameters
    ----------
    placement : str, Path or Placement
    profiles : str, Path, DataFrame or sequence, optional
        Profiles as `read_profiles` returns them, or anything that it reads.
    server_memory_mib : float, optional
        Memory of the idle server, as it was given for the plan.
    time_limit_s : float
        Time for trying changes that would save a GPU.
    seed : int
        Seed of the randomised parts of the searches.

    Raises
    ------
    UsageError
        If the placement does not hold its demand, fleet and rules, or the profiles are not of its devices.

    Examples
    --------
    >>> from planner import explain, plan
    >>> result = plan("tests/data/case-study.csv", gpu_memory_mib=16384)
    >>> found = explain(result.placement)
    >>> found.last_gpu.models, found.binding["gpu-0"].resource
    (('segmentation_ct_colon_tumor',), 'utilization')
    """
    settings = ExplainSettings(server_memory_mib=server_memory_mib, time_limit_s=time_limit_s, seed=seed)
    found = placement if isinstance(placement, Placement) else read_placement(placement)
    facts = Explanation(headline=headline(found), binding=binding(found), last_gpu=last_gpu(found))
    if profiles is None:
        return facts
    known = load_profiles(profiles, PlanSettings(server_memory_mib=settings.server_memory_mib))
    request = request_of(found, known)
    limits = SearchLimits(seconds=settings.time_limit_s, seed=settings.seed)
    value = found.objective.value
    return Explanation(
        headline=facts.headline,
        binding=facts.binding,
        last_gpu=facts.last_gpu,
        bounds=resource_bounds(formulate(request)),
        relaxations=relaxations(request, value, limits) if value is not None else None,
        conflict=(tuple(r.model for r in conflict(request, limits)) if found.status is Status.INFEASIBLE else None),
    )


def request_of(placement: Placement, profiles: Sequence[Profile]) -> Request:
    """Make the request that a placement answers, with profiles that may have been measured since.

    Raises
    ------
    UsageError
        If the placement lacks its demand, fleet or rules (files of other tools may), or a profile is missing.
    """
    rules = placement.rules
    for part, held in (("demand", placement.demand), ("gpu types", placement.gpu_types), ("rules", rules)):
        if not held:
            raise UsageError(f"the placement does not say its {part}; make it again with plan solve")
    assert rules is not None
    devices = {d for t in placement.gpu_types for d in (*t.devices, *((t.scaling.device,) if t.scaling else ()))}
    measured = tuple(p for p in profiles if p.board in devices)
    serving = {model for r in placement.demand for model in (r.model, *r.variants)}
    if rules.batch is None and rules.concurrency is None:  # other forms of a model may not have been measured there
        serving |= {p.model for p in measured if any(is_form_of(p.model, r.model) for r in placement.demand)}
    measured = tuple(p for p in measured if p.model in serving)
    if not measured:
        raise UsageError(f"no profile was measured on {', '.join(sorted(devices))}")
    check_models(placement.demand, measured)
    return Request(
        profiles=at_configuration(measured, batch=rules.batch, concurrency=rules.concurrency),
        requirements=placement.demand,
        fleet=placement.gpu_types,
        rules=rules,
    )
