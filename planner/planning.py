"""Make a plan: from profiles, demand and fleet to a placement with its proof (`planner.plan`, `plan solve`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from analyzer.errors import EXIT_INFEASIBLE, TritonpackError, UsageError
from analyzer.measurements.record import Measurement
from analyzer.measurements.source import Measurements, read_measurements
from planner.formulation.formulate import Formulation, formulate
from planner.formulation.objective import from_units
from planner.formulation.request import Request, make_request
from planner.formulation.settings import PlanSettings
from planner.inputs.demand import Requirement
from planner.inputs.fleet import FleetType
from planner.inputs.profile_source import read_profiles
from planner.inputs.profiles import Profile
from planner.interference.fitted import Interference
from planner.interference.learnt import NOTHING, Learnt
from planner.placement.build import build_placement
from planner.placement.document import Move, Placement, SearchUsed
from planner.placement.file import read_placement
from planner.problem.co_location import ContentRule
from planner.problem.plan import Plan, Status
from planner.problem.problem import Problem
from planner.solver.limits import SearchLimits

if TYPE_CHECKING:
    import pandas as pd

OnProgress = Callable[[int | None, int, str], None]

_PLAIN_BOUND_S = 2.0  # time for the bound without what co-location costs
_TIE_BREAK_S = 2.0  # time to look for fewer GPUs among plans of the same proven cost


class NoPlanError(TritonpackError):
    """No plan was found within the moves from the placement in force, or within the time."""

    exit_code = EXIT_INFEASIBLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """A request in integers, and the plan that was found for it.

    Parameters
    ----------
    ids : tuple of str
        Ids of the plan's GPUs where there is a placement in force, else empty.
    moves : tuple of Move or None
        Steps from the placement in force; None where there is none.
    """

    formulation: Formulation
    plan: Plan
    ids: tuple[str, ...] = ()
    moves: tuple[Move, ...] | None = None

    @property
    def value(self) -> float | None:
        """What the plan costs, in the objective's unit; None without a plan."""
        return None if self.plan.objective is None else from_units(self.plan.objective, self.formulation.cost_divisor)

    @property
    def lower_bound(self) -> float:
        """What every plan costs at least, in the objective's unit."""
        return from_units(self.plan.lower_bound, self.formulation.cost_divisor)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanResult:
    """A placement, and the problem and plan that it was made from.

    Parameters
    ----------
    placement : Placement
        Which replicas run on which GPUs; it is what `plan solve -o` writes.
    solved : Solved
        The problem in integers and its plan.

    Examples
    --------
    >>> from planner import plan
    >>> result = plan("tests/data/case-study.csv", gpu_memory_mib=16384, mode="memory")
    >>> result.status, result.gpus, result.lower_bound
    (<Status.OPTIMAL: 'optimal'>, 4, 4.0)
    """

    placement: Placement
    solved: Solved

    @property
    def status(self) -> Status:
        """``optimal``: proven. ``feasible``: with a gap. ``infeasible``: no plan exists. ``unknown``: none found."""
        return self.placement.status

    @property
    def gpus(self) -> int | None:
        """GPUs in use; None without a plan."""
        return self.placement.objective.gpus

    @property
    def value(self) -> float | None:
        """What the plan costs, in the objective's unit; None without a plan."""
        return self.placement.objective.value

    @property
    def lower_bound(self) -> float:
        """No plan has a smaller value."""
        return self.placement.objective.lower_bound

    @property
    def moves(self) -> tuple[Move, ...] | None:
        """The steps from the placement in force; None where there was none."""
        return self.placement.moves

    @property
    def notes(self) -> tuple[str, ...]:
        """What the plan assumes, as sentences for the user."""
        return self.placement.provenance.notes

    def to_frame(self) -> pd.DataFrame:
        """Return the placement as a table with a row for each model on a GPU."""
        return self.placement.to_frame()


