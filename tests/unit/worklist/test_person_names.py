"""Structured names: looked up once, kept, and never waited for."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from orthanc_openmrs.errors import OpenMRSError, StoreError
from orthanc_openmrs.model import ImagingRequest
from orthanc_openmrs.worklist.name_parts import split_name
from orthanc_openmrs.worklist.person_names import NameBook
from tests.unit.builders import ALICE, BOB, FrozenClock, items, request, within
from tests.unit.doubles import PATIENCE

Person = tuple[str, str]


def document(given: Any, middle: Any, family: Any) -> bytes:
    """Core REST's patient."""
    name = {"givenName": given, "middleName": middle, "familyName": family}
    return json.dumps({"person": {"preferredName": name}}).encode()


class Patients:
    """OpenMRS's core: documents by uuid, and in which order they were asked for."""

    def __init__(self, **documents: Any) -> None:
        self.documents = documents
        self.asked: list[str] = []
        self.changed = threading.Condition()

    def get_patient(self, uuid: str) -> bytes | None:
        """A patient's document; an exception comes once."""
        with self.changed:
            self.asked.append(uuid)
            self.changed.notify_all()
            found: Any = self.documents.get(uuid)
            if isinstance(found, list):
                found = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(found, BaseException):
            raise found
        return None if found is None else bytes(found)


class Kept:
    """The names that the database holds."""

    def __init__(self, names: dict[Person, str] | None = None, problem: str = "") -> None:
        self.names = names or {}
        self.problem = problem

    def load_person_names(self) -> dict[Person, str]:
        if self.problem:
            raise StoreError(self.problem)
        return dict(self.names)

    def save_person_name(self, person: Person, name: str) -> None:
        if self.problem:
            raise StoreError(self.problem)
        name.encode()  # as SQLite must
        self.names[person] = name


def of(patient: str, name: str = "Alice Mary Jones") -> ImagingRequest:
    """A request of a patient."""
    return request("7", patient_id=patient, patient_name=name)


class Reading:
    """A book that is written while somebody looks at it."""

    def __init__(self, patients: Patients, kept: Kept | None = None, pause: float = 0.0) -> None:
        self.patients = patients
        self.kept = kept or Kept()
        self.book = NameBook(patients, self.kept, split_name, pause=pause)

    def want(self, *requests: ImagingRequest) -> None:
        """These are in the list."""
        self.book.want(items(*requests))

    def shown(self, *requests: ImagingRequest) -> list[str]:
        """The PatientName of each now."""
        names = self.book.names()
        return [names.of(one).text for one in requests]

    def until_asked(self, times: int) -> None:
        """Wait until OpenMRS was asked that often."""
        with self.patients.changed:
            assert self.patients.changed.wait_for(
                lambda: len(self.patients.asked) >= times, PATIENCE
            ), self.patients.asked

    def until_asked_for(self, who: str) -> None:
        """Wait until OpenMRS was asked for a patient."""
        with self.patients.changed:
            assert self.patients.changed.wait_for(lambda: who in self.patients.asked, PATIENCE)

    def until_asked_again(self) -> None:
        """Wait until OpenMRS was asked once more than now."""
        self.until_asked(len(self.patients.asked) + 1)

    def until_idle(self) -> None:
        """Wait until nobody is left to look up: one more, unknown patient ends the row."""
        end = of(f"end-{len(self.patients.asked)}")
        self.want(end)
        with self.patients.changed:
            assert self.patients.changed.wait_for(
                lambda: end.patient_id in self.patients.asked, PATIENCE
            )
        self.book.tell_to_stop()
        self.book.join(time.monotonic() + PATIENCE)

    @contextmanager
    def running(self) -> Iterator[None]:
        """The thread runs meanwhile."""
        self.book.start()
        try:
            yield
        finally:
            with within(PATIENCE, "the thread ends"):
                self.book.tell_to_stop()
                self.book.join(time.monotonic() + PATIENCE)
            assert not self.book._thread.is_alive()


LISTED = "Alice Mary Jones"


