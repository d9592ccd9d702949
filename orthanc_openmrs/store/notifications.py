"""The outbox: what OpenMRS is to be told, or was.

Decides: what is due, what is the same as what is there already. Every change of a state is by
`move`, which obeys the table of `completion.states`. Must not know: why a study is linked, what
OpenMRS is.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from orthanc_openmrs.completion.states import LIVE, MOVES, Event
from orthanc_openmrs.model import (
    Kind,
    LinkedStep,
    NewNotification,
    Notification,
    NotificationFilter,
    NotificationState,
    StepIdentity,
)
from orthanc_openmrs.store.engine import Aggregate, metadata
from orthanc_openmrs.store.studies import FARTHEST
from orthanc_openmrs.store.texts import identifiers, words

UNDER_WAY = "under way"
"""The last error of a notification whose try has begun and not ended."""

CAME_THROUGH = "it was under way when it was discarded, and OpenMRS took it"

TOLD_OTHERWISE = "its scanner said otherwise since"
TOLD_AGAIN = "told again since"

MOST_OF_A_STUDY = 1000
"""Notifications of one study that anything is made of, the newest."""

_PENDING = NotificationState.PENDING.value
_HELD = NotificationState.HELD.value
_DELIVERED = NotificationState.DELIVERED.value
_DISCARDED = NotificationState.DISCARDED.value

notifications = sa.Table(
    "notifications",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("study_instance_uid", sa.Text, nullable=False),
    sa.Column("life", sa.Integer, nullable=False),
    sa.Column("requested_procedure_id", sa.Text, nullable=False),
    sa.Column("scheduled_procedure_step_id", sa.Text, nullable=False),
    sa.Column("patient_id", sa.Text, nullable=False),
    sa.Column("accession_number", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("by_person", sa.Boolean, nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("repeats", sa.Integer, nullable=False),
    sa.Column("next_attempt", sa.Float, nullable=False),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("changed", sa.Float, nullable=False),
    sa.Column("delivered", sa.Float, nullable=False),
    sa.Index("notifications_due", "state", "next_attempt"),
    sa.Index(
        "notifications_turn", "requested_procedure_id", "scheduled_procedure_step_id", "state"
    ),
    sa.Index("notifications_step", "scheduled_procedure_step_id", "state"),
    sa.Index("notifications_study", "study"),
    sa.Index("notifications_uid", "study_instance_uid"),
    sa.Index("notifications_patient", sa.text("lower(patient_id)")),
    sa.Index("notifications_delivered", "delivered"),
    sa.Index("notifications_changed", "changed"),
    sa.Index(
        "notifications_live",
        "study",
        "life",
        "requested_procedure_id",
        "scheduled_procedure_step_id",
        "patient_id",
        "accession_number",
        "kind",
        unique=True,
        sqlite_where=sa.text("state IN ('pending', 'held')"),
        postgresql_where=sa.text("state IN ('pending', 'held')"),
    ),
    sqlite_autoincrement=True,
)
"""What is to be told, or was; what is held without a step has an empty identity. No number is
given twice, also where the last one was deleted."""

expired_notifications = sa.Table(
    "expired_notifications",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("study_instance_uid", sa.Text, nullable=False),
    sa.Column("life", sa.Integer, nullable=False),
    sa.Column("requested_procedure_id", sa.Text, nullable=False),
    sa.Column("scheduled_procedure_step_id", sa.Text, nullable=False),
    sa.Column("patient_id", sa.Text, nullable=False),
    sa.Column("accession_number", sa.Text, nullable=False),
    sa.Column("evidence", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("delivered", sa.Float, nullable=False),
    sa.Index("expired_notifications_study", "study"),
    sa.Index("expired_notifications_uid", "study_instance_uid"),
    sa.Index("expired_notifications_patient", sa.text("lower(patient_id)")),
)
"""What was delivered so long ago that it isn't listed: what is left is which study was of which
step, for the mapping and for the next decision about the study."""

# --- statements, put together once: SQLAlchemy takes longer for that than SQLite to execute them.
# What one sets, and the values of its parameters, come with its execution; `the_…` names the row.

_of_the_id = notifications.c.id == sa.bindparam("the_id")
_of_the_life = sa.and_(
    notifications.c.study == sa.bindparam("the_study"),
    notifications.c.life == sa.bindparam("the_life"),
)
_older = notifications.alias()
_waits_for_an_older = sa.exists().where(
    _older.c.requested_procedure_id == notifications.c.requested_procedure_id,
    _older.c.scheduled_procedure_step_id == notifications.c.scheduled_procedure_step_id,
    _older.c.patient_id == notifications.c.patient_id,
    _older.c.kind == notifications.c.kind,
    _older.c.state == _PENDING,
    _older.c.id < notifications.c.id,
)

_INSERT = sa.insert(notifications)
_BY_ID = sa.select(notifications).where(_of_the_id)
_OF_THE_LIFE = (
    sa.select(notifications)
    .where(_of_the_life)
    .order_by(notifications.c.id.desc())
    .limit(MOST_OF_A_STUDY)
)


def _past_of(table: sa.Table) -> sa.Select[Any]:
    return (
        sa.select(table)
        .where(
            sa.or_(
                table.c.study == sa.bindparam("the_study"),
                table.c.study_instance_uid == sa.bindparam("the_uid"),
            )
        )
        .order_by(table.c.id.desc())
        .limit(MOST_OF_A_STUDY)
    )


_PAST = _past_of(notifications)
_PAST_EXPIRED = _past_of(expired_notifications)
_LIVE_OF_EARLIER_LIVES = sa.select(notifications.c.id).where(
    notifications.c.study == sa.bindparam("the_study"),
    notifications.c.life < sa.bindparam("the_life"),
    notifications.c.state.in_([state.value for state in LIVE]),
)

_LIVE_OF_A_STEP_ALONE = sa.select(notifications.c.id, notifications.c.kind).where(
    notifications.c.study == "",
    notifications.c.requested_procedure_id == sa.bindparam("the_request_id"),
    notifications.c.scheduled_procedure_step_id == sa.bindparam("the_step_id"),
    notifications.c.patient_id == sa.bindparam("the_patient_id"),
    notifications.c.accession_number == sa.bindparam("the_number"),
    notifications.c.state.in_([state.value for state in LIVE]),
)
"""What is told of a step without a study: that its exam has begun, or was broken off."""

_BEGIN = sa.update(notifications).where(
    _of_the_id,
    notifications.c.state == _PENDING,
    notifications.c.attempts == sa.bindparam("the_attempts"),
    notifications.c.next_attempt == sa.bindparam("the_next_attempt"),
)
"""A pending one as it was read."""

_DUE = (
    sa.select(notifications)
    .where(
        notifications.c.state == _PENDING,
        sa.or_(
            notifications.c.next_attempt <= sa.bindparam("now"),
            notifications.c.next_attempt > sa.bindparam("farthest"),
        ),
        ~_waits_for_an_older,
    )
    .order_by(notifications.c.next_attempt)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_SHOWN_OF_THE_STEP = sa.select(notifications.c.id).where(
    *(
        notifications.c[name] == sa.bindparam(f"the_{name}")
        for name in (*StepIdentity._fields, "kind")
    ),
    notifications.c.state == _HELD,
    notifications.c.delivered > 0,
    notifications.c.id != sa.bindparam("the_id"),
)
NEXT_DUE_NOTIFICATION = sa.select(sa.func.min(notifications.c.next_attempt)).where(
    notifications.c.state == _PENDING
)
_COUNTS = (
    sa.select(notifications.c.state, sa.func.count())
    .where(notifications.c.kind == Kind.COMPLETED.value)
    .group_by(notifications.c.state)
)


def _moves(event: Event) -> sa.Update:
    """What an event changes, beside what comes with its execution."""
    move = MOVES[event]
    changes: dict[str, Any] = {"state": move.target.value}
    if event is not Event.PUT_OFF:
        changes |= {
            "revision": notifications.c.revision + 1,
            "by_person": move.by_person,
            "repeats": 0,
        }
    if move.target is NotificationState.DELIVERED:
        changes["last_error"] = sa.case(
            (notifications.c.state == _DISCARDED, CAME_THROUGH), else_=""
        )
    return (
        sa.update(notifications)
        .where(_of_the_id, notifications.c.state.in_([state.value for state in move.sources]))
        .values(changes)
    )


_MOVES = {event: _moves(event) for event in MOVES}
_MOVES_OF_A_REVISION = {
    event: update.where(notifications.c.revision == sa.bindparam("the_revision"))
    for event, update in _MOVES.items()
}

_completed = notifications.alias()
LINKS = sa.and_(
    notifications.c.study != "",
    notifications.c.scheduled_procedure_step_id != "",
    notifications.c.state != _DISCARDED,
    sa.or_(notifications.c.state != _HELD, notifications.c.delivered > 0),
    sa.or_(
        notifications.c.kind == Kind.COMPLETED.value,
        ~sa.exists().where(
            _completed.c.study == notifications.c.study,
            _completed.c.scheduled_procedure_step_id == notifications.c.scheduled_procedure_step_id,
            _completed.c.kind == Kind.COMPLETED.value,
        ),
    ),
)
"""Which notifications link their study to their step: what is discarded or in doubt links
nothing, and what is told of a completed step counts before what was told of one in progress."""


def _like(
    states: Collection[NotificationState],
    kind: Kind,
    study: str,
    named: NotificationFilter | None,
    delivered_after: float,
) -> Iterator[sa.ColumnElement[bool]]:
    columns = notifications.c
    yield columns.kind == kind.value
    yield sa.or_(columns.state != _DELIVERED, columns.delivered >= delivered_after)
    if states:
        yield columns.state.in_(sorted({state.value for state in states}))
    if study:
        yield columns.study == study
    if named is None:
        return
    if named.step:
        yield columns.scheduled_procedure_step_id == named.step
    if named.request:
        yield columns.requested_procedure_id == named.request
    if named.patient:
        yield sa.func.lower(columns.patient_id) == named.patient.lower()
    if named.studies is not None:
        numbers = sorted(named.numbers)
        yield sa.or_(
            columns.study.in_(sorted(named.studies)),
            columns.scheduled_procedure_step_id.in_(numbers),
            columns.requested_procedure_id.in_(numbers),
            columns.accession_number.in_(numbers),
        )
    first, last = named.made
    if first:
        yield columns.created >= first
    if last:
        yield columns.created < last
    if named.changed_since:
        yield columns.changed >= named.changed_since


class Notifications(Aggregate):
    """The notifications."""

    # --- what is sent ---

    def due_notifications(self, limit: int = 100) -> list[Notification]:
        """Pending notifications to be sent now, one a step: the oldest of each."""
        now = self._clock()
        with self._transaction() as connection:
            rows = connection.execute(_DUE, {"now": now, "farthest": now + FARTHEST, "most": limit})
            return [as_notification(row) for row in rows]

    def begin(self, notification: Notification, seconds: float) -> bool:
        """A try begins, unless a person, a sender or another Orthanc was faster since the
        notification was read. If nothing more is heard of the try, the next is after `seconds`.
        """
        with self._writing() as connection:
            begun = connection.execute(
                _BEGIN,
                {
                    "the_id": notification.id,
                    "the_attempts": notification.attempts,
                    "the_next_attempt": notification.next_attempt,
                    "attempts": notification.attempts + 1,
                    "next_attempt": self._clock() + min(seconds, FARTHEST),
                    "last_error": UNDER_WAY,
                },
            )
        return begun.rowcount == 1

    def delivered(self, notification: Notification) -> bool:
        """OpenMRS has it. What was told of the same step before, and is shown to a person because
        the step was open again, needs nobody any more."""
        with self._writing() as connection:
            now = self._clock()
            if not happen(connection, notification.id, Event.TAKEN, now):
                return False
            shown = {"the_id": notification.id, **_the_step(notification)}
            for one in connection.scalars(_SHOWN_OF_THE_STEP, shown).all():
                happen(connection, one, Event.SUPERSEDED, now, TOLD_AGAIN)
        return True

    def failed(self, notification: Notification, reason: str) -> bool:
        """OpenMRS refused it; trying again is no use."""
        return self.move(notification.id, Event.REFUSED, reason)

    def withdraw(self, notification: Notification, reason: str) -> bool:
        """It says nothing new any more, or nothing that is true."""
        return self.move(notification.id, Event.WITHDRAWN, reason)

    def reopened(self, notification: Notification, reason: str) -> bool:
        """It was told, and OpenMRS has the step open again: a person is asked."""
        return self.move(notification.id, Event.REOPENED, reason)

    def retry_later(
        self, notification: Notification, seconds: float, reason: str, repeats: int = 0
    ) -> bool:
        """It stays pending and is tried again after `seconds`; `repeats` tries ended with the
        same words."""
        with self._writing() as connection:
            return move(
                connection,
                notification.id,
                Event.PUT_OFF,
                next_attempt=self._clock() + min(seconds, FARTHEST),
                last_error=words(reason),
                repeats=repeats,
            )

    def move(self, notification_id: int, event: Event, reason: str = "") -> bool:
        """An event of the worker's happens to a notification; False where its state is no longer
        one that it can happen in."""
        with self._writing() as connection:
            return happen(connection, notification_id, event, self._clock(), reason)

    def withdraw_in_progress(self, reason: str) -> None:
        """Nobody takes "in progress": what waits to be told of it is withdrawn."""
        query = sa.select(notifications.c.id).where(
            notifications.c.kind == Kind.IN_PROGRESS.value, notifications.c.state == _PENDING
        )
        with self._writing() as connection:
            for found in connection.scalars(query).all():
                happen(connection, found, Event.WITHDRAWN, self._clock(), reason)

    def tell_steps(self, rows: Sequence[NewNotification]) -> int:
        """What is to be told of steps without a study; returns how many are new. The newest
        counts: what waits to be told otherwise of the same step is withdrawn. Raises Unstorable.
        """
        now = self._clock()
        new = 0
        with self._writing() as connection:
            for row in rows:
                live = connection.execute(
                    _LIVE_OF_A_STEP_ALONE,
                    {
                        "the_request_id": row.step.requested_procedure_id,
                        "the_step_id": row.step.scheduled_procedure_step_id,
                        "the_patient_id": row.step.patient_id,
                        "the_number": row.step.accession_number,
                    },
                ).all()
                for one in live:
                    if one.kind != row.kind.value:
                        happen(connection, one.id, Event.WITHDRAWN, now, TOLD_OTHERWISE)
                if all(one.kind != row.kind.value for one in live):
                    insert(connection, row, 0, now)
                    new += 1
        return new

    # --- what is known ---

    def notification_counts(self) -> dict[NotificationState, int]:
        """How many notifications of completed steps there are in each state."""
        with self._transaction() as connection:
            found = {row[0]: row[1] for row in connection.execute(_COUNTS)}
        return {state: found.get(state.value, 0) for state in NotificationState}

    def oldest_pending(self) -> float | None:
        """When the oldest pending notification of a completed step was made, None where none is."""
        query = sa.select(sa.func.min(notifications.c.created)).where(
            notifications.c.kind == Kind.COMPLETED.value, notifications.c.state == _PENDING
        )
        with self._transaction() as connection:
            oldest: float | None = connection.scalar(query)
        return oldest

    def list_notifications(
        self,
        *states: NotificationState,
        kind: Kind = Kind.COMPLETED,
        limit: int = 100,
        since: int = 0,
        study: str = "",
        named: NotificationFilter | None = None,
        delivered_after: float = 0.0,
        newest_first: bool = False,
    ) -> list[Notification]:
        """Notifications by id from `since` on, in one of these states (none: in any); without
        those delivered before a moment.

        `newest_first`: the other way round, from `since` down; 0 is the newest.
        """
        first = notifications.c.id <= since if newest_first else notifications.c.id >= since
        query = sa.select(notifications).where(
            *_like(states, kind, study, named, delivered_after),
            *([first] if since or not newest_first else []),
        )
        order = notifications.c.id.desc() if newest_first else notifications.c.id
        return self._all(query.order_by(order).limit(limit))

    def count_notifications(
        self,
        *states: NotificationState,
        kind: Kind = Kind.COMPLETED,
        named: NotificationFilter | None = None,
        delivered_after: float = 0.0,
    ) -> int:
        """How many these are."""
        query = sa.select(sa.func.count()).where(*_like(states, kind, "", named, delivered_after))
        with self._transaction() as connection:
            return int(connection.scalar(query) or 0)

    def changed_notifications(self, since: float, limit: int = 1000) -> list[Notification]:
        """Notifications of any kind whose state changed at a moment or later, in that order."""
        return self._all(
            sa.select(notifications)
            .where(notifications.c.changed >= since)
            .order_by(notifications.c.changed, notifications.c.id)
            .limit(limit)
        )

    def notification(self, notification_id: int) -> Notification | None:
        """One notification."""
        with self._transaction() as connection:
            return by_id(connection, notification_id)

    def delivered_steps(self, step_ids: Collection[str]) -> list[Notification]:
        """What was delivered of these steps as completed, the newest last."""
        wanted = sorted(set(step_ids))
        found: list[Notification] = []
        for at in range(0, len(wanted), MOST_OF_A_STUDY):
            some = wanted[at : at + MOST_OF_A_STUDY]
            found += self._all(
                sa.select(notifications).where(
                    notifications.c.scheduled_procedure_step_id.in_(some),
                    notifications.c.state == _DELIVERED,
                    notifications.c.kind == Kind.COMPLETED.value,
                )
            )
        return sorted(found, key=lambda told: told.id)

    def delivered_since(self, moment: float) -> list[Notification]:
        """What was delivered as completed from a moment on, the newest last."""
        return self._all(
            sa.select(notifications)
            .where(
                notifications.c.delivered >= moment,
                notifications.c.state == _DELIVERED,
                notifications.c.kind == Kind.COMPLETED.value,
            )
            .order_by(notifications.c.id)
        )

    def delivered_of_step_since(self, step_id: str, moment: float) -> bool:
        """Whether a step was told as completed from a moment on."""
        query = sa.select(notifications.c.id).where(
            notifications.c.scheduled_procedure_step_id == step_id,
            notifications.c.delivered >= moment,
            notifications.c.state == _DELIVERED,
            notifications.c.kind == Kind.COMPLETED.value,
        )
        with self._transaction() as connection:
            return connection.scalar(query.limit(1)) is not None

    def linked(self, ids: Sequence[str]) -> list[LinkedStep]:
        """What links these studies to steps, the newest last."""
        query = sa.union_all(
            *(
                sa.select(
                    table.c.id,
                    table.c.study,
                    table.c.patient_id,
                    table.c.scheduled_procedure_step_id,
                ).where(table.c.study.in_(ids), *conditions)
                for table, conditions in ((notifications, [LINKS]), (expired_notifications, []))
            )
        ).order_by("id")
        with self._transaction() as connection:
            return [LinkedStep(*row[1:]) for row in connection.execute(query)]

    def expire(self, before: float, limit: int = 500) -> bool:
        """Delete what was delivered before a moment; whether there may be more. That the study is
        of the step stays known."""
        query = (
            sa.select(notifications)
            .where(
                notifications.c.delivered > 0,
                notifications.c.delivered < before,
                notifications.c.state == _DELIVERED,
            )
            .limit(limit)
        )
        names = expired_notifications.c.keys()
        with self._writing() as connection:
            rows = connection.execute(query).all()
            if rows:
                connection.execute(
                    sa.insert(expired_notifications),
                    [{name: row._mapping[name] for name in names} for row in rows],
                )
                connection.execute(
                    sa.delete(notifications).where(notifications.c.id.in_([row.id for row in rows]))
                )
        return len(rows) == limit

    def _all(self, query: sa.Select[Any]) -> list[Notification]:
        with self._transaction() as connection:
            return [as_notification(row) for row in connection.execute(query)]


# --- what is done in the transaction of something else -------------------------------------


def _the_step(notification: Notification) -> dict[str, str]:
    of_the_step = {**notification.step._asdict(), "kind": notification.kind.value}
    return {f"the_{name}": value for name, value in of_the_step.items()}


def by_id(connection: sa.Connection, notification_id: int) -> Notification | None:
    """One notification."""
    row = connection.execute(_BY_ID, {"the_id": notification_id}).first()
    return None if row is None else as_notification(row)


def move(
    connection: sa.Connection,
    notification_id: int,
    event: Event,
    *,
    revision: int | None = None,
    **values: Any,
) -> bool:
    """The only statement that writes a state; whether it did."""
    parameters = {"the_id": notification_id, **values}
    if revision is None:
        return connection.execute(_MOVES[event], parameters).rowcount == 1
    parameters["the_revision"] = revision
    return connection.execute(_MOVES_OF_A_REVISION[event], parameters).rowcount == 1


def happen(
    connection: sa.Connection,
    notification_id: int,
    event: Event,
    now: float,
    reason: str = "",
    *,
    revision: int | None = None,
) -> bool:
    """An event that isn't a mere delay; `reason` says why it is held now, or sent no more."""
    values: dict[str, Any] = {"changed": now}
    match MOVES[event].target:
        case NotificationState.DELIVERED:
            values["delivered"] = now
        case NotificationState.HELD:
            values |= {"reason": words(reason), "last_error": ""}
        case NotificationState.PENDING:
            values["next_attempt"] = now
        case _:
            values["last_error"] = words(reason)
    return move(connection, notification_id, event, revision=revision, **values)


