"""Studies that came, which of them are to be linked, and how far Orthanc's changes were read.

Decides: what a note of a study counts for, when a study begins a new life, that a due time which
a clock set back made unbelievable is due now. Must not know: notifications, why a study is linked.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence

import sqlalchemy as sa

from orthanc_openmrs.model import (
    ArrivingStudy,
    DueStudy,
    Named,
    StudyChange,
    WaitingStudy,
)
from orthanc_openmrs.store.engine import Aggregate, metadata
from orthanc_openmrs.store.texts import identifiers, words

FARTHEST = 900.0
"""Seconds that anything is put off at most. What is due later than that was written by a clock
that has been set back since."""

MOST_NAMES = 500
"""Identifiers that are looked up in one statement."""

studies = sa.Table(
    "studies",
    metadata,
    sa.Column("study", sa.String(64), primary_key=True),
    sa.Column("life", sa.Integer, nullable=False),
    sa.Column("new_study_seq", sa.BigInteger, nullable=False),
    sa.Column("fresh", sa.Boolean, nullable=False),
    sa.Column("noted", sa.Integer, nullable=False),
    sa.Column("decided", sa.Integer, nullable=False),
    sa.Column("as_of", sa.BigInteger, nullable=False),
    sa.Column("noted_at", sa.Float, nullable=False),
    sa.Column("next_attempt", sa.Float, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("arriving", sa.Boolean, nullable=False),
    sa.Column("looked_at", sa.Boolean, nullable=False),
    sa.Column("last_update", sa.String(32), nullable=False),
    sa.Column("last_update_seen", sa.Float, nullable=False),
    sa.Index(
        "studies_due",
        "next_attempt",
        sqlite_where=sa.text("decided < noted OR arriving = 1 AND looked_at = 0"),
        postgresql_where=sa.text("decided < noted OR arriving AND NOT looked_at"),
    ),
    sa.Index(
        "studies_arriving",
        "study",
        sqlite_where=sa.text("arriving = 1"),
        postgresql_where=sa.text("arriving"),
    ),
)
"""Studies that came. `noted` counts how often one was to be looked at; a decision is due while it
is ahead of `decided`. `as_of` is the last of Orthanc's changes before the study was read for its
decision: up to it nothing is news. `life` counts how often it came; `new_study_seq` is the change
that began the life, and `fresh` says that this change wasn't read yet. `arriving`: images came
since it was stable last; `looked_at` whether its first images were linked; `last_update` is
Orthanc's, and since when it is known."""

change_cursor = sa.Table(
    "change_cursor",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("sequence", sa.BigInteger, nullable=False),
)
"""One row: the last of Orthanc's changes that was taken up."""

