"""The last good list of OpenMRS, kept for the time that OpenMRS is away."""

import zlib

import sqlalchemy as sa

from orthanc_openmrs.store.engine import Aggregate, metadata

worklists = sa.Table(
    "worklists",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("read_at", sa.Float, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
"""One row: the last good list of OpenMRS, as it came, compressed."""


class Lists(Aggregate):
    """The last good list."""

    def save_worklist(self, body: bytes, read_at: float) -> None:
        """Keep the list for the time that OpenMRS is away."""
        row = {"id": 1, "read_at": read_at, "body": zlib.compress(body, 1)}
        with self._writing() as connection:
            connection.execute(sa.delete(worklists))
            connection.execute(sa.insert(worklists), row)

    def touch_worklist(self, read_at: float) -> None:
        """The kept list was read again, unchanged."""
        with self._writing() as connection:
            connection.execute(sa.update(worklists).values(read_at=read_at))

    def load_worklist(self) -> tuple[bytes, float] | None:
        """The kept list and when it was read, None where there is none."""
        with self._transaction() as connection:
            row = connection.execute(sa.select(worklists.c.body, worklists.c.read_at)).first()
        if row is None:
            return None
        try:
            return zlib.decompress(row.body), row.read_at
        except zlib.error:
            return None
