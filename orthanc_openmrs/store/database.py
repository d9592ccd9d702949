"""The plugin's database: SQLite in Orthanc's index folder, or PostgreSQL for several Orthancs.

Decides: durability, the schema's version, and every statement that is executed. Every method
is one transaction. Raises StoreError, in words that name no personal data. Must not know: why
a study is linked, what OpenMRS is.
"""

import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.model import NewNotification, Notification, NotificationState
from orthanc_openmrs.store.tables import (
    STEPS,
    notifications,
    person_names,
    schema_version,
    studies,
    worklists,
)

BUSY_TIMEOUT = 5
"""Seconds that a statement waits for another writer."""


@dataclass(frozen=True, slots=True)
class DueStudy:
    """A study whose link is to be decided; `noted` is the count that the decision answers."""

    study: str
    noted: int
    attempts: int


class Database:
    """The database behind one URL. Safe for several threads."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        try:
            self._engine = _engine(url)
            with self._transaction() as connection:
                _migrate(connection)
        except ImportError:
            raise StoreError(
                "the database can't be opened: the driver psycopg isn't installed; install the "
                "extra: orthanc-openmrs[postgresql]"
            ) from None
        except (SQLAlchemyError, OSError) as problem:
            raise StoreError(f"the database can't be opened: {_reason(problem)}") from None

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except SQLAlchemyError as problem:
            raise StoreError(f"the database fails: {_reason(problem)}") from None

    # --- the last good list ---

    def save_worklist(self, body: bytes, read_at: float) -> None:
        """Keep the list for the time that OpenMRS is away."""
        row = {"id": 1, "read_at": read_at, "body": zlib.compress(body, 1)}
        with self._transaction() as connection:
            connection.execute(sa.delete(worklists))
            connection.execute(sa.insert(worklists), row)

    def touch_worklist(self, read_at: float) -> None:
        """The kept list was read again, unchanged."""
        with self._transaction() as connection:
            connection.execute(sa.update(worklists).values(read_at=read_at))

    def load_worklist(self) -> tuple[bytes, float] | None:
        """The kept list and when it was read, None where there is none."""
        with self._transaction() as connection:
            row = connection.execute(sa.select(worklists.c.body, worklists.c.read_at)).first()
        if row is None:
            return None
        try:
            return zlib.decompress(row.body), row.read_at
        except zlib.error:
            return None

    # --- names ---

    def load_person_names(self) -> dict[tuple[str, str], str]:
        """The structured names that were kept, by the patient's uuid and the name as one text."""
        with self._transaction() as connection:
            rows = connection.execute(sa.select(person_names))
            return {(row.patient_id, row.patient_name): row.structured for row in rows}

    def save_person_name(self, person: tuple[str, str], name: str) -> None:
        """Keep a structured name, in the place of the patient's older ones."""
        patient_id, patient_name = person
        with self._transaction() as connection:
            connection.execute(
                sa.delete(person_names).where(person_names.c.patient_id == patient_id)
            )
            connection.execute(
                sa.insert(person_names).values(
                    patient_id=patient_id, patient_name=patient_name, structured=name
                )
            )

    # --- studies ---

    def note_study(self, study: str) -> None:
        """A study is stable: its link is to be decided. On disk when this returns."""
        now = self._clock()
        again = {
            "noted": studies.c.noted + 1,
            "noted_at": now,
            "next_attempt": now,
            "attempts": 0,
        }
        with self._transaction() as connection:
            updated = connection.execute(
                sa.update(studies).where(studies.c.study == study).values(again)
            )
            if updated.rowcount == 0:
                connection.execute(
                    sa.insert(studies).values(
                        study=study,
                        noted=1,
                        decided=0,
                        noted_at=now,
                        next_attempt=now,
                        attempts=0,
                        outcome="",
                        reason="",
                    )
                )

    def due_studies(self, limit: int = 100) -> list[DueStudy]:
        """Studies whose link is to be decided now, the longest waiting first."""
        due = sa.and_(studies.c.decided < studies.c.noted, studies.c.next_attempt <= self._clock())
        with self._transaction() as connection:
            rows = connection.execute(
                sa.select(studies.c.study, studies.c.noted, studies.c.attempts)
                .where(due)
                .order_by(studies.c.next_attempt)
                .limit(limit)
            )
            return [DueStudy(row.study, row.noted, row.attempts) for row in rows]

    def decide_study(
        self, due: DueStudy, outcome: str, reason: str, found: Sequence[NewNotification]
    ) -> int:
        """Keep a decision and its notifications; returns how many are new.

        What was told or decided before for the same study and step stays as it is, but for a
        held row, which the newer decision takes the place of.
        """
        now = self._clock()
        new = 0
        with self._transaction() as connection:
            connection.execute(
                sa.update(studies)
                .where(studies.c.study == due.study)
                .values(decided=due.noted, outcome=outcome, reason=reason)
            )
            if found:
                connection.execute(
                    sa.delete(notifications).where(
                        notifications.c.study == due.study,
                        notifications.c.state == NotificationState.HELD.value,
                    )
                )
            for row in found:
                new += _add(connection, row, now)
        return new

    def postpone_study(self, due: DueStudy, seconds: float, reason: str) -> None:
        """The decision waits; it is tried again after `seconds`."""
        with self._transaction() as connection:
            connection.execute(
                sa.update(studies)
                .where(studies.c.study == due.study, studies.c.noted == due.noted)
                .values(
                    attempts=due.attempts + 1, next_attempt=self._clock() + seconds, reason=reason
                )
            )

    # --- notifications ---

    def due_notifications(self, limit: int = 100) -> list[Notification]:
        """Pending notifications to be sent now, one a request: the oldest of each."""
        older = notifications.alias()
        blocked = sa.exists().where(
            older.c.requested_procedure_id == notifications.c.requested_procedure_id,
            older.c.state == NotificationState.PENDING.value,
            older.c.id < notifications.c.id,
        )
        with self._transaction() as connection:
            rows = connection.execute(
                sa.select(notifications)
                .where(
                    notifications.c.state == NotificationState.PENDING.value,
                    notifications.c.next_attempt <= self._clock(),
                    ~blocked,
                )
                .order_by(notifications.c.next_attempt)
                .limit(limit)
            )
            return [_notification(row) for row in rows]

    def next_due(self) -> float | None:
        """When the next study or notification is due (seconds since the epoch), if any is."""
        with self._transaction() as connection:
            times = [
                connection.scalar(
                    sa.select(sa.func.min(studies.c.next_attempt)).where(
                        studies.c.decided < studies.c.noted
                    )
                ),
                connection.scalar(
                    sa.select(sa.func.min(notifications.c.next_attempt)).where(
                        notifications.c.state == NotificationState.PENDING.value
                    )
                ),
            ]
        return min((moment for moment in times if moment is not None), default=None)

    def delivered(self, notification: Notification) -> None:
        """OpenMRS has it."""
        self._settle(
            notification, state=NotificationState.DELIVERED, delivered=self._clock(), last_error=""
        )

    def failed(self, notification: Notification, reason: str) -> None:
        """OpenMRS refused it; trying again is no use."""
        self._settle(notification, state=NotificationState.FAILED, last_error=reason)

    def retry_later(self, notification: Notification, seconds: float, reason: str) -> None:
        """It stays pending and is tried again after `seconds`."""
        self._settle(
            notification,
            state=NotificationState.PENDING,
            next_attempt=self._clock() + seconds,
            last_error=reason,
        )

    def _settle(self, notification: Notification, **values: Any) -> None:
        """Only what is still pending: a person may have decided meanwhile."""
        with self._transaction() as connection:
            connection.execute(
                sa.update(notifications)
                .where(
                    notifications.c.id == notification.id,
                    notifications.c.state == NotificationState.PENDING.value,
                )
                .values(attempts=notification.attempts + 1, **values)
            )

    def notification_counts(self) -> dict[NotificationState, int]:
        """How many notifications there are in each state."""
        query = sa.select(notifications.c.state, sa.func.count()).group_by(notifications.c.state)
        with self._transaction() as connection:
            found = {row[0]: row[1] for row in connection.execute(query)}
        return {state: found.get(state.value, 0) for state in NotificationState}

    def list_notifications(
        self, state: NotificationState | None = None, *, limit: int = 100, since: int = 0
    ) -> list[Notification]:
        """Notifications by id from `since` on."""
        query = sa.select(notifications).where(notifications.c.id >= since)
        if state is not None:
            query = query.where(notifications.c.state == state.value)
        with self._transaction() as connection:
            rows = connection.execute(query.order_by(notifications.c.id).limit(limit))
            return [_notification(row) for row in rows]


