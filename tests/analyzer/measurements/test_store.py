"""Test the store: rows are kept, a later one replaces an earlier one, and failures are one line."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from analyzer.errors import StoreError, UsageError
from analyzer.measurements.record import Status
from analyzer.measurements.store import SCHEMA_VERSION, Store
from tests.builders.stored import APPEND_100, BASELINE, DONE, HOST, TRIAL, full_record


def test_append_keeps_every_field(tmp_path: Path) -> None:
    """After reopening every field equals what was appended, including None and text that looks like code."""
    failed = replace(DONE, trial=replace(TRIAL, batch=8), status=Status.LOAD_FAILED, cause='it\'s "bad"; DROP TABLE é')
    rated = replace(full_record(), trial=replace(TRIAL, concurrency=0, request_rate_per_s=50.5))
    with Store.open(tmp_path / "deep" / "measurements.sqlite") as store:
        for measurement in (DONE, failed, rated):
            store.append(measurement)
        store.append_server_only(BASELINE)
    with Store.open(str(tmp_path / "deep" / "measurements.sqlite"), create=False) as store:
        assert store.measurements() == (DONE, failed, rated)
        assert store.server_only() == (BASELINE,)
        assert store.find(failed.trial, HOST) == failed


def test_find_takes_the_figures_of_devices_that_are_alike(tmp_path: Path) -> None:
    """Figures of the device itself come first, then those of devices alike; a failure is found if none has any."""
    other = replace(DONE, provenance=replace(HOST, device_uuid="other"), throughput_infer_per_s=7.0)
    failed = replace(DONE, trial=replace(TRIAL, batch=8), status=Status.LOAD_FAILED)
    with Store.open(tmp_path / "s") as store:
        store.append(other)
        store.append(failed)
        assert store.find(TRIAL, HOST) is None
        assert store.find(TRIAL, HOST, alike=("none", "other")) == other
        assert store.find(TRIAL, replace(HOST, driver="new"), alike=("other",)) is None
        store.append(DONE)
        assert store.find(TRIAL, HOST, alike=("other",)) == DONE
        assert store.find(failed.trial, HOST, alike=("other",)) == failed
        assert store.device_uuids() == {HOST.device_name: {HOST.device_uuid, "other"}}


def test_append_replaces_the_same_trial_and_provenance(tmp_path: Path) -> None:
    """A trial that is measured again replaces its earlier row and comes last; other trials are unchanged."""
    other = replace(DONE, trial=replace(TRIAL, batch=1))
    again = replace(DONE, throughput_infer_per_s=180.0)
    with Store.open(tmp_path / "s") as store:
        for measurement in (DONE, other, again):
            store.append(measurement)
        assert store.measurements() == (other, again)


def test_a_rate_is_the_same_trial_as_a_whole_number(tmp_path: Path) -> None:
    """50 and 50.0 requests per second are one trial, as the records compare."""
    with Store.open(tmp_path / "s") as store:
        store.append(replace(DONE, trial=replace(TRIAL, request_rate_per_s=50)))
        assert store.find(replace(TRIAL, request_rate_per_s=50.0), HOST) is not None


@pytest.mark.parametrize(
    "change", [{"model_hash": "b" * 64}, {"server": "2.52.0"}, {"tool_version": "0.2.0"}, {"driver": "550"}]
)
def test_finished_requires_the_same_provenance(tmp_path: Path, change: dict[str, str]) -> None:
    """With a changed model file, server, tool or driver nothing counts as measured; new figures supersede the old."""
    changed = replace(DONE, provenance=replace(HOST, **change))
    with Store.open(tmp_path / "s") as store:
        store.append(DONE)
        store.append(replace(DONE, trial=replace(TRIAL, batch=1)))
        assert set(store.finished(HOST)) == {TRIAL, replace(TRIAL, batch=1)}
        assert store.finished(changed.provenance) == {}
        assert store.find(TRIAL, changed.provenance) is None
        store.append(changed)
        assert store.measurements() == (changed,)
        assert len(store.measurements(superseded=True)) == 3


def test_finished_leaves_out_failures_and_other_settings(tmp_path: Path) -> None:
    """Failed trials and trials with other settings do not count as measured; unsettled ones do."""
    failed = replace(DONE, trial=replace(TRIAL, batch=8), status=Status.TIMED_OUT, cause="60 s")
    unsettled = replace(DONE, trial=replace(TRIAL, batch=16), status=Status.UNSETTLED, cause="drift")
    with Store.open(tmp_path / "s") as store:
        for measurement in (DONE, failed, unsettled):
            store.append(measurement, settings="http")
        assert store.finished(HOST, settings="http") == {TRIAL: DONE, unsettled.trial: unsettled}
        assert store.finished(HOST, settings="grpc") == {}
        assert store.find(TRIAL, HOST, settings="grpc") is None


def test_measurements_of_other_devices_and_models_are_kept(tmp_path: Path) -> None:
    """Only measurements of the same model on the same device are superseded."""
    elsewhere = replace(DONE, provenance=replace(HOST, device_uuid="GPU-2"))
    other = replace(DONE, trial=replace(TRIAL, model="liver"), provenance=replace(HOST, model_hash="c"))
    with Store.open(tmp_path / "s") as store:
        for measurement in (DONE, elsewhere, other):
            store.append(measurement)
        assert store.measurements() == (DONE, elsewhere, other)


def test_server_only_keeps_the_last_of_each_device(tmp_path: Path) -> None:
    """The idle server measured again on a device replaces the figure that the planner charges."""
    later = replace(BASELINE, provenance=replace(HOST, server="2.52.0"), memory_bytes=400 << 20)
    with Store.open(tmp_path / "s") as store:
        store.append_server_only(BASELINE)
        store.append_server_only(later)
        assert store.server_only() == (later,)


def test_open_refuses_a_newer_schema(tmp_path: Path) -> None:
    """A store of a later tool is refused; the error names both schema versions."""
    Store.open(tmp_path / "s").close()
    with sqlite3.connect(tmp_path / "s") as connection:
        connection.execute("UPDATE tritonpack_schema SET version = 99")
    with pytest.raises(StoreError, match=f"schema version 99 and this tritonpack knows up to {SCHEMA_VERSION}"):
        Store.open(tmp_path / "s")


@pytest.mark.parametrize("version", [0, SCHEMA_VERSION])
def test_open_brings_an_older_schema_up_to_date(tmp_path: Path, version: int) -> None:
    """Columns that an older tool's tables lack are added with their defaults; its trials are kept."""
    with Store.open(tmp_path / "s") as store:
        store.append(full_record())
    with sqlite3.connect(tmp_path / "s") as connection:
        connection.execute("ALTER TABLE measurements DROP COLUMN late")
        connection.execute("ALTER TABLE measurements DROP COLUMN variant_max_queue_delay_s")
        connection.execute("ALTER TABLE measurements DROP COLUMN memory_is_reservation")
        connection.execute("UPDATE tritonpack_schema SET version = ?", (version,))
    with Store.open(tmp_path / "s") as store:
        assert store.measurements() == (replace(full_record(), late=None),)
        store.append(full_record())
        assert store.measurements() == (full_record(),)


