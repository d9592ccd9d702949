"""StudyInstanceUIDs that were given out to scanners, and the requests they were given for."""

import logging
from collections.abc import Iterable

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from orthanc_openmrs.errors import Unstorable
from orthanc_openmrs.model import GivenUid
from orthanc_openmrs.store.engine import Aggregate, metadata
from orthanc_openmrs.store.texts import identifiers

_log = logging.getLogger(__name__)

given_uids = sa.Table(
    "given_uids",
    metadata,
    sa.Column("study_instance_uid", sa.Text, primary_key=True),
    sa.Column("requested_procedure_id", sa.Text, primary_key=True),
    sa.Column("patient_id", sa.Text, primary_key=True),
    sa.Column("accession_number", sa.Text, primary_key=True),
    sa.Column("given_at", sa.Float, nullable=False),
)
"""Kept for ever: images may come late, and a UID names its request whatever OpenMRS changed."""

_COLUMNS = [given_uids.c[name] for name in GivenUid._fields]
_ALL = sa.select(*_COLUMNS).order_by(given_uids.c.given_at)
_OF_A_UID = _ALL.where(given_uids.c.study_instance_uid == sa.bindparam("the_uid"))


class GivenUids(Aggregate):
    """The UIDs that were given out."""

    def load_given_uids(self) -> list[GivenUid]:
        """All, the newest last."""
        with self._transaction() as connection:
            return [GivenUid(*row) for row in connection.execute(_ALL)]

    def save_given_uids(self, given: Iterable[GivenUid]) -> None:
        """Keep what isn't kept yet. What can't be kept is left out: it's given all the same."""
        now = self._clock()
        rows = [one._asdict() | {"given_at": now} for one in dict.fromkeys(given) if _fits(one)]
        if not rows:
            return
        with self._writing() as connection:
            known = (
                sqlite.insert(given_uids)
                if self.engine.is_sqlite
                else postgresql.insert(given_uids)
            )
            connection.execute(known.on_conflict_do_nothing(), rows)


def given_of(connection: sa.Connection, study_instance_uid: str) -> list[GivenUid]:
    """What a UID was given out for, the newest last."""
    return [
        GivenUid(*row) for row in connection.execute(_OF_A_UID, {"the_uid": study_instance_uid})
    ]


def _fits(given: GivenUid) -> bool:
    try:
        identifiers(*zip(GivenUid._fields, given, strict=True))
    except Unstorable as problem:
        _log.warning("a StudyInstanceUID that was given out isn't remembered: %s", problem)
        return False
    return True
