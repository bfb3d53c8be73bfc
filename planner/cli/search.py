"""The options that limit a search, and the search with its progress."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import click

from analyzer.errors import EXIT_INFEASIBLE
from planner.cli.inputs import Inputs
from planner.cli.progress import Progress
from planner.formulate import Formulation, formulate
from planner.objective import from_units
from planner.plan import Plan, Status

Command = TypeVar("Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--time-limit", type=click.FloatRange(min=0, min_open=True), default=60.0, metavar="S",
                 show_default=True,
                 help="Seconds until the best plan so far is taken."),
    click.option("--seed", type=click.IntRange(min=0), default=0, metavar="N", show_default=True,
                 help="Of the randomised parts of the search."),
    click.option("--workers", type=click.IntRange(min=1), default=1, metavar="N", show_default=True,
                 help="Threads; with one, the same input gives the same bytes."),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A plan and the problem it answers."""

    formulation: Formulation
    plan: Plan

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
    from planner.solve import solve

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
    return Answer(formulation=formulation, plan=plan)
