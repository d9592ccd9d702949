"""The plugin's database: every aggregate behind one URL, and what one transaction does to two.

Decides: that a decision and its notifications are kept together or not at all, and which of them
are there already. Must not know: why a study is linked, what OpenMRS is.
"""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa

from orthanc_openmrs.completion.states import LIVE, Event
from orthanc_openmrs.model import (
    DueStudy,
    Kind,
    Named,
    NewNotification,
    Notification,
    NotificationState,
    StudyChange,
    StudyRecord,
)
from orthanc_openmrs.store import notifications as outbox
from orthanc_openmrs.store import studies as noted
from orthanc_openmrs.store.assignments import Assignments, assignments
from orthanc_openmrs.store.decisions import Decisions, record, said_of
from orthanc_openmrs.store.engine import Engine
from orthanc_openmrs.store.given_uids import GivenUids, given_of
from orthanc_openmrs.store.lists import Lists
from orthanc_openmrs.store.notifications import (
    LINKS,
    NEXT_DUE_NOTIFICATION,
    Notifications,
    expired_notifications,
    notifications,
)
from orthanc_openmrs.store.owner import Owners, witness
from orthanc_openmrs.store.person_names import PersonNames
from orthanc_openmrs.store.procedures import Procedures
from orthanc_openmrs.store.studies import DECIDE_STUDY, NEXT_DUE_STUDY, Studies
from orthanc_openmrs.store.texts import words

PERSON = "person"
"""The evidence of what a person said."""

DECIDED_OTHERWISE = "decided otherwise since"
COMPLETED_MEANWHILE = "completed meanwhile"


