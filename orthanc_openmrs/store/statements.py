"""The statements that are executed for every study and notification, put together once.

SQLAlchemy takes longer to put one together than SQLite to execute it. What a statement sets, and
the values of its `:parameters`, come with its execution; a `:the_…` names the row.
"""

import sqlalchemy as sa

from orthanc_openmrs.model import Kind, NotificationState
from orthanc_openmrs.store.tables import change_cursor, notifications, studies

_PENDING = NotificationState.PENDING.value

# --- studies -------------------------------------------------------------------------------

_of_the_study = studies.c.study == sa.bindparam("the_study")

_STABLE = studies.c.decided < studies.c.noted
_FIRST_IMAGES = sa.and_(studies.c.arriving, ~studies.c.looked_at)
_DUE = sa.or_(_STABLE, _FIRST_IMAGES)
"""Which studies are to be linked."""

INSERT_STUDY = sa.insert(studies)
UPDATE_STUDY = sa.update(studies).where(_of_the_study)

NOTE_STUDY = UPDATE_STUDY.values(
    noted=studies.c.noted + 1,
    attempts=0,
    arriving=False,
    unseen=studies.c.unseen + sa.bindparam("more"),
)
"""It is stable once more; `:more` is what it adds to `unseen`."""

EXPECTED_NOTE = (
    sa.update(studies)
    .where(_of_the_study, studies.c.unseen < 0, studies.c.noted_at > sa.bindparam("the_moment"))
    .values(unseen=studies.c.unseen + 1)
)
"""The change of this note was read just now, and noted the study."""

SEE_NOTE = (
    sa.update(studies)
    .where(_of_the_study, studies.c.unseen > 0)
    .values(unseen=studies.c.unseen - 1, arriving=False)
)
"""The change of an earlier note is read."""

POSTPONE_STUDY = sa.update(studies).where(
    _of_the_study, studies.c.noted == sa.bindparam("the_noted")
)

DUE_STUDIES = (
    sa.select(
        studies.c.study,
        studies.c.noted,
        studies.c.attempts,
        (~_STABLE).label("arriving"),
        studies.c.noted_at,
    )
    .where(_DUE, studies.c.next_attempt <= sa.bindparam("now"))
    .order_by(studies.c.next_attempt)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
IS_DUE = sa.select(studies.c.study).where(_of_the_study, _DUE)
NEXT_DUE_STUDY = sa.select(sa.func.min(studies.c.next_attempt)).where(_DUE)

UPDATE_CURSOR = sa.update(change_cursor)

# --- notifications -------------------------------------------------------------------------

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
