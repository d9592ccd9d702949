"""Reads OpenMRS's list in the background, or one of its lists: each source has a reader.

Decides: when the list is read, and what stays served when it can't be. One thread reads it; a
read never overlaps another, and nobody who is served waits for it. OpenMRS makes a list of years
anew each time, so no read follows another too soon, unless a person wants it. Must not know:
HTTP, SQL.
"""

import ctypes
import gc
import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from orthanc_openmrs.errors import PROBLEMS, OpenMRSError, StoreError
from orthanc_openmrs.model import RequestList, Source
from orthanc_openmrs.openmrs.imaging_list import read_list
from orthanc_openmrs.worker import Worker
from orthanc_openmrs.worklist.board import Board
from orthanc_openmrs.worklist.snapshot import Snapshot

_log = logging.getLogger(__name__)

LONG_LIST = 1024 * 1024
"""Bytes of a list above which its memory is given back at once."""

LONGEST_PAUSE = 60
"""Seconds between two tries while OpenMRS is away, where RefreshInterval isn't longer."""

REST = 4
"""Times that OpenMRS took for the last list, in which it isn't asked for the next one: reading
takes a fifth of its time at most, however long the list."""

AWAY_PAUSE = 1.0
"""Seconds after a read that failed before those who wait for a list have another one tried."""

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
    """How OpenMRS answers: `last_error` is "" while all is well, and may be of a list that was read
    ("no-steps"). Times are 0 for never."""

    last_success: float = 0.0
    last_error: str = ""
    error_kind: str = ""
    failing_since: float = 0.0
    failures: int = 0
    answering_since: float = 0.0

    @property
    def reachable(self) -> bool:
        """Whether the last read gave a list."""
        return bool(self.last_success) and not self.failures


@dataclass(frozen=True, slots=True)
class _Read:
    """One read that ended. Moments of the clock that can't jump, -inf before the first; `took`
    are the seconds that OpenMRS took."""

    began: float = -math.inf
    took: float = 0.0
    ended: float = -math.inf
    problem: OpenMRSError | None = None

    @property
    def rest(self) -> float:
        """Seconds after it in which OpenMRS isn't asked again, unless a person wants it."""
        return max(REST * self.took, AWAY_PAUSE if self.problem is not None else 0.0)


_NAMES = {Source.IMAGING: "refresh", Source.ORDERS: "orders"}
"""The threads'."""

_ABOUT = {Source.IMAGING: "", Source.ORDERS: "the orders: "}
"""What a line of the log begins with, that is about one of several lists."""


