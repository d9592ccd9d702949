"""What changed, in order and with a cursor, for programs that poll.

Decides: how changes get into one order, how many are kept, how long one may wait for the next. They
are looked for when somebody asks, so that nobody who doesn't ask pays for them; what was before
this start of Orthanc is in the lists. Must not know: HTTP, SQL, what a change means.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

from orthanc_openmrs.worklist.items import WorklistItem
from orthanc_openmrs.worklist.snapshot import Snapshot

KEPT = 10_000
"""Events that are kept. Who asks for older ones is told to read the lists anew."""

MOST_WAITING = 8
"""Requests that may wait at the same time, each in one of Orthanc's threads; more are answered at
once."""

PAUSE = 0.5
"""Seconds between two looks for changes."""

OVERLAP = 5.0
"""Seconds that a moment in the database may lie back: what began earlier may be written later."""

GONE = "gone"
"""The state of a step that left the list."""


class EventKind(StrEnum):
    """What changed."""

    STEP = "step"
    NOTIFICATION = "notification"
    STUDY = "study"
    PROCEDURE = "procedure"


@dataclass(frozen=True, slots=True)
class Change:
    """Something is in another state now; `study` is an Orthanc ID, "" for none."""

    kind: EventKind
    id: str
    state: str
    study: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """A change and when it was noticed."""

    number: int
    at: float
    change: Change


@dataclass(frozen=True, slots=True)
class Told:
    """Events after a cursor and the cursor after them; `reset`: what came between isn't known, so
    that the lists must be read anew."""

    events: tuple[Event, ...]
    cursor: str
    reset: bool = False


class Source(Protocol):
    """Where changes come from: those since it was asked last, none the first time."""

    def news(self) -> Iterable[Change]: ...


class Events:
    """The events of this start of Orthanc. It may be asked by several threads at once."""

    def __init__(self, sources: Sequence[Source], clock: Callable[[], float]) -> None:
        self._sources = sources
        self._clock = clock
        self._epoch = f"{int(clock() * 1000):x}"
        self._kept: deque[Event] = deque(maxlen=KEPT)
        self._number = 0
        self._looked = -PAUSE
        self._lock = threading.Lock()
        self._waiting = threading.BoundedSemaphore(MOST_WAITING)
        self._stopping = threading.Event()

    def since(self, cursor: str, *, limit: int, wait: float) -> Told:
        """What came after a cursor ("": nothing, but the cursor of now); where nothing did, waits
        for it. Raises what the sources raise."""
        self._look()
        told = self._after(cursor, limit)
        if told.events or told.reset or not cursor or not wait:
            return told
        if not self._waiting.acquire(blocking=False):
            return told
        try:
            ends = time.monotonic() + wait
            while not told.events and (left := ends - time.monotonic()) > 0:
                if self._stopping.wait(min(PAUSE, left)):
                    break
                self._look()
                told = self._after(cursor, limit)
        finally:
            self._waiting.release()
        return told

    def tell_to_stop(self) -> None:
        """Let whoever waits go on at once."""
        self._stopping.set()

    def join(self, deadline: float) -> None:
        """No thread of its own is waited for."""

    def _look(self) -> None:
        with self._lock:
            if time.monotonic() - self._looked < PAUSE:
                return
            for source in self._sources:
                for change in source.news():
                    self._number += 1
                    self._kept.append(Event(self._number, self._clock(), change))
            self._looked = time.monotonic()

    def _after(self, cursor: str, limit: int) -> Told:
        epoch, _, number = cursor.partition("-")
        with self._lock:
            now = f"{self._epoch}-{self._number}"
            if not cursor:
                return Told((), now)
            first = self._kept[0].number if self._kept else self._number + 1
            known = epoch == self._epoch and number.isascii() and number.isdigit()
            last = int(number[:18]) if known else -1
            if not first - 1 <= last <= self._number:
                return Told((), now, reset=True)
            found = [event for event in self._kept if event.number > last][:limit]
        return Told(tuple(found), f"{self._epoch}-{found[-1].number if found else last}")


class StepNews:
    """Steps of the list: those that came, went or are another."""

    def __init__(self, snapshot: Callable[[], Snapshot | None]) -> None:
        self._snapshot = snapshot
        self._compared: Snapshot | None = None
        self._known: dict[str, WorklistItem] | None = None

    def news(self) -> Iterator[Change]:
        """Compares the list that is served with the one before."""
        snapshot = self._snapshot()
        if snapshot is None or snapshot is self._compared:
            return
        self._compared = snapshot
        before = self._known
        self._known = {item["ScheduledProcedureStepID"]: item for item in snapshot.items}
        if before is None:
            return
        for step, item in self._known.items():
            if before.get(step) is not item:
                yield Change(EventKind.STEP, step, item.step.status.value)
        for step in before.keys() - self._known.keys():
            yield Change(EventKind.STEP, step, GONE)


class Changed(Protocol):
    """A row of the database, which tells when its state became so."""

    @property
    def changed(self) -> float: ...
    @property
    def revision(self) -> int: ...


_Row = TypeVar("_Row", bound=Changed)


class RowNews(Generic[_Row]):
    """Rows of a table whose state changed; `read` gives those that changed since a moment."""

    def __init__(
        self,
        read: Callable[[float], Sequence[_Row]],
        change: Callable[[_Row], Change],
        clock: Callable[[], float],
    ) -> None:
        self._read = read
        self._change = change
        self._clock = clock
        self._since = clock()
        self._seen: dict[str, tuple[int, float]] = {}

    def news(self) -> Iterator[Change]:
        """Reads on from the last change, a little before it."""
        # A clock that was set back makes changes of a moment before the last one.
        self._since = min(self._since, self._clock())
        for row in self._read(self._since - OVERLAP):
            change = self._change(row)
            known = self._seen.get(change.id)
            self._seen[change.id] = row.revision, row.changed
            self._since = max(self._since, row.changed)
            if known is None or known[0] != row.revision:
                yield change
        self._seen = {
            key: (revision, changed)
            for key, (revision, changed) in self._seen.items()
            if changed >= self._since - 2 * OVERLAP
        }


class DecisionNews:
    """Whose studies are, as persons say; `read` gives decisions after a number, with theirs."""

    def __init__(
        self,
        newest: Callable[[], int],
        read: Callable[[int], Sequence[tuple[int, str, str]]],
    ) -> None:
        self._newest = newest
        self._read = read
        self._last: int | None = None

    def news(self) -> Iterator[Change]:
        """Reads on from the last decision."""
        if self._last is None:
            self._last = self._newest()
            return
        for number, study, action in self._read(self._last):
            self._last = number
            yield Change(EventKind.STUDY, study, ASSIGNMENTS[action], study)


ASSIGNMENTS = {"assign": "assigned", "unassign": "unassigned"}
"""What became of a study, by the decision."""
