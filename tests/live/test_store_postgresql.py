"""Test that the store keeps the same rules in a real PostgreSQL server as in SQLite."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from analyzer.errors import StoreError
from analyzer.measurements.record import Status
from analyzer.measurements.store import Store
from tests.builders.stored import APPEND_100, BASELINE, DONE, HOST, TRIAL, full_record

pytestmark = pytest.mark.postgresql


def plain(url: str) -> str:
    """Return the URL in the form of libpq."""
    return "postgresql://" + url.partition("://")[2]


@pytest.fixture
def empty_url(postgresql_url: str) -> Iterator[str]:
    """Yield a user's URL of the database, without the store's tables."""
    url = plain(postgresql_url)
    drop = "DROP TABLE IF EXISTS measurements, server_only, tritonpack_schema"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(drop)
    yield url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(drop)


def test_postgresql_keeps_every_field(empty_url: str) -> None:
    """After reopening every field equals what was appended, but for NUL in a cause, which PostgreSQL refuses."""
    failed = replace(DONE, trial=replace(TRIAL, batch=8), status=Status.LOAD_FAILED, cause="no\0 é '; --")
    with Store.open(empty_url) as store:
        for measurement in (DONE, failed, replace(full_record(), trial=replace(TRIAL, batch=16))):
            store.append(measurement)
        store.append_server_only(BASELINE)
    with Store.open(empty_url.replace("postgresql://", "postgresql+psycopg://")) as store:
        done, kept, full = store.measurements()
        assert done == DONE
        assert kept == replace(failed, cause="no é '; --")
        assert full == replace(full_record(), trial=replace(TRIAL, batch=16))
        assert store.server_only() == (BASELINE,)


def test_postgresql_replaces_and_resumes(empty_url: str) -> None:
    """A later row replaces an earlier one; failures, other settings and other provenance do not count as measured."""
    failed = replace(DONE, trial=replace(TRIAL, batch=8), status=Status.TIMED_OUT, cause="60 s")
    again = replace(DONE, throughput_infer_per_s=180.0)
    with Store.open(empty_url) as store:
        for measurement in (DONE, failed, again):
            store.append(measurement, settings="http")
        assert store.measurements() == (failed, again)
        assert store.finished(HOST, settings="http") == {TRIAL: again}
        assert store.finished(HOST) == {}
        assert store.finished(replace(HOST, driver="550"), settings="http") == {}
        assert store.find(TRIAL, HOST, settings="http") == again


def test_postgresql_is_shared_by_several_sweeps(empty_url: str) -> None:
    """Four processes that create and fill one store at once lose no row: 4 x 100 rows."""
    runs = [subprocess.Popen([sys.executable, "-c", APPEND_100, empty_url, f"m{number}"]) for number in range(4)]
    assert [run.wait(timeout=60) for run in runs] == [0, 0, 0, 0]
    with Store.open(empty_url) as store:
        assert len(store.measurements()) == 400


def test_postgresql_schema_is_versioned(empty_url: str) -> None:
    """An older schema gains its missing columns; a newer one is refused."""
    with Store.open(empty_url) as store:
        store.append(full_record())
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE measurements DROP COLUMN late")
        connection.execute("UPDATE tritonpack_schema SET version = 0")
    with Store.open(empty_url) as store:
        assert store.measurements() == (replace(full_record(), late=None),)
    with psycopg.connect(empty_url, autocommit=True) as connection:
        connection.execute("UPDATE tritonpack_schema SET version = 99")
    with pytest.raises(StoreError, match="schema version 99"):
        Store.open(empty_url)


def test_missing_postgresql_database_is_an_error_of_one_line(empty_url: str) -> None:
    """The error for a database that does not exist is the server's message, without a traceback."""
    with pytest.raises(StoreError, match="does not exist") as raised:
        Store.open(f"{empty_url.rpartition('/')[0]}/no_such_database")
    assert "\n" not in str(raised.value)