class Refresher(Worker):
    """Keeps a source's part of the worklist as fresh as `interval` seconds allow.

    `on_read` is called with each list that was read, new or not, before it is kept and before those
    who wait for it go on; it may raise StoreError: then the list isn't kept.
    """

    def __init__(
        self,
        source: ListSource,
        board: Board,
        store: ListStore,
        *,
        interval: float,
        part: Source = Source.IMAGING,
        read: Callable[[bytes], RequestList] = read_list,
        on_read: Callable[[Snapshot], None] = lambda snapshot: None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(_NAMES[part])
        self._on_read = on_read
        self._source = source
        self._board = board
        self._store = store
        self._interval = interval
        self._part = part
        self._read_body = read
        self._clock = clock
        self._monotonic = monotonic
        self._digest = b""
        self._collected = -COLLECTION_PERIOD
        self._rejected = -1
        self._without_steps = 0
        self._not_kept = ""
        self._took = 0.0
        self._status = SourceStatus()
        self._failed_reads = 0
        # What follows is guarded by the condition.
        self._condition = threading.Condition()
        self._last = _Read()
        self._under_way = -math.inf  # the moment at which the read that goes on began
        self._newest: Snapshot | None = None
        self._begun = 0
        self._ended = 0
        self._wanted = False
        self._urgent = False

    @property
    def status(self) -> SourceStatus:
        """How OpenMRS answers."""
        return self._status

    @property
    def failed_reads(self) -> int:
        """Reads that failed since the start."""
        return self._failed_reads

    @property
    def next_read(self) -> float:
        """Seconds until OpenMRS is asked for its list again, 0 while it is asked."""
        with self._condition:
            now = self._monotonic()
            return 0.0 if self._under_way > -math.inf else max(0.0, self._due(now) - now)

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
        snapshot = self._mine()
        _log.warning(
            "serving the kept worklist: %d of %d steps%s, read %.0f s ago",
            len(snapshot.offered),
            len(snapshot.items),
            ", with its orders" if self._part is Source.ORDERS else "",
            self._clock() - read_at,
        )

    def tell_to_stop(self) -> None:
        """Let the thread end; `join` waits for it."""
        super().tell_to_stop()
        with self._condition:
            self._condition.notify_all()

    def read_after(self, moment: float, timeout: float) -> Snapshot:
        """A list whose read began after a moment of `time.monotonic`: the newest, or that of the
        next read, which all share who wait for one.

        Raises OpenMRSError where OpenMRS doesn't give one, or may not be asked again (see REST),
        within `timeout` seconds.
        """
        with self._condition:
            if max(self._newest_began(), self._under_way) <= moment:
                now = self._monotonic()
                earliest = self._last.ended + self._last.rest
                if earliest > now + timeout:
                    raise OpenMRSError(
                        "timeout",
                        f"OpenMRS took {self._last.took:.1f} s for its list, and is asked again "
                        f"in {earliest - now:.0f} s",
                    )
                self._wanted = True
                self._condition.notify_all()
            self._condition.wait_for(
                lambda: (
                    max(self._newest_began(), self._last.began) > moment or self._stopping.is_set()
                ),
                timeout,
            )
            if self._newest is not None and self._newest.began > moment:
                return self._current(self._newest)
            if self._last.began > moment and self._last.problem is not None:
                raise OpenMRSError(self._last.problem.kind, str(self._last.problem))
            raise OpenMRSError("timeout", f"the list was not read within {timeout:g} s")

    def read_now(self, timeout: float) -> Snapshot:
        """The list of a read that starts after this call, at once: for a person who asks for it.

        Raises OpenMRSError where OpenMRS doesn't give one within `timeout` seconds.
        """
        with self._condition:
            turn = self._begun + 1
            self._urgent = True
            self._condition.notify_all()
            self._condition.wait_for(
                lambda: self._ended >= turn or self._stopping.is_set(), timeout
            )
            if self._ended < turn:
                raise OpenMRSError("timeout", f"the list was not read within {timeout:g} s")
            if self._last.problem is not None:
                raise OpenMRSError(self._last.problem.kind, str(self._last.problem))
            assert self._newest is not None
            return self._current(self._newest)

    def _newest_began(self) -> float:
        return -math.inf if self._newest is None else self._newest.began

    def _current(self, read: Snapshot) -> Snapshot:
        """The read list as it is served, which may know more names by now."""
        served = self._mine()
        return served if served.began >= read.began else read

    def _mine(self) -> Snapshot:
        """The list that is served, as fresh as this source's part."""
        snapshot = self._board.snapshot
        assert snapshot is not None
        return snapshot.as_of(self._part)

    def _run(self) -> None:
        while not self._stopping.is_set():
            began = self._begin()
            if began is not None:
                self._end(began, self._try_to_read(began))
            try:
                self._board.turn_of_the_day()
            except Exception:  # the thread must live: without it the list grows old
                _log.exception("the list can't be made for another day")

    def _begin(self) -> float | None:
        """The moment of a read that is due now; None after a while in which none was."""
        with self._condition:
            if self._stopping.is_set():
                return None
            now = self._monotonic()
            due = self._due(now)
            if now < due:  # until something is wanted, it is due, or another day begins
                self._condition.wait(min(due - now, _until_midnight(self._clock())))
                return None
            self._wanted = self._urgent = False
            self._begun += 1
            self._under_way = now
            return now

    def _due(self, now: float) -> float:
        """When the next read begins, as things are."""
        if self._urgent or not self._begun:
            return now
        rest = self._last.rest if self._wanted else self._pause()
        return self._last.ended + rest

    def _pause(self) -> float:
        failures = min(self._status.failures, 16)
        backing_off = min(self._interval * 2.0**failures / 2, LONGEST_PAUSE)
        return max(self._interval, backing_off, self._last.rest)

    def _try_to_read(self, began: float) -> OpenMRSError | None:
        try:
            self._read(began)
        except OpenMRSError as problem:
            self._note_failure(problem)
            return problem
        except Exception as problem:  # the thread must live: without it the list grows old
            _log.exception("reading the list failed")
            failure = OpenMRSError("not-a-list", f"can't be read: {type(problem).__name__}")
            self._note_failure(failure)
            return failure
        return None

    def _end(self, began: float, problem: OpenMRSError | None) -> None:
        with self._condition:
            self._ended = self._begun
            self._under_way = -math.inf
            self._last = _Read(began, self._took, self._monotonic(), problem)
            if problem is None:
                self._newest = self._mine()
            self._condition.notify_all()

    def _read(self, began: float) -> None:
        started = self._clock()
        try:
            body = self._source.get_list()
        finally:
            self._took = self._monotonic() - began
        changed = self._serve(body, started, began)
        self._note_success()
        try:
            self._on_read(self._mine())
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

    def _serve(self, body: bytes, read_at: float, began: float = -math.inf) -> bool:
        """Replace this part of the worklist; returns whether it is another one than before."""
        digest = hashlib.sha256(body).digest()
        if digest == self._digest:
            self._board.touch(self._part, read_at=read_at, began=began)
            return False
        after_all = not 0 <= read_at - self._collected < COLLECTION_PERIOD
        if after_all:
            self._collected = read_at
        with _no_collection(after_all=after_all):
            found = self._read_body(body)
            self._board.put(self._part, found, read_at=read_at, began=began)
        self._digest = digest
        self._without_steps = len(found.requests) if found.lacks_steps else 0
        if len(found.rejected) != self._rejected:
            for rejected in found.rejected[:10]:
                _log.warning("element %d of the list: %s", rejected.position, rejected.reason)
        self._rejected = len(found.rejected)
        return True

    def _note_success(self) -> None:
        before, now = self._status, self._clock()
        kind = error = ""
        if self._without_steps:
            kind, error = "no-steps", f"{self._without_steps} requests without a step"
        self._status = SourceStatus(
            last_success=now,
            last_error=error,
            error_kind=kind,
            answering_since=before.answering_since or now,
        )
        if before.failures:
            _log.warning(
                "%sOpenMRS answers again, after %d failed reads",
                _ABOUT[self._part],
                before.failures,
            )
        if kind and kind != before.error_kind:
            _log.error("%s (%s)", PROBLEMS[kind], error)

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
            meaning = PROBLEMS.get(problem.kind, problem.kind)
            _log.error("%s%s (%s)", _ABOUT[self._part], meaning, problem)


def _until_midnight(now: float) -> float:
    """Seconds from a moment to the next day's first, in local time."""
    today = datetime.fromtimestamp(now)
    tomorrow = datetime.combine(today.date() + timedelta(days=1), datetime.min.time())
    return max(0.01, tomorrow.timestamp() - now)
