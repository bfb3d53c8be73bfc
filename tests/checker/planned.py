"""Plan the request of a seed with tritonpack, and read what it answers from the placement file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from analyzer import UsageError
from planner import NoPlanError, Placement, PlanResult, plan, write_placement
from tests.checker.least_cost import LeastCost
from tests.checker.operating_points import Asked, asked
from tests.checker.request_files import RequestFiles, read_files

_SECONDS = 10.0
NEAR = 1e-6  # of an objective's value


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A plan, as the placement file says it.

    Parameters
    ----------
    result : PlanResult or None
        None where the request was refused, or no plan is within the moves; `refusal` says why.
    """

    folder: Path
    result: PlanResult | None = None
    document: dict[str, Any] | None = None
    refusal: Exception | None = None

    @property
    def status(self) -> str:
        """The plan's status, ``refused`` or ``no plan``."""
        if self.document is None:
            return "refused" if isinstance(self.refusal, UsageError) else "no plan"
        return self.document["status"]

    @property
    def value(self) -> float | None:
        """The objective's value."""
        return self.document["objective"]["value"] if self.document else None

    @property
    def lower_bound(self) -> float:
        """The proven lower bound."""
        assert self.document is not None
        return self.document["objective"]["lower_bound"]


def answer(
    files: RequestFiles, folder: Path, *, current: Placement | None = None, max_moves: int | None = None
) -> Answer:
    """Write the files, and plan them."""
    folder.mkdir(exist_ok=True)
    files.write(folder)
    more: dict[str, Any] = {} if current is None else {"current": current, "max_moves": max_moves}
    try:
        result = plan(folder / "measurements.csv", **files.arguments(folder), time_limit_s=_SECONDS, **more)
    except (UsageError, NoPlanError) as refusal:
        return Answer(folder=folder, refusal=refusal)
    write_placement(result.placement, folder / "placement.json")
    return Answer(folder=folder, result=result, document=json.loads((folder / "placement.json").read_text()))


def read_back(files: RequestFiles, folder: Path) -> Asked:
    """Return the checker's own reading of the files in a folder.

    Raises
    ------
    RefusedError
        If a figure that is needed was not measured.
    """
    return asked(read_files(folder, files.options))


def least_value(request: Asked) -> tuple[str, Fraction | None]:
    """Return ``optimal`` with the least value, ``infeasible``, or ``unknown``, by the checker's model."""
    found = LeastCost(request).solve()
    if not found.known:
        return "unknown", None
    return ("infeasible", None) if found.infeasible else ("optimal", found.value)