class Database(
    Lists,
    PersonNames,
    Studies,
    GivenUids,
    Notifications,
    Decisions,
    Assignments,
    Procedures,
    Owners,
):
    """All that is kept, as one object; each use case's protocol says what it needs of it."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.time) -> None:
        super().__init__(Engine(url), clock)

    def open(self) -> None:
        """Open it now. Raises StoreError, or SchemaTooNew where it must not be opened."""
        self.engine.open()

    def close(self) -> None:
        """Give the connections back."""
        self.engine.close()

    def claim(self, what: str) -> AbstractContextManager[bool]:
        """Whether this Orthanc may work on `what` now; several may share the database."""
        return self.engine.claim(what)

    # --- Orthanc's changes ---

    def take_changes(self, sequence: int, changes: Sequence[StudyChange] = ()) -> int:
        """Take up a page of Orthanc's changes, in order; returns how many studies it noted.

        What was read for a decision since isn't news. A study that is decided twice is told once.
        """
        now = self._clock()
        new = 0
        with self._writing() as connection:
            if sequence == 0:
                noted.restart(connection)
            noted.move_cursor(connection, sequence)
            witness(connection, changes)
            arriving: set[str] = set()
            for change in changes:
                if change.new and noted.came(connection, change, now):
                    life = noted.life_of(connection, change.study)
                    outbox.withdraw_earlier(connection, change.study, life, now)
                if change.stable:
                    arriving.discard(change.study)
                    if not noted.covered(connection, change):
                        noted.note(connection, change.study, now)
                        new += 1
                elif change.study not in arriving and not noted.covered(connection, change):
                    noted.arriving(connection, change.study, now)
                    arriving.add(change.study)
        return new

    def is_settled(self) -> bool:
        """Whether nothing is left to do or to show: nothing waits for OpenMRS, for a person, for
        a list or for images."""
        with self._transaction() as connection:
            return not any(connection.scalar(query) for query in _UNSETTLED)

    def study_deleted(self, study: str) -> None:
        """Orthanc deleted a study: what it was told for is history, what waits is withdrawn."""
        with self._writing() as connection:
            now = self._clock()
            if noted.deleted(connection, study, now):
                life = noted.life_of(connection, study)
                outbox.withdraw_earlier(connection, study, life, now)

    # --- a study and its notifications ---

    def history(self, study: str, study_instance_uid: str) -> StudyRecord:
        """What is known of a study from before."""
        with self._transaction() as connection:
            life = noted.life_of(connection, study)
            return StudyRecord(
                life,
                tuple(outbox.rows_of(connection, study, study_instance_uid)),
                tuple(said_of(connection, study, life)),
                tuple(given_of(connection, study_instance_uid)),
            )

    def decide_study(
        self,
        due: DueStudy,
        outcome: str,
        reason: str,
        rows: Sequence[NewNotification],
        named: Collection[Named] = (),
        *,
        as_of: int = 0,
    ) -> int:
        """Keep a decision; returns how many notifications are new.

        `rows` are all that the decision is for. What was told for the same step in this life, or
        failed, or was discarded by a person, stays as it is; what is held and isn't among them
        gives way; what is pending has its second look. `named`: what a list must bring for the
        study to be looked at again.
        `as_of` is Orthanc's last change before the study was read. Where a new life began
        meanwhile, nothing is kept. Raises Unstorable.
        """
        now = self._clock()
        values: dict[str, Any] = {"looked_at": True, "attempts": 0}
        if not due.arriving:
            values |= {"decided": due.noted, "outcome": outcome, "reason": words(reason)}
            values |= {"as_of": as_of} if as_of else {}
        with self._writing() as connection:
            decided = connection.execute(
                DECIDE_STUDY, {"the_study": due.study, "the_life": due.life, **values}
            )
            if decided.rowcount == 0:
                return 0
            there = outbox.of_the_life(connection, due.study, due.life)
            if not due.arriving:
                noted.name(connection, due.study, named)
                _give_way(connection, there, rows, now)
            return sum(_add(connection, there, row, due.life, now) for row in rows)

    def next_due(self) -> float | None:
        """When the next study or notification is due (seconds since the epoch), if any is."""
        with self._transaction() as connection:
            times = [connection.scalar(NEXT_DUE_STUDY), connection.scalar(NEXT_DUE_NOTIFICATION)]
        return min((moment for moment in times if moment is not None), default=None)

    def hold(self, notification: Notification, reason: str) -> bool:
        """A list says otherwise before it was told: held, and the study is decided anew."""
        now = self._clock()
        with self._writing() as connection:
            if not outbox.happen(connection, notification.id, Event.DOUBTED, now, reason):
                return False
            noted.look_at(connection, notification.study, now)
        return True

    # --- a person's decisions ---

    def retry(self, notification: Notification, user: str, named: str = "") -> bool:
        """A person has it sent again now; a held study is decided again, but for one that was
        told before: that is told again. False where it isn't any more what the person saw."""
        now = self._clock()
        with self._writing() as connection:
            if notification.state is NotificationState.HELD and not notification.delivered:
                found = outbox.by_id(connection, notification.id)
                if found is None or found.revision != notification.revision:
                    return False
                noted.look_at(connection, notification.study, now)
            elif not outbox.happen(
                connection, notification.id, Event.RETRY, now, revision=notification.revision
            ):
                return False
            _record(connection, now, user, "retry", notification, named)
        return True

    def discard(self, notification: Notification, user: str, named: str = "") -> bool:
        """A person decides that it is never to be sent. False where it isn't any more what the
        person saw."""
        now = self._clock()
        with self._writing() as connection:
            if not outbox.happen(
                connection, notification.id, Event.DISCARD, now, revision=notification.revision
            ):
                return False
            _record(connection, now, user, "discard", notification, named)
        return True

    def report(
        self, rows: Sequence[NewNotification], user: str, named: str = ""
    ) -> list[Notification]:
        """A person says which steps a study completes, in one decision; what is held of it gives
        way. Raises Unstorable."""
        now = self._clock()
        reported: list[Notification] = []
        with self._writing() as connection:
            for study in dict.fromkeys(row.study for row in rows):
                noted.ensure_known(connection, study, now)
                life = noted.life_of(connection, study)
                there = outbox.of_the_life(connection, study, life)
                own = [row for row in rows if row.study == study]
                kept = [found for row in own if (found := _same(there, row, _REPORTABLE))]
                for found in there:
                    if found.state is NotificationState.HELD and found not in kept:
                        outbox.happen(
                            connection, found.id, Event.SUPERSEDED, now, DECIDED_OTHERWISE
                        )
                for row in own:
                    same = _same(there, row, _REPORTABLE)
                    if same and outbox.renew(connection, same, row, Event.REPORT, now):
                        number = same.id
                    else:
                        number = outbox.insert(connection, row, life, now, by_person=True)
                    _supersede_in_progress(connection, there, row, now)
                    told = outbox.by_id(connection, number)
                    assert told is not None
                    _record(connection, now, user, "report", told, named)
                    reported.append(told)
        return reported

    # --- whose a study is ---

    def owned(self, ids: Sequence[str] | None = None) -> dict[str, bool]:
        """Of these studies, or of all, those that a person decided about or a step's patient
        has, and whether they are somebody's."""
        linked = [
            sa.select(notifications.c.study).where(LINKS, notifications.c.patient_id != ""),
            sa.select(expired_notifications.c.study).where(
                expired_notifications.c.patient_id != "", expired_notifications.c.study != ""
            ),
        ]
        said = sa.select(assignments.c.study, assignments.c.patient_id)
        if ids is not None:
            linked = [
                query.where(table.c.study.in_(ids))
                for query, table in zip(linked, (notifications, expired_notifications), strict=True)
            ]
            said = said.where(assignments.c.study.in_(ids))
        with self._transaction() as connection:
            found: dict[str, bool] = {}
            for query in linked:
                found.update(dict.fromkeys(connection.scalars(query), True))
            for study, patient_id in connection.execute(said):
                found[study] = patient_id != ""
        return found

    def studies_of(self, patient_id: str, limit: int) -> list[str]:
        """Studies that were assigned or linked to a patient; another decision about one may
        count more."""
        folded = patient_id.lower()
        query = sa.union(
            *(
                sa.select(table.c.study).where(
                    sa.func.lower(table.c.patient_id) == folded, table.c.study != ""
                )
                for table in (assignments, notifications, expired_notifications)
            )
        )
        with self._transaction() as connection:
            return list(connection.scalars(query.limit(limit)))


