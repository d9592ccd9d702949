"""The backlog is counted while nobody waits for it, and what is old is deleted."""

import threading
import time
from typing import Any

import pytest

from orthanc_openmrs.completion import backlog as module
from orthanc_openmrs.completion.backlog import Backlog, BacklogWatch, Known
from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.model import NotificationState
from trial.waiting import eventually


def backlog(**counts: int) -> Backlog:
    """A backlog with these counts, 0 where none is given."""
    return Backlog({state: counts.get(state.value, 0) for state in NotificationState}, None)


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
    known = watch.last()
    deadline = time.monotonic() + 10
    while not known.problem and time.monotonic() < deadline:
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


def test_what_is_old_is_deleted_in_portions_until_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "FIRST_EXPIRY", 0.0)
    left = [1200]

    def expire() -> bool:
        if left[0] == 700:
            left[0] -= 1
            raise StoreError("the database fails once")
        left[0] = max(0, left[0] - 500)
        return left[0] > 0

    monkeypatch.setattr(module, "EXPIRY_INTERVAL", 0.2)
    watch = BacklogWatch(backlog, expire=expire)
    watch.start()
    eventually(lambda: watch.asked() and not left[0], "it isn't deleted")
    watch.tell_to_stop()
    watch.join(time.monotonic() + 5)