@pytest.mark.parametrize(
    ("listed", "found", "shown"),
    [
        ("Alice Mary van Dyk", document("Alice", "Mary", "van Dyk"), "van Dyk^Alice^Mary"),
        ("Alice Jones Smith", document("Alice", None, "Jones Smith"), "Jones Smith^Alice"),
        ("Alice", document("Alice", "", None), "Alice"),
        ("Sok^ha Chan", document("Sok^ha", "", "Chan"), "Chan^Sok ha"),
        ("សុខា ចាន់", document("សុខា", "", "ចាន់"), "ចាន់^សុខា"),
        ("Alice \ufffd van Dyk", document("Alice \ud83d", "", "van Dyk"), "van Dyk^Alice \ufffd"),
        (LISTED, document("Alice", "", "Jones"), "Jones^Alice^Mary"),
        (LISTED, document("", "", ""), "Jones^Alice^Mary"),
        (LISTED, document(None, None, None), "Jones^Alice^Mary"),
        (LISTED, None, "Jones^Alice^Mary"),
        (LISTED, b"<html>Sign in</html>", "Jones^Alice^Mary"),
        (LISTED, b"[]", "Jones^Alice^Mary"),
        (LISTED, b'{"person": {"preferredName": null}}', "Jones^Alice^Mary"),
        (LISTED, b"[" * 100_000, "Jones^Alice^Mary"),
        (LISTED, b"\xff\xfe\xfd", "Jones^Alice^Mary"),
        (LISTED, RuntimeError("odd"), "Jones^Alice^Mary"),
    ],
)
def test_a_name_is_openmrss_own_or_else_split(listed: str, found: Any, shown: str) -> None:
    reading = Reading(Patients(**{ALICE: found, BOB: document("Bob", "", "de la Cruz")}))
    alice, bob = of(ALICE, listed), of(BOB, "Bob de la Cruz")
    with reading.running():
        reading.want(alice, bob)
        reading.until_idle()
    assert reading.shown(alice, bob) == [shown, "de la Cruz^Bob"]
    assert sorted(reading.patients.asked[:2]) == sorted((ALICE, BOB)), "each is asked for once"
    assert ((ALICE, listed) in reading.kept.names) is (listed != LISTED)


def test_a_kept_name_that_lost_a_word_is_looked_up_again() -> None:
    kept = Kept({(ALICE, "Dr. Alice Jones"): "Jones^Alice"})
    name = {"prefix": "Dr.", "givenName": "Alice", "familyName": "Jones"}
    found = json.dumps({"person": {"preferredName": name}}).encode()
    reading = Reading(Patients(**{ALICE: found}), kept)
    alice = of(ALICE, "Dr. Alice Jones")
    with reading.running():
        reading.want(alice)
        reading.until_idle()
    assert reading.shown(alice) == ["Jones^Alice^^Dr."]


def test_what_is_known_is_never_asked_again_but_a_renamed_patient_is() -> None:
    kept = Kept({(ALICE, "Alice Mary Jones"): "Mary Jones^Alice"})
    reading = Reading(Patients(**{ALICE: document("Alice", "", "Smith")}), kept)
    with reading.running():
        for _ in range(3):
            reading.want(of(ALICE), of(BOB), of(BOB))
        reading.want(of(ALICE, "Alice Smith"))
        reading.until_idle()
    assert sorted(reading.patients.asked[:2]) == sorted((BOB, ALICE))
    assert reading.shown(of(ALICE), of(ALICE, "Alice Smith")) == ["Mary Jones^Alice", "Smith^Alice"]


@pytest.mark.parametrize("uuid", ["", "x" * 65])
def test_what_is_no_identifier_isnt_asked_for(uuid: str) -> None:
    reading = Reading(Patients())
    with reading.running():
        reading.want(of(uuid))
        reading.until_idle()
    assert len(reading.patients.asked) == 1


def test_nobody_waits_and_every_new_name_is_another_book_page() -> None:
    reading = Reading(Patients(**{ALICE: document("Alice", "", "Mary Jones")}))
    before = reading.book.names()
    assert reading.shown(of(ALICE)) == ["Jones^Alice^Mary"]
    with reading.running():
        assert reading.book.names() is not before
        first = reading.book.names()
        assert reading.book.names() is first
        reading.want(of(ALICE))
        reading.until_idle()
    assert reading.book.names() is not first


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (OpenMRSError("unreachable", "connection failed"), "OpenMRS is away"),
        (None, "OpenMRS has no such patient"),
        (RuntimeError("odd"), "OpenMRS's answer is odd"),
    ],
)
def test_nothing_new_makes_no_new_names(found: Any, why: str) -> None:
    people = [f"patient-{at}" for at in range(5)]
    reading = Reading(Patients(**dict.fromkeys(people, found)))
    with reading.running():
        first = reading.book.names()
        reading.want(*map(of, people))
        for person in people:
            reading.until_asked_for(person)
        reading.until_idle()
    assert reading.book.names() is first, f"the list is built again for nothing: {why}"