def _add(connection: sa.Connection, row: NewNotification, now: float) -> int:
    exists = connection.scalar(
        sa.select(notifications.c.id).where(
            notifications.c.study_instance_uid == row.study_instance_uid,
            notifications.c.scheduled_procedure_step_id == row.scheduled_procedure_step_id,
        )
    )
    if exists is not None:
        return 0
    connection.execute(
        sa.insert(notifications).values(
            study=row.study,
            study_instance_uid=row.study_instance_uid,
            requested_procedure_id=row.requested_procedure_id,
            scheduled_procedure_step_id=row.scheduled_procedure_step_id,
            state=row.state.value,
            evidence=row.evidence,
            reason=row.reason,
            update=row.update,
            attempts=0,
            next_attempt=now,
            last_error="",
            created=now,
            delivered=0.0,
        )
    )
    return 1


def _notification(row: sa.Row[Any]) -> Notification:
    fields = dict(row._mapping)
    fields["state"] = NotificationState(fields["state"])
    return Notification(**fields)


# --- opening -------------------------------------------------------------------------------


def _engine(url: str) -> sa.Engine:
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return sa.create_engine(parsed, pool_pre_ping=True, hide_parameters=True)
    if parsed.database:
        path = Path(parsed.database)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Made by us before SQLite makes it, so that nobody else can ever read it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    engine = sa.create_engine(parsed, connect_args={"timeout": BUSY_TIMEOUT}, hide_parameters=True)

    def set_pragmas(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    sa.event.listen(engine, "connect", set_pragmas)
    return engine


def _migrate(connection: sa.Connection) -> None:
    """Bring the schema to this version. Raises StoreError for a schema of a newer one."""
    schema_version.create(connection, checkfirst=True)
    version = connection.scalar(sa.select(sa.func.max(schema_version.c.version))) or 0
    if version > len(STEPS):
        raise StoreError(
            f"the database is of schema version {version}, this plugin knows up to {len(STEPS)}: "
            "install the version of the plugin that wrote it, or a newer one"
        )
    for step in STEPS[version:]:
        step(connection)
        version += 1
        connection.execute(sa.insert(schema_version).values(version=version))


def _reason(problem: BaseException) -> str:
    """The driver's own words, without statement and parameters."""
    origin = getattr(problem, "orig", None) or problem
    return " ".join(str(origin).split())[:300]
