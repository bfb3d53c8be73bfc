"""Repair a placement: verify it, learn from what was measured, plan again, until a plan holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from planner.verification.contents import PlannedContent, loads_of
from planner.verification.document import Verdict, Verification, VerifiedContent, worst
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
    contents : int
        Its distinct contents.
    reused : int
        Those of them that held in an earlier round and were not measured again.
    misses : int
        Contents that did not hold.
    measured : int
        Contents of several models that the store has now, which the next plan is made with.
    """

    number: int
    gpus: int
    contents: int
    reused: int
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

    A content that failed is not planned again, at the same operating points or heavier ones; if a plan has one that
    missed before, the repair ends there. So every round measures some content that none measured before, of which there
    are so many: it ends. What held in an earlier round is not measured again.

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
    held: dict[object, VerifiedContent] = {}
    missed: set[object] = set()
    server = ""
    while True:
        placement = prepared.placement
        again = [_identity(content) in held for content in prepared.contents]
        found = _verified(prepared, held, verify, server=server)
        server = found.provenance.server
        for content, own in zip(prepared.contents, found.contents, strict=True):
            if own.verdict is Verdict.MISSES:
                missed.add(_identity(content))
            elif own.verdict.shown_to_hold:
                held.setdefault(_identity(content), _as_of(own, len(done) + 1))
        with Store.open(prepared.sweep.settings.store_place) as store:
            learnt = Learnt.of(store.co_locations())
        misses = sum(content.verdict is Verdict.MISSES for content in found.contents)
        done.append(
            Round(
                number=len(done) + 1,
                gpus=len(placement.one_by_one()),
                contents=len(found.contents),
                reused=sum(again),
                misses=misses,
                measured=sum(len(one.models) > 1 for one in learnt.co_locations),
                verdict=found.verdict,
            )
        )
        repaired = Repaired(placement=placement, verification=found, rounds=tuple(done))
        if not misses or len(done) >= rounds:
            return repaired
        planned = _plan_again(prepared, learnt)
        if planned is None:
            return replace(repaired, none_left=True)
        prepared = prepare_again(planned)
        if any(_identity(content) in missed for content in prepared.contents):
            return replace(repaired, none_left=True)


def _identity(content: PlannedContent) -> object:
    """Return what two plans have in common if they have the same content: what is sent to it, and where."""
    loads = ((load.trial, load.placed.replicas, load.instances) for load in loads_of(content))
    return content.type, content.slice_profile, frozenset(loads)


def _verified(
    prepared: PreparedVerification,
    held: Mapping[object, VerifiedContent],
    verify: Callable[[PreparedVerification], Verification],
    *,
    server: str,
) -> Verification:
    """Verify what did not hold in an earlier round, and add the results of what did.

    Parameters
    ----------
    server : str
        The server of the round before, if no content is left to measure.
    """
    known = [held.get(_identity(content)) for content in prepared.contents]
    left = tuple(content for content, own in zip(prepared.contents, known, strict=True) if own is None)
    found = verify(replace(prepared, contents=left))
    measured = iter(found.contents)
    contents = tuple(
        next(measured) if own is None else replace(own, gpus=content.gpus)
        for content, own in zip(prepared.contents, known, strict=True)
    )
    provenance = replace(
        found.provenance,
        devices=tuple(sorted({content.device for content in contents})),
        server=found.provenance.server or server,
    )
    verdict = worst(content.verdict for content in contents) if contents else found.verdict
    return replace(found, contents=contents, verdict=verdict, provenance=provenance)


def _as_of(content: VerifiedContent, number: int) -> VerifiedContent:
    """Return what was measured in a round as a later one reports it."""
    return replace(content, cause="; ".join(filter(None, [content.cause, f"measured in round {number}"])))


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
    Column(title="Held before", unit="", text=lambda r: whole(r.reused)),
    Column(title="Misses", unit="", text=lambda r: whole(r.misses)),
    Column(title="Learnt from", unit="contents", text=lambda r: whole(r.measured)),
    Column(title="Verdict", unit="", text=lambda r: r.verdict.value, numeric=False),
]
