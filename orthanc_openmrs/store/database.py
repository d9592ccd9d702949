"""The plugin's database: SQLite in Orthanc's index folder, or PostgreSQL for several Orthancs.

Decides: durability, the schema's version, and every statement that is executed. Every method
is one transaction. Raises StoreError, in words that name no personal data. Must not know: why
a study is linked, what OpenMRS is.
"""

import hashlib
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.model import (
    Kind,
    LinkedStep,
    NewNotification,
    Notification,
    NotificationState,
    PersonsDecision,
)
from orthanc_openmrs.store import statements
from orthanc_openmrs.store.tables import (
    STEPS,
    assignments,
    change_cursor,
    decisions,
    notifications,
    person_names,
    schema_version,
    studies,
    worklists,
)

BUSY_TIMEOUT = 5
"""Seconds that a statement waits for another writer."""


UNDER_WAY = "under way"
"""The last error of a notification whose try has begun and not ended."""

CALLBACK_DELAY = 60.0
"""Seconds that a change callback may come after its change was read in /changes."""

REOPEN_PAUSE = 5.0
"""Seconds before a database that couldn't be opened is tried again."""


class SchemaTooNew(StoreError):
    """A newer version of the plugin wrote the database: nothing may be written to it."""


@dataclass(frozen=True, slots=True)
class DueStudy:
    """A study whose link is to be decided; `noted` is the count that the decision answers.

    `arriving`: only its first images are here, and at most "in progress" can be told.
    """

    study: str
    noted: int
    attempts: int
    arriving: bool = False
    noted_at: float = field(default=0.0, compare=False)


class StudyChange(NamedTuple):
    """A change of Orthanc, as far as it matters: images came, or the study is stable."""

    study: str
    stable: bool


@dataclass(frozen=True, slots=True)
class ArrivingStudy:
    """A study of which images came since it was stable last."""

    study: str
    last_update: str
    last_update_seen: float


_completed = notifications.alias()
_LINKS = sa.and_(
    notifications.c.scheduled_procedure_step_id != "",
    notifications.c.state != NotificationState.DISCARDED.value,
    sa.or_(
        notifications.c.kind == Kind.COMPLETED.value,
        ~sa.exists().where(
            _completed.c.study == notifications.c.study,
            _completed.c.scheduled_procedure_step_id == notifications.c.scheduled_procedure_step_id,
            _completed.c.kind == Kind.COMPLETED.value,
        ),
    ),
)
"""Which notifications link their study to their step: what is discarded links nothing, and what
is told of a completed step counts before what was told of one in progress."""


