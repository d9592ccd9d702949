"""The database's schema, step by step: each file is one step, and never changes once released.

Decides: that a step is done as a whole or not at all, also where the process is killed in it,
and that two Orthancs which start at once don't do it twice. A step is text, for it must say the
same whatever the tables become later. Must not know: what the tables are for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import sqlalchemy as sa

from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.store.migrations import step_0001, step_0002, step_0003

VERSION_TABLE = "schema_version"

LOCK = 0x6F70656E6D7273
"""The advisory lock that one who changes the schema has, in PostgreSQL."""


class SchemaTooNew(StoreError):
    """A newer version of the plugin wrote the database: nothing may be written to it."""


class Step(NamedTuple):
    """The statements that bring a database of one version to the next, by its kind."""

    sqlite: tuple[str, ...]
    postgresql: tuple[str, ...]


STEPS = tuple(Step(step.SQLITE, step.POSTGRESQL) for step in (step_0001, step_0002, step_0003))
"""Step n brings a database of version n to version n + 1."""

NEWEST = len(STEPS)
"""The version that this plugin writes."""


def migrate(connection: sa.Connection, to: int = NEWEST) -> None:
    """Bring the schema to a version. Raises SchemaTooNew for one of a newer plugin."""
    sqlite = connection.dialect.name == "sqlite"
    if sqlite:
        # Python's module begins no transaction for what changes a schema: it's begun by hand.
        connection.execution_options(isolation_level="AUTOCOMMIT")
    while True:
        with _locked(connection):
            _make_version_table(connection)
            version = version_of(connection)
            if version > NEWEST:
                raise SchemaTooNew(
                    f"the database is of schema version {version}, this plugin knows up to "
                    f"{NEWEST}: install the version of the plugin that wrote it, or a newer one"
                )
            if version >= to:
                return
            step = STEPS[version]
            for statement in step.sqlite if sqlite else step.postgresql:
                connection.exec_driver_sql(statement)
            done = f"INSERT INTO {VERSION_TABLE} VALUES ({version + 1})"  # noqa: S608 - constants
            connection.exec_driver_sql(done)


def version_of(connection: sa.Connection) -> int:
    """The schema's version, where there is a table of it."""
    found = connection.exec_driver_sql(f"SELECT max(version) FROM {VERSION_TABLE}").scalar()  # noqa: S608 - a constant
    return int(found or 0)


def _make_version_table(connection: sa.Connection) -> None:
    kind = "INTEGER" if connection.dialect.name == "sqlite" else "SERIAL"
    connection.exec_driver_sql(
        f"CREATE TABLE IF NOT EXISTS {VERSION_TABLE} "
        f"(version {kind} NOT NULL, PRIMARY KEY (version))"
    )


@contextmanager
def _locked(connection: sa.Connection) -> Iterator[None]:
    """A transaction of its own for one who changes the schema."""
    if connection.dialect.name != "sqlite":
        with connection.begin():
            connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK})")
            yield
        return
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.exec_driver_sql("ROLLBACK")
        raise
    connection.exec_driver_sql("COMMIT")
