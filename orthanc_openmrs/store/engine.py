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
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from orthanc_openmrs.errors import StoreError, Unstorable
from orthanc_openmrs.store.migrations import migrate
from orthanc_openmrs.store.watch import Cuttable, Watch

BUSY_TIMEOUT = 5
"""Seconds that a statement waits for another writer."""


CONNECT_TIMEOUT = 5
"""Seconds that a server may take to let us in."""

STATEMENT_TIMEOUT = 10
"""Seconds after which a server gives a statement up."""

EXCHANGE_TIMEOUT = 15.0
"""Seconds after which a connection is cut whose server doesn't even do that."""

MIGRATION_TIMEOUT = 300.0
"""Seconds that the schema's change may take."""

OPEN_TIMEOUT = 10.0
"""Seconds that the start waits for the database; it goes on without, and opens it later."""

REOPEN_PAUSE = 5.0
"""Seconds before a database that couldn't be opened, or that was cut, is tried again."""


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
        self._watch = Watch()
        self._refused = ""
        self._check: Callable[[], str] | None = None
        self._checking = 0
        self._admission = threading.Lock()

    def open_within(self, seconds: float = OPEN_TIMEOUT) -> None:
        """Open it, but don't wait longer than that; a thread goes on with it.

        Raises StoreError, SchemaTooNew.
        """
        problems: list[StoreError] = []

        def work() -> None:
            try:
                self.open()
            except StoreError as problem:
                problems.append(problem)

        thread = threading.Thread(target=work, name="openmrs-database-open", daemon=True)
        thread.start()
        thread.join(seconds)
        if thread.is_alive():
            raise StoreError(f"the database isn't open after {seconds:.0f} s; the start goes on")
        if problems:
            raise problems[0]

    def admit(self, check: Callable[[], str]) -> None:
        """From now on, ask whether the database is ours before anything is done with it, until
        there is an answer: "" where it is, else why it isn't. Then nothing is read from it any
        more, and nothing written to it. `check` may use the database, and may raise StoreError.
        """
        self._check = check

    def _admitted(self) -> None:
        if self._check is None or self._checking == threading.get_ident():
            return
        if not self._admission.acquire(timeout=BUSY_TIMEOUT):
            raise StoreError("the database fails: it isn't known yet whether it is this Orthanc's")
        try:
            if self._check is not None:
                self._checking = threading.get_ident()
                self._refused = self._check()
                self._check = None
        except StoreError:
            raise
        except Exception as problem:  # of whom is asked
            kind = type(problem).__name__
            raise StoreError(f"it isn't known yet whose the database is: {kind}") from None
        finally:
            self._checking = 0
            self._admission.release()
        if self._refused:
            raise StoreError(self._refused)

    def open(self) -> None:
        """Open it, and bring its schema to this version.

        Raises StoreError where it can't be opened; every method tries again then, now and
        then. Raises SchemaTooNew where it must not be opened.
        """
        if self._refused:
            raise StoreError(self._refused)
        if self._problem and time.monotonic() - self._tried < REOPEN_PAUSE:
            raise StoreError(self._problem)
        if self._engine is not None:
            return
        if not self._opening.acquire(timeout=BUSY_TIMEOUT):
            raise StoreError(self._problem or "the database can't be opened: it is being opened")
        try:
            if self._engine is not None:
                return
            self._tried = time.monotonic()
            try:
                engine = self._opened()
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
        finally:
            self._opening.release()

    def _opened(self) -> sa.Engine:
        """An engine whose database has this version's schema."""
        engine = _sqlite(self._url) if self.is_sqlite else self._server()
        try:
            with engine.connect() as connection, self._limited(connection, MIGRATION_TIMEOUT):
                migrate(connection)
        except BaseException:
            engine.dispose()
            raise
        return engine

    def _server(self) -> sa.Engine:
        limits = {name: value for name, value in LIMITS.items() if name not in self._url.query}
        engine = sa.create_engine(
            self._url,
            pool_size=16,
            hide_parameters=True,
            pool_timeout=BUSY_TIMEOUT,
            connect_args=limits,
        )

        def connected(connection: Cuttable, record: ConnectionPoolEntry) -> None:
            record.info["limit"] = self._watch.begin(connection, EXCHANGE_TIMEOUT)

        def taken(connection: DBAPIConnection, record: ConnectionPoolEntry, _: object) -> None:
            limit = record.info.pop("limit", None)
            if limit is not None:  # it is new
                self._watch.end(limit)
                return
            with self._watch.limit(cast(Cuttable, connection), EXCHANGE_TIMEOUT):
                try:
                    alive = engine.dialect.do_ping(connection)
                except engine.dialect.loaded_dbapi.Error:
                    alive = False
            if not alive:
                raise sa.exc.DisconnectionError

        # Before SQLAlchemy's own, which asks the server who it is.
        sa.event.listen(engine, "connect", connected, insert=True)
        sa.event.listen(engine, "checkout", taken)
        return engine

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
        self._admitted()  # which may write itself
        if not self._writer.acquire(timeout=BUSY_TIMEOUT):
            raise StoreError("the database fails: another thread writes for too long")
        try:
            with self.transaction() as connection:
                yield connection
        finally:
            self._writer.release()

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """A transaction. Raises StoreError; Unstorable where a value is at fault."""
        self.open()
        self._admitted()
        assert self._engine is not None
        with (
            self._problems(),
            self._engine.connect() as connection,
            self._limited(connection),
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def _problems(self) -> Iterator[None]:
        cuts = self._watch.cuts
        try:
            yield
        except (sa.exc.DataError, UnicodeEncodeError, OverflowError) as problem:
            raise Unstorable("a value", f"can't be kept: {reason_of(problem)}") from None
        except SQLAlchemyError as problem:
            if self._watch.cuts > cuts:
                # The others needn't find out one after the other.
                self._tried = time.monotonic()
                self._problem = "the database fails: it doesn't answer"
                raise StoreError(self._problem) from None
            raise StoreError(f"the database fails: {reason_of(problem)}") from None
        self._problem = ""

    def _limited(
        self, connection: sa.Connection, seconds: float = EXCHANGE_TIMEOUT
    ) -> AbstractContextManager[None]:
        """SQLite has its own limit, and no server that may hang."""
        if self.is_sqlite:
            return nullcontext()
        driver = connection.connection.dbapi_connection
        return self._watch.limit(cast(Cuttable, driver), seconds)

    @contextmanager
    def claim(self, what: str) -> Iterator[bool]:
        """Whether this Orthanc may work on `what` now; several may share the database.

        On PostgreSQL by an advisory lock of the session, which ends with its owner, and which
        no transaction stays open for. SQLite has one owner.
        """
        self.open()
        self._admitted()
        assert self._engine is not None
        if self.is_sqlite:
            yield True
            return
        key = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big", signed=True)
        with self._problems():
            connection = self._engine.connect()
        try:
            with self._problems(), self._limited(connection):
                autocommit = connection.execution_options(isolation_level="AUTOCOMMIT")
                taken = bool(autocommit.scalar(sa.select(sa.func.pg_try_advisory_lock(key))))
            try:
                yield taken
            finally:
                if taken:
                    with self._problems(), self._limited(connection):
                        autocommit.execute(sa.select(sa.func.pg_advisory_unlock(key)))
        finally:
            connection.close()


class Aggregate:
    """What is kept of one kind, with its tables and statements. Every method is one transaction."""

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self.engine = engine
        self._clock = clock

    def _writing(self) -> AbstractContextManager[sa.Connection]:
        return self.engine.writing()

    def _transaction(self) -> AbstractContextManager[sa.Connection]:
        return self.engine.transaction()


LIMITS = {
    "connect_timeout": CONNECT_TIMEOUT,
    "options": f"-c statement_timeout={STATEMENT_TIMEOUT}s -c lock_timeout={BUSY_TIMEOUT}s",
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": int(EXCHANGE_TIMEOUT * 1000),
}
"""What libpq and the server keep to, where the URL doesn't say otherwise."""


def _sqlite(url: sa.URL) -> sa.Engine:
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
