"""Reads Orthanc's changes, so that no study is missed that the change callback didn't note.

Decides: from where /changes is read, and when a study is complete of which Orthanc never said
that it is stable (it says so once, and not after a restart). Orthanc's own database is the
record: after a kill -9 the next start goes on where the last read ended (Orthanc Book,
"Tracking changes"). Where the plugin's database was lost, it goes on where nothing was left to
do, which Orthanc keeps too. Must not know: SQL, OpenMRS.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from orthanc_openmrs.completion.study import Get
from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.model import ArrivingStudy, StudyChange
from orthanc_openmrs.worker import Worker

_log = logging.getLogger(__name__)

PAGE = 1000
"""Changes in one request."""

INTERVAL = 10.0
"""Seconds between two reads, where no change wakes the reader."""

SHORTEST_PAUSE = 0.5
"""Seconds between two reads while images pour in."""


MARK_INTERVAL = 60.0
"""Seconds between two marks at least."""


class Mark(Protocol):
    """A change that Orthanc keeps a mark of, for the time that the database is lost."""

    def load(self) -> int | None: ...
    def save(self, sequence: int) -> None: ...


class ChangeStore(Protocol):
    """The database, as far as it is needed here; each method may raise StoreError."""

    def change_cursor(self) -> int | None: ...
    def is_settled(self) -> bool: ...
    def take_changes(self, sequence: int, changes: Sequence[StudyChange] = ()) -> int: ...
    def arriving_studies(self) -> list[ArrivingStudy]: ...
    def still_arriving(self, study: str, last_update: str) -> None: ...
    def arrived(self, study: str, *, exists: bool) -> None: ...


class ChangeReader(Worker):
    """Takes up Orthanc's changes in a thread of its own."""

    def __init__(
        self,
        *,
        get: Get,
        store: ChangeStore,
        mark: Mark,
        stable_age: float,
        on_news: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        super().__init__("changes")
        self._get = get
        self._store = store
        self._mark = mark
        self._marked = (-1, float("-inf"))
        self._stable_age = stable_age
        self._on_news = on_news
        self._clock = clock
        self._told = ""
        self._first: int | None = None

    def wake(self) -> None:
        """Something changed."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                news = self.read_changes() + self.look_at_arriving()
                self.remember()
                self._told = ""
                if news:
                    self._on_news()
            except StoreError as problem:
                self._tell(str(problem))
            except Exception as problem:  # the thread must live
                self._tell(f"{type(problem).__name__} while Orthanc's changes are read")
            self._stopping.wait(SHORTEST_PAUSE)
            self._wake.wait(INTERVAL)

    def _tell(self, problem: str) -> None:
        if problem != self._told:
            _log.error("Orthanc's changes can't be taken up now: %s", problem)
        self._told = problem

    def read_changes(self) -> int:
        """Take up what is new; returns how many studies are to be looked at."""
        news = 0
        if self._first is None:
            # Before the database is asked: a new one, which takes the place of one that couldn't
            # be opened, must not miss what came meanwhile.
            self._first = int(self._get("/changes?last")["Last"])
        cursor = self._store.change_cursor()
        if cursor is None:
            # Where the database before was lost, what it hadn't done is done again.
            marked = self._mark.load()
            cursor = self._first if marked is None else min(marked, self._first)
            self._store.take_changes(cursor)
            _log.warning("Orthanc's changes are taken up from number %d on", cursor)
        while not self._stopping.is_set():
            page = self._get(f"/changes?since={cursor}&limit={PAGE}")
            last = int(page["Last"])
            if last < cursor:
                _log.warning(
                    "Orthanc's last change is %d, the last one taken up %d: this is another "
                    "Orthanc, and all its changes are taken up",
                    last,
                    cursor,
                )
                cursor = 0
                self._store.take_changes(0)
                continue
            if last == cursor:
                return news
            news += self._take(page["Changes"], last)
            first = page["Changes"][0]["Seq"] if page["Changes"] else last + 1
            if first > cursor + PAGE:
                _log.warning(
                    "Orthanc's changes %d to %d are gone, cleared or of deleted studies",
                    cursor + 1,
                    first - 1,
                )
            cursor = last
        return news

    def remember(self) -> None:
        """Have Orthanc mark up to which change nothing is left to do."""
        cursor = self._store.change_cursor()
        last, at = self._marked
        if cursor is None or cursor == last or time.monotonic() < at + MARK_INTERVAL:
            return
        if self._store.is_settled():
            self._mark.save(cursor)
            self._marked = (cursor, time.monotonic())

    def _take(self, changes: Sequence[dict[str, Any]], last: int) -> int:
        found: list[StudyChange] = []
        for change in changes:
            kind, resource = change["ChangeType"], change["ID"]
            if kind in ("NewStudy", "StableStudy"):
                new = kind == "NewStudy"
                found.append(StudyChange(resource, not new, change["Seq"], new))
            elif kind == "NewSeries":
                series = self._get(f"/series/{resource}")
                if series is not None:
                    found.append(StudyChange(series["ParentStudy"], False, change["Seq"]))
        noted = self._store.take_changes(last, found)
        return noted + sum(not change.stable for change in found)

    def look_at_arriving(self) -> int:
        """Note the studies that changed no more for StableAge, told stable or not."""
        news = 0
        for arriving in self._store.arriving_studies():
            study = self._get(f"/studies/{arriving.study}")
            if study is None:
                self._store.arrived(arriving.study, exists=False)
            elif study.get("LastUpdate", "") != arriving.last_update:
                self._store.still_arriving(arriving.study, study.get("LastUpdate", ""))
            elif (
                study.get("IsStable") is True
                and self._clock() - arriving.last_update_seen > self._stable_age
            ):
                self._store.arrived(arriving.study, exists=True)
                news += 1
        return news
