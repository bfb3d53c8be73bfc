"""Repair a placement: verify it, learn from what was measured, plan again, until a plan holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from analyzer.formats.text_table import Column, plain_text
from analyzer.formats.units import whole
from analyzer.measurements.store import Store
from planner.explanation.explain import request_of
from planner.formulation.request import Request
from planner.inputs.profiles import build_profiles
from planner.interference.learnt import Learnt
from planner.placement.document import Placement
from planner.planning import plan_request
from planner.solver.limits import SearchLimits
from planner.verification.document import Verdict, Verification
from planner.verification.verify import PreparedVerification

_TIME_LIMIT_S = 60.0  # of each search where the placement does not say its own


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of a repair.

    Parameters
    ----------
    number : int
        From 1.
    gpus : int
        GPUs of the plan that was verified.
    misses : int
        Contents that did not hold.
    measured : int
        Contents of several models that the store has now, which the next plan is made with.
    """

    number: int
    gpus: int
    contents: int
    misses: int
    measured: int
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """The last plan of a repair, how it was verified, and the rounds that led to it.

    Parameters
    ----------
    none_left : bool
        Whether that plan misses and there is none without a content that failed.
    """

    placement: Placement
    verification: Verification
    rounds: tuple[Round, ...]
    none_left: bool = False


def repair(
    prepared: PreparedVerification,
    prepare_again: Callable[[Placement], PreparedVerification],
    *,
    rounds: int,
    verify: Callable[[PreparedVerification], Verification],
) -> Repaired:
    """Verify, learn and plan again until a plan holds, or for so many rounds.

    A content that failed is never planned again, at the same operating points or heavier ones, so every round that
    misses leaves fewer contents to plan: it ends.

    Parameters
    ----------
    prepared : PreparedVerification
        Of the placement to begin with; all of its contents are measured.
    prepare_again : callable
        Prepares the verification of another placement.
    verify : callable
        Runs a verification.
    """
    done: list[Round] = []
    while True:
        placement, found = prepared.placement, verify(prepared)
        with Store.open(prepared.sweep.settings.store_place) as store:
            learnt = Learnt.of(store.co_locations())
        misses = sum(content.verdict is Verdict.MISSES for content in found.contents)
        done.append(
            Round(
                number=len(done) + 1,
                gpus=len(placement.one_by_one()),
                contents=len(found.contents),
                misses=misses,
                measured=sum(len(one.models) > 1 for one in learnt.co_locations),
                verdict=found.verdict,
            )
        )
        repaired = Repaired(placement=placement, verification=found, rounds=tuple(done))
        if not misses or len(done) >= rounds:
            return repaired
        again = _plan_again(prepared, learnt)
        if again is None:
            return replace(repaired, none_left=True)
        prepared = prepare_again(again)


def _plan_again(prepared: PreparedVerification, learnt: Learnt) -> Placement | None:
    """Plan with what was learnt; None if no plan is left."""
    placement, known = prepared.placement, prepared.known
    request: Request = replace(request_of(placement, build_profiles(known.rows, known.server_only)), learnt=learnt)
    search = placement.provenance.search
    limits = SearchLimits(
        seconds=(search.time_limit_s if search else None) or _TIME_LIMIT_S,
        seed=(search.seed if search else None) or 0,
        workers=(search.workers if search else None) or 1,
    )
    result = plan_request(request, limits)
    return None if result.gpus is None else result.placement


def rounds_text(rounds: Sequence[Round]) -> str:
    """Write the rounds as a table."""
    return plain_text(_COLUMNS, rounds)


_COLUMNS: list[Column[Round]] = [
    Column(title="Round", unit="", text=lambda r: whole(r.number)),
    Column(title="GPUs", unit="", text=lambda r: whole(r.gpus)),
    Column(title="Contents", unit="", text=lambda r: whole(r.contents)),
    Column(title="Misses", unit="", text=lambda r: whole(r.misses)),
    Column(title="Learnt from", unit="contents", text=lambda r: whole(r.measured)),
    Column(title="Verdict", unit="", text=lambda r: r.verdict.value, numeric=False),
]
