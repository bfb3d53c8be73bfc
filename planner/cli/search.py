"""The options that limit a search, and the search with its progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click

from analyzer.errors import EXIT_INFEASIBLE, TritonpackError
from planner.cli.inputs import Inputs
from planner.cli.progress import Progress
from planner.formulation.formulate import Formulation, formulate
from planner.formulation.objective import from_units
from planner.placement.document import Placement
from planner.problem.plan import Plan, Status
from planner.problem.problem import Problem
from planner.solver.balance import even_out
from planner.solver.tie_break import fewest_gpus

Command = TypeVar("Command", bound=Callable[..., Any])

_TIE_BREAK_S = 2.0  # for the fewest GPUs among plans that are proven to cost the least

_OPTIONS = (
    click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), default=60.0, metavar="S",
                 show_default=True,
                 help="Seconds until the best plan so far is taken."),
    click.option("--seed", type=click.IntRange(min=0), default=0, metavar="N", show_default=True,
                 help="Of the randomised parts of the search."),
    click.option("--workers", type=click.IntRange(min=1), default=1, metavar="N", show_default=True,
                 help="Threads; with one, the same input gives the same bytes."),
)  # fmt: skip


class NoPlanError(TritonpackError):
    """There is no plan that keeps to what was asked."""

    exit_code = EXIT_INFEASIBLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A plan and the problem it answers.

    Parameters
    ----------
    ids : tuple of str
        Of the plan's GPUs, where they are known from a placement in force.
    moves : sequence or None
        The steps from it.
    """

    formulation: Formulation
    plan: Plan
    ids: tuple[str, ...] = ()
    moves: Sequence[Mapping[str, Any]] | None = None

    @property
    def exit_code(self) -> int:
        """0 for a plan; 3 where there is none."""
        return EXIT_INFEASIBLE if self.plan.status is Status.INFEASIBLE else 1 if self.plan.objective is None else 0


def search_options(command: Command) -> Command:
    """Give a command the options that limit a search."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def search_limits(options: Mapping[str, Any]) -> dict[str, int | float]:
    """The limits as the placement records them."""
    return {"time_limit_s": options["time_limit"], "seed": options["seed"], "workers": options["workers"]}


def answer(inputs: Inputs, options: Mapping[str, Any], *, quiet: bool = False) -> Answer:
    """Formulate and solve, with progress on stderr; a Ctrl-C gives the best plan so far.

    Raises
    ------
    UsageError
        If the demand, the profiles and the fleet do not go together.
    """
    formulation = formulate(inputs.profiles, inputs.requirements, inputs.fleet, inputs.rules)
    formulation = replace(formulation, notes=(*inputs.notes, *formulation.notes))
    from planner.solver.solve import solve

    unit = inputs.rules.objective.unit
    progress = Progress(lambda v: f"{from_units(v, formulation.cost_divisor):g} {unit}", quiet=quiet)
    with progress.listening():
        plan = solve(
            formulation.problem,
            time_limit_s=options["time_limit"],
            seed=options["seed"],
            workers=options["workers"],
            progress=progress,
            stop=progress.stop,
        )
        if not progress.stopped:

            def again(problem: Problem) -> Plan:
                return solve(problem, time_limit_s=_TIE_BREAK_S, seed=options["seed"], workers=options["workers"])

            plan = fewest_gpus(plan, formulation.problem, again)
    return Answer(formulation=formulation, plan=even_out(plan, formulation.problem))


def answer_from(current: Placement, inputs: Inputs, options: Mapping[str, Any]) -> Answer:
    """Solve, then change the placement in force as little as that cost allows; half of the time for each.

    Raises
    ------
    UsageError
        As `answer`; or if the placement is too large to be changed move by move.
    NoPlanError
        If no plan keeps within the moves.
    """
    from planner.replan.current_placement import held_gpus, replica_sizes, steps_between
    from planner.replan.replan import replan

    half = {**options, "time_limit": options["time_limit"] / 2}
    free = answer(inputs, half)
    if free.plan.objective is None:
        return free
    problem, formulation = free.formulation.problem, free.formulation
    found = replan(
        problem,
        held_gpus(current, formulation),
        free.plan,
        replica_sizes(formulation),
        max_moves=options["max_moves"],
        time_limit_s=half["time_limit"],
        seed=options["seed"],
        workers=options["workers"],
    )
    if found is None:
        within = "in the time; give more with --time-limit"
        if options["max_moves"] is not None:
            within = f"within {options['max_moves']} moves; give more with --max-moves, or leave it out"
        raise NoPlanError(f"no plan was found {within}")
    steps = steps_between(current, found.plan.gpus, found.ids, formulation)
    return Answer(formulation=formulation, plan=found.plan, ids=found.ids, moves=steps)
