"""Whose a study in Orthanc is, as a person said."""

from collections.abc import Sequence

import sqlalchemy as sa

from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.store.decisions import record
from orthanc_openmrs.store.engine import Aggregate, metadata

assignments = sa.Table(
    "assignments",
    metadata,
    sa.Column("study", sa.String(64), primary_key=True),
    sa.Column("patient_id", sa.String(64), nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("user", sa.Text, nullable=False),
    sa.Index("assignments_patient", sa.text("lower(patient_id)")),
)
"""Whose a study in Orthanc is, as a person said; `patient_id` "" where it is nobody's."""


class Assignments(Aggregate):
    """What persons said."""

    def assigned(self, ids: Sequence[str]) -> dict[str, str]:
        """Of these studies those that a person decided about, and whose they are ("": nobody's)."""
        query = sa.select(assignments.c.study, assignments.c.patient_id).where(
            assignments.c.study.in_(ids)
        )
        with self._transaction() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

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
                action = "assign" if patient_id else "unassign"
                patient = patient_id or expected or ""
                record(connection, at=now, user=user, action=action, study=study, named=patient)
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