study_names = sa.Table(
    "study_names",
    metadata,
    sa.Column("kind", sa.String(16), primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("study", sa.String(64), primary_key=True),
    sa.Index("study_names_study", "study"),
)
"""What undecided studies name: what a list must bring for a study to be looked at again."""

# --- statements, put together once: SQLAlchemy takes longer for that than SQLite to execute them.
# What one sets, and the values of its parameters, come with its execution; `the_…` names the row.

_of_the_study = studies.c.study == sa.bindparam("the_study")

_STABLE = studies.c.decided < studies.c.noted
_FIRST_IMAGES = sa.and_(studies.c.arriving, ~studies.c.looked_at)
DUE = sa.or_(_STABLE, _FIRST_IMAGES)
"""Which studies are to be linked."""

_INSERT_STUDY = sa.insert(studies)
_UPDATE_STUDY = sa.update(studies).where(_of_the_study)

_NOTE_STUDY = _UPDATE_STUDY.values(noted=studies.c.noted + 1, attempts=0, arriving=False)
_LOOK_AGAIN = _UPDATE_STUDY.values(noted=studies.c.noted + 1, attempts=0)
_NEW_LIFE = _UPDATE_STUDY.values(life=studies.c.life + 1, attempts=0, arriving=True, last_update="")
_DELETED = _NEW_LIFE.values(decided=studies.c.noted)

DECIDE_STUDY = _UPDATE_STUDY.where(studies.c.life == sa.bindparam("the_life"))

_POSTPONE_STUDY = _UPDATE_STUDY.where(studies.c.noted == sa.bindparam("the_noted"))

_DUE_STUDIES = (
    sa.select(
        studies.c.study,
        studies.c.noted,
        studies.c.attempts,
        (~_STABLE).label("arriving"),
        studies.c.life,
        studies.c.noted_at,
    )
    .where(
        DUE,
        sa.or_(
            studies.c.next_attempt <= sa.bindparam("now"),
            studies.c.next_attempt > sa.bindparam("farthest"),
        ),
    )
    .order_by(studies.c.next_attempt)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_IS_DUE = sa.select(studies.c.study).where(
    _of_the_study, DUE, studies.c.life == sa.bindparam("the_life")
)
NEXT_DUE_STUDY = sa.select(sa.func.min(studies.c.next_attempt)).where(DUE)
_LIFE = sa.select(studies.c.life).where(_of_the_study)
_BEGINNING = sa.select(
    studies.c.life, studies.c.new_study_seq, studies.c.fresh, studies.c.as_of
).where(_of_the_study)

_UPDATE_CURSOR = sa.update(change_cursor)
_WAITING = sa.and_(DUE, _STABLE, studies.c.attempts > 0)  # DUE has the index

_INSERT_NAME = sa.insert(study_names)
_DELETE_NAMES = sa.delete(study_names).where(study_names.c.study == sa.bindparam("the_study"))


class Studies(Aggregate):
    """The studies, and Orthanc's changes."""

    # --- notes and decisions ---

    def note_study(self, study: str) -> None:
        """A study is stable: its link is to be decided. On disk when this returns."""
        with self._writing() as connection:
            note(connection, study, self._clock())

    def due_studies(self, limit: int = 100) -> list[DueStudy]:
        """Studies whose link is to be decided now, the longest waiting first."""
        now = self._clock()
        with self._transaction() as connection:
            rows = connection.execute(
                _DUE_STUDIES, {"now": now, "farthest": now + FARTHEST, "most": limit}
            )
            return [DueStudy(*row) for row in rows]

    def is_due(self, due: DueStudy) -> bool:
        """Whether it still is: another Orthanc may have decided since."""
        with self._transaction() as connection:
            found = connection.scalar(_IS_DUE, {"the_study": due.study, "the_life": due.life})
        return found is not None

    def postpone_study(self, due: DueStudy, seconds: float, reason: str) -> None:
        """The decision waits; it is tried again after `seconds`."""
        with self._writing() as connection:
            connection.execute(
                _POSTPONE_STUDY,
                {
                    "the_study": due.study,
                    "the_noted": due.noted,
                    "attempts": due.attempts + 1,
                    "next_attempt": self._clock() + min(seconds, FARTHEST),
                    "reason": words(reason),
                },
            )

    def outcome_counts(self) -> dict[str, int]:
        """How many studies were decided in each way."""
        query = sa.select(studies.c.outcome, sa.func.count()).group_by(studies.c.outcome)
        with self._transaction() as connection:
            return {row[0]: row[1] for row in connection.execute(query) if row[0]}

    def waiting_studies(self, limit: int = 100, since: str = "") -> list[WaitingStudy]:
        """Studies whose decision was put off, by their Orthanc ID from `since` on."""
        query = (
            sa.select(
                studies.c.study,
                studies.c.noted_at,
                studies.c.attempts,
                studies.c.next_attempt,
                studies.c.reason,
            )
            .where(_WAITING, studies.c.study >= since)
            .order_by(studies.c.study)
            .limit(limit)
        )
        with self._transaction() as connection:
            return [WaitingStudy(*row) for row in connection.execute(query)]

    def waiting_count(self) -> int:
        """How many decisions were put off."""
        query = sa.select(sa.func.count()).select_from(studies).where(_WAITING)
        with self._transaction() as connection:
            return connection.scalar(query) or 0

    def life_of(self, study: str) -> int:
        """Which life a study is in."""
        with self._transaction() as connection:
            return life_of(connection, study)

    def look_again(self, named: Collection[Named]) -> list[str]:
        """A list brought these: the undecided studies that name one are to be looked at again."""
        now = self._clock()
        found: dict[str, None] = {}
        wanted: dict[str, list[str]] = {}
        for kind, value in set(named):
            wanted.setdefault(kind.value, []).append(value)
        for kind_value, values in wanted.items():
            for some in _chunks(values):
                with self._writing() as connection:
                    rows = connection.scalars(
                        sa.select(study_names.c.study)
                        .where(study_names.c.kind == kind_value, study_names.c.value.in_(some))
                        .distinct()
                    )
                    again = [study for study in rows if study not in found]
                    for study in again:
                        look_at(connection, study, now)
                    found.update(dict.fromkeys(again))
        return list(found)

    # --- Orthanc's changes ---

    def change_cursor(self) -> int | None:
        """The last change that was taken up, None before the first."""
        with self._transaction() as connection:
            return connection.scalar(sa.select(change_cursor.c.sequence))

    def arriving_studies(self) -> list[ArrivingStudy]:
        """Studies of which images came since they were stable last."""
        query = sa.select(studies.c.study, studies.c.last_update, studies.c.last_update_seen).where(
            studies.c.arriving
        )
        now = self._clock()
        with self._transaction() as connection:
            found = [ArrivingStudy(*row) for row in connection.execute(query)]
        for arriving in found:
            if arriving.last_update_seen > now:  # by a clock that has been set back since
                self.still_arriving(arriving.study, arriving.last_update)
        return found

    def still_arriving(self, study: str, last_update: str) -> None:
        """Orthanc's last update of an arriving study is another one than was known."""
        with self._writing() as connection:
            connection.execute(
                _UPDATE_STUDY,
                {
                    "the_study": study,
                    "last_update": last_update,
                    "last_update_seen": self._clock(),
                },
            )

    def arrived(self, study: str, *, exists: bool) -> None:
        """Nothing more comes of a study, though Orthanc never said that it is stable."""
        with self._writing() as connection:
            if exists:
                note(connection, study, self._clock())
            else:
                connection.execute(_UPDATE_STUDY, {"the_study": study, "arriving": False})


# --- what is done in the transaction of something else -------------------------------------


def move_cursor(connection: sa.Connection, sequence: int) -> None:
    """Orthanc's changes were taken up to this one."""
    moved = connection.execute(_UPDATE_CURSOR, {"sequence": sequence})
    if moved.rowcount == 0:
        connection.execute(sa.insert(change_cursor).values(id=1, sequence=sequence))


def restart(connection: sa.Connection) -> None:
    """Orthanc counts its changes anew."""
    connection.execute(sa.update(studies).values(as_of=0))


def note(connection: sa.Connection, study: str, now: float) -> None:
    """A study is stable."""
    noted = connection.execute(
        _NOTE_STUDY, {"the_study": study, "noted_at": now, "next_attempt": now}
    )
    if noted.rowcount == 0:
        _insert_study(connection, study, now, noted=1)


def look_at(connection: sa.Connection, study: str, now: float) -> None:
    """A study is to be decided again, whatever comes of it besides."""
    noted = connection.execute(
        _LOOK_AGAIN, {"the_study": study, "noted_at": now, "next_attempt": now}
    )
    if noted.rowcount == 0:
        _insert_study(connection, study, now, noted=1)


def arriving(connection: sa.Connection, study: str, now: float) -> None:
    """Images of a study came."""
    known = connection.execute(
        _UPDATE_STUDY,
        {
            "the_study": study,
            "arriving": True,
            "looked_at": False,
            "last_update": "",
            "last_update_seen": now,
        },
    )
    if known.rowcount == 0:
        _insert_study(connection, study, now, noted=0, arriving=True)


def life_of(connection: sa.Connection, study: str) -> int:
    """Which life a study is in, the first where it isn't known."""
    return connection.scalar(_LIFE, {"the_study": study}) or 1


def ensure_known(connection: sa.Connection, study: str, now: float) -> None:
    """A study of which something is kept has a life."""
    if connection.scalar(_LIFE, {"the_study": study}) is None:
        _insert_study(connection, study, now, noted=0)


def deleted(connection: sa.Connection, study: str, now: float) -> bool:
    """Orthanc deleted a study; whether it is known at all.

    It may be there again by now, and even be stable: as one of which images came, it is looked
    at until it is stable or gone.
    """
    changed = connection.execute(
        _DELETED,
        {"the_study": study, "fresh": True, "looked_at": True, "last_update_seen": now},
    )
    if changed.rowcount:
        connection.execute(_DELETE_NAMES, {"the_study": study})
    return changed.rowcount > 0


def covered(connection: sa.Connection, change: StudyChange) -> bool:
    """Whether the study was read for its last decision after this change."""
    if not change.sequence:
        return False
    row = connection.execute(_BEGINNING, {"the_study": change.study}).first()
    return row is not None and change.sequence <= row.as_of


def came(connection: sa.Connection, change: StudyChange, now: float) -> bool:
    """Orthanc has a study that it hadn't before; whether that begins a new life."""
    row = connection.execute(_BEGINNING, {"the_study": change.study}).first()
    if row is None:
        _insert_study(connection, change.study, now, noted=0, new_study_seq=change.sequence)
        return False
    if row.new_study_seq == change.sequence:
        return False
    values = {"the_study": change.study, "new_study_seq": change.sequence, "fresh": False}
    if row.fresh:
        connection.execute(_UPDATE_STUDY, values)
        return False
    # Stable in this life is news again, also where it was taken for the life before.
    connection.execute(
        _NEW_LIFE, values | {"as_of": 0, "looked_at": False, "last_update_seen": now}
    )
    return True


def name(connection: sa.Connection, study: str, named: Iterable[Named]) -> None:
    """What an undecided study names, in the place of what it named before."""
    connection.execute(_DELETE_NAMES, {"the_study": study})
    rows = [
        {"kind": kind.value, "value": value, "study": study} for kind, value in set(named) if value
    ]
    if rows:
        identifiers(*((f"{row['kind']} that the study names", row["value"]) for row in rows))
        connection.execute(_INSERT_NAME, rows)


def _insert_study(
    connection: sa.Connection,
    study: str,
    now: float,
    *,
    noted: int,
    arriving: bool = False,
    new_study_seq: int = 0,
) -> None:
    connection.execute(
        _INSERT_STUDY,
        {
            "study": study,
            "life": 1,
            "new_study_seq": new_study_seq,
            "fresh": new_study_seq == 0,
            "noted": noted,
            "decided": 0,
            "as_of": 0,
            "noted_at": now,
            "next_attempt": now,
            "attempts": 0,
            "outcome": "",
            "reason": "",
            "arriving": arriving,
            "looked_at": False,
            "last_update": "",
            "last_update_seen": now,
        },
    )


def _chunks(values: Sequence[str]) -> Iterator[Sequence[str]]:
    return (values[at : at + MOST_NAMES] for at in range(0, len(values), MOST_NAMES))
