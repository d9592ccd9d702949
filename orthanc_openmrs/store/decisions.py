"""What persons decided, and who it was: kept for ever, changed never."""

import sqlalchemy as sa

from orthanc_openmrs.model import Notification, PersonsDecision
from orthanc_openmrs.store.engine import Aggregate, metadata

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("study", sa.String(64), nullable=False),
    sa.Column("scheduled_procedure_step_id", sa.String(64), nullable=False),
    sa.Column("notification", sa.Integer, nullable=False),
    sa.Index("decisions_notification", "notification"),
)
"""What a person decided, and who it was."""


class Decisions(Aggregate):
    """The record of persons' decisions."""

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


def record(
    connection: sa.Connection,
    *,
    at: float,
    user: str,
    action: str,
    study: str,
    step_id: str = "",
    notification: int = 0,
) -> None:
    """Keep a decision, in the transaction of what it changes."""
    connection.execute(
        sa.insert(decisions).values(
            at=at,
            user=user,
            action=action,
            study=study,
            scheduled_procedure_step_id=step_id,
            notification=notification,
        )
    )
