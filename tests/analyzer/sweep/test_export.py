"""Test the export of a sweep: when it starts, and that a thread writes what the end of a sweep writes."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from analyzer.errors import TritonpackError
from analyzer.search import SearchMethod
from analyzer.search.strategy import Strategy
from analyzer.sweep.export import Export
from analyzer.sweep.observer import Recording
from analyzer.sweep.settings import SweepSettings
from tests.builders.measurements import failed, measured

ROWS = (measured(batch=1), measured(batch=2), failed(batch=4), measured("other"))


def settings_for(folder: Path) -> SweepSettings:
    """Make the settings of an export into a folder, with the store beside it."""
    return SweepSettings(output=folder.parent / "store.sqlite", export=True, export_path=folder)


def test_call_is_made_once_with_the_last_trial() -> None:
    """The recording calls when it has as many trials as were named, and not again for a later one."""
    recording, seen = Recording(), list[int]()
    recording.call_after(2, lambda: seen.append(len(recording.measurements)))
    for row in ROWS:
        recording.trial_ended(row, found=False)
    assert seen == [2]


def test_files_from_a_thread_are_those_of_the_end(tmp_path: Path) -> None:
    """The same CSV and the same figures are written, whether the export was started early or not."""
    early, late = Export(settings_for(tmp_path / "early")), Export(settings_for(tmp_path / "late"))
    early.start(ROWS)
    figures = [[path.name for path in export.finish(ROWS)] for export in (early, late)]
    # one for each of two models
    assert figures == [["model-chest.png", "model-other.png"]] * 2
    tables = [(tmp_path / folder / "metrics-model.csv").read_text() for folder in ("early", "late")]
    assert tables[0] == tables[1]
    assert len(list(csv.DictReader(tables[0].splitlines()))) == len(ROWS)
    assert {path.name for path in (tmp_path / "early").iterdir()} == {
        path.name for path in (tmp_path / "late").iterdir()
    }


def test_error_of_the_thread_is_raised_at_the_end(tmp_path: Path) -> None:
    """A file in the place of the folder fails the export with its reason, not only the thread."""
    (tmp_path / "taken").write_text("")
    export = Export(settings_for(tmp_path / "taken"))
    export.start(ROWS)
    with pytest.raises(TritonpackError, match=r"the export to .*taken failed: .*; the measurements are in"):
        export.finish(ROWS)


@pytest.mark.parametrize(
    ("strategy", "exact"),
    [
        (Strategy(), True),
        (Strategy(method=SearchMethod.CLIMB), False),
        (Strategy(find_peak=True, latency_p99_s=0.1), False),
        (Strategy(max_instances=2), False),
    ],
)
def test_number_of_trials_is_exact_for_a_grid_only(strategy: Strategy, *, exact: bool) -> None:
    """A search has more or fewer trials than its estimate, so that its last one is not known by counting."""
    assert strategy.is_exact is exact