def of_the_life(connection: sa.Connection, study: str, life: int) -> list[Notification]:
    """What there is of a study in one of its lives, the newest first."""
    rows = connection.execute(_OF_THE_LIFE, {"the_study": study, "the_life": life})
    return [as_notification(row) for row in rows]


def withdraw_earlier(connection: sa.Connection, study: str, life: int, now: float) -> None:
    """What is live of a study's earlier lives is of a study that has gone."""
    found = connection.scalars(_LIVE_OF_EARLIER_LIVES, {"the_study": study, "the_life": life})
    for one in found.all():
        happen(connection, one, Event.WITHDRAWN, now, "the study was deleted")


def rows_of(connection: sa.Connection, study: str, study_instance_uid: str) -> list[Notification]:
    """All that there is of an Orthanc ID or a StudyInstanceUID, in every life, the newest last."""
    found: dict[int, Notification] = {}
    for select, read in ((_PAST_EXPIRED, _as_expired), (_PAST, as_notification)):
        for row in connection.execute(
            select, {"the_study": study, "the_uid": study_instance_uid or study}
        ):
            found[row.id] = read(row)
    return [found[one] for one in sorted(found)][-MOST_OF_A_STUDY:]


def insert(
    connection: sa.Connection,
    row: NewNotification,
    life: int,
    now: float,
    *,
    by_person: bool = False,
) -> int:
    """A new notification; returns its number. Raises Unstorable."""
    identifiers(
        ("StudyInstanceUID", row.study_instance_uid),
        ("RequestedProcedureID", row.step.requested_procedure_id),
        ("ScheduledProcedureStepID", row.step.scheduled_procedure_step_id),
        ("PatientID", row.step.patient_id),
        ("AccessionNumber", row.step.accession_number),
    )
    inserted = connection.execute(
        _INSERT,
        {
            "kind": row.kind.value,
            "study": row.study,
            "study_instance_uid": row.study_instance_uid,
            "life": life,
            **row.step._asdict(),
            "state": row.state.value,
            "revision": 1,
            "by_person": by_person,
            "evidence": words(row.evidence),
            "reason": words(row.reason),
            "attempts": 0,
            "repeats": 0,
            "next_attempt": now,
            "last_error": "",
            "created": now,
            "changed": now,
            "delivered": 0.0,
        },
    )
    assert inserted.inserted_primary_key is not None
    return int(inserted.inserted_primary_key[0])


