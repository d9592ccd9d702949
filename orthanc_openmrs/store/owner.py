"""Whose database this is: which Orthancs know its studies.

Decides: that an Orthanc which isn't known, and has none of the changes that were taken up, is a
stranger. Must not know: how an Orthanc is asked.
"""

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from orthanc_openmrs.model import StudyChange
from orthanc_openmrs.store.engine import Aggregate, metadata

WITNESSES = 20
"""Changes that are remembered: they go with their study, so that one is too few."""

owners = sa.Table(
    "owners",
    metadata,
    sa.Column("identity", sa.String(64), primary_key=True),
    sa.Column("since", sa.Float, nullable=False),
)
"""The Orthancs that the database is of, by an identity that each keeps in its own index."""

witnesses = sa.Table(
    "witnesses",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("study", sa.String(64), nullable=False),
)
"""The last of Orthanc's changes that were taken up, and their studies: another Orthanc that has
one of them works on the same index."""


STRANGER = (
    "the database is another Orthanc's: this one knows none of the changes that were taken up into "
    "it last; give each Orthanc a database of its own (OpenMRS.Database), or, where its index was "
    "made anew, empty the table owners"
)
"""What is said of one."""


class Owners(Aggregate):
    """Whose the database is."""

    def admit(self, identity: Callable[[], str], has_change: Callable[[int, str], bool]) -> None:
        """Nothing is done with the database before it has recognised this Orthanc."""
        self.engine.admit(lambda: "" if self.recognises(identity(), has_change) else STRANGER)

    def recognises(self, identity: str, has_change: Callable[[int, str], bool]) -> bool:
        """Whether an Orthanc may use the database, which knows it from now on then.

        `has_change` says whether it has the change of this number about this study.
        """
        with self._transaction() as connection:
            known = set(connection.scalars(sa.select(owners.c.identity)))
            seen = connection.execute(
                sa.select(witnesses.c.sequence, witnesses.c.study).order_by(
                    witnesses.c.sequence.desc()
                )
            ).all()
        if identity in known:
            return True
        if known and seen and not any(has_change(*one) for one in seen):
            return False
        with self._writing() as connection:
            connection.execute(sa.insert(owners).values(identity=identity, since=self._clock()))
        return True


def witness(connection: sa.Connection, changes: Sequence[StudyChange]) -> None:
    """Remember the last of these changes."""
    last = {change.sequence: change.study for change in changes if change.of_study}
    if not last:
        return
    newest = sorted(last)[-WITNESSES:]
    connection.execute(sa.delete(witnesses).where(witnesses.c.sequence.in_(newest)))
    connection.execute(
        sa.insert(witnesses), [{"sequence": one, "study": last[one]} for one in newest]
    )
    kept = sa.select(witnesses.c.sequence).order_by(witnesses.c.sequence.desc()).limit(WITNESSES)
    connection.execute(sa.delete(witnesses).where(witnesses.c.sequence.not_in(kept)))