class Database:
    """The database behind one URL, opened when it is needed first. Safe for several threads."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        self._url = sa.make_url(url)
        self._clock = clock
        self._engine: sa.Engine | None = None
        self._is_sqlite = self._url.get_backend_name() == "sqlite"
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
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction that writes. SQLite takes one at a time: threads that queue here are
        served at once, while those that SQLite makes wait sleep for ever longer."""
        if not self._is_sqlite:
            with self._transaction() as connection:
                yield connection
            return
        if not self._writer.acquire(timeout=BUSY_TIMEOUT):
            raise StoreError("the database fails: another thread writes for too long")
        try:
            with self._transaction() as connection:
                yield connection
        finally:
            self._writer.release()

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
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
        if self._is_sqlite:
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

    # --- the last good list ---

    def save_worklist(self, body: bytes, read_at: float) -> None:
        """Keep the list for the time that OpenMRS is away."""
        row = {"id": 1, "read_at": read_at, "body": zlib.compress(body, 1)}
        with self._writing() as connection:
            connection.execute(sa.delete(worklists))
            connection.execute(sa.insert(worklists), row)

    def touch_worklist(self, read_at: float) -> None:
        """The kept list was read again, unchanged."""
        with self._writing() as connection:
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
        with self._writing() as connection:
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
        with self._writing() as connection:
            now = self._clock()
            expected = connection.execute(
                statements.EXPECTED_NOTE, {"the_study": study, "the_moment": now - CALLBACK_DELAY}
            )
            if expected.rowcount == 0:
                _note(connection, study, now, unseen=1)

    def due_studies(self, limit: int = 100) -> list[DueStudy]:
        """Studies whose link is to be decided now, the longest waiting first."""
        with self._transaction() as connection:
            rows = connection.execute(statements.DUE_STUDIES, {"now": self._clock(), "most": limit})
            return [DueStudy(*row) for row in rows]

    def is_due(self, due: DueStudy) -> bool:
        """Whether it still is: another Orthanc may have decided since."""
        with self._transaction() as connection:
            found = connection.scalar(statements.IS_DUE, {"the_study": due.study})
        return found is not None

    def decide_study(
        self, due: DueStudy, outcome: str, reason: str, found: Sequence[NewNotification]
    ) -> int:
        """Keep a decision and its notifications; returns how many are new.

        What was told or decided before for the same study and step stays as it is; a held
        notification gives way to the newer decision.
        """
        now = self._clock()
        values: dict[str, Any] = {"the_study": due.study, "looked_at": True, "attempts": 0}
        if not due.arriving:
            values |= {"decided": due.noted, "outcome": outcome, "reason": reason}
        with self._writing() as connection:
            connection.execute(statements.UPDATE_STUDY, values)
            if not due.arriving:
                _supersede_held(connection, due.study)
            return sum(_add(connection, row, now) for row in found)

    def postpone_study(self, due: DueStudy, seconds: float, reason: str) -> None:
        """The decision waits; it is tried again after `seconds`."""
        with self._writing() as connection:
            connection.execute(
                statements.POSTPONE_STUDY,
                {
                    "the_study": due.study,
                    "the_noted": due.noted,
                    "attempts": due.attempts + 1,
                    "next_attempt": self._clock() + seconds,
                    "reason": reason,
                },
            )

    def outcome_counts(self) -> dict[str, int]:
        """How many studies were decided in each way."""
        query = sa.select(studies.c.outcome, sa.func.count()).group_by(studies.c.outcome)
        with self._transaction() as connection:
            return {row[0]: row[1] for row in connection.execute(query) if row[0]}

    # --- Orthanc's changes ---

    def change_cursor(self) -> int | None:
        """The last change that was taken up, None before the first."""
        with self._transaction() as connection:
            return connection.scalar(sa.select(change_cursor.c.sequence))

    def take_changes(self, sequence: int, changes: Sequence[StudyChange] = ()) -> int:
        """Take up a page of Orthanc's changes, in order; returns how many studies it noted.

        A stable study that the change callback noted is only counted as seen; one that it didn't
        is noted here, and the callback's note, if it comes just after, only counted.
        """
        now = self._clock()
        new = 0
        with self._writing() as connection:
            moved = connection.execute(statements.UPDATE_CURSOR, {"sequence": sequence})
            if moved.rowcount == 0:
                connection.execute(sa.insert(change_cursor).values(id=1, sequence=sequence))
            arriving: set[str] = set()
            for study, stable in changes:
                if not stable:
                    if study not in arriving:
                        _arriving(connection, study, now)
                        arriving.add(study)
                    continue
                arriving.discard(study)
                seen = connection.execute(statements.SEE_NOTE, {"the_study": study})
                if seen.rowcount == 0:
                    _note(connection, study, now, unseen=-1)
                    new += 1
        return new

    def arriving_studies(self) -> list[ArrivingStudy]:
        """Studies of which images came since they were stable last."""
        query = sa.select(studies.c.study, studies.c.last_update, studies.c.last_update_seen).where(
            studies.c.arriving
        )
        with self._transaction() as connection:
            return [ArrivingStudy(*row) for row in connection.execute(query)]

    def still_arriving(self, study: str, last_update: str) -> None:
        """Orthanc's last update of an arriving study is another one than was known."""
        with self._writing() as connection:
            connection.execute(
                sa.update(studies)
                .where(studies.c.study == study)
                .values(last_update=last_update, last_update_seen=self._clock())
            )

    def arrived(self, study: str, *, exists: bool) -> None:
        """Nothing more comes of a study, though Orthanc never said that it is stable."""
        with self._writing() as connection:
            if exists:
                _note(connection, study, self._clock(), unseen=0)
            else:
                connection.execute(
                    sa.update(studies).where(studies.c.study == study).values(arriving=False)
                )

    # --- notifications ---

    def due_notifications(self, limit: int = 100) -> list[Notification]:
        """Pending notifications to be sent now, one a request: the oldest of each."""
        with self._transaction() as connection:
            rows = connection.execute(
                statements.DUE_NOTIFICATIONS, {"now": self._clock(), "most": limit}
            )
            return [_notification(row) for row in rows]

    def next_due(self) -> float | None:
        """When the next study or notification is due (seconds since the epoch), if any is."""
        with self._transaction() as connection:
            times = [
                connection.scalar(statements.NEXT_DUE_STUDY),
                connection.scalar(statements.NEXT_DUE_NOTIFICATION),
            ]
        return min((moment for moment in times if moment is not None), default=None)

    def begin(self, notification: Notification, seconds: float) -> bool:
        """A try begins, unless a person, a sender or another Orthanc was faster since the
        notification was read. If nothing more is heard of the try, the next is after `seconds`.
        """
        with self._writing() as connection:
            begun = connection.execute(
                statements.BEGIN,
                {
                    "the_id": notification.id,
                    "the_attempts": notification.attempts,
                    "the_next_attempt": notification.next_attempt,
                    "attempts": notification.attempts + 1,
                    "next_attempt": self._clock() + seconds,
                    "last_error": UNDER_WAY,
                },
            )
        return begun.rowcount == 1

    def delivered(self, notification: Notification) -> None:
        """OpenMRS has it."""
        self._settle(
            notification,
            state=NotificationState.DELIVERED.value,
            delivered=self._clock(),
            last_error="",
            update="",  # personal data, which nobody needs any more
        )

    def discarded(self, notification: Notification, reason: str) -> None:
        """It says nothing new any more."""
        self._settle(
            notification, state=NotificationState.DISCARDED.value, last_error=reason, update=""
        )

    def failed(self, notification: Notification, reason: str) -> None:
        """OpenMRS refused it; trying again is no use."""
        self._settle(notification, state=NotificationState.FAILED.value, last_error=reason)

    def retry_later(self, notification: Notification, seconds: float, reason: str) -> None:
        """It stays pending and is tried again after `seconds`."""
        self._settle(
            notification,
            next_attempt=self._clock() + seconds,
            last_error=reason,
        )

    def _settle(self, notification: Notification, **values: Any) -> None:
        """Only what is still pending: a person may have decided meanwhile."""
        with self._writing() as connection:
            connection.execute(
                statements.UPDATE_PENDING,
                {"the_id": notification.id, "attempts": notification.attempts + 1, **values},
            )

    def discard_in_progress(self, reason: str) -> None:
        """Nobody takes "in progress": what waits to be told of it is discarded."""
        with self._writing() as connection:
            connection.execute(
                sa.update(notifications)
                .where(
                    notifications.c.kind == Kind.IN_PROGRESS.value,
                    notifications.c.state == NotificationState.PENDING.value,
                )
                .values(state=NotificationState.DISCARDED.value, reason=reason, update="")
            )

    def notification_counts(self) -> dict[NotificationState, int]:
        """How many notifications of completed steps there are in each state."""
        with self._transaction() as connection:
            found = {row[0]: row[1] for row in connection.execute(statements.COUNTS)}
        return {state: found.get(state.value, 0) for state in NotificationState}

    def oldest_pending(self) -> float | None:
        """When the oldest pending notification of a completed step was made, None where none is."""
        query = sa.select(sa.func.min(notifications.c.created)).where(
            notifications.c.kind == Kind.COMPLETED.value,
            notifications.c.state == NotificationState.PENDING.value,
        )
        with self._transaction() as connection:
            oldest: float | None = connection.scalar(query)
        return oldest

    def list_notifications(
        self,
        state: NotificationState | None = None,
        *,
        kind: Kind = Kind.COMPLETED,
        limit: int = 100,
        since: int = 0,
        study: str = "",
        delivered_after: float = 0.0,
        newest_first: bool = False,
    ) -> list[Notification]:
        """Notifications by id from `since` on; without those delivered before a moment.

        `newest_first`: the other way round, from `since` down; 0 is the newest.
        """
        first = notifications.c.id <= since if newest_first else notifications.c.id >= since
        query = sa.select(notifications).where(
            notifications.c.kind == kind.value,
            *([first] if since or not newest_first else []),
            sa.or_(
                notifications.c.state != NotificationState.DELIVERED.value,
                notifications.c.delivered >= delivered_after,
            ),
        )
        if state is not None:
            query = query.where(notifications.c.state == state.value)
        if study:
            query = query.where(notifications.c.study == study)
        with self._transaction() as connection:
            order = notifications.c.id.desc() if newest_first else notifications.c.id
            rows = connection.execute(query.order_by(order).limit(limit))
            return [_notification(row) for row in rows]

    def notification(self, notification_id: int) -> Notification | None:
        """One notification."""
        query = sa.select(notifications).where(notifications.c.id == notification_id)
        with self._transaction() as connection:
            row = connection.execute(query).first()
        return None if row is None else _notification(row)

    # --- a person's decisions ---

    def retry(self, notification: Notification, user: str) -> None:
        """A person has a notification sent again now; a held study is linked again."""
        with self._writing() as connection:
            if notification.state is NotificationState.HELD:
                _note(connection, notification.study, self._clock(), unseen=0)
            else:
                connection.execute(
                    sa.update(notifications)
                    .where(notifications.c.id == notification.id)
                    .values(state=NotificationState.PENDING.value, next_attempt=self._clock())
                )
            self._record(connection, user, "retry", notification)

    def discard(self, notification: Notification, user: str) -> None:
        """A person decides that a notification is never to be sent."""
        with self._writing() as connection:
            connection.execute(
                sa.update(notifications)
                .where(notifications.c.id == notification.id)
                .values(state=NotificationState.DISCARDED.value)
            )
            self._record(connection, user, "discard", notification)

    def report(self, row: NewNotification, user: str) -> Notification:
        """A person says which step a study completes; what was held or refused gives way."""
        now = self._clock()
        same = _same(row, row.kind)
        with self._writing() as connection:
            _supersede_held(connection, row.study)
            if not _add(connection, row, now):
                connection.execute(
                    statements.UPDATE_THE_SAME,
                    {
                        **same,
                        "study": row.study,
                        "requested_procedure_id": row.requested_procedure_id,
                        "state": row.state.value,
                        "evidence": row.evidence,
                        "reason": row.reason,
                        "update": row.update,
                        "next_attempt": now,
                        "patient_id": row.patient_id,
                    },
                )
            found = _notification(connection.execute(statements.THE_SAME, same).one())
            self._record(connection, user, "report", found)
        return found

    def decisions(self, notification: Notification) -> list[PersonsDecision]:
        """What persons decided about a notification, the oldest first."""
        query = (
            sa.select(
                decisions.c.at,
                decisions.c.user,
                decisions.c.action,
                decisions.c.scheduled_procedure_step_id,
            )
            .where(decisions.c.notification == notification.id)
            .order_by(decisions.c.id)
        )
        with self._transaction() as connection:
            return [PersonsDecision(*row) for row in connection.execute(query)]

    def _record(
        self, connection: sa.Connection, user: str, action: str, notification: Notification
    ) -> None:
        connection.execute(
            sa.insert(decisions).values(
                at=self._clock(),
                user=user,
                action=action,
                study=notification.study,
                scheduled_procedure_step_id=notification.scheduled_procedure_step_id,
                notification=notification.id,
            )
        )

    # --- whose a study is ---

    def assigned(self, ids: Sequence[str]) -> dict[str, str]:
        """Of these studies those that a person decided about, and whose they are ("": nobody's)."""
        query = sa.select(assignments.c.study, assignments.c.patient_id).where(
            assignments.c.study.in_(ids)
        )
        with self._transaction() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def linked(self, ids: Sequence[str]) -> list[LinkedStep]:
        """What links these studies to steps, the newest last."""
        columns = notifications.c
        query = (
            sa.select(columns.study, columns.patient_id, columns.scheduled_procedure_step_id)
            .where(_LINKS, columns.study.in_(ids))
            .order_by(columns.id)
        )
        with self._transaction() as connection:
            return [LinkedStep(*row) for row in connection.execute(query)]

    def owned(self, ids: Sequence[str] | None = None) -> dict[str, bool]:
        """Of these studies, or of all, those that a person decided about or a step's patient
        has, and whether they are somebody's."""
        linked = sa.select(notifications.c.study).where(_LINKS, notifications.c.patient_id != "")
        said = sa.select(assignments.c.study, assignments.c.patient_id)
        if ids is not None:
            linked = linked.where(notifications.c.study.in_(ids))
            said = said.where(assignments.c.study.in_(ids))
        with self._transaction() as connection:
            found = dict.fromkeys(connection.scalars(linked), True)
            for study, patient_id in connection.execute(said):
                found[study] = patient_id != ""
        return found

    def studies_of(self, patient_id: str, limit: int) -> list[str]:
        """Studies that were assigned or linked to a patient; another decision about one may
        count more."""
        folded = patient_id.lower()
        query = sa.union(
            *(
                sa.select(table.c.study).where(sa.func.lower(table.c.patient_id) == folded)
                for table in (assignments, notifications)
            )
        )
        with self._transaction() as connection:
            return list(connection.scalars(query.limit(limit)))

    def assign(self, study: str, patient_id: str, user: str, expected: str | None) -> bool:
        """A person says whose a study is ("": nobody's), unless what a person said last is no
        longer what is expected (None: nothing)."""
        now = self._clock()
        values = {"patient_id": patient_id, "at": now, "user": user}
        try:
            with self._writing() as connection:
                if expected is None:
                    connection.execute(sa.insert(assignments).values(study=study, **values))
                else:
                    updated = connection.execute(
                        sa.update(assignments)
                        .where(assignments.c.study == study, assignments.c.patient_id == expected)
                        .values(values)
                    )
                    if updated.rowcount == 0:
                        return False
                connection.execute(
                    sa.insert(decisions).values(
                        at=now,
                        user=user,
                        action="assign" if patient_id else "unassign",
                        study=study,
                        scheduled_procedure_step_id="",
                        notification=0,
                    )
                )
        except StoreError:
            if expected is None and study in self.assigned([study]):
                return False  # another person was faster
            raise
        return True

    def assigned_after(self, study: str, limit: int) -> list[str]:
        """Studies that a person decided about, in the order of their ids, after one of them."""
        query = (
            sa.select(assignments.c.study)
            .where(assignments.c.study > study)
            .order_by(assignments.c.study)
            .limit(limit)
        )
        with self._transaction() as connection:
            return list(connection.scalars(query))

    def forget_assignment(self, study: str, before: float) -> None:
        """The study is gone since a moment: what was said of it before goes too."""
        with self._writing() as connection:
            connection.execute(
                sa.delete(assignments).where(
                    assignments.c.study == study, assignments.c.at < before
                )
            )


