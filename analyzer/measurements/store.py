"""Keep the measurements of sweeps in a database: append each as it is made, and read them back."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from analyzer.errors import StoreError, UsageError
from analyzer.measurements.co_location import CoLocatedModel, CoLocation
from analyzer.measurements.record import Measurement, Provenance, ServerOnly, Status, Trial
from analyzer.measurements.sql_rows import columns, identity, to_co_located, to_measurement, to_row, to_server_only

if TYPE_CHECKING:
    from sqlalchemy import URL, Column, Connection, Engine, Table

SCHEMA_VERSION = 1  # see _prepare
_BUSY_S = 30.0  # how long a second run waits for the first one's commit, which takes milliseconds
_SETUP_LOCK = 0x74726974  # key of PostgreSQL's advisory lock while tables are created; an arbitrary number


class Store:
    """Measurements in SQLite or PostgreSQL; every append is committed on its own.

    There is one row for each trial and provenance: a repeated measurement replaces the earlier one. Any number of
    sweeps may use one store at once.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from analyzer import Store, read_measurements
    >>> with TemporaryDirectory() as folder:
    ...     with Store.open(f"{folder}/kept.sqlite") as store:
    ...         for measurement in read_measurements("tests/data/case-study.csv"):
    ...             store.append(measurement)
    ...     len(read_measurements(f"{folder}/kept.sqlite"))
    9
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = engine.url.database if _is_sqlite(engine) else engine.url.render_as_string()
        with self._transaction(exclusive=True) as connection:
            _prepare(connection, self.name)

    @classmethod
    def open(cls, place: str | Path, *, create: bool = True) -> Self:
        """Open a store, and create its tables if there are none.

        Parameters
        ----------
        place : str or Path
            A file, or a URL such as ``postgresql://user@host/database``.
        create : bool
            Whether to create an SQLite file that does not exist; if False, a missing file is a StoreError.

        Raises
        ------
        UsageError
            If the URL is not valid.
        StoreError
            If the store cannot be opened, or was created by a later version of this tool.
        """
        import sqlalchemy as sa

        url = _url(place)
        if url.get_backend_name() != "sqlite":
            return cls(sa.create_engine(url, connect_args={"connect_timeout": 10}))
        path = Path(url.database or "")
        if not create and not path.is_file():
            raise StoreError(f"there is no store at {path}; run analyze with this output first")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path.parent} cannot be made: {error.strerror}; give another folder") from None
        engine = sa.create_engine(url, connect_args={"timeout": _BUSY_S})
        sa.event.listen(engine, "connect", _set_up_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
        return cls(engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; what was appended is already committed."""
        self._engine.dispose()

    def append(self, measurement: Measurement, *, settings: str = "") -> None:
        """Store one measurement in place of any earlier one of the same trial and provenance.

        Parameters
        ----------
        settings : str
            The settings of the sweep on which the figures depend, such as the precision; a trial that was measured
            with other settings is not finished (see `finished`).

        Raises
        ------
        StoreError
            If the disk is full or the store cannot be reached; what was appended before is kept.
        """
        key = _key(measurement.trial, measurement.provenance)
        self._upsert("measurements", {**to_row(measurement), "key": key, "settings": settings})

    def append_server_only(self, baseline: ServerOnly) -> None:
        """Store the idle server's figures in place of any earlier ones of the same provenance.

        Raises
        ------
        StoreError
            See `append`.
        """
        self._upsert("server_only", {**to_row(baseline), "key": _key(baseline.provenance)})

    def append_co_location(self, found: CoLocation) -> None:
        """Store a co-location in place of any earlier one of the same trials and provenances.

        Raises
        ------
        StoreError
            See `append`.
        """
        import sqlalchemy as sa

        content = _content(found)
        rows = [
            {
                **to_row(model),
                "content": content,
                "position": position,
                "key": hashlib.sha256(f"{content}{position}".encode()).hexdigest(),
                "recorded_unix_s": time.time(),
            }
            for position, model in enumerate(found.models)
        ]
        table = _tables()["co_locations"]
        with self._transaction() as connection:
            connection.execute(sa.delete(table).where(table.c.content == content))
            connection.execute(sa.insert(table), rows)

    def co_locations(self) -> tuple[CoLocation, ...]:
        """Read the co-locations, in the order in which they were measured.

        Raises
        ------
        StoreError
            If the store cannot be read.
        """
        contents: dict[str, list[tuple[int, CoLocatedModel]]] = {}
        for row in self._rows("co_locations"):
            contents.setdefault(row["content"], []).append((row["position"], to_co_located(row)))
        return tuple(
            CoLocation(models=tuple(model for _, model in sorted(models, key=lambda one: one[0])))
            for models in contents.values()
        )

    def measurements(self, *, superseded: bool = False) -> tuple[Measurement, ...]:
        """Read the measurements, in the order in which they were made.

        Parameters
        ----------
        superseded : bool
            Whether to include measurements with earlier model files, servers or tool versions of a model that was
            measured again later on a device of the same name.

        Raises
        ------
        StoreError
            If the store cannot be read.
        """
        found = tuple(to_measurement(row) for row in self._rows("measurements"))
        last = {_subject(one): _origin(one.provenance) for one in found}
        return tuple(one for one in found if superseded or last[_subject(one)] == _origin(one.provenance))

    def server_only(self) -> tuple[ServerOnly, ...]:
        """Read the idle server's latest figures on each device.

        Raises
        ------
        StoreError
            If the store cannot be read.
        """
        found = [to_server_only(row) for row in self._rows("server_only")]
        return tuple({(one.provenance.device_name, one.provenance.device_uuid): one for one in found}.values())

    def find(
        self, trial: Trial, provenance: Provenance, *, settings: str = "", alike: Sequence[str] = ()
    ) -> Measurement | None:
        """Return the stored measurement of a trial, failed or not; None if it was not tried with these settings.

        Parameters
        ----------
        alike : sequence of str
            UUIDs of devices whose figures count as well; those of the provenance's own device come first.

        Raises
        ------
        StoreError
            If the store cannot be read.
        """
        uuids = (provenance.device_uuid, *alike)
        order = {_key(trial, replace(provenance, device_uuid=uuid)): place for place, uuid in enumerate(uuids)}
        rows = self._rows("measurements", key=list(order), settings=settings)
        found = [to_measurement(row) for row in sorted(rows, key=lambda row: order[row["key"]])]
        return next((one for one in found if one.status.measured), found[0] if found else None)

    def device_uuids(self) -> dict[str, set[str]]:
        """Return the UUIDs of the devices of each name that the measurements were made on.

        Raises
        ------
        StoreError
            If the store cannot be read.
        """
        import sqlalchemy as sa

        table = _tables()["measurements"]
        uuids: dict[str, set[str]] = {}
        with self._transaction() as connection:
            for name, uuid in connection.execute(sa.select(table.c.device_name, table.c.device_uuid).distinct()):
                uuids.setdefault(name, set()).add(uuid)
        return uuids

    def finished(self, provenance: Provenance, *, settings: str = "") -> dict[Trial, Measurement]:
        """Return what a resumed sweep need not measure again: trials with figures, of this provenance and settings.

        Raises
        ------
        StoreError
            If the store cannot be read.
        """
        rows = self._rows("measurements", settings=settings, **to_row(provenance))
        found = [to_measurement(row) for row in rows]
        return {measurement.trial: measurement for measurement in found if measurement.status.measured}

    def _upsert(self, name: str, row: dict[str, Any]) -> None:
        from sqlalchemy.dialects import postgresql, sqlite

        insert = sqlite.insert if _is_sqlite(self._engine) else postgresql.insert
        row = {**row, "recorded_unix_s": time.time()}
        statement = insert(_tables()[name]).values(row)
        with self._transaction() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_=row))

    def _rows(self, name: str, **wanted: Any) -> list[dict[str, Any]]:
        import sqlalchemy as sa

        table = _tables()[name]
        matches = [
            table.c[column].in_(value) if isinstance(value, list) else table.c[column].is_not_distinct_from(value)
            for column, value in wanted.items()
        ]
        query = sa.select(table).where(*matches).order_by(table.c.recorded_unix_s, table.c.id)
        with self._transaction() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    @contextmanager
    def _transaction(self, *, exclusive: bool = False) -> Iterator[Connection]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.connect() as connection, connection.execution_options(exclusive=exclusive).begin():
                yield connection
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise StoreError(_explain(error, self.name)) from None


def _url(place: str | Path) -> URL:
    import sqlalchemy as sa

    if isinstance(place, Path) or "://" not in place:
        return sa.URL.create("sqlite", database=str(place))
    try:
        url = sa.make_url(place)
    except (sa.exc.ArgumentError, ValueError):
        raise UsageError("the store is no URL; give a file or postgresql://user@host:port/database") from None
    scheme = url.drivername.partition("+")[0]
    if scheme == "sqlite" and url.database and url.database != ":memory:":
        return url.set(drivername="sqlite")
    if scheme in ("postgresql", "postgres"):
        if importlib.util.find_spec("psycopg") is None:
            raise StoreError("PostgreSQL needs psycopg 3: pip install 'tritonpack[postgresql]'")
        return url.set(drivername="postgresql+psycopg")
    raise UsageError(f"a store cannot be {url.render_as_string()!r}; give a file, sqlite:///file or postgresql://…")


def _is_sqlite(engine: Engine) -> bool:
    return engine.dialect.name == "sqlite"


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins the transactions: see _begin_sqlite
    connection.execute("PRAGMA journal_mode=WAL")  # a reader never waits for a writer


def _begin_sqlite(connection: Connection) -> None:
    exclusive = connection.get_execution_options().get("exclusive", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if exclusive else "BEGIN")


def _prepare(connection: Connection, name: str | None) -> None:
    """Create the tables, and add the columns that an older tool's tables lack; their rows get the default.

    The schema version is raised only by a change after which an older tool must not use the store.
    """
    import sqlalchemy as sa
    from sqlalchemy.schema import CreateColumn

    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_SETUP_LOCK)))
    tables = _tables()
    version_table = tables["tritonpack_schema"]
    version_table.create(connection, checkfirst=True)
    version = connection.execute(sa.select(sa.func.max(version_table.c.version))).scalar()
    if version is not None and version > SCHEMA_VERSION:
        raise StoreError(
            f"{name} has schema version {version} and this tritonpack knows up to {SCHEMA_VERSION}; "
            "install a newer tritonpack, or give another store"
        )
    for table in tables.values():
        table.create(connection, checkfirst=True)
        present = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                added = CreateColumn(column).compile(dialect=connection.dialect)
                connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {added}")
    if version != SCHEMA_VERSION:
        connection.execute(sa.delete(version_table))
        connection.execute(sa.insert(version_table).values(version=SCHEMA_VERSION))


@cache
def _tables() -> dict[str, Table]:
    import sqlalchemy as sa

    metadata = sa.MetaData()
    sa.Table("tritonpack_schema", metadata, sa.Column("version", sa.Integer, primary_key=True))
    for name, record, own in (
        ("measurements", Measurement, [sa.Column("settings", sa.Text, nullable=False)]),
        ("server_only", ServerOnly, []),
        (
            "co_locations",
            CoLocatedModel,
            [
                sa.Column("content", sa.String(64), nullable=False, index=True),
                sa.Column("position", sa.Integer, nullable=False),
            ],
        ),
    ):
        sa.Table(
            name,
            metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            sa.Column("key", sa.String(64), nullable=False, unique=True),
            sa.Column("recorded_unix_s", sa.Double, nullable=False),
            *own,
            *_columns(record),
        )
    return dict(metadata.tables)


def _columns(record: type) -> Iterator[Column[Any]]:
    import sqlalchemy as sa

    kinds = {str: sa.Text, Status: sa.Text, bool: sa.Boolean, int: sa.BigInteger, float: sa.Double}
    for column in columns(record):
        yield sa.Column(
            column.name, kinds[column.kind], nullable=column.optional, server_default=_default(column.default)
        )


def _default(value: Any) -> Any:
    """Return what rows of older tools have in a column that they lack."""
    import sqlalchemy as sa

    if isinstance(value, bool):
        return sa.true() if value else sa.false()  # as text, SQLite would take either for true
    return None if value in (None, MISSING) else str(value)


def _subject(measurement: Measurement) -> tuple[str, str]:
    return measurement.trial.model, measurement.provenance.device_name


def _origin(provenance: Provenance) -> Provenance:
    """Return the provenance without the device's UUID: a sweep's devices do not supersede each other's figures."""
    return replace(provenance, device_uuid="")


def _key(*records: Trial | Provenance) -> str:
    """Return a hash of what identifies a row; a unique key over its columns would allow copies, as some are NULL."""
    return hashlib.sha256(json.dumps([identity(record) for record in records]).encode()).hexdigest()


def _content(found: CoLocation) -> str:
    """Return a hash of what identifies a co-location: the trials and provenances of its models."""
    return hashlib.sha256(
        "".join(_key(model.measurement.trial, model.measurement.provenance) for model in found.models).encode()
    ).hexdigest()


def _explain(error: Exception, name: str | None) -> str:
    """Return in one line what a database driver's error means for the user."""
    said = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
    if "disk is full" in said or "No space left" in said:
        return (
            f"{name}: the disk is full; free some space or give another folder. "
            "Finished trials are kept, and the same command goes on from there"
        )
    if "is locked" in said:
        return f"{name} was busy for {_BUSY_S:.0f} s; let the other program finish, then run this again"
    if "not a database" in said:
        return f"{name} is not an SQLite file; give another one"
    return f"{name} cannot be used: {said}"
