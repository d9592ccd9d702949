"""What is counted, what is told of it, and that nobody waits for the database."""

import re
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.metrics import (
    FAILED,
    METRICS,
    PREFIX,
    UNREAD_QUERIES,
    Backlog,
    BacklogWatch,
    Known,
    Metrics,
    Tally,
)
from orthanc_openmrs.model import NotificationState, RequestList, StepStatus
from orthanc_openmrs.worklist.refresh import SourceStatus
from orthanc_openmrs.worklist.service import StationRules, Worklist
from orthanc_openmrs.worklist.snapshot import Snapshot
from tests.unit.builders import TODAY, FrozenClock, request, step
from trial.waiting import eventually

NOON = datetime(2025, 7, 3, 12, 0).timestamp()
LISTED = RequestList(
    (
        request("7", step("1"), step("2", status=StepStatus.COMPLETED)),
        request("8", step("1" * 17)),
    )
)
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "operation.md"


def backlog(oldest: float | None = None, **counts: int) -> Backlog:
    """A backlog with these counts, 0 where none is given."""
    return Backlog({state: counts.get(state.value, 0) for state in NotificationState}, oldest)


# --- the queries ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noted", "expected"),
    [
        ([], (0, 0, 0, 0, 0)),
        ([(0.25, 3)], (1, 0, 3, 250, 250)),
        ([(0.25, 3), (0.5, 0), (0.125, 2)], (3, 0, 5, 875, 500)),
        ([(0.25, FAILED), (0.25, 1)], (2, 1, 1, 500, 250)),
    ],
)
def test_queries_are_added_up(noted: list[tuple[float, int]], expected: tuple[float, ...]) -> None:
    tally = Tally()
    for seconds, answers in noted:
        tally.note(seconds, answers)
    names = ("queries", "queries_failed", "answers", "query_milliseconds")
    found = tally.add_up(0)
    assert (*(found[f"{name}_total"] for name in names), found["query_milliseconds_max"]) == (
        expected
    )
    again = tally.add_up(1)
    assert again == found


def test_the_longest_query_is_that_of_the_last_minute() -> None:
    tally = Tally()
    longest = []
    for now, seconds in ((0, 0.5), (5, 0.25), (59, None), (60, None), (65, None), (70, 0.125)):
        if seconds:
            tally.note(seconds, 0)
        longest.append(tally.add_up(now)["query_milliseconds_max"])
    assert longest == [500, 500, 500, 250, 0, 125]


def test_queries_of_many_threads_are_all_counted_and_memory_is_bounded() -> None:
    tally = Tally()

    def ask() -> None:
        for _ in range(5000):
            tally.note(0.001, 1)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        tally.add_up(0)
    assert tally.add_up(0)["queries_total"] == 40000

    for _ in range(UNREAD_QUERIES + 10):
        tally.note(0, 0)
    assert tally.add_up(0)["queries_total"] == 40000 + UNREAD_QUERIES


# --- the backlog ---------------------------------------------------------------------------


class Store:
    """A database that counts, refuses or hangs as it is told."""

    def __init__(self) -> None:
        self.pending = 1
        self.broken = False
        self.answers = threading.Event()
        self.answers.set()
        self.counts = 0

    def count(self) -> Backlog:
        """The counts, when it answers."""
        self.counts += 1
        self.answers.wait(20)
        if self.broken:
            raise StoreError("the database fails: disk I/O error")
        return backlog(pending=self.pending)


@pytest.fixture
def store() -> Store:
    """A database that counts."""
    return Store()


@pytest.fixture
def watch(store: Store) -> Any:
    """A watch on the database, which has counted once."""
    watch = BacklogWatch(store.count)
    assert watch.last() == Known()
    watch.start()
    eventually(lambda: watch.last().backlog, "nothing was counted")
    yield watch
    store.answers.set()
    watch.tell_to_stop()
    watch.join(time.monotonic() + 5)


def told(known: Known) -> tuple[int | None, str]:
    """How many are pending, and what the problem is."""
    return known.backlog and known.backlog.counts[NotificationState.PENDING], known.problem


def test_counts_are_of_the_last_look_where_the_database_answers(
    store: Store, watch: BacklogWatch
) -> None:
    for pending in range(2, 6):
        store.pending = pending
        eventually(lambda: told(watch.asked()) == (store.pending, ""), "the counts stay old", 2)


