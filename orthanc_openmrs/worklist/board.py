"""The last good list of each source, put together to the one worklist that is served.

Decides: that a source which is down keeps its last good part on the worklist until that is too
old, and costs the others nothing; that the same exam is offered once. Whoever read a list puts it
here, from a thread of its own; nobody who is served waits. Must not know: OpenMRS, when it is
read, SQL.
"""

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import chain

from orthanc_openmrs.model import RequestList, Source
from orthanc_openmrs.worklist.items import PersonNames
from orthanc_openmrs.worklist.orders import without_repetitions
from orthanc_openmrs.worklist.service import Worklist
from orthanc_openmrs.worklist.snapshot import PartRead, Snapshot
from orthanc_openmrs.worklist.uid_registry import UidRegistry


@dataclass(frozen=True, slots=True)
class _Part:
    """A source's last good list."""

    found: RequestList
    read_at: float
    began: float


class Board:
    """Keeps a `Worklist` up to what its sources gave last.

    `names` says how names are made now, `uids` remembers which UIDs are given out; `on_snapshot` is
    called with each list that is new.
    """

    def __init__(
        self,
        worklist: Worklist,
        *,
        names: Callable[[], PersonNames],
        uids: UidRegistry,
        on_snapshot: Callable[[Snapshot], None] = lambda snapshot: None,
        max_staleness: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._worklist = worklist
        self._names = names
        self._uids = uids
        self._on_snapshot = on_snapshot
        self._max_staleness = max_staleness
        self._clock = clock
        self._lock = threading.Lock()  # held while a list is made, never while one is read
        self._parts: dict[Source, _Part] = {}
        self._served: Collection[Source] = ()

    @property
    def snapshot(self) -> Snapshot | None:
        """The list that is served."""
        return self._worklist.snapshot

    def put(self, source: Source, found: RequestList, *, read_at: float, began: float) -> None:
        """A source gave another list than before."""
        with self._lock:
            self._parts[source] = _Part(found, read_at, began)
            self._build()

    def touch(self, source: Source, *, read_at: float, began: float) -> None:
        """A source gave the same list again."""
        with self._lock:
            self._parts[source] = _Part(self._parts[source].found, read_at, began)
            snapshot = self._worklist.snapshot
            if snapshot is None or self._fresh() != self._served:
                self._build()
                return
            reads = self._reads()
            self._worklist.replace(
                snapshot.at(
                    day=self._worklist.today(),
                    names=self._names(),
                    read_at=_oldest(reads).read_at,
                    began=min(one.began for one in reads if one.served),
                    parts=reads,
                )
            )

    def turn_of_the_day(self) -> None:
        """Steps without a date are offered as of today, whatever day it is."""
        with self._lock:
            snapshot = self._worklist.snapshot
            day = self._worklist.today()
            if snapshot is not None and snapshot.day != day:
                self._worklist.replace(snapshot.at(day=day, names=snapshot.names))

    def _build(self) -> None:
        self._served = self._fresh()
        reads = self._reads()
        snapshot = Snapshot.build(
            self._joined(),
            read_at=_oldest(reads).read_at,
            began=min(one.began for one in reads if one.served),
            day=self._worklist.today(),
            names=self._names(),
            previous=self._worklist.snapshot,
            parts=reads,
            given=self._uids.load(),
        )
        self._uids.give(snapshot.offered)
        self._worklist.replace(snapshot)
        self._on_snapshot(snapshot)

    def _fresh(self) -> list[Source]:
        """The sources whose part is served: the newest is, however old, for a query fails by it."""
        newest = max(part.read_at for part in self._parts.values())
        now = self._clock()
        return [
            source
            for source, part in self._parts.items()
            if part.read_at == newest or now - part.read_at <= self._max_staleness
        ]

    def _reads(self) -> tuple[PartRead, ...]:
        return tuple(
            PartRead(source, part.read_at, part.began, source in self._served)
            for source, part in sorted(self._parts.items())
        )

    def _joined(self) -> RequestList:
        found = {source: self._parts[source].found for source in sorted(self._served)}
        imaging = found.get(Source.IMAGING, RequestList())
        orders = found.get(Source.ORDERS)
        if orders is None:
            return imaging
        return RequestList(
            (*imaging.requests, *without_repetitions(imaging.requests, orders.requests)),
            tuple(chain(imaging.rejected, orders.rejected)),
            imaging.generation,
        )


def _oldest(reads: tuple[PartRead, ...]) -> PartRead:
    return min((one for one in reads if one.served), key=lambda one: one.read_at)
