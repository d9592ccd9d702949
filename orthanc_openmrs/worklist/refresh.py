"""Reads OpenMRS's list in the background.

Decides: when the list is read, and what stays served when it can't be. One thread reads; a
read never overlaps another, and nobody who is served waits for it. Must not know: HTTP, SQL.
"""

import ctypes
import gc
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from orthanc_openmrs.errors import PROBLEMS, OpenMRSError, StoreError
from orthanc_openmrs.openmrs.imaging_list import read_list
from orthanc_openmrs.worker import Worker
from orthanc_openmrs.worklist.items import PersonNames
from orthanc_openmrs.worklist.service import Worklist
from orthanc_openmrs.worklist.snapshot import Snapshot

_log = logging.getLogger(__name__)

LONG_LIST = 1024 * 1024
"""Bytes of a list above which its memory is given back at once."""

LONGEST_PAUSE = 60
"""Seconds between two tries while OpenMRS is away, where RefreshInterval isn't longer."""


COLLECTION_PERIOD = 600.0
"""Seconds after which everything is looked through for cycles again."""


@contextmanager
def _no_collection(*, after_all: bool) -> Iterator[None]:
    """Thousands of items that last are made here. Looking through them for cycles, of which
    they have none, would hold up a scanner's query by a tenth of a second each time.

    Cycles that are garbage already, of others, have to go before: frozen, they would stay. That
    is quick, for all that lasts is frozen since the last list. What others just use is frozen
    too, and garbage later: `after_all` looks through everything first.
    """
    if after_all:
        gc.unfreeze()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _give_memory_back() -> None:
    """The text of a long list is tens of megabytes, which glibc would keep for the next one."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class ListSource(Protocol):
    """OpenMRS, as far as it is needed here."""

    def get_list(self) -> bytes:
        """The body of the list. Raises OpenMRSError."""


class ListStore(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def load_worklist(self) -> tuple[bytes, float] | None:
        """The kept list and its time."""

    def save_worklist(self, body: bytes, read_at: float) -> None:
        """Keep a list."""

    def touch_worklist(self, read_at: float) -> None:
        """The kept list was read again, unchanged."""


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """How OpenMRS answers: `last_error` is "" while it does. Times are 0 for never."""

    last_success: float = 0.0
    last_error: str = ""
    error_kind: str = ""
    failing_since: float = 0.0
    failures: int = 0
    answering_since: float = 0.0


class Refresher(Worker):
    """Keeps a `Worklist` as fresh as `interval` seconds allow.

    `names` says how names are made now; `on_snapshot` is called with each list that is new.
    """

    def __init__(
        self,
        source: ListSource,
        worklist: Worklist,
        store: ListStore,
        *,
        interval: float,
        names: Callable[[], PersonNames],
        on_snapshot: Callable[[Snapshot], None] = lambda snapshot: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__("refresh")
        self._names = names
        self._on_snapshot = on_snapshot
        self._source = source
        self._worklist = worklist
        self._store = store
        self._interval = interval
        self._clock = clock
        self._digest = b""
        self._collected = -COLLECTION_PERIOD
        self._not_kept = ""
        self._status = SourceStatus()
        self._failed_reads = 0
        self._condition = threading.Condition()
        self._started_reads = 0
        self._ended_reads = 0
        self._outcome: OpenMRSError | None = None
        self._wanted = False

    @property
    def status(self) -> SourceStatus:
        """How OpenMRS answers."""
        return self._status

    @property
    def failed_reads(self) -> int:
        """Reads that failed since the start."""
        return self._failed_reads

    def restore(self) -> None:
        """Serve the list that was kept, until the first read."""
        try:
            kept = self._store.load_worklist()
        except StoreError as problem:
            _log.error("the kept worklist can't be read: %s", problem)
            return
        if kept is None:
            return
        body, read_at = kept
        try:
            self._serve(body, read_at)
        except OpenMRSError as problem:
            _log.error("the kept worklist can't be used: %s", problem)
            return
        snapshot = self._worklist.snapshot
        assert snapshot is not None
        _log.warning(
            "serving the kept worklist: %d of %d steps, read %.0f s ago",
            len(snapshot.offered),
            len(snapshot.items),
            self._clock() - read_at,
        )

    def tell_to_stop(self) -> None:
        """Let the thread end; `join` waits for it."""
        super().tell_to_stop()
        with self._condition:
            self._condition.notify_all()

    def read_now(self, timeout: float) -> Snapshot:
        """The snapshot of a read that starts after this call.

        Raises OpenMRSError where OpenMRS doesn't give one within `timeout` seconds.
        """
        with self._condition:
            ticket = self._started_reads + 1
            self._wanted = True
            self._condition.notify_all()
            done = self._condition.wait_for(
                lambda: self._ended_reads >= ticket or self._stopping.is_set(), timeout
            )
            outcome = self._outcome
            if not done or self._ended_reads < ticket:
                raise OpenMRSError("timeout", f"the list was not read within {timeout:g} s")
        if outcome is not None:
            raise OpenMRSError(outcome.kind, str(outcome))
        snapshot = self._worklist.snapshot
        assert snapshot is not None
        return snapshot

    def _run(self) -> None:
        while True:
            with self._condition:
                if self._stopping.is_set():
                    return
                self._wanted = False
                self._started_reads += 1
            outcome: OpenMRSError | None = None
            try:
                self._read()
            except OpenMRSError as problem:
                outcome = problem
                self._note_failure(problem)
            except Exception as problem:  # the thread must live: without it the list grows old
                outcome = OpenMRSError("not-a-list", f"can't be read: {type(problem).__name__}")
                _log.exception("reading the list failed")
                self._note_failure(outcome)
            try:
                self._turn_of_the_day()
            except Exception:  # as above
                _log.exception("the list can't be made for another day")
            with self._condition:
                self._ended_reads = self._started_reads
                self._outcome = outcome
                self._condition.notify_all()
                self._condition.wait_for(
                    lambda: self._wanted or self._stopping.is_set(), self._pause()
                )

    def _pause(self) -> float:
        failures = min(self._status.failures, 16)
        return max(self._interval, min(self._interval * 2.0**failures / 2, LONGEST_PAUSE))

    def _read(self) -> None:
        started = self._clock()
        body = self._source.get_list()
        changed = self._serve(body, started)
        before, now = self._status, self._clock()
        self._status = SourceStatus(last_success=now, answering_since=before.answering_since or now)
        if before.failures:
            _log.warning("OpenMRS answers again, after %d failed reads", before.failures)
        try:
            if changed:
                self._store.save_worklist(body, started)
            else:
                self._store.touch_worklist(started)
            self._not_kept = ""
        except StoreError as problem:
            self._digest = b""  # so that the next read is kept as a whole
            if str(problem) != self._not_kept:
                _log.error("the worklist can't be kept for a restart: %s", problem)
            self._not_kept = str(problem)
        if len(body) > LONG_LIST:
            del body
            _give_memory_back()

    def _serve(self, body: bytes, read_at: float) -> bool:
        """Replace the snapshot; returns whether the list is another one than before."""
        digest = hashlib.sha256(body).digest()
        before = self._worklist.snapshot
        day = self._worklist.today()
        names = self._names()
        if before is not None and digest == self._digest:
            self._worklist.replace(before.at(read_at=read_at, day=day, names=names))
            return False
        after_all = not 0 <= read_at - self._collected < COLLECTION_PERIOD
        if after_all:
            self._collected = read_at
        with _no_collection(after_all=after_all):
            found = read_list(body)
            snapshot = Snapshot.build(found, read_at=read_at, day=day, names=names, previous=before)
        self._worklist.replace(snapshot)
        self._on_snapshot(snapshot)
        self._digest = digest
        if before is None or len(snapshot.rejected) != len(before.rejected):
            for rejected in snapshot.rejected[:10]:
                _log.warning("element %d of the list: %s", rejected.position, rejected.reason)
        return True

    def _note_failure(self, problem: OpenMRSError) -> None:
        before = self._status
        now = self._clock()
        self._failed_reads += 1
        self._status = SourceStatus(
            last_success=before.last_success,
            last_error=str(problem),
            error_kind=problem.kind,
            failing_since=before.failing_since or now,
            failures=before.failures + 1,
        )
        if problem.kind != before.error_kind:
            _log.error("%s (%s)", PROBLEMS.get(problem.kind, problem.kind), problem)

    def _turn_of_the_day(self) -> None:
        """Steps without a date are offered as of today, whatever day it is."""
        snapshot = self._worklist.snapshot
        day = self._worklist.today()
        if snapshot is not None and snapshot.day != day:
            self._worklist.replace(
                snapshot.at(read_at=snapshot.read_at, day=day, names=snapshot.names)
            )