def test_last_counts_are_told_at_once_while_the_database_hangs(
    store: Store, watch: BacklogWatch
) -> None:
    store.answers.clear()
    store.pending = 9
    took: list[float] = []
    deadline = time.monotonic() + 1.2
    while time.monotonic() < deadline:
        started = time.monotonic()
        known = watch.asked()
        took.append(time.monotonic() - started)
        assert told(known)[0] == 1
    assert told(known) == (1, "the database hasn't answered for 1 s")
    # Of a busy machine, one in ten may be late; none waits for the database.
    assert sorted(took)[len(took) * 9 // 10] < 0.05
    assert max(took) < 0.5
    assert store.counts == 2
    store.answers.set()
    eventually(lambda: told(watch.asked()) == (9, ""), "no recovery", 5)


def test_last_counts_are_told_with_the_reason_while_the_database_fails(
    store: Store, watch: BacklogWatch
) -> None:
    store.broken = True
    eventually(lambda: "disk I/O error" in watch.asked().problem, "no problem is told", 5)
    assert told(watch.last())[0] == 1
    store.broken = False
    eventually(lambda: told(watch.asked()) == (1, ""), "no recovery", 5)


# --- what is pushed ------------------------------------------------------------------------


def metrics(
    push: Callable[[str, float], None] = lambda name, value: None,
    *,
    found: RequestList | None = LISTED,
    source: SourceStatus | None = None,
    known: Known | None = None,
) -> Metrics:
    """The metrics of a moment: a list of ten seconds ago, one query, an empty outbox."""
    clock = FrozenClock(NOON)
    worklist = Worklist(StationRules(), max_staleness=100, clock=clock)
    if found:
        worklist.replace(Snapshot.build(found, read_at=NOON - 10, day=TODAY))
    tally = Tally()
    tally.note(0.002, 4)
    return Metrics(
        push,
        worklist=worklist,
        source_status=lambda: source or SourceStatus(last_success=NOON),
        failed_reads=lambda: 3,
        backlog=lambda: known or Known(backlog()),
        tally=tally,
        clock=clock,
        interval=0.01,
    )


@pytest.mark.parametrize(
    ("moment", "figures"),
    [
        ({}, {"worklist_age_seconds": 10, "worklist_steps": 3, "worklist_offered": 1}),
        ({}, {"worklist_skipped": 1, "refresh_failures_total": 3, "reachable": 1}),
        ({}, {"queries_total": 1, "answers_total": 4, "query_milliseconds_max": 2}),
        ({}, {"oldest_pending_seconds": 0, "database_answers": 1}),
        ({"found": None}, {"worklist_age_seconds": None, "worklist_steps": None}),
        ({"source": SourceStatus()}, {"reachable": 0}),
        ({"source": SourceStatus(last_success=NOON, failures=1)}, {"reachable": 0}),
        ({"source": SourceStatus(last_success=NOON, last_error="no step")}, {"reachable": 1}),
        (
            {"known": Known(backlog(NOON - 60, pending=2, held=1))},
            {"notifications_pending": 2, "notifications_held": 1, "oldest_pending_seconds": 60},
        ),
        ({"known": Known(backlog(NOON + 60, pending=1))}, {"oldest_pending_seconds": 0}),
        (
            {"known": Known(backlog(NOON - 60, pending=1), "it is locked")},
            {"notifications_pending": 1, "oldest_pending_seconds": 60, "database_answers": 0},
        ),
        (
            {"known": Known(None, "it is locked")},
            {"notifications_pending": None, "oldest_pending_seconds": None, "database_answers": 0},
        ),
        ({"known": Known()}, {"database_answers": 0}),
    ],
)
def test_figures(moment: dict[str, Any], figures: dict[str, float | None]) -> None:
    found = metrics(**moment).figures()
    assert {name: found.get(name) for name in figures} == figures


def test_every_figure_is_pushed_and_documented() -> None:
    pushed: dict[str, float] = {}
    running = metrics(pushed.__setitem__)
    running.start()
    names = {PREFIX + name for name in METRICS}
    eventually(lambda: set(pushed) == names, "not every metric is pushed")
    running.tell_to_stop()
    running.join(time.monotonic() + 5)
    documented = dict(
        re.findall(r"^\| (orthanc_openmrs_\w+) \| (.*) \|$", DOCUMENT.read_text(), re.M)
    )
    assert {name: text.replace("`", "") for name, text in documented.items()} == {
        PREFIX + name: text for name, text in METRICS.items()
    }


def test_pushing_goes_on_after_a_failure() -> None:
    pushed: list[str] = []

    def push(name: str, value: float) -> None:
        pushed.append(name)
        raise RuntimeError("Orthanc is stopping")

    running = metrics(push)
    running.start()
    eventually(lambda: len(pushed) > 1, "nothing is pushed any more")
    running.tell_to_stop()
    running.join(time.monotonic() + 5)
