"""Test the repair of a plan on made-up measurements: contents of more than so many models miss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from analyzer.measurements.co_location import CoLocatedModel, CoLocation
from analyzer.measurements.record import Measurement
from analyzer.measurements.source import Measurements
from analyzer.measurements.store import Store
from analyzer.servers.local import LocalServer
from analyzer.sweep.job import Job
from analyzer.sweep.prepare import PreparedSweep
from analyzer.sweep.settings import SweepSettings
from planner import plan
from planner.placement.document import Placement
from planner.verification.compare import Expectations, compare
from planner.verification.contents import MeasuredContent, PlannedContent, contents_of, loads_of
from planner.verification.document import Verdict, Verification, VerificationProvenance, worst
from planner.verification.repair import Repaired, repair
from planner.verification.settings import VerifySettings
from planner.verification.verify import PreparedVerification
from tests.builders.measurements import measured

NAMES = ("a", "b", "c", "d")
PROFILED = tuple(replace(measured(name), max_utilization=0.5, throughput_ci=0.01) for name in NAMES)
NOTHING_RUNS = Job(models=(), repository={}, variants={}, strategies={})


class MadeUpDevice:
    """A device on which contents of at most `most` models hold; in larger ones each model serves 60 of 100 infer/s."""

    def __init__(self, store: Path, *, most: int, memory_bytes: int | None = None) -> None:
        self._settings = SweepSettings(output=store)
        self._most = most
        self._memory_bytes = memory_bytes
        self.verified: list[list[frozenset[str]]] = []
        self.failed: set[frozenset[str]] = set()

    def prepare(self, placement: Placement) -> PreparedVerification:
        """Prepare a verification of all contents."""
        sweep = PreparedSweep(
            settings=self._settings, job=NOTHING_RUNS, server=LocalServer(), server_why="", devices=()
        )
        return PreparedVerification(
            placement=placement,
            known=Measurements(rows=PROFILED, server_only=()),
            settings=VerifySettings(repair=True),
            contents=contents_of(placement),
            not_tried=(),
            sweep=sweep,
        )

    def verify(self, prepared: PreparedVerification) -> Verification:
        """Store what each content would deliver, and judge it as a real verification does."""
        expected = Expectations(placement=prepared.placement, fits={}, profiled=PROFILED, tolerance=0.05)
        found = tuple(compare(self._measure(content), expected) for content in prepared.contents)
        self.verified.append([frozenset(model.name for model in content.models) for content in prepared.contents])
        provenance = VerificationProvenance(
            tool="tritonpack",
            tool_version="0",
            placement_sha256="0" * 64,
            devices=(),
            server="",
            precision_pct=5.0,
            max_trial_s=15.0,
            seed=0,
            calibrated=False,
        )
        return Verification(
            schema_version="1.0",
            mode=prepared.placement.mode,
            verdict=worst(content.verdict for content in found),
            contents=found,
            not_tried=(),
            provenance=provenance,
        )

    def _measure(self, content: PlannedContent) -> MeasuredContent:
        loads = loads_of(content)
        alone = tuple(next(m for m in PROFILED if m.trial.model == load.trial.model) for load in loads)
        holds = len(loads) <= self._most
        if not holds:
            self.failed.add(frozenset(load.trial.model for load in loads))
        together = CoLocation(models=tuple(self._beside(one, 1.0 if holds else 0.6) for one in alone))
        with Store.open(self._settings.store_place) as store:
            store.append_co_location(together)
        return MeasuredContent(content=content, loads=loads, models=together, alone=alone, control=None)

    def _beside(self, alone: Measurement, share: float) -> CoLocatedModel:
        measurement = replace(
            alone,
            throughput_infer_per_s=(alone.throughput_infer_per_s or 0.0) * share,
            mean_utilization=0.5,
            max_memory_bytes=self._memory_bytes or alone.max_memory_bytes,
        )
        return CoLocatedModel(measurement=measurement, busy_share=0.5, slow_down=1 / share)


def repaired(device: MadeUpDevice, *, gpus: str = "T4", rounds: int = 9) -> Repaired:
    """Plan one copy of each model, four on a GPU where the thresholds count, and repair that."""
    first = plan(PROFILED, gpus=gpus, max_utilization_pct=200.0, server_memory_mib=309.0).placement
    return repair(device.prepare(first), device.prepare, rounds=rounds, verify=device.verify)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_repair_ends_on_a_plan_that_holds(tmp_path: Path, most: int) -> None:
    """It ends on the fewest GPUs whose contents hold, and no plan has a content that failed before, or more of it."""
    device = MadeUpDevice(tmp_path, most=most)
    found = repaired(device, rounds=20)
    assert found.verification.verdict is Verdict.HOLDS
    assert not found.none_left
    assert len(found.placement.one_by_one()) == {1: 4, 2: 2, 3: 2}[most]
    failed: set[frozenset[str]] = set()
    for contents in device.verified:
        assert not any(content >= past for content in contents for past in failed)
        failed |= {content for content in contents if len(content) > most}
    assert [r.gpus for r in found.rounds] == sorted(r.gpus for r in found.rounds)


def test_repair_measures_no_content_again_that_held(tmp_path: Path) -> None:
    """What held in one round is in later plans with its result and that round's number."""
    device = MadeUpDevice(tmp_path, most=1)
    found = repaired(device, rounds=20)
    measured = [content for contents in device.verified for content in contents]
    assert len(measured) == len(set(measured))
    assert sum(r.reused for r in found.rounds) > 0
    assert [r.contents - r.reused for r in found.rounds] == [len(contents) for contents in device.verified]
    last = found.verification.contents
    assert [gpu for content in last for gpu in content.gpus] == [gpu.id for gpu in found.placement.one_by_one()]
    first = {content: number for number, contents in enumerate(device.verified, 1) for content in contents}
    for content in last:
        number = first[frozenset(model.name for model in content.models)]
        assert content.cause == ("" if number == len(found.rounds) else f"measured in round {number}")


def test_repair_ends_where_a_plan_has_a_content_that_missed_before(tmp_path: Path) -> None:
    """A device whose memory is above its threshold misses, which the solver does not know: it plans that again."""
    device = MadeUpDevice(tmp_path, most=4, memory_bytes=10**12)
    found = repaired(device, rounds=20)
    assert found.none_left
    assert [r.misses for r in found.rounds] == [1]


def test_repair_says_that_no_plan_is_left(tmp_path: Path) -> None:
    """With a single GPU and a content that fails there, the verification that misses is kept, and none is left.

    An error was once raised instead, and what had been measured was neither shown nor written.
    """
    found = repaired(MadeUpDevice(tmp_path, most=3), gpus="T4:1")
    assert found.none_left
    assert found.verification.verdict is Verdict.MISSES
    assert [r.misses for r in found.rounds] == [1]


def test_repair_ends_after_its_rounds(tmp_path: Path) -> None:
    """With one round it verifies one plan, which is the last although it misses."""
    found = repaired(MadeUpDevice(tmp_path, most=3), rounds=1)
    assert not found.none_left
    assert found.verification.verdict is Verdict.MISSES
    assert len(found.rounds) == 1