def _note(connection: sa.Connection, study: str, now: float, *, unseen: int) -> None:
    """A study is stable; `unseen` 1 where its change is yet to be read, -1 where the callback's
    note may be yet to come."""
    noted = connection.execute(
        statements.NOTE_STUDY,
        {"the_study": study, "noted_at": now, "next_attempt": now, "more": unseen},
    )
    if noted.rowcount == 0:
        _insert_study(connection, study, now, noted=1, unseen=unseen, arriving=False)


def _arriving(connection: sa.Connection, study: str, now: float) -> None:
    known = connection.execute(
        statements.UPDATE_STUDY,
        {
            "the_study": study,
            "arriving": True,
            "looked_at": False,
            "last_update": "",
            "last_update_seen": now,
        },
    )
    if known.rowcount == 0:
        _insert_study(connection, study, now, noted=0, unseen=0, arriving=True)


def _insert_study(
    connection: sa.Connection, study: str, now: float, *, noted: int, unseen: int, arriving: bool
) -> None:
    connection.execute(
        statements.INSERT_STUDY,
        {
            "study": study,
            "noted": noted,
            "decided": 0,
            "noted_at": now,
            "next_attempt": now,
            "attempts": 0,
            "outcome": "",
            "reason": "",
            "unseen": unseen,
            "arriving": arriving,
            "looked_at": False,
            "last_update": "",
            "last_update_seen": now,
        },
    )