def test_openmrs_has_as_long_for_others_as_a_look_up_took() -> None:
    clock = FrozenClock(0.0)
    people = [f"patient-{at}" for at in range(4)]

    class Slow(Patients):
        def get_patient(self, uuid: str) -> bytes | None:
            clock.now += 0.05
            return super().get_patient(uuid)

    reading = Reading(Slow(**dict.fromkeys(people, document("Alice", "", "Mary Jones"))))
    reading.book = NameBook(reading.patients, reading.kept, split_name, monotonic=clock)
    started = time.monotonic()
    with reading.running():
        reading.want(*map(of, people))
        reading.until_asked(4)
    assert time.monotonic() - started >= 3 * 0.05


def test_names_are_told_at_the_end_and_every_hundred() -> None:
    people = [f"patient-{at}" for at in range(250)]
    sizes: list[int] = []

    class Watched(Patients):
        def get_patient(self, uuid: str) -> bytes | None:
            sizes.append(len(reading.book.names().structured))
            return super().get_patient(uuid)

    reading = Reading(Watched(**dict.fromkeys(people, document("Alice", "", "Mary Jones"))))
    with reading.running():
        reading.want(*map(of, people))
        reading.until_asked(250)
        reading.until_idle()
    assert sorted(set(sizes[:250])) == [0, 100, 200]
    assert len(reading.book.names().structured) == 250


def test_while_openmrs_is_away_names_are_split_and_looked_up_later() -> None:
    away = OpenMRSError("unreachable", "connection failed")
    reading = Reading(Patients(**{ALICE: away}))
    with reading.running():
        reading.want(of(ALICE))
        reading.until_asked(2)
        assert reading.shown(of(ALICE)) == ["Jones^Alice^Mary"]
        reading.patients.documents[ALICE] = document("Alice", "", "Mary Jones")
        reading.until_asked_again()
        reading.until_idle()
    assert reading.shown(of(ALICE)) == ["Mary Jones^Alice"]


def test_a_patient_whom_openmrs_cant_tell_doesnt_hold_up_the_others() -> None:
    broken = OpenMRSError("server-error", "HTTP 500")
    reading = Reading(Patients(**{ALICE: broken, BOB: document("Bob", "", "de la Cruz")}))
    bob = of(BOB, "Bob de la Cruz")
    with reading.running():
        reading.want(of(ALICE))
        reading.until_asked(1)
        reading.want(bob)
        reading.until_asked_for(BOB)
        reading.until_asked_again()
        reading.until_asked_again()
    assert reading.patients.asked.count(BOB) == 1
    assert reading.shown(bob) == ["de la Cruz^Bob"]


def test_a_broken_database_costs_the_keeping_only(caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept(problem="the database fails: disk full")
    reading = Reading(Patients(**{ALICE: document("Alice", "", "Mary Jones")}), kept)
    with reading.running():
        reading.want(of(ALICE))
        reading.until_asked(2)
        assert reading.shown(of(ALICE)) == ["Mary Jones^Alice"]
        kept.problem = ""
        reading.until_asked(3)
        reading.until_idle()
    assert kept.names == {(ALICE, "Alice Mary Jones"): "Mary Jones^Alice"}
    assert "Jones" not in caplog.text
    assert "Dyk" not in caplog.text


def test_a_stop_doesnt_wait_for_the_pause() -> None:
    away = OpenMRSError("unreachable", "connection failed")
    reading = Reading(Patients(**{ALICE: away}), pause=3600)
    with reading.running():
        reading.want(of(ALICE))
        reading.until_asked(1)


def test_a_stop_without_a_start_is_no_harm() -> None:
    reading = Reading(Patients())
    reading.book.tell_to_stop()
    reading.book.join(time.monotonic() + 1)


def test_that_names_cant_be_looked_up_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    refused = OpenMRSError("forbidden", "OpenMRS refuses this account")
    reading = Reading(Patients(**{ALICE: [refused, refused, refused, document("A", "", "B")]}))
    with caplog.at_level("WARNING"), reading.running():
        reading.want(of(ALICE))
        reading.until_asked(4)
        reading.until_idle()
    (line,) = [record.getMessage() for record in caplog.records]
    assert "names can't be looked up" in line
    assert "refuses this account" in line
