"""Test co-locations in the store: every field is kept, and a co-location that is measured again replaces the first."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from analyzer.measurements.co_location import CoLocatedModel, CoLocation
from analyzer.measurements.record import Status
from analyzer.measurements.store import Store
from tests.builders.stored import DONE, TRIAL, full_record

BESIDE = replace(DONE, trial=replace(TRIAL, model="liver", request_rate_per_s=12.5, concurrency=0))
PAIR = CoLocation(
    models=(
        CoLocatedModel(
            measurement=BESIDE, replicas=2, busy_share=0.4, slow_down=1.25, slow_down_half_width=0.05, tolerance=0.1
        ),
        CoLocatedModel(measurement=full_record()),
    )
)


def test_co_locations_keep_every_field(tmp_path: Path) -> None:
    """After reopening, a co-location has equal models in their order; single measurements are not touched."""
    failed = replace(PAIR.models[0], measurement=replace(BESIDE, status=Status.OUT_OF_MEMORY, cause="no memory"))
    other = CoLocation(models=(failed,))
    with Store.open(tmp_path / "s") as store:
        store.append(DONE)
        store.append_co_location(PAIR)
        store.append_co_location(other)
    with Store.open(tmp_path / "s") as store:
        assert store.co_locations() == (PAIR, other)
        assert store.measurements() == (DONE,)
    assert PAIR.measured
    assert not other.measured
    assert PAIR.device_name == "Tesla T4"


def test_a_co_location_measured_again_replaces_the_first(tmp_path: Path) -> None:
    """The same trials on the same device are one co-location; it comes last."""
    again = replace(PAIR, models=(replace(PAIR.models[0], slow_down=1.5), PAIR.models[1]))
    other = CoLocation(models=PAIR.models[:1])
    with Store.open(tmp_path / "s") as store:
        for found in (PAIR, other, again):
            store.append_co_location(found)
        assert store.co_locations() == (other, again)