def renew(
    connection: sa.Connection, found: Notification, row: NewNotification, event: Event, now: float
) -> bool:
    """One that is there becomes what a newer decision says."""
    if not happen(connection, found.id, event, now):
        return False
    _renew(connection, found, row)
    return True


def _renew(connection: sa.Connection, found: Notification, row: NewNotification) -> None:
    connection.execute(
        sa.update(notifications)
        .where(notifications.c.id == found.id)
        .values(
            study_instance_uid=row.study_instance_uid,
            evidence=words(row.evidence),
            reason=words(row.reason),
        )
    )


def hold_again(connection: sa.Connection, found: Notification, row: NewNotification) -> None:
    """What is held for another reason now is another thing for a person to decide."""
    if (found.reason, found.evidence) != (words(row.reason), words(row.evidence)):
        _renew(connection, found, row)
        connection.execute(
            sa.update(notifications)
            .where(notifications.c.id == found.id)
            .values(revision=notifications.c.revision + 1)
        )


def as_notification(row: sa.Row[Any]) -> Notification:
    """A row as the value that it is."""
    fields = dict(row._mapping)
    fields["step"] = StepIdentity(*(fields.pop(name) for name in StepIdentity._fields))
    fields["state"] = NotificationState(fields["state"])
    fields["kind"] = Kind(fields["kind"])
    return Notification(**fields)


def _as_expired(row: sa.Row[Any]) -> Notification:
    fields = dict(row._mapping)
    fields["step"] = StepIdentity(*(fields.pop(name) for name in StepIdentity._fields))
    fields["kind"] = Kind(fields["kind"])
    return Notification(
        **fields,
        state=NotificationState.DELIVERED,
        revision=0,
        by_person=False,
        reason="",
        attempts=0,
        repeats=0,
        next_attempt=0.0,
        last_error="",
        changed=fields["delivered"],
    )
