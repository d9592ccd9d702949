"""The plugin's database: every aggregate behind one URL, and what one transaction does to two.

Decides: that a decision and its notifications are kept together or not at all. Must not know:
why a study is linked, what OpenMRS is.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import sqlalchemy as sa

from orthanc_openmrs.model import DueStudy, NewNotification, Notification, NotificationState
from orthanc_openmrs.store import notifications as outbox
from orthanc_openmrs.store.assignments import Assignments, assignments
from orthanc_openmrs.store.decisions import Decisions, record
from orthanc_openmrs.store.engine import Engine
from orthanc_openmrs.store.lists import Lists
from orthanc_openmrs.store.notifications import LINKS, Notifications, notifications
from orthanc_openmrs.store.person_names import PersonNames
from orthanc_openmrs.store.procedures import Procedures
from orthanc_openmrs.store.studies import NEXT_DUE_STUDY, UPDATE_STUDY, Studies, note


class Database(Lists, PersonNames, Studies, Notifications, Decisions, Assignments, Procedures):
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
        """Whether this Orthanc may work on `what` now."""
        return self.engine.claim(what)

    # --- a study and its notifications ---

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
            connection.execute(UPDATE_STUDY, values)
            if not due.arriving:
                outbox.supersede_held(connection, due.study)
            return sum(outbox.add(connection, row, now) for row in found)

    def next_due(self) -> float | None:
        """When the next study or notification is due (seconds since the epoch), if any is."""
        with self._transaction() as connection:
            times = [
                connection.scalar(NEXT_DUE_STUDY),
                connection.scalar(outbox.NEXT_DUE_NOTIFICATION),
            ]
        return min((moment for moment in times if moment is not None), default=None)

    def retry(self, notification: Notification, user: str) -> None:
        """A person has a notification sent again now; a held study is linked again."""
        with self._writing() as connection:
            if notification.state is NotificationState.HELD:
                note(connection, notification.study, self._clock(), unseen=0)
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
        same = outbox.same_as(row, row.kind)
        with self._writing() as connection:
            outbox.supersede_held(connection, row.study)
            if not outbox.add(connection, row, now):
                connection.execute(
                    outbox.UPDATE_THE_SAME,
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
            found = outbox.as_notification(connection.execute(outbox.THE_SAME, same).one())
            self._record(connection, user, "report", found)
        return found

    def _record(
        self, connection: sa.Connection, user: str, action: str, notification: Notification
    ) -> None:
        record(
            connection,
            at=self._clock(),
            user=user,
            action=action,
            study=notification.study,
            step_id=notification.scheduled_procedure_step_id,
            notification=notification.id,
        )

    # --- whose a study is ---

    def owned(self, ids: Sequence[str] | None = None) -> dict[str, bool]:
        """Of these studies, or of all, those that a person decided about or a step's patient
        has, and whether they are somebody's."""
        linked = sa.select(notifications.c.study).where(LINKS, notifications.c.patient_id != "")
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
