"""The list in the background: when it is read, and what is served when it can't be."""

import gc
import json
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest

from orthanc_openmrs.errors import OpenMRSError, StoreError
from orthanc_openmrs.model import GivenUid
from orthanc_openmrs.worklist.board import Board
from orthanc_openmrs.worklist.items import PersonNames
from orthanc_openmrs.worklist.name_parts import split_name
from orthanc_openmrs.worklist.refresh import (
    COLLECTION_PERIOD,
    LONGEST_PAUSE,
    REST,
    Refresher,
    _until_midnight,
)
from orthanc_openmrs.worklist.service import StationRules, Worklist
from orthanc_openmrs.worklist.snapshot import Snapshot
from orthanc_openmrs.worklist.uid_registry import UidRegistry
from orthanc_openmrs.worklist.values import Value
from tests.unit.builders import ALICE, FrozenClock, within
from tests.unit.doubles import PATIENCE

NOON = datetime(2025, 7, 3, 12, 0).timestamp()
DAY = 86400.0


def listed(*steps: str, **changes: Any) -> bytes:
    """OpenMRS's list, of one request for each step; no step has a date."""
    return json.dumps(
        [
            {
                "RequestedProcedureID": step,
                "PatientID": ALICE,
                "PatientName": "Alice Jones",
                "AccessionNumber": f"ACC-{step}",
                "ScheduledProcedureStepSequence": [
                    {"ScheduledProcedureStepID": step, "Modality": "CT", **changes}
                ],
            }
            for step in steps
        ]
    ).encode()