@pytest.mark.parametrize(
    ("place", "error", "said"),
    [
        ("mysql://user:secret@host/x", UsageError, "a store cannot be 'mysql://"),
        ("postgresql://user:secret@host:port/x", UsageError, "the store is no URL"),
        ("sqlite://", UsageError, "give a file"),
        ("postgresql://user:secret@127.0.0.1:1/x", StoreError, "127.0.0.1"),
    ],
)
def test_open_refuses_what_is_no_store(place: str, error: type[Exception], said: str) -> None:
    """A URL that is not valid or cannot be reached is refused in one line, without its password."""
    with pytest.raises(error, match=said) as raised:
        Store.open(place)
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_open_explains_files_that_are_no_store(tmp_path: Path) -> None:
    """Refused with the reason are a file of another kind, a folder, a missing store and a path below a file."""
    (tmp_path / "text").write_text("not a database, but long enough to have a header" * 10)
    with pytest.raises(StoreError, match="is not an SQLite file"):
        Store.open(tmp_path / "text")
    with pytest.raises(StoreError, match="unable to open"):
        Store.open(tmp_path)
    with pytest.raises(StoreError, match="there is no store at"):
        Store.open(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()
    with pytest.raises(StoreError, match="cannot be made"):
        Store.open(tmp_path / "text" / "s")


def test_two_sweeps_share_one_store(tmp_path: Path) -> None:
    """Four processes that create and fill one store at once lose no row: 4 x 100 rows."""
    runs = [
        subprocess.Popen([sys.executable, "-c", APPEND_100, str(tmp_path / "s"), f"m{number}"]) for number in range(4)
    ]
    assert [run.wait(timeout=60) for run in runs] == [0, 0, 0, 0]
    with Store.open(tmp_path / "s") as store:
        assert len(store.measurements()) == 400


FILL = """
import sys
from dataclasses import replace
from analyzer.errors import StoreError
from analyzer.measurements.store import Store
from tests.builders.stored import DONE, TRIAL
kept = 0
with Store.open(sys.argv[1]) as store:
    try:
        for batch in range(10_000):
            store.append(replace(DONE, trial=replace(TRIAL, batch=batch), cause="x" * 1000))
            kept += 1
    except StoreError as error:
        print(error)
    print(kept, len(store.measurements()))
"""


def test_a_full_disk_keeps_what_is_finished(tmp_path: Path) -> None:
    """When the disk (1 MiB) is full, the error names the path and what to do; every appended row is kept."""
    mount = f'mount -t tmpfs -o size=1m none "{tmp_path}" && exec "$@"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a small file system")
    run = subprocess.run(
        [*command, sys.executable, "-c", FILL, str(tmp_path / "s")], capture_output=True, text=True, check=True
    )
    said, counts = run.stdout.splitlines()
    assert said.startswith(f"{tmp_path / 's'}: the disk is full; free some space")
    kept, read = counts.split()
    assert int(kept) == int(read) > 10
