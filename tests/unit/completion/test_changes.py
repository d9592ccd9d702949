"""Orthanc's changes: no study is missed, and the thread lives."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from orthanc_openmrs.completion import changes
from orthanc_openmrs.completion.changes import PAGE, ChangeReader
from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.model import DueStudy
from orthanc_openmrs.store.database import Database
from tests.unit.builders import FrozenClock, within

STABLE_AGE = 60.0


class OrthancCore:
    """Orthanc's /changes, /series and /studies, as Orthanc's database has them."""

    def __init__(self) -> None:
        self.changes: list[dict[str, Any]] = []
        self.last = 0
        self.updates: dict[str, str] = {}
        self.stable: set[str] = set()
        self.pages: list[int] = []
        self.problems: list[Exception] = []

    def happens(self, kind: str, resource: str = "s") -> None:
        """A change is stored; a series is of the study that its name begins with."""
        self.last += 1
        self.changes.append({"Seq": self.last, "ChangeType": kind, "ID": resource})
        study = resource.partition("/")[0]
        self.updates[study] = str(self.last)
        (self.stable.add if kind == "StableStudy" else self.stable.discard)(study)

    def restarts(self) -> None:
        """After it every study counts as stable, and is never said to be."""
        self.stable = set(self.updates)

    def deletes(self, study: str) -> None:
        """A study goes, and its changes with it."""
        del self.updates[study]
        self.changes = [one for one in self.changes if one["ID"].partition("/")[0] != study]

    def __call__(self, route: str) -> Any:
        """The JSON of a route."""
        if self.problems:
            raise self.problems.pop(0)
        path, query = urlsplit(route).path, parse_qs(urlsplit(route).query)
        if route == "/changes?last":
            return {"Changes": self.changes[-1:], "Done": True, "Last": self.last}
        if path == "/changes":
            since, limit = int(query["since"][0]), int(query["limit"][0])
            self.pages.append(since)
            found = [one for one in self.changes if one["Seq"] > since][:limit]
            last = found[-1]["Seq"] if found else self.last
            return {"Changes": found, "Done": last == self.last, "Last": last}
        _, kind, name = path.split("/", 2)
        study = name.partition("/")[0]
        if study not in self.updates:
            return None
        if kind == "series":
            return {"ID": name, "ParentStudy": study}
        return {"ID": name, "LastUpdate": self.updates[study], "IsStable": study in self.stable}


class Mark:
    """What Orthanc keeps for the plugin."""

    def __init__(self) -> None:
        self.kept: int | None = None

    def load(self) -> int | None:
        """The mark."""
        return self.kept

    def save(self, sequence: int) -> None:
        """Keep it."""
        self.kept = sequence


class Site:
    """A reader between an Orthanc and a database."""

    def __init__(self, url: str) -> None:
        self.clock = FrozenClock(1000.0)
        self.orthanc = OrthancCore()
        self.database = Database(url, clock=self.clock)
        self.news = threading.Event()
        self.mark = Mark()
        self.reader = self.new_reader()

    def new_reader(self) -> ChangeReader:
        """A reader as after a start of Orthanc."""
        return ChangeReader(
            get=self.orthanc,
            store=self.database,
            mark=self.mark,
            stable_age=STABLE_AGE,
            on_news=self.news.set,
            clock=self.clock,
        )

    def look(self) -> int:
        """What the thread does each time."""
        return self.reader.read_changes() + self.reader.look_at_arriving()

    def noted(self) -> set[str]:
        """The stable studies that are to be linked."""
        return {due.study for due in self.database.due_studies() if not due.arriving}

    def told(self, study: str = "s") -> None:
        """A study is stable, as the change callback and /changes tell it."""
        self.orthanc.happens("StableStudy", study)
        self.database.note_study(study)


@pytest.fixture
def site() -> Site:
    """An Orthanc that the plugin knows already."""
    site = Site("sqlite://")
    site.look()
    return site


def test_the_first_start_begins_at_the_last_change() -> None:
    site = Site("sqlite://")
    for study in ("old", "older"):
        site.orthanc.happens("NewStudy", study)
        site.orthanc.happens("StableStudy", study)
    assert site.look() == 0
    assert site.database.change_cursor() == 4
    assert site.noted() == set()
    site.orthanc.happens("StableStudy", "new")
    assert site.look() == 1
    assert site.noted() == {"new"}


def test_a_database_that_was_lost_is_made_up_for_from_where_nothing_was_left_to_do() -> None:
    site = Site("sqlite://")
    site.told("old")
    site.look()
    site.reader.remember()
    assert site.mark.kept is None, "a study is to be linked"
    (due,) = site.database.due_studies()
    site.database.decide_study(due, "unlinked", "", [])
    site.reader.remember()
    assert site.mark.kept == 1
    for study in ("lost", "too"):
        site.told(study)
    site.look()
    site.database = Database("sqlite://", clock=site.clock)
    site.reader = site.new_reader()
    site.look()
    assert site.noted() == {"lost", "too"}


def test_a_mark_is_made_now_and_then(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.reader.remember()
    before = site.mark.kept
    site.orthanc.happens("NewInstance")
    site.look()
    site.reader.remember()
    assert site.mark.kept == before
    monkeypatch.setattr(changes, "MARK_INTERVAL", 0.0)
    site.reader.remember()
    assert site.mark.kept == site.orthanc.last


@pytest.mark.parametrize(
    ("happens", "noted", "why"),
    [
        ([], set(), "nothing"),
        (["StableStudy"], {"s"}, "missed by the callback"),
        (["told"], {"s"}, "both tell of it"),
        (["NewStudy s", "NewSeries s/1", "told"], {"s"}, "both, after its images"),
        (["NewStudy s", "NewSeries s/1", "StableStudy"], {"s"}, "missed, after its images"),
        (["told", "look", "told", "look"], {"s"}, "twice stable"),
        (["told", "told", "look"], {"s"}, "twice before they were read"),
        (["told", "StableStudy", "look"], {"s"}, "once told, once missed"),
        (["told", "look", "StableStudy", "look"], {"s"}, "missed the second time"),
        (["StableStudy", "look", "told", "look"], {"s"}, "missed the first time"),
        (["StableSeries s", "StablePatient s", "NewInstance s"], set(), "no study's business"),
        (["StableStudy", "StableStudy t"], {"s", "t"}, "each on its own"),
        (["NewStudy s", "NewSeries s/1"], set(), "images still come"),
    ],
)
def test_a_stable_study_is_noted_whoever_tells_of_it(
    site: Site, happens: list[str], noted: set[str], why: str
) -> None:
    for what in happens:
        kind, _, resource = what.partition(" ")
        if kind == "look":
            site.look()
        elif kind == "told":
            site.told()
        else:
            site.orthanc.happens(kind, resource or "s")
    site.look()
    site.look()
    assert site.noted() == noted, why


def test_a_study_that_orthanc_never_calls_stable_is_noted_after_its_age(site: Site) -> None:
    for kind, resource in (("NewStudy", "s"), ("NewSeries", "s/1"), ("NewSeries", "t/1")):
        site.orthanc.happens(kind, resource)
    site.look()
    assert [(due.study, due.arriving) for due in site.database.due_studies()] == [
        ("s", True),
        ("t", True),
    ]
    site.orthanc.restarts()
    site.reader = site.new_reader()
    site.look()
    for seconds, noted in ((STABLE_AGE, set()), (1, {"s", "t"}), (STABLE_AGE, {"s", "t"})):
        site.clock.now += seconds
        site.look()
        assert site.noted() == noted
    assert site.database.arriving_studies() == []


def test_the_age_begins_again_with_each_update_and_ends_only_where_orthanc_agrees(
    site: Site,
) -> None:
    site.orthanc.happens("NewStudy")
    site.look()
    for _ in range(3):
        site.clock.now += STABLE_AGE - 1
        site.orthanc.updates["s"] += "1"  # an instance more
        site.look()
        assert site.noted() == set()
    site.clock.now += 10 * STABLE_AGE
    site.look()
    assert site.noted() == set(), "Orthanc says itself that it isn't stable"
    site.orthanc.restarts()
    site.look()
    assert site.noted() == {"s"}


def test_a_study_that_was_deleted_meanwhile_is_dropped(site: Site) -> None:
    site.orthanc.happens("NewStudy", "s")
    site.look()
    site.orthanc.deletes("s")
    site.orthanc.happens("NewSeries", "gone/1")
    del site.orthanc.updates["gone"]
    site.clock.now += 10 * STABLE_AGE
    site.look()
    assert site.database.arriving_studies() == []
    assert site.database.due_studies() == []


def test_another_orthanc_is_read_from_its_beginning(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(5):
        site.told("old")
    site.look()
    site.orthanc = OrthancCore()
    site.reader = site.new_reader()
    for study in ("a", "b"):
        site.orthanc.happens("StableStudy", study)
    site.look()
    assert site.noted() == {"old", "a", "b"}
    assert site.database.change_cursor() == 2
    assert [line for line in caplog.messages if "another Orthanc" in line]


def test_the_changes_are_read_page_by_page_and_each_page_is_kept(site: Site) -> None:
    for at in range(2 * PAGE + 5):
        site.orthanc.happens("StableStudy" if at % 500 == 0 else "NewInstance", f"s{at}")
    site.orthanc.pages.clear()
    assert site.look() == 5
    assert site.orthanc.pages == [0, PAGE, 2 * PAGE, 2 * PAGE + 5]
    assert site.noted() == {"s0", "s500", "s1000", "s1500", "s2000"}
    site.orthanc.pages.clear()
    assert site.look() == 0
    assert site.orthanc.pages == [2 * PAGE + 5]


def test_a_page_that_fails_in_the_middle_is_read_again_from_its_start(site: Site) -> None:
    site.told("s")
    site.orthanc.happens("NewSeries", "t/1")
    site.orthanc.happens("StableStudy", "u")
    get = site.orthanc.__call__
    fails = [True]

    def failing(route: str) -> Any:
        if route.startswith("/series") and fails:
            fails.pop()
            raise RuntimeError
        return get(route)

    site.reader._get = failing
    with pytest.raises(RuntimeError):
        site.look()
    assert site.noted() == {"s"}
    site.look()
    assert site.noted() == {"s", "u"}


@pytest.mark.parametrize(
    ("gone", "left", "told"),
    [(10, 1, False), (PAGE + 1, 1, True), (3 * PAGE, 2, True), (10, 0, False), (2 * PAGE, 0, True)],
)
def test_changes_that_are_gone_are_told(
    site: Site, caplog: pytest.LogCaptureFixture, gone: int, left: int, told: bool
) -> None:
    for _ in range(gone):
        site.orthanc.happens("NewInstance", "s")
    site.orthanc.changes.clear()
    for at in range(left):
        site.orthanc.happens("StableStudy", f"left{at}")
    site.look()
    assert len(site.noted()) == left
    assert site.database.change_cursor() == gone + left
    lines = [line for line in caplog.messages if "gone" in line]
    assert len(lines) == int(told)
    assert not told or f"1 to {gone} " in lines[0]


def test_a_failing_get_ends_no_thread_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(f"sqlite:///{tmp_path / 'openmrs.db'}")
    site.look()
    site.orthanc.problems = [RuntimeError("of Jones^Alice"), RuntimeError("of Jones^Alice")]
    site.orthanc.happens("StableStudy")
    site.reader.start()
    try:
        deadline = time.monotonic() + 10
        while not site.news.wait(0.05) and time.monotonic() < deadline:
            site.reader.wake()
        assert site.noted() == {"s"}
    finally:
        with within(5, "the thread ends"):
            site.reader.tell_to_stop()
            site.reader.join(time.monotonic() + 5)
        site.database.close()
    assert not site.reader._thread.is_alive()
    errors = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert [one.getMessage() for one in errors] == [
        "Orthanc's changes can't be taken up now: RuntimeError while Orthanc's changes are read"
    ]


class FailingStore(Database):
    """A database whose disk is full at first."""

    def __init__(self, url: str, clock: Callable[[], float]) -> None:
        super().__init__(url, clock=clock)
        self.full = True

    def take_changes(self, sequence: int, changes: Any = ()) -> int:
        if self.full:
            raise StoreError("the database fails: disk full")
        return super().take_changes(sequence, changes)


def test_what_cant_be_stored_is_read_again() -> None:
    site = Site("sqlite://")
    site.look()
    site.database.close()
    site.database = store = FailingStore("sqlite://", site.clock)
    store.full = False
    site.reader = site.new_reader()
    site.look()
    store.full = True
    site.orthanc.happens("StableStudy")
    with pytest.raises(StoreError):
        site.look()
    store.full = False
    assert site.look() == 1
    assert site.database.due_studies() == [DueStudy("s", 1, 0)]


def test_a_stop_without_a_start_is_no_harm(site: Site) -> None:
    site.reader.tell_to_stop()
    site.reader.join(time.monotonic() + 1)
