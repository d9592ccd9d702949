"""The last good list of each source, kept for the time that OpenMRS is away."""

import zlib

import sqlalchemy as sa

from orthanc_openmrs.model import Source
from orthanc_openmrs.store.engine import Aggregate, metadata

worklists = sa.Table(
    "worklists",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("read_at", sa.Float, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
"""One row a source: its last good list, compressed."""

_ROWS = {Source.IMAGING: 1, Source.ORDERS: 2}


class Lists(Aggregate):
    """The last good lists."""

    def save_worklist(self, body: bytes, read_at: float, source: Source = Source.IMAGING) -> None:
        """Keep a source's list for the time that OpenMRS is away."""
        row = {"id": _ROWS[source], "read_at": read_at, "body": zlib.compress(body, 1)}
        with self._writing() as connection:
            connection.execute(sa.delete(worklists).where(worklists.c.id == row["id"]))
            connection.execute(sa.insert(worklists), row)

    def touch_worklist(self, read_at: float, source: Source = Source.IMAGING) -> None:
        """The kept list was read again, unchanged."""
        its_own = worklists.c.id == _ROWS[source]
        with self._writing() as connection:
            connection.execute(sa.update(worklists).where(its_own).values(read_at=read_at))

    def load_worklist(self, source: Source = Source.IMAGING) -> tuple[bytes, float] | None:
        """The kept list and when it was read, None where there is none."""
        wanted = sa.select(worklists.c.body, worklists.c.read_at)
        with self._transaction() as connection:
            row = connection.execute(wanted.where(worklists.c.id == _ROWS[source])).first()
        if row is None:
            return None
        try:
            return zlib.decompress(row.body), row.read_at
        except zlib.error:
            return None


class KeptOrders:
    """The list of orders, as the one list that its reader keeps."""

    def __init__(self, lists: Lists) -> None:
        self._lists = lists

    def save_worklist(self, body: bytes, read_at: float) -> None:
        """Keep it for the time that OpenMRS is away."""
        self._lists.save_worklist(body, read_at, Source.ORDERS)

    def touch_worklist(self, read_at: float) -> None:
        """It was read again, unchanged."""
        self._lists.touch_worklist(read_at, Source.ORDERS)

    def load_worklist(self) -> tuple[bytes, float] | None:
        """It and when it was read, None where there is none."""
        return self._lists.load_worklist(Source.ORDERS)