class Source:
    """OpenMRS: each answer once, the last one for ever."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.reads = 0
        self.reading = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self._alone = threading.Lock()

    def get_list(self) -> bytes:
        """The list, once the gate is open."""
        assert self._alone.acquire(blocking=False), "two reads overlap"
        try:
            self.reads += 1
            self.reading.release()
            assert self.gate.wait(PATIENCE)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            self._alone.release()


class Store:
    """The kept list."""

    def __init__(self, kept: tuple[bytes, float] | None = None) -> None:
        self.kept = kept
        self.done: list[str] = []
        self.broken = ""
        self.given: list[GivenUid] = []

    def _do(self, what: str) -> None:
        self.done.append(what)
        if self.broken:
            raise StoreError(self.broken)

    def load_worklist(self) -> tuple[bytes, float] | None:
        self._do("load")
        return self.kept

    def save_worklist(self, body: bytes, read_at: float) -> None:
        self._do("save")
        self.kept = (body, read_at)

    def touch_worklist(self, read_at: float) -> None:
        self._do("touch")

    def load_given_uids(self) -> list[GivenUid]:
        return self.given

    def save_given_uids(self, given: Sequence[GivenUid]) -> None:
        self.given += given


class Reading:
    """A refresher that reads when it is told to."""

    def __init__(
        self,
        *answers: bytes | Exception,
        store: Store | None = None,
        interval: float = 3600,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = FrozenClock(NOON)
        self.source = Source(*answers)
        self.store = store or Store()
        self.worklist = Worklist(StationRules(), max_staleness=1000, clock=self.clock)
        self.names = PersonNames()
        self.snapshots: list[Snapshot] = []
        self.read_ones: list[Snapshot] = []
        self.board = Board(
            self.worklist,
            names=lambda: self.names,
            uids=UidRegistry(self.store),
            on_snapshot=self.snapshots.append,
            max_staleness=1000,
            clock=self.clock,
        )
        self.refresher = Refresher(
            self.source,
            self.board,
            self.store,
            interval=interval,
            on_read=self.on_read,
            clock=self.clock,
            monotonic=monotonic,
        )

    def on_read(self, snapshot: Snapshot) -> None:
        """A list was read."""
        self.read_ones.append(snapshot)

    def read(self) -> str:
        """Read once more; returns the kind of failure."""
        try:
            self.refresher.read_now(PATIENCE)
        except OpenMRSError as problem:
            return problem.kind
        return ""

    @property
    def served(self) -> list[str]:
        """The steps that are served now."""
        return [item["ScheduledProcedureStepID"] for item in self.worklist.fresh().offered]

    @contextmanager
    def running(self) -> Iterator[None]:
        """The thread runs meanwhile, and its first read is over."""
        self.refresher.start()
        try:
            assert self.source.reading.acquire(timeout=PATIENCE)
            yield
        finally:
            self.source.gate.set()
            with within(PATIENCE, "the thread ends"):
                self.refresher.tell_to_stop()
                self.refresher.join(time.monotonic() + PATIENCE)


AWAY = OpenMRSError("unreachable", "connection failed")
BAD_ROW = OpenMRSError("server-error", "HTTP 500")


def test_the_list_is_read_at_once_and_again_after_each_interval() -> None:
    reading = Reading(listed("1"), interval=0.01)
    with reading.running():
        for _ in range(5):
            assert reading.source.reading.acquire(timeout=PATIENCE)
        assert reading.served == ["1"]


@pytest.mark.parametrize(
    ("interval", "pauses"),
    [
        (10, [10, 10, 20, 40, 60, 60, 60]),
        (1, [1, 1, 2, 4, 8, 16, 32, 60, 60]),
        (300, [300, 300, 300]),
    ],
)
def test_the_pause_grows_while_openmrs_is_away_and_is_short_again_after(
    interval: float, pauses: list[float]
) -> None:
    reading = Reading(listed("1"), interval=interval)
    assert max(pauses) <= max(LONGEST_PAUSE, interval)
    for at, pause in enumerate(pauses):
        if at:
            reading.refresher._note_failure(AWAY)
        assert reading.refresher._pause() == pause
    for _ in range(2000):
        reading.refresher._note_failure(AWAY)
    assert reading.refresher._pause() == max(LONGEST_PAUSE, interval)
    with reading.running():
        assert reading.read() == ""
        assert reading.refresher._pause() == interval


def test_a_read_that_started_before_doesnt_count() -> None:
    reading = Reading(listed("old"), listed("new"))
    reading.source.gate.clear()
    refresher = reading.refresher

    def open_gate() -> None:
        with refresher._condition:
            assert refresher._condition.wait_for(lambda: refresher._urgent, PATIENCE)
        reading.source.gate.set()

    opener = threading.Thread(target=open_gate)
    with reading.running():
        opener.start()
        snapshot = refresher.read_now(PATIENCE)
        opener.join()
    assert [item["ScheduledProcedureStepID"] for item in snapshot.items] == ["new"]
    assert reading.source.reads == 2


def test_reads_never_overlap_however_many_ask() -> None:
    reading = Reading(listed("1"))
    found: list[str] = []
    with reading.running():
        threads = [threading.Thread(target=lambda: found.append(reading.read())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [""] * 8
    assert 2 <= reading.source.reads <= 9


# --- a list read after a moment ------------------------------------------------------------


def test_a_list_that_was_read_after_a_moment_is_given_without_another_read() -> None:
    reading = Reading(listed("1"))
    before = time.monotonic()
    with reading.running():
        first = reading.refresher.read_after(before, PATIENCE)
        assert reading.refresher.read_after(before, PATIENCE) is first
        assert reading.refresher.read_after(0.0, PATIENCE).began > before
    assert reading.source.reads == 1


def test_who_wait_for_a_list_share_one_read_that_began_after_all_of_them() -> None:
    reading = Reading(listed("old"), listed("new"))
    reading.source.gate.clear()
    found: list[Snapshot] = []
    with reading.running():
        moments = [time.monotonic() for _ in range(8)]
        threads = [
            threading.Thread(
                target=lambda moment=moment: found.append(
                    reading.refresher.read_after(moment, PATIENCE)
                )
            )
            for moment in moments
        ]
        for thread in threads:
            thread.start()
        reading.source.gate.set()
        for thread in threads:
            thread.join()
    assert reading.source.reads == 2
    assert {snapshot.items[0]["ScheduledProcedureStepID"] for snapshot in found} == {"new"}
    assert all(snapshot.began > max(moments) for snapshot in found)


def test_a_list_of_another_process_was_read_after_no_moment() -> None:
    reading = Reading(AWAY, store=Store((listed("1"), NOON - 60)))
    reading.refresher.restore()
    snapshot = reading.worklist.snapshot
    assert snapshot is not None
    assert snapshot.began < 0
    with reading.running(), pytest.raises(OpenMRSError) as caught:
        reading.refresher.read_after(0.0, PATIENCE)
    assert caught.value.kind == "unreachable"


class SlowSource(Source):
    """An OpenMRS that takes five seconds, as a clock has it."""

    def __init__(self, clock: FrozenClock, *answers: bytes | Exception) -> None:
        super().__init__(*answers)
        self._monotonic = clock

    def get_list(self) -> bytes:
        """The list, five seconds later."""
        self._monotonic.now += 5
        return super().get_list()


@pytest.mark.parametrize("answer", [listed("1"), AWAY])
def test_openmrs_rests_four_times_what_it_took_unless_a_person_asks(
    answer: bytes | Exception,
) -> None:
    monotonic = FrozenClock(100.0)
    reading = Reading(answer, interval=1, monotonic=monotonic)
    refresher = reading.refresher
    refresher._source = source = SlowSource(monotonic, answer)
    reading.source = source

    def ask(timeout: float) -> str:
        try:
            refresher.read_after(monotonic.now - 0.1, timeout)
        except OpenMRSError as problem:
            return str(problem)
        return ""

    expected = "" if isinstance(answer, bytes) else "connection failed"
    with reading.running():
        assert reading.read() == ("" if isinstance(answer, bytes) else "unreachable")
        assert source.reads == 2, "a person's read doesn't wait"
        assert refresher._pause() == REST * 5
        with within(PATIENCE / 2, "who can't have a list in time is told at once"):
            assert ask(10) == "OpenMRS took 5.0 s for its list, and is asked again in 20 s"
        monotonic.now += 15
        assert ask(1).endswith("in 5 s")
        assert source.reads == 2
        monotonic.now += 5
        assert ask(PATIENCE) == expected
        assert source.reads == 3


def test_after_a_failure_those_who_wait_try_again_a_second_later() -> None:
    monotonic = FrozenClock(100.0)
    reading = Reading(AWAY, listed("1"), monotonic=monotonic)
    with reading.running():
        with pytest.raises(OpenMRSError):
            reading.refresher.read_after(monotonic.now, 0.5)
        monotonic.now += 1
        assert reading.refresher.read_after(monotonic.now - 0.5, PATIENCE).items


def test_every_list_that_was_read_is_shown_before_it_is_kept() -> None:
    store = Store()
    reading = Reading(listed("1"), store=store)
    kept_before: list[int] = []

    def on_read(snapshot: Snapshot) -> None:
        kept_before.append(len(store.done))
        if len(kept_before) == 2:
            raise StoreError("locked")

    reading.refresher._on_read = on_read
    with reading.running():
        for _ in range(2):
            assert reading.read() == ""
    assert store.done == ["save", "save"]
    assert kept_before == [0, 1, 1], "the second wasn't kept, so the third is kept as a whole"


# --- what the status tells -----------------------------------------------------------------


def test_a_list_of_requests_without_any_step_is_told(caplog: pytest.LogCaptureFixture) -> None:
    bare = json.dumps([{"RequestedProcedureID": "7", "ScheduledProcedureStepSequence": []}])
    reading = Reading(bare.encode(), bare.encode(), listed("1"))
    with reading.running():
        reading.refresher.read_after(0.0, PATIENCE)
        status = reading.refresher.status
        assert (status.error_kind, status.last_error) == ("no-steps", "1 requests without a step")
        assert status.reachable
        assert reading.read() == ""
        assert reading.read() == ""
        assert reading.refresher.status.error_kind == ""
    told = [line for line in caplog.messages if "1.1.5 or later" in line]
    assert len(told) == 1


def test_an_empty_list_is_all_well() -> None:
    reading = Reading(b"[]")
    with reading.running():
        reading.refresher.read_after(0.0, PATIENCE)
        assert (reading.refresher.status.error_kind, reading.refresher.status.reachable) == (
            "",
            True,
        )


@pytest.mark.parametrize(
    ("hour", "minute", "seconds"), [(12, 0, 43200), (0, 0, 86400), (23, 59, 60)]
)
def test_midnight_comes(hour: int, minute: int, seconds: float) -> None:
    assert _until_midnight(datetime(2025, 7, 3, hour, minute).timestamp()) == seconds


def test_another_day_begins_at_midnight_not_with_the_next_read() -> None:
    reading = Reading(listed("1"))
    reading.clock.now = datetime(2025, 7, 3, 23, 59, 59).timestamp() + 0.9
    with reading.running():
        first = reading.refresher.read_after(0.0, PATIENCE)
        assert first.items[0]["ScheduledProcedureStepStartDate"] == "20250703"
        reading.clock.now += 1
        deadline = time.monotonic() + PATIENCE
        while reading.worklist.fresh().day != "20250704":
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)
    assert reading.source.reads == 1


@pytest.mark.parametrize("stopped", [False, True])
def test_who_asks_waits_no_longer_than_agreed(stopped: bool) -> None:
    reading = Reading(listed("1"))
    reading.source.gate.clear()
    with reading.running(), within(PATIENCE / 2, "the caller is told"):
        if stopped:
            reading.refresher.tell_to_stop()
        with pytest.raises(OpenMRSError) as caught:
            reading.refresher.read_now(PATIENCE if stopped else 0.01)
        assert caught.value.kind == "timeout"


class Ring:
    """Garbage that only the collector can find."""

    def __init__(self) -> None:
        self.itself = self


def test_a_new_list_keeps_no_garbage_of_others_for_ever() -> None:
    reading = Reading(*map(listed, "12345"))
    with reading.running():
        reading.read()
        garbage = weakref.ref(Ring())
        ring = Ring()
        in_use = weakref.ref(ring)
        reading.read()
        assert gc.get_freeze_count() > 0
        gc.collect()
        assert (garbage(), in_use()) == (None, ring)

        # It was frozen with the list, and is looked at again after a while.
        del ring
        reading.clock.now += COLLECTION_PERIOD - 1
        reading.read()
        assert in_use() is not None
        reading.clock.now += 1
        reading.read()
        assert reading.served == ["5"]
        assert in_use() is None


def test_an_unchanged_list_keeps_its_items_and_is_as_fresh_as_read() -> None:
    reading = Reading(listed("1", "2"), listed("1", "2"), listed("1", "3"))
    with reading.running():
        reading.read()
        before = reading.worklist.fresh()
        assert reading.store.done == ["save", "touch"]
        assert len(reading.snapshots) == 1
        reading.clock.now += 100
        assert reading.worklist.age() == 100
        reading.source.answers.insert(0, listed("1", "2"))
        reading.read()
        same = reading.worklist.fresh()
        assert (reading.worklist.age(), same.read_at) == (0, NOON + 100)
        assert same.items is before.items
        reading.read()
        after = reading.worklist.fresh()
        assert reading.served == ["1", "3"]
        assert after.items[0] is before.items[0]
        assert reading.store.done == ["save", "touch", "touch", "save"]
        assert len(reading.snapshots) == 2


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (AWAY, "unreachable"),
        (BAD_ROW, "server-error"),
        (OpenMRSError("credentials", "HTTP 401"), "credentials"),
        (b"<html>Sign in</html>", "not-a-list"),
        (b"", "not-a-list"),
        (b"{}", "not-a-list"),
        (listed("1", "2")[:-20], "not-a-list"),
        (MemoryError(), "not-a-list"),
        (RuntimeError("odd"), "not-a-list"),
    ],
)
def test_a_read_that_fails_keeps_the_last_list(answer: bytes | Exception, kind: str) -> None:
    reading = Reading(listed("1"), answer, answer, listed("2"))
    with reading.running():
        first = reading.read()
        second = reading.read()
        assert {first, second} == {kind}
        assert reading.served == ["1"]
        status = reading.refresher.status
        assert (status.error_kind, status.failures) == (kind, 2)
        assert (status.last_success, status.failing_since) == (NOON, NOON)
        assert status.last_error
        assert reading.store.kept == (listed("1"), NOON)
        reading.clock.now += 5
        assert reading.read() == ""
        assert reading.served == ["2"]
        status = reading.refresher.status
        assert (status.last_error, status.failures, status.last_success) == ("", 0, NOON + 5)
        assert (status.answering_since, status.failing_since) == (NOON + 5, 0)
        reading.clock.now += 5
        assert reading.read() == ""
        assert reading.refresher.status.answering_since == NOON + 5


def test_each_kind_of_problem_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    reading = Reading(
        listed("1"), AWAY, AWAY, BAD_ROW, BAD_ROW, BAD_ROW, AWAY, listed("1"), AWAY, listed("1")
    )
    with reading.running():
        for _ in range(10):
            reading.read()
    told = [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR]
    words = ["reached", "fails", "reached", "reached"]
    assert len(told) == len(words)
    assert all(word in line for word, line in zip(words, told, strict=True))
    again = [line for line in caplog.messages if "again" in line]
    assert [line.split(" after ")[1] for line in again] == ["6 failed reads", "1 failed reads"]


def test_elements_that_cant_be_read_are_told_once_and_the_others_served(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = listed("1")[:-1] + b', null, "Jones"]'
    reading = Reading(bad)
    with reading.running():
        for _ in range(3):
            reading.read()
        assert reading.served == ["1"]
    told = [line for line in caplog.messages if line.startswith("element")]
    assert [line.split(":")[0] for line in told] == [
        "element 1 of the list",
        "element 2 of the list",
    ]
    assert "Jones" not in caplog.text


# --- the kept list -------------------------------------------------------------------------


def test_the_kept_list_is_served_until_openmrs_answers() -> None:
    reading = Reading(AWAY, listed("2"), store=Store((listed("1"), NOON - 900)))
    reading.refresher.restore()
    assert (reading.served, reading.worklist.age()) == (["1"], 900)
    with reading.running():
        reading.read()
        reading.read()
        assert (reading.served, reading.worklist.age()) == (["2"], 0)


def test_the_kept_list_that_openmrs_still_has_isnt_written_again() -> None:
    reading = Reading(listed("1"), store=Store((listed("1"), NOON - 900)))
    reading.refresher.restore()
    with reading.running():
        reading.read()
        assert reading.worklist.age() == 0
    assert set(reading.store.done) == {"load", "touch"}


@pytest.mark.parametrize(
    ("store", "broken"),
    [
        (Store(), ""),
        (Store(), "the database fails: disk I/O error"),
        (Store((b"no list", NOON)), ""),
        (Store((b"\xff", NOON)), ""),
    ],
)
def test_without_a_kept_list_the_first_read_is_served(store: Store, broken: str) -> None:
    store.broken = broken
    reading = Reading(listed("1"), store=store)
    reading.refresher.restore()
    assert reading.worklist.snapshot is None
    with reading.running():
        reading.read()
        assert reading.served == ["1"]


def test_a_list_that_cant_be_kept_is_served_told_once_and_kept_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reading = Reading(listed("1"))
    reading.store.broken = "the database fails: disk full"
    with reading.running():
        for _ in range(3):
            assert reading.read() == ""
        assert reading.served == ["1"]
        assert reading.refresher.status.last_error == ""
        reading.store.broken = ""
        reading.read()
        assert reading.store.kept == (listed("1"), NOON)
    assert len([line for line in caplog.messages if "disk full" in line]) == 1


# --- the day, the names --------------------------------------------------------------------


@pytest.mark.parametrize("then", [listed("1"), AWAY])
def test_a_step_without_a_date_is_of_today_tomorrow_too(then: bytes | Exception) -> None:
    reading = Reading(listed("1"), listed("1"), then)
    with reading.running():
        reading.read()
        for day in ("20250703", "20250704"):
            (item,) = reading.worklist.fresh().offered
            assert item["ScheduledProcedureStepStartDate"] == day
            reading.worklist._max_staleness = 2 * DAY
            reading.clock.now = NOON + DAY
            reading.read()
    assert reading.worklist.age() == (0 if isinstance(then, bytes) else DAY)


def test_a_day_that_cant_turn_costs_no_read_and_ends_no_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    odd = False

    def normalise(text: str) -> Value:
        if odd:
            raise RuntimeError(text)
        return split_name(text)

    reading = Reading(listed("1"), listed("1"), AWAY, listed("2"))
    reading.names = PersonNames(normalise)
    with reading.running():
        assert reading.read() == ""
        odd = True
        reading.clock.now = NOON + DAY
        assert reading.read() == "unreachable"
        odd = False
        assert reading.read() == ""
        assert reading.served == ["2"]
    assert any("another day" in line for line in caplog.messages)
    assert "Jones" not in "".join(caplog.messages)


def test_a_name_that_was_learnt_is_served_though_the_list_is_unchanged() -> None:
    reading = Reading(listed("1"))
    with reading.running():
        reading.read()
        for names, shown in (
            (PersonNames(structured={(ALICE, "Alice Jones"): "Jones-Smith^Alice"}), "Jones-Smith^"),
            (PersonNames(), "Jones^"),
        ):
            reading.names = names
            reading.read()
            assert reading.worklist.fresh().offered[0]["PatientName"] == f"{shown}Alice"


@pytest.mark.parametrize("hangs", [False, True])
def test_a_stop_is_soon_whatever_openmrs_does(hangs: bool) -> None:
    reading = Reading(listed("1"))
    with reading.running():
        if hangs:
            reading.source.gate.clear()
            with pytest.raises(OpenMRSError):
                reading.refresher.read_now(0)
            assert reading.source.reading.acquire(timeout=PATIENCE)
        started = time.monotonic()
        reading.refresher.tell_to_stop()
        reading.refresher.join(started + 0.2)
        assert time.monotonic() - started < 1
        assert reading.refresher._thread.is_alive() is hangs


def test_a_stop_without_a_start_is_no_harm() -> None:
    reading = Reading(listed("1"))
    reading.refresher.tell_to_stop()
    reading.refresher.join(time.monotonic() + 1)
