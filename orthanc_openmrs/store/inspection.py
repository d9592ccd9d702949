"""A look at the plugin's database from outside, which changes nothing in it.

Decides: how it is opened so that a plugin that runs isn't disturbed, and that nothing is left
behind. Must not know: who may write its files.
"""

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.store.engine import reason_of
from orthanc_openmrs.store.migrations import VERSION_TABLE, version_of
from orthanc_openmrs.store.notifications import notifications

TIMEOUT = 5
"""Seconds that a connection or a lock is waited for."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen: the schema's version, 0 where there is none yet; whether the account may
    write (of SQLite's files, the file system knows)."""

    version: int
    writable: bool = True


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database, None of any other."""
    parsed = sa.make_url(url)
    return (
        Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None
    )


def look(url: str) -> Look:
    """Look at a database. Raises StoreError where it can't be opened."""
    try:
        engine = _engine(url)
    except ImportError:
        raise StoreError("the driver psycopg isn't installed") from None
    try:
        with engine.connect() as connection:
            known = sa.inspect(connection).has_table(VERSION_TABLE)
            version = version_of(connection) if known else 0
            return Look(version, _writable(connection, known))
    except SQLAlchemyError as problem:
        raise StoreError(reason_of(problem)) from None
    finally:
        engine.dispose()


def _engine(url: str) -> sa.Engine:
    file = sqlite_file(url)
    if file is None:
        return sa.create_engine(
            url,
            hide_parameters=True,
            connect_args={
                "connect_timeout": TIMEOUT,
                "options": f"-c default_transaction_read_only=on -c statement_timeout={TIMEOUT}s",
            },
        )
    # Beside a database whose log is there, SQLite's files are there too. Without one, it is
    # opened as what never changes: else SQLite would make these files, and as root.
    how = {"mode": "ro"} if Path(f"{file}-wal").exists() else {"immutable": "1"}
    uri = file.resolve().as_uri()
    whole = sa.URL.create("sqlite", database=uri, query={**how, "uri": "true"})
    return sa.create_engine(whole, connect_args={"timeout": TIMEOUT}, hide_parameters=True)


def _writable(connection: sa.Connection, known: bool) -> bool:
    if connection.dialect.name == "sqlite":
        return True
    if connection.scalar(sa.text("SELECT pg_is_in_recovery()")):
        return False
    if known:
        query = sa.text("SELECT has_table_privilege(:table, :right)")
        return all(
            connection.scalar(query, {"table": notifications.name, "right": right})
            for right in ("INSERT", "UPDATE", "DELETE")
        )
    return bool(
        connection.scalar(sa.text("SELECT has_schema_privilege(current_schema(), 'CREATE')"))
    )