def _supersede_held(connection: sa.Connection, study: str) -> None:
    connection.execute(
        statements.UPDATE_HELD,
        {
            "the_study": study,
            "state": NotificationState.DISCARDED.value,
            "last_error": "decided otherwise since",
        },
    )


def _add(connection: sa.Connection, row: NewNotification, now: float) -> int:
    same = _same(row, row.kind)
    exists = connection.scalar(statements.ID_OF_THE_SAME, same)
    if exists is not None:
        return _hold_again(connection, exists, row) if row.state is NotificationState.HELD else 0
    if row.kind is Kind.COMPLETED:
        # "in progress" is never told after "completed".
        connection.execute(
            statements.UPDATE_THE_SAME_PENDING,
            {
                **_same(row, Kind.IN_PROGRESS),
                "state": NotificationState.DISCARDED.value,
                "reason": "completed meanwhile",
            },
        )
    connection.execute(
        statements.INSERT_NOTIFICATION,
        {
            "kind": row.kind.value,
            "study": row.study,
            "study_instance_uid": row.study_instance_uid,
            "requested_procedure_id": row.requested_procedure_id,
            "scheduled_procedure_step_id": row.scheduled_procedure_step_id,
            "state": row.state.value,
            "evidence": row.evidence,
            "reason": row.reason,
            "update": row.update,
            "attempts": 0,
            "next_attempt": now,
            "last_error": "",
            "created": now,
            "delivered": 0.0,
            "patient_id": row.patient_id,
        },
    )
    return 1


