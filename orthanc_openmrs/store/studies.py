"""Studies that came, which of them are to be linked, and how far Orthanc's changes were read.

Decides: what one note of a study counts for. Must not know: notifications, why a study is linked.
"""

from collections.abc import Sequence

import sqlalchemy as sa

from orthanc_openmrs.model import ArrivingStudy, DueStudy, StudyChange
from orthanc_openmrs.store.engine import Aggregate, metadata

CALLBACK_DELAY = 60.0
"""Seconds that a change callback may come after its change was read in /changes."""

studies = sa.Table(
    "studies",
    metadata,
    sa.Column("study", sa.String(64), primary_key=True),
    sa.Column("noted", sa.Integer, nullable=False),
    sa.Column("decided", sa.Integer, nullable=False),
    sa.Column("noted_at", sa.Float, nullable=False),
    sa.Column("next_attempt", sa.Float, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("unseen", sa.Integer, nullable=False),
    sa.Column("arriving", sa.Boolean, nullable=False),
    sa.Column("looked_at", sa.Boolean, nullable=False),
    sa.Column("last_update", sa.String(32), nullable=False),
    sa.Column("last_update_seen", sa.Float, nullable=False),
    sa.Index("studies_due", "next_attempt"),
    sa.Index("studies_arriving", "arriving"),
)
"""Studies that came. `noted` counts how often one became stable; a decision is due while it is
ahead of `decided`. `unseen` counts the callback's notes whose change was not read in /changes
yet; it is below 0 where a change was read before its callback came, if that came at all.
`arriving`: images came since it was stable last; `looked_at` whether its first images were
linked; `last_update` is Orthanc's, and since when it is known."""

change_cursor = sa.Table(
    "change_cursor",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("sequence", sa.BigInteger, nullable=False),
)
"""One row: the last of Orthanc's changes that was taken up."""

# --- statements, put together once: SQLAlchemy takes longer for that than SQLite to execute them

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


class Studies(Aggregate):
    """The studies, and Orthanc's changes."""

    # --- notes and decisions ---

    def note_study(self, study: str) -> None:
        """A study is stable: its link is to be decided. On disk when this returns."""
        with self._writing() as connection:
            now = self._clock()
            expected = connection.execute(
                EXPECTED_NOTE, {"the_study": study, "the_moment": now - CALLBACK_DELAY}
            )
            if expected.rowcount == 0:
                note(connection, study, now, unseen=1)

    def due_studies(self, limit: int = 100) -> list[DueStudy]:
        """Studies whose link is to be decided now, the longest waiting first."""
        with self._transaction() as connection:
            rows = connection.execute(DUE_STUDIES, {"now": self._clock(), "most": limit})
            return [DueStudy(*row) for row in rows]

    def is_due(self, due: DueStudy) -> bool:
        """Whether it still is: another Orthanc may have decided since."""
        with self._transaction() as connection:
            found = connection.scalar(IS_DUE, {"the_study": due.study})
        return found is not None

    def postpone_study(self, due: DueStudy, seconds: float, reason: str) -> None:
        """The decision waits; it is tried again after `seconds`."""
        with self._writing() as connection:
            connection.execute(
                POSTPONE_STUDY,
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
            moved = connection.execute(UPDATE_CURSOR, {"sequence": sequence})
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
                seen = connection.execute(SEE_NOTE, {"the_study": study})
                if seen.rowcount == 0:
                    note(connection, study, now, unseen=-1)
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
                note(connection, study, self._clock(), unseen=0)
            else:
                connection.execute(
                    sa.update(studies).where(studies.c.study == study).values(arriving=False)
                )


def note(connection: sa.Connection, study: str, now: float, *, unseen: int) -> None:
    """A study is stable; `unseen` 1 where its change is yet to be read, -1 where the callback's
    note may be yet to come."""
    noted = connection.execute(
        NOTE_STUDY,
        {"the_study": study, "noted_at": now, "next_attempt": now, "more": unseen},
    )
    if noted.rowcount == 0:
        _insert_study(connection, study, now, noted=1, unseen=unseen, arriving=False)


def _arriving(connection: sa.Connection, study: str, now: float) -> None:
    known = connection.execute(
        UPDATE_STUDY,
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
        INSERT_STUDY,
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
