"""What persons decided, and who it was: kept for ever, changed never."""

import sqlalchemy as sa

from orthanc_openmrs.model import Notification, PersonsDecision
from orthanc_openmrs.store.engine import Aggregate, metadata
from orthanc_openmrs.store.texts import words

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("life", sa.Integer, nullable=False),
    sa.Column("scheduled_procedure_step_id", sa.Text, nullable=False),
    sa.Column("notification", sa.Integer, nullable=False),
    sa.Column("named", sa.Text, nullable=False),
    sa.Index("decisions_notification", "notification"),
    sa.Index("decisions_study", "study"),
)
"""What a person decided, and who it was; `named` is what the study named then."""

_ASSIGNMENTS = ("assign", "unassign")

_DECISIONS = sa.select(
    decisions.c.at,
    decisions.c.user,
    decisions.c.action,
    decisions.c.scheduled_procedure_step_id,
    decisions.c.notification,
    decisions.c.named,
).order_by(decisions.c.id)
_OF_A_LIFE = _DECISIONS.where(
    decisions.c.study == sa.bindparam("the_study"),
    decisions.c.life == sa.bindparam("the_life"),
    decisions.c.notification != 0,
)


class Decisions(Aggregate):
    """The record of persons' decisions."""

    def decisions(self, notification: Notification) -> list[PersonsDecision]:
        """What persons decided about a notification, the oldest first."""
        query = _DECISIONS.where(decisions.c.notification == notification.id)
        with self._transaction() as connection:
            return [PersonsDecision(*row) for row in connection.execute(query)]

    def newest_decision(self) -> int:
        """The number of the newest decision, 0 where there is none."""
        with self._transaction() as connection:
            return connection.scalar(sa.select(sa.func.max(decisions.c.id))) or 0

    def assignments_after(self, number: int, limit: int = 1000) -> list[tuple[int, str, str]]:
        """Decisions whose a study is, after a number: theirs, the study and the action."""
        query = (
            sa.select(decisions.c.id, decisions.c.study, decisions.c.action)
            .where(decisions.c.id > number, decisions.c.action.in_(_ASSIGNMENTS))
            .order_by(decisions.c.id)
            .limit(limit)
        )
        with self._transaction() as connection:
            return [(row[0], row[1], row[2]) for row in connection.execute(query)]

    def assignments_of(self, study: str) -> list[PersonsDecision]:
        """What persons said of whose a study is, the oldest first; `named` is the patient."""
        query = _DECISIONS.where(decisions.c.study == study, decisions.c.action.in_(_ASSIGNMENTS))
        with self._transaction() as connection:
            return [PersonsDecision(*row) for row in connection.execute(query)]


def said_of(connection: sa.Connection, study: str, life: int) -> list[PersonsDecision]:
    """What persons decided about a study's notifications in one life, the oldest first."""
    rows = connection.execute(_OF_A_LIFE, {"the_study": study, "the_life": life})
    return [PersonsDecision(*row) for row in rows]


def record(
    connection: sa.Connection,
    *,
    at: float,
    user: str,
    action: str,
    study: str,
    life: int = 1,
    step_id: str = "",
    notification: int = 0,
    named: str = "",
) -> None:
    """Keep a decision, in the transaction of what it changes."""
    connection.execute(
        sa.insert(decisions).values(
            at=at,
            user=words(user),
            action=action,
            study=study,
            life=life,
            scheduled_procedure_step_id=step_id,
            notification=notification,
            named=named,
        )
    )
