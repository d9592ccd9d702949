"""What changed, in order, with a cursor that loses nothing and says so where it can't."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from orthanc_openmrs.events import (
    KEPT,
    MOST_WAITING,
    OVERLAP,
    PAUSE,
    Change,
    DecisionNews,
    EventKind,
    Events,
    RowNews,
    StepNews,
    Told,
)
from orthanc_openmrs.model import RequestList, StepStatus
from orthanc_openmrs.worklist.snapshot import Snapshot
from tests.unit.builders import TODAY, FrozenClock, request, step


class Scripted:
    """A source that tells what it was given."""

    def __init__(self) -> None:
        self.ahead: list[Change] = []

    def news(self) -> list[Change]:
        found, self.ahead = self.ahead, []
        return found

    def has(self, *ids: int) -> None:
        self.ahead += [Change(EventKind.NOTIFICATION, str(one), "held") for one in ids]


class Site:
    """Events of one source."""

    def __init__(self) -> None:
        self.source = Scripted()
        self.events = Events([self.source], FrozenClock(1000.0))

    def ask(self, cursor: str, limit: int = 100_000, wait: float = 0) -> Told:
        """The answer of now: as though a pause had gone by."""
        self.events._looked = -PAUSE
        return self.events.since(cursor, limit=limit, wait=wait)


def ids(told: Told) -> list[int]:
    return [int(event.change.id) for event in told.events]


def test_a_cursor_tells_what_came_after_it_page_by_page() -> None:
    site = Site()
    site.source.has(1, 2)
    begun = site.ask("")
    assert (begun.events, begun.reset) == ((), False)
    site.source.has(3, 4, 5)
    first = site.ask(begun.cursor, limit=2)
    assert ids(first) == [3, 4]
    rest = site.ask(first.cursor)
    assert ids(rest) == [5]
    assert site.ask(rest.cursor) == Told((), rest.cursor)
    assert ids(site.ask(begun.cursor)) == [3, 4, 5]  # it may be asked again


@pytest.mark.parametrize(
    "cursor", ["x", "0-0", "-", "x-1", "{epoch}-99", "{epoch}--1", "{epoch}-²"]
)
def test_a_cursor_that_isnt_of_this_start_says_that_the_lists_must_be_read(cursor: str) -> None:
    site = Site()
    epoch = site.ask("").cursor.partition("-")[0]
    told = site.ask(cursor.replace("{epoch}", epoch))
    assert told.reset
    assert not site.ask(told.cursor).reset


def test_a_cursor_older_than_what_is_kept_says_so() -> None:
    site = Site()
    begun = site.ask("")
    site.source.has(*range(KEPT))
    assert len(site.ask(begun.cursor).events) == KEPT
    site.source.has(0)
    assert site.ask(begun.cursor).reset


def test_who_waits_is_answered_at_the_event_or_at_the_end_and_a_stop_ends_it() -> None:
    site = Site()
    begun = site.ask("").cursor
    started = time.monotonic()
    assert site.ask(begun, wait=0.2).events == ()
    assert time.monotonic() - started < 5
    told: list[Told] = []
    waiting = threading.Thread(target=lambda: told.append(site.ask(begun, wait=20)))
    waiting.start()
    site.source.has(7)
    waiting.join(10)
    assert ids(told[0]) == [7]
    cursor = told[0].cursor
    waiting = threading.Thread(target=lambda: told.append(site.ask(cursor, wait=20)))
    waiting.start()
    site.events.tell_to_stop()
    waiting.join(10)
    assert told[1].events == ()


def test_no_more_than_a_few_wait() -> None:
    site = Site()
    begun = site.ask("").cursor
    threads = [
        threading.Thread(target=lambda: site.ask(begun, wait=20)) for _ in range(MOST_WAITING)
    ]
    for thread in threads:
        thread.start()
    started = time.monotonic()
    while site.events._waiting._value and time.monotonic() - started < 10:
        time.monotonic()
    assert site.ask(begun, wait=20).events == ()
    assert time.monotonic() - started < 15
    site.events.tell_to_stop()
    for thread in threads:
        thread.join(10)


# --- the sources -----------------------------------------------------------------------------


def test_steps_that_came_went_or_are_another() -> None:
    def snapshot(*steps: str, status: StepStatus = StepStatus.SCHEDULED) -> Snapshot:
        requests = tuple(
            request(str(at), step(one, status=status if one == "1" else StepStatus.SCHEDULED))
            for at, one in enumerate(steps)
        )
        return Snapshot.build(RequestList(requests), read_at=0, day=TODAY, previous=now[0])

    now: list[Snapshot | None] = [None]
    source = StepNews(lambda: now[0])

    def news() -> list[tuple[str, str]]:
        return sorted((change.id, change.state) for change in source.news())

    assert news() == []
    now[0] = snapshot("1", "2")
    assert news() == []  # what is there at first is no news
    now[0] = snapshot("1", "2", "3", status=StepStatus.COMPLETED)
    assert news() == [("1", "completed"), ("3", "scheduled")]
    assert news() == []
    now[0] = snapshot("1", status=StepStatus.COMPLETED)
    assert news() == [("2", "gone"), ("3", "gone")]


@dataclass
class Row:
    """A row of a table."""

    id: int
    revision: int
    changed: float


def test_rows_are_told_once_whatever_the_clock_does() -> None:
    clock = FrozenClock(1000.0)
    rows: list[Row] = [Row(1, 1, 900.0)]

    def read(since: float) -> Sequence[Row]:
        return sorted((row for row in rows if row.changed >= since), key=lambda row: row.changed)

    source = RowNews(read, lambda row: Change(EventKind.NOTIFICATION, str(row.id), "x"), clock)

    def news() -> list[str]:
        return [change.id for change in source.news()]

    assert news() == []
    clock.now = 1010.0
    rows.append(Row(2, 1, 1010.0))
    assert news() == ["2"]
    assert news() == []
    rows.append(Row(3, 1, 1010.0 - OVERLAP / 2))  # was begun earlier, written later
    assert news() == ["3"]
    rows[1] = Row(2, 2, 1010.0)
    assert news() == ["2"]
    clock.now = 500.0  # set back
    rows.append(Row(4, 1, 500.0))
    assert "4" in news()


def test_decisions_are_told_from_the_first_request_on() -> None:
    kept = [(1, "s", "assign")]

    def read(after: int) -> list[tuple[int, str, str]]:
        return [one for one in kept if one[0] > after]

    source = DecisionNews(lambda: kept[-1][0], read)

    def news() -> Iterator[tuple[str, str]]:
        return ((change.id, change.state) for change in source.news())

    assert list(news()) == []
    kept += [(2, "s", "unassign"), (5, "t", "assign")]
    assert list(news()) == [("s", "unassigned"), ("t", "assigned")]
    assert list(news()) == []