_UNSETTLED = (
    sa.select(sa.exists().where(noted.DUE)),
    sa.select(sa.exists().where(noted.studies.c.arriving)),
    sa.select(
        sa.exists().where(
            notifications.c.state.in_(
                [
                    NotificationState.PENDING.value,
                    NotificationState.HELD.value,
                    NotificationState.FAILED.value,
                ]
            )
        )
    ),
)

_REPORTABLE = (
    NotificationState.PENDING,
    NotificationState.HELD,
    NotificationState.FAILED,
    NotificationState.DISCARDED,
)


def _same(
    there: Sequence[Notification],
    row: NewNotification,
    states: Collection[NotificationState] = tuple(NotificationState),
) -> Notification | None:
    """The notification of the same step and kind; what is live counts before what has ended."""
    same = [
        found
        for found in there
        if (found.kind, found.step) == (row.kind, row.step) and found.state in states
    ]
    return min(same, key=lambda found: found.state not in LIVE, default=None)


def _is_a_persons(found: Notification) -> bool:
    """Whether a person said it, also where the list made it doubtful since."""
    return found.by_person or found.evidence == PERSON


def _told_before(found: Notification) -> bool:
    """Whether it was told and is shown to a person, for OpenMRS says otherwise since."""
    return found.state is NotificationState.HELD and found.delivered > 0


def _give_way(
    connection: sa.Connection,
    there: Sequence[Notification],
    rows: Sequence[NewNotification],
    now: float,
) -> None:
    """What is held and that the newer decision doesn't have, but for what a person said."""
    wanted = {(row.kind, row.step) for row in rows}
    completed = {row.step for row in rows if row.kind is Kind.COMPLETED}
    for found in there:
        if found.state is not NotificationState.HELD or _is_a_persons(found) or _told_before(found):
            continue
        if (found.kind, found.step) in wanted:
            continue
        if found.kind is Kind.IN_PROGRESS and found.step in completed:
            continue  # it says so itself
        outbox.happen(connection, found.id, Event.SUPERSEDED, now, DECIDED_OTHERWISE)


def _add(
    connection: sa.Connection,
    there: Sequence[Notification],
    row: NewNotification,
    life: int,
    now: float,
) -> int:
    _supersede_in_progress(connection, there, row, now)
    same = _same(there, row)
    # First images of a step are told once in a life, whatever became of it.
    again = row.kind is Kind.COMPLETED
    if same is None or (again and same.state is NotificationState.DISCARDED and not same.by_person):
        outbox.insert(connection, row, life, now)
        return 1
    if same.state is not NotificationState.HELD or _told_before(same):
        return 0
    if row.state is NotificationState.HELD:
        outbox.hold_again(connection, same, row)
        return 0
    return int(outbox.renew(connection, same, row, Event.LINKED, now))


def _supersede_in_progress(
    connection: sa.Connection,
    there: Sequence[Notification],
    row: NewNotification,
    now: float,
) -> None:
    """ "in progress" is never told after "completed"."""
    if row.kind is not Kind.COMPLETED:
        return
    for found in there:
        if found.kind is Kind.IN_PROGRESS and found.step == row.step and found.state in LIVE:
            outbox.happen(connection, found.id, Event.SUPERSEDED, now, COMPLETED_MEANWHILE)


def _record(
    connection: sa.Connection,
    now: float,
    user: str,
    action: str,
    notification: Notification,
    named: str,
) -> None:
    record(
        connection,
        at=now,
        user=user,
        action=action,
        study=notification.study,
        life=notification.life,
        step_id=notification.scheduled_procedure_step_id,
        notification=notification.id,
        named=named,
    )