def plan(
    profiles: str | Path | pd.DataFrame | Sequence[Profile] | Sequence[Measurement],
    *,
    demand: str | Path | Sequence[Requirement] | None = None,
    mode: str = "throughput",
    objective: str = "gpus",
    gpus: str | Sequence[str] = (),
    gpu_memory_mib: float | None = None,
    fleet: str | Path | Sequence[FleetType] | None = None,
    mig: bool = False,
    max_memory_pct: float | None = None,
    max_utilization_pct: float | None = None,
    max_memory_utilization_pct: float | None = None,
    keep_throughput: float = 1.0,
    proportional: bool = False,
    spare: int = 0,
    spare_of: str = "gpu",
    batch: int | None = None,
    concurrency: int | None = None,
    model_names: str | Sequence[str] = (),
    device: str | None = None,
    server_memory_mib: float | None = None,
    interference: str | Path | Mapping[str, Interference] | Sequence[Interference] = "auto",
    time_limit_s: float = 60.0,
    seed: int = 0,
    workers: int = 1,
    current: str | Path | Placement | None = None,
    max_moves: int | None = None,
    group: bool = False,
) -> PlanResult:
    """Place the models on as few GPUs as possible, and prove it; the Python form of the command `plan solve`.

    Parameters
    ----------
    profiles : str, Path, DataFrame or sequence
        Profiles as `read_profiles` returns them, or anything that it reads.
    demand : str, Path or sequence of Requirement, optional
        What must be served, or a TOML or CSV file of it; without it one copy of each model.
    mode : str
        What limits the models on a GPU. ``memory``: memory alone. ``throughput``: both utilizations as well.
    objective : str
        What the plan minimises: ``gpus``, ``cost`` or ``energy``.
    gpus : str or sequence of str
        GPU types from the catalogue, as ``"T4"`` or, with how many there are at most, ``"T4:8"``.
    gpu_memory_mib : float, optional
        Memory of one GPU that models and server can use; overrides the catalogue.
    fleet : str, Path or sequence of FleetType, optional
        The GPU types there are, or a TOML file of them; in place of `gpus`.
    mig : bool
        Whether GPUs may be cut into MIG slices, where their type can be.
    max_memory_pct, max_utilization_pct, max_memory_utilization_pct : float, optional
        Thresholds on a GPU's memory and on its sums of utilization, in percent; 100 by default. Utilizations above
        100 accept some slow-down.
    keep_throughput : float
        For models without a rate: least share of its best throughput that each model keeps, in (0, 1].
    proportional : bool
        Charge a replica utilization in proportion to the rate that it serves, in tenths.
    spare : int
        GPUs that may be lost at once while every demand is still met.
    spare_of : str
        ``gpu`` or ``node``: what `spare` counts.
    batch, concurrency : int, optional
        Use only operating points with this batch size, with this concurrency.
    model_names : str or sequence of str
        Only these models.
    device : str, optional
        Use only profiles that were measured on this device.
    server_memory_mib : float, optional
        Memory of the idle server; overrides what is found beside the measurements that `profiles` names.
    interference : str, Path, mapping or sequence of Interference
        What co-location costs models with a rate. ``auto``: as fitted to what `verify` measured, where `profiles` is a
        folder or store with that. ``none``: nothing. Else a file of `plan interference`, or what was read from one.
    time_limit_s : float
        Time of the search; then the best plan so far is returned.
    seed, workers : int
        Seed of the randomised parts of the search, and its threads; with one thread, the same input gives the same
        bytes.
    current : str, Path or Placement, optional
        The placement in force: it is changed as little as the plan allows.
    max_moves : int, optional
        With `current`: replicas that may be loaded on a GPU that does not hold them.
    group : bool
        Whether GPUs that are filled alike are one entry of the placement with a count.

    Raises
    ------
    UsageError
        If demand, profiles and fleet do not go together, or a value is not valid.
    NoPlanError
        With `current`: if no plan was found within `max_moves`, or within the time.

    Examples
    --------
    >>> from planner import plan
    >>> result = plan("tests/data/case-study.csv", gpu_memory_mib=16384, max_utilization_pct=110)
    >>> result.gpus, result.placement.gpus[0].models[0].name
    (5, 'classification_breast')
    """
    arguments = dict(locals())  # the parameters, and nothing else yet
    settings = PlanSettings(**{k: v for k, v in arguments.items() if k not in ("profiles", "current")})
    in_force = read_placement(current) if isinstance(current, str | Path) else current
    known, learnt = load_inputs(profiles, settings)
    return plan_with(known, settings, learnt=learnt, current=in_force)


def load_profiles(
    profiles: str | Path | pd.DataFrame | Sequence[Profile] | Sequence[Measurement], settings: PlanSettings
) -> tuple[Profile, ...]:
    """Return profiles as they are, or read them.

    Raises
    ------
    UsageError
        If there is nothing to read, or the server's memory is given for profiles that have it already.
    """
    if isinstance(profiles, Sequence) and not isinstance(profiles, str):
        ready = tuple(profile for profile in profiles if isinstance(profile, Profile))
        if ready and len(ready) == len(profiles):
            if settings.server_memory_mib is not None:
                raise UsageError("`server_memory_mib` belongs to where the profiles are read: give it to read_profiles")
            return ready
    return read_profiles(profiles, server_memory_mib=settings.server_memory_mib)


def load_inputs(
    profiles: str | Path | pd.DataFrame | Sequence[Profile] | Sequence[Measurement], settings: PlanSettings
) -> tuple[tuple[Profile, ...], Learnt]:
    """Return profiles, and what co-location costs: fitted to what their store has of it, or as settings say.

    Raises
    ------
    UsageError
        As `load_profiles`, or if the file of fits cannot be read.
    """
    source = read_measurements(profiles) if isinstance(profiles, str | Path) else profiles  # once for both
    return load_profiles(source, settings), _learnt(source, settings)


def _learnt(source: object, settings: PlanSettings) -> Learnt:
    from planner.interference.file import read_interference

    said = settings.interference
    if said == "none":
        return NOTHING
    if not isinstance(said, str):
        return Learnt(fits=said)
    if said != "auto":
        return Learnt(fits=tuple(read_interference(said).values()))
    return Learnt.of(source.co_locations) if isinstance(source, Measurements) else NOTHING


