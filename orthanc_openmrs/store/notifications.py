"""The outbox: what OpenMRS is to be told, or was.

Decides: what is due, what gives way to what. Must not know: why a study is linked, what OpenMRS
is.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from orthanc_openmrs.model import (
    Kind,
    LinkedStep,
    NewNotification,
    Notification,
    NotificationState,
)
from orthanc_openmrs.store.decisions import decisions
from orthanc_openmrs.store.engine import Aggregate, metadata

UNDER_WAY = "under way"
"""The last error of a notification whose try has begun and not ended."""

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("study_instance_uid", sa.String(128), nullable=False),
    sa.Column("requested_procedure_id", sa.String(64), nullable=False),
    sa.Column("scheduled_procedure_step_id", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("evidence", sa.String(64), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("update", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt", sa.Float, nullable=False),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("delivered", sa.Float, nullable=False),
    sa.Column("patient_id", sa.String(64), nullable=False),
    sa.UniqueConstraint("study_instance_uid", "scheduled_procedure_step_id", "kind"),
    sa.Index("notifications_due", "state", "next_attempt"),
    sa.Index("notifications_request", "requested_procedure_id", "state"),
    sa.Index("notifications_study", "study"),
    sa.Index("notifications_patient", sa.text("lower(patient_id)")),
)
"""What is to be told, or was. One row a study, step and kind; a held study has a row with no
step. `patient_id` is the uuid of the request's patient."""

# --- statements, put together once: SQLAlchemy takes longer for that than SQLite to execute them

_PENDING = NotificationState.PENDING.value

_the_same = sa.and_(
    notifications.c.study_instance_uid == sa.bindparam("the_study_instance_uid"),
    notifications.c.scheduled_procedure_step_id == sa.bindparam("the_step_id"),
    notifications.c.kind == sa.bindparam("the_kind"),
)
_older = notifications.alias()
_waits_for_an_older = sa.exists().where(
    _older.c.requested_procedure_id == notifications.c.requested_procedure_id,
    _older.c.state == _PENDING,
    _older.c.id < notifications.c.id,
)

INSERT_NOTIFICATION = sa.insert(notifications)
THE_SAME = sa.select(notifications).where(_the_same)
ID_OF_THE_SAME = sa.select(notifications.c.id).where(_the_same)
"""The notification of one study, step and kind."""

UPDATE_THE_SAME = sa.update(notifications).where(_the_same)
UPDATE_THE_SAME_PENDING = UPDATE_THE_SAME.where(notifications.c.state == _PENDING)

UPDATE_HELD = sa.update(notifications).where(
    notifications.c.study == sa.bindparam("the_study"),
    notifications.c.state == NotificationState.HELD.value,
)

UPDATE_PENDING = sa.update(notifications).where(
    notifications.c.id == sa.bindparam("the_id"), notifications.c.state == _PENDING
)
BEGIN = UPDATE_PENDING.where(
    notifications.c.attempts == sa.bindparam("the_attempts"),
    notifications.c.next_attempt == sa.bindparam("the_next_attempt"),
)
"""A pending one as it was read."""

DUE_NOTIFICATIONS = (
    sa.select(notifications)
    .where(
        notifications.c.state == _PENDING,
        notifications.c.next_attempt <= sa.bindparam("now"),
        ~_waits_for_an_older,
    )
    .order_by(notifications.c.next_attempt)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
NEXT_DUE_NOTIFICATION = sa.select(sa.func.min(notifications.c.next_attempt)).where(
    notifications.c.state == _PENDING
)
COUNTS = (
    sa.select(notifications.c.state, sa.func.count())
    .where(notifications.c.kind == Kind.COMPLETED.value)
    .group_by(notifications.c.state)
)


_completed = notifications.alias()
LINKS = sa.and_(
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


class Notifications(Aggregate):
    """The notifications."""

    def due_notifications(self, limit: int = 100) -> list[Notification]:
        """Pending notifications to be sent now, one a request: the oldest of each."""
        with self._transaction() as connection:
            rows = connection.execute(DUE_NOTIFICATIONS, {"now": self._clock(), "most": limit})
            return [as_notification(row) for row in rows]

    def begin(self, notification: Notification, seconds: float) -> bool:
        """A try begins, unless a person, a sender or another Orthanc was faster since the
        notification was read. If nothing more is heard of the try, the next is after `seconds`.
        """
        with self._writing() as connection:
            begun = connection.execute(
                BEGIN,
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
                UPDATE_PENDING,
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
            found = {row[0]: row[1] for row in connection.execute(COUNTS)}
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
            return [as_notification(row) for row in rows]

    def notification(self, notification_id: int) -> Notification | None:
        """One notification."""
        query = sa.select(notifications).where(notifications.c.id == notification_id)
        with self._transaction() as connection:
            row = connection.execute(query).first()
        return None if row is None else as_notification(row)

    def linked(self, ids: Sequence[str]) -> list[LinkedStep]:
        """What links these studies to steps, the newest last."""
        columns = notifications.c
        query = (
            sa.select(columns.study, columns.patient_id, columns.scheduled_procedure_step_id)
            .where(LINKS, columns.study.in_(ids))
            .order_by(columns.id)
        )
        with self._transaction() as connection:
            return [LinkedStep(*row) for row in connection.execute(query)]


def supersede_held(connection: sa.Connection, study: str) -> None:
    connection.execute(
        UPDATE_HELD,
        {
            "the_study": study,
            "state": NotificationState.DISCARDED.value,
            "last_error": "decided otherwise since",
        },
    )


def add(connection: sa.Connection, row: NewNotification, now: float) -> int:
    same = same_as(row, row.kind)
    exists = connection.scalar(ID_OF_THE_SAME, same)
    if exists is not None:
        return _hold_again(connection, exists, row) if row.state is NotificationState.HELD else 0
    if row.kind is Kind.COMPLETED:
        # "in progress" is never told after "completed".
        connection.execute(
            UPDATE_THE_SAME_PENDING,
            {
                **same_as(row, Kind.IN_PROGRESS),
                "state": NotificationState.DISCARDED.value,
                "reason": "completed meanwhile",
            },
        )
    connection.execute(
        INSERT_NOTIFICATION,
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


def same_as(row: NewNotification, kind: Kind) -> dict[str, str]:
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


def as_notification(row: sa.Row[Any]) -> Notification:
    fields = dict(row._mapping)
    fields["state"] = NotificationState(fields["state"])
    fields["kind"] = Kind(fields["kind"])
    return Notification(**fields)