def _same(row: NewNotification, kind: Kind) -> dict[str, str]:
    return {
        "the_study_instance_uid": row.study_instance_uid,
        "the_step_id": row.scheduled_procedure_step_id,
        "the_kind": kind.value,
    }


def _hold_again(connection: sa.Connection, held: int, row: NewNotification) -> int:
    """A study that is held again shows the newest reason, unless a person decided about it."""
    by_person = sa.exists().where(
        sa.or_(
            sa.and_(
                decisions.c.notification == notifications.c.id, decisions.c.action == "discard"
            ),
            sa.and_(decisions.c.study == notifications.c.study, decisions.c.action == "report"),
        )
    )
    updated = connection.execute(
        sa.update(notifications)
        .where(notifications.c.id == held, ~by_person)
        .values(
            state=NotificationState.HELD.value,
            evidence=row.evidence,
            reason=row.reason,
            last_error="",
        )
    )
    return updated.rowcount


def _notification(row: sa.Row[Any]) -> Notification:
    fields = dict(row._mapping)
    fields["state"] = NotificationState(fields["state"])
    fields["kind"] = Kind(fields["kind"])
    return Notification(**fields)


# --- opening -------------------------------------------------------------------------------


def _opened(url: sa.URL) -> sa.Engine:
    """An engine whose database has this version's schema."""
    engine = _engine(url)
    try:
        with engine.begin() as connection:
            _migrate(connection)
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


def _migrate(connection: sa.Connection) -> None:
    """Bring the schema to this version. Raises StoreError for a schema of a newer one."""
    schema_version.create(connection, checkfirst=True)
    version = connection.scalar(sa.select(sa.func.max(schema_version.c.version))) or 0
    if version > len(STEPS):
        raise SchemaTooNew(
            f"the database is of schema version {version}, this plugin knows up to {len(STEPS)}: "
            "install the version of the plugin that wrote it, or a newer one"
        )
    for step in STEPS[version:]:
        step(connection)
        version += 1
        connection.execute(sa.insert(schema_version).values(version=version))


def reason_of(problem: BaseException) -> str:
    """The driver's own words, without statement and parameters."""
    origin = getattr(problem, "orig", None) or problem
    return " ".join(str(origin).split())[:300]
