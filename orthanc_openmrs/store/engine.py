"""One database: where it is, how it is opened, and how several write to it.

Decides: the URL's driver, durability, one transaction at a time where SQLite takes one, who may
work on what where several Orthancs share a database. Raises StoreError, in words that name no
personal data. Must not know: what is kept.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.store.migrations import migrate

BUSY_TIMEOUT = 5
"""Seconds that a statement waits for another writer."""


REOPEN_PAUSE = 5.0
"""Seconds before a database that couldn't be opened is tried again."""


metadata = sa.MetaData()
"""Every table of the plugin. Times are seconds since the epoch."""


class Engine:
    """The database behind one URL, opened when it is needed first. Safe for several threads."""

    def __init__(self, url: str) -> None:
        self._url = sa.make_url(url)
        self._engine: sa.Engine | None = None
        self.is_sqlite = self._url.get_backend_name() == "sqlite"
        self._opening = threading.Lock()
        self._writer = threading.Lock()
        self._problem = ""
        self._tried = float("-inf")

    def open(self) -> None:
        """Open it, and bring its schema to this version.

        Raises StoreError where it can't be opened; every method tries again then, now and
        then. Raises SchemaTooNew where it must not be opened.
        """
        with self._opening:
            if self._engine is not None:
                return
            if self._problem and time.monotonic() - self._tried < REOPEN_PAUSE:
                raise StoreError(self._problem)
            self._tried = time.monotonic()
            try:
                engine = _opened(self._url)
            except ImportError:
                self._problem = (
                    "the database can't be opened: the driver psycopg isn't installed; install "
                    "the extra: orthanc-openmrs[postgresql]"
                )
                raise StoreError(self._problem) from None
            except (SQLAlchemyError, OSError) as problem:
                self._problem = f"the database can't be opened: {reason_of(problem)}"
                raise StoreError(self._problem) from None
            self._engine, self._problem = engine, ""

    def close(self) -> None:
        """Give the connections back."""
        if self._engine is not None:
            self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that writes. SQLite takes one at a time: threads that queue here are
        served at once, while those that SQLite makes wait sleep for ever longer."""
        if not self.is_sqlite:
            with self.transaction() as connection:
                yield connection
            return
        if not self._writer.acquire(timeout=BUSY_TIMEOUT):
            raise StoreError("the database fails: another thread writes for too long")
        try:
            with self.transaction() as connection:
                yield connection
        finally:
            self._writer.release()

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        self.open()
        assert self._engine is not None
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as problem:
            raise StoreError(f"the database fails: {reason_of(problem)}") from None

    @contextmanager
    def claim(self, what: str) -> Iterator[bool]:
        """Whether this Orthanc may work on `what` now; several may share the database.

        On PostgreSQL by an advisory lock of the session, which ends with its owner, and which
        no transaction stays open for. SQLite has one owner.
        """
        self.open()
        assert self._engine is not None
        if self.is_sqlite:
            yield True
            return
        key = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big", signed=True)
        try:
            with self._engine.connect() as connection:
                autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
                taken = bool(autocommit.scalar(sa.select(sa.func.pg_try_advisory_lock(key))))
                try:
                    yield taken
                finally:
                    if taken:
                        autocommit.execute(sa.select(sa.func.pg_advisory_unlock(key)))
        except SQLAlchemyError as problem:
            raise StoreError(f"the database fails: {reason_of(problem)}") from None


class Aggregate:
    """What is kept of one kind, with its tables and statements. Every method is one transaction."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self.engine = engine
        self._clock = clock

    def _writing(self) -> AbstractContextManager[sa.Connection]:
        return self.engine.writing()

    def _transaction(self) -> AbstractContextManager[sa.Connection]:
        return self.engine.transaction()


# --- opening -------------------------------------------------------------------------------


def _opened(url: sa.URL) -> sa.Engine:
    """An engine whose database has this version's schema."""
    engine = _engine(url)
    try:
        migrate(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _engine(url: sa.URL) -> sa.Engine:
    if url.get_backend_name() != "sqlite":
        return sa.create_engine(
            url, pool_size=16, pool_pre_ping=True, hide_parameters=True, pool_timeout=BUSY_TIMEOUT
        )
    if url.database:
        path = Path(url.database)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made by us before SQLite makes it, so that nobody else can ever read it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT}, hide_parameters=True)

    def set_pragmas(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    sa.event.listen(engine, "connect", set_pragmas)
    return engine


def reason_of(problem: BaseException) -> str:
    """The driver's own words, without statement and parameters."""
    origin = getattr(problem, "orig", None) or problem
    return " ".join(str(origin).split())[:300]