def plan_with(
    profiles: Sequence[Profile],
    settings: PlanSettings,
    *,
    learnt: Learnt = NOTHING,
    current: Placement | None = None,
    stop: Callable[[], bool] | None = None,
    on_progress: Callable[[Formulation], OnProgress] | None = None,
) -> PlanResult:
    """Plan as settings say; see `plan`.

    Parameters
    ----------
    learnt : Learnt
        What co-location costs.
    current : Placement, optional
        The placement in force, which is to be changed as little as the plan allows.
    stop : callable, optional
        Asked several times a second; once it returns True, the best plan so far is returned.
    on_progress : callable, optional
        Returns, for a formulation, the `on_progress` of `planner.solver.solve.solve`.
    """
    if current is None and settings.max_moves is not None:
        raise UsageError("`max_moves` limits the moves from a placement; give that with `current='placement.json'`")
    request = make_request(profiles, settings, learnt)
    formulation = formulate(request)
    follow = on_progress(formulation) if on_progress else None
    limits = SearchLimits(seconds=settings.time_limit_s, seed=settings.seed, workers=settings.workers, stop=stop)
    if current is None:
        solved = solve_formulation(formulation, limits, on_progress=follow)
    else:
        solved = _replan(formulation, current, settings.max_moves, limits, follow)
    return _result(solved, limits, group=settings.group)


def plan_request(request: Request, limits: SearchLimits, *, group: bool = False) -> PlanResult:
    """Plan a request, such as that of an earlier placement.

    Parameters
    ----------
    group : bool
        Whether GPUs that are filled alike are one entry of the placement with a count.

    Raises
    ------
    UsageError
        If the demand, the profiles and the fleet do not go together.
    """
    return _result(solve_request(request, limits), limits, group=group)


def _result(solved: Solved, limits: SearchLimits, *, group: bool) -> PlanResult:
    placement = build_placement(
        solved.plan,
        solved.formulation,
        group=group,
        search=SearchUsed(time_limit_s=limits.seconds, seed=limits.seed, workers=limits.workers),
        ids=solved.ids,
        moves=solved.moves,
        plain_lower_bound=_plain_lower_bound(solved.formulation, limits),
    )
    return PlanResult(placement=placement, solved=solved)


def _plain_lower_bound(formulation: Formulation, limits: SearchLimits) -> int | None:
    """Return a bound of the problem without what co-location costs; None where that costs nothing."""
    from planner.solver.solve import solve

    problem = formulation.problem
    if not problem.has_tolerances and not any(isinstance(rule, ContentRule) for rule in problem.rules):
        return None
    plain = formulate(replace(formulation.request, learnt=NOTHING)).problem
    return solve(plain, limits.within(_PLAIN_BOUND_S)).lower_bound


def solve_request(request: Request, limits: SearchLimits) -> Solved:
    """Formulate and solve a request.

    Raises
    ------
    UsageError
        If the demand, the profiles and the fleet do not go together.
    """
    return solve_formulation(formulate(request), limits)


def solve_formulation(
    formulation: Formulation, limits: SearchLimits, *, on_progress: OnProgress | None = None
) -> Solved:
    """Solve; of plans that cost the same take one with the fewest GPUs, then even out how full the GPUs are."""
    from planner.solver.balance import even_out
    from planner.solver.solve import solve
    from planner.solver.tie_break import fewest_gpus

    found = solve(formulation.problem, limits, on_progress=on_progress)
    if not limits.over:

        def again(problem: Problem) -> Plan:
            return solve(problem, limits.within(_TIE_BREAK_S))

        found = fewest_gpus(found, formulation.problem, again)
    return Solved(formulation=formulation, plan=even_out(found, formulation.problem))


def _replan(
    formulation: Formulation,
    current: Placement,
    max_moves: int | None,
    limits: SearchLimits,
    on_progress: OnProgress | None,
) -> Solved:
    """Solve without regard to the placement in force, then change it as little as possible; half the time for each."""
    from planner.replan.current_placement import current_gpus, loaded_as, moves_between
    from planner.replan.replan import replan

    half_s = limits.left_s / 2
    free = solve_formulation(formulation, limits.within(half_s), on_progress=on_progress)
    if free.plan.objective is None:
        return free
    found = replan(
        formulation.problem,
        current_gpus(current, formulation),
        free.plan,
        loaded_as(formulation),
        max_moves=max_moves,
        limits=limits.within(half_s),
    )
    if found is None:
        within = "in the time; give more with `time_limit_s`"
        if max_moves is not None:
            within = f"within {max_moves} moves; give more with `max_moves`, or leave it out"
        raise NoPlanError(f"no plan was found {within}")
    moves = moves_between(current, found.plan.gpus, found.ids, formulation)
    return replace(free, plan=found.plan, ids=found.ids, moves=moves)
