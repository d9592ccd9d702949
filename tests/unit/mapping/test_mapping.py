"""Whose a study is: what persons may decide, what outlives what."""

import json
from typing import Any

import pytest

from orthanc_openmrs.mapping import mapping as module
from orthanc_openmrs.mapping.synchroniser import Synchroniser
from orthanc_openmrs.model import Kind, LinkedStep, NewNotification, NotificationState, StepIdentity
from orthanc_openmrs.rest.router import LARGEST_BODY
from orthanc_openmrs.store.database import Database
from tests.unit.builders import ALICE, BOB, FrozenClock
from tests.unit.mapping.clinic import (
    DELIVERED,
    DISCARDED,
    FAILED,
    HELD,
    NUMBER,
    ONE,
    PENDING,
    TWO,
    ZERO,
    Clinic,
    orthanc_id,
)


def told(state: NotificationState, kind: Kind = Kind.COMPLETED, **changes: Any) -> NewNotification:
    """What is told of step 14 of Alice."""
    fields: dict[str, Any] = {
        "study": "s",
        "study_instance_uid": "1.2",
        "state": state,
        "kind": kind,
        "step": StepIdentity("7", "14", ALICE),
    }
    return NewNotification(**(fields | changes))


COMPLETED, IN_PROGRESS, _ = Kind


@pytest.mark.parametrize(
    ("found", "steps"),
    [
        ([told(PENDING)], ["14"]),
        ([told(DELIVERED)], ["14"]),
        ([told(FAILED)], ["14"]),
        ([told(DISCARDED)], []),
        ([told(HELD, step=StepIdentity())], []),
        ([told(PENDING, IN_PROGRESS)], ["14"]),
        ([told(DISCARDED, IN_PROGRESS)], []),
        ([told(DELIVERED, IN_PROGRESS), told(DISCARDED)], []),
        ([told(DISCARDED, IN_PROGRESS), told(DELIVERED)], ["14"]),
        ([told(DELIVERED, IN_PROGRESS), told(PENDING)], ["14"]),
        ([told(PENDING), told(PENDING, step=StepIdentity("7", "15", ALICE))], ["14", "15"]),
    ],
)
def test_a_notification_links_unless_it_was_discarded(
    found: list[NewNotification], steps: list[str]
) -> None:
    database = Database("sqlite://")
    database.note_study("s")
    (due,) = database.due_studies()
    database.decide_study(due, "linked", "", found)
    assert database.linked(["s", "t"]) == [LinkedStep("s", ALICE, step) for step in steps]
    assert database.owned() == database.owned(["s", "t"]) == dict.fromkeys("s" * bool(steps), True)
    assert database.studies_of(ALICE.upper(), 10) == (["s"] if found[0].step.patient_id else [])


def test_of_two_persons_who_decide_at_once_one_is_told() -> None:
    database = Database("sqlite://", clock=FrozenClock(1000.0))
    assert database.assign("s", ALICE, "alice", None)
    assert not database.assign("s", BOB, "bob", None)
    assert not database.assign("s", BOB, "bob", "")
    assert database.assign("s", BOB, "bob", ALICE)
    assert database.assigned(["s", "t"]) == {"s": BOB}
    database.forget_assignment("s", before=1000.0)  # somebody decided since
    assert database.assigned_after("", 10) == ["s"]
    database.forget_assignment("s", before=1000.5)
    assert database.assigned_after("", 10) == []


def test_a_study_is_described_without_opening_an_instance(clinic: Clinic) -> None:
    (found,) = clinic.get(f"/patients/{ALICE}/studies")
    assert found == {
        "ID": ONE,
        "StudyInstanceUID": "1.1",
        "PatientID": ALICE.upper(),
        "PatientName": "Doe^Jane",
        "PatientBirthDate": "",
        "PatientSex": "",
        "AccessionNumber": "",
        "StudyDate": "20250702",
        "StudyTime": "",
        "StudyDescription": "Head",
        "ModalitiesInStudy": ["CT", "MR"],
        "Series": 2,
        "Instances": 4,
        "Patient": ALICE.upper(),
        "Source": "patient-id",
        "Steps": [],
        "Viewers": {
            "Explorer": f"/app/explorer.html#study?uuid={ONE}",
            "DICOMweb": "/dicom-web/",
        },
    }
    assert clinic.get("/studies/1.1") == found | {"Notifications": [], "Decisions": []}


DECIDED: list[tuple[str, str, str, bytes, int, tuple[str | None, str | None], str]] = [
    # what, method, path, body, status, whose study 0, 1 or 2 (by the path) is then, metadata
    ("assigned", "PUT", f"{ALICE}/studies/{ZERO}", b"", 200, (ALICE, "assigned"), ALICE),
    ("by its UID", "PUT", f"{ALICE}/studies/1.0", b"{}", 200, (ALICE, "assigned"), ALICE),
    ("confirmed", "PUT", f"{ALICE}/studies/{ONE}", b"", 200, (ALICE, "assigned"), ALICE),
    ("another's", "PUT", f"{ALICE}/studies/{TWO}", b"", 409, (BOB, "patient-id"), ""),
    (
        "not forced",
        "PUT",
        f"{ALICE}/studies/{TWO}",
        b'{"Force": false}',
        409,
        (BOB, "patient-id"),
        "",
    ),
    (
        "moved",
        "PUT",
        f"{ALICE}/studies/{TWO}",
        b'{"Force": true}',
        200,
        (ALICE, "assigned"),
        ALICE,
    ),
    ("taken away", "DELETE", f"{BOB}/studies/{TWO}", b"", 200, (None, None), ""),
    ("not theirs", "DELETE", f"{ALICE}/studies/{TWO}", b"", 404, (BOB, "patient-id"), ""),
    ("nobody's", "DELETE", f"{ALICE}/studies/{ZERO}", b"", 404, (None, None), ""),
]


@pytest.mark.parametrize(("what", "method", "path", "body", "status", "owner", "text"), DECIDED)
def test_what_a_person_decides(
    clinic: Clinic,
    what: str,
    method: str,
    path: str,
    body: bytes,
    status: int,
    owner: tuple[str | None, str | None],
    text: str,
) -> None:
    number = 0 if path.endswith("1.0") else int(path.rpartition("/")[2][:8], 16)
    response = clinic.ask(method, f"/patients/{path}", body)
    assert response.status == status, response.body
    assert clinic.owner(number) == owner
    assert clinic.metadata(number) == text
    if status == 200:
        assert json.loads(response.body)["Patient"] == owner[0]
        assert clinic.database.assigned([orthanc_id(number)]) == {
            orthanc_id(number): owner[0] or ""
        }
    assert clinic.later == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("PUT", f"/patients/{ALICE}/studies/{orthanc_id(9)}", b"", 404, "no study"),
        ("PUT", f"/patients/{ALICE}/studies/9.9", b"", 404, "no study"),
        ("PUT", f"/patients/{ALICE}/studies/*", b"", 404, "no study"),
        ("PUT", f"/patients/{ALICE}/studies/1.0\\1.1", b"", 404, "no study"),
        ("PUT", f"/patients/{ALICE}/studies/{'1' * 65}", b"", 404, "no study"),
        ("PUT", f"/patients/7/studies/{ZERO}", b"", 400, "uuid"),
        ("PUT", f"/patients/{ALICE}/studies/{ZERO}", b"[]", 400, "object"),
        ("PUT", f"/patients/{ALICE}/studies/{ZERO}", b"{", 400, "JSON"),
        ("PUT", f"/patients/{ALICE}/studies/{ZERO}", b'{"Force": 1}', 400, "Force"),
        ("PUT", f"/patients/{ALICE}/studies/{ZERO}", b'{"force": true}', 400, "Force"),
        ("PUT", f"/patients/{ALICE}/studies/{ZERO}", b" " * LARGEST_BODY + b"{}", 413, "longer"),
        ("POST", f"/patients/{ALICE}/studies/{ZERO}", b"", 405, ""),
        ("GET", "/patients/*/studies", b"", 400, "uuid"),
        ("GET", f"/patients/{ALICE}/studies?limit=0", b"", 400, "limit"),
        ("GET", f"/patients/{ALICE}/studies?assigned=true", b"", 400, "unknown"),
        ("GET", "/studies?assigned=yes", b"", 400, "assigned"),
        ("GET", "/studies?limit=1001", b"", 400, "limit"),
        ("GET", f"/studies/{ZERO}?limit=1", b"", 400, "unknown"),
        ("GET", "/studies/9.9", b"", 404, "no study"),
    ],
)
def test_a_bad_request_is_refused(
    clinic: Clinic, method: str, path: str, body: bytes, status: int, words: str
) -> None:
    path, _, text = path.partition("?")
    query = dict([text.split("=")]) if text else {}
    response = clinic.ask(method, path, body, query)
    assert (response.status, words in response.body.decode()) == (status, True), response.body
    assert clinic.database.assigned_after("", 10) == []


def test_a_uid_of_several_studies_names_none(clinic: Clinic) -> None:
    tags = clinic.orthanc.routes[f"/studies/{ZERO}"]["MainDicomTags"]
    tags["StudyInstanceUID"] = "1.1"
    response = clinic.ask("PUT", f"/patients/{ALICE}/studies/1.1")
    assert response.status == 409
    assert f"{ZERO}, {ONE}" in json.loads(response.body)["Message"]


def test_the_lists_show_each_study_once_in_both_directions(clinic: Clinic) -> None:
    assert clinic.numbers("/studies") == [0, 1, 2, 3]
    assert clinic.numbers("/studies", since="1", limit="2") == [1, 2]
    for _ in range(2):  # and the same from what is remembered
        assert clinic.numbers("/studies", assigned="true") == [1, 2]
        assert clinic.numbers("/studies", assigned="false") == [0, 3]
        assert clinic.numbers("/studies", assigned="false", since="1") == [3]
        assert clinic.numbers("/studies", assigned="false", limit="1") == [0]
    clinic.ask("PUT", f"/patients/{ALICE}/studies/{orthanc_id(3)}")
    clinic.ask("DELETE", f"/patients/{BOB}/studies/{TWO}")
    assert clinic.numbers("/studies", assigned="true") == [1, 3]
    assert clinic.numbers("/studies", assigned="false") == [0, 2]
    assert clinic.numbers(f"/patients/{ALICE}/studies") == [3, 1]
    assert clinic.numbers(f"/patients/{ALICE}/studies", since="1", limit="1") == [1]
    assert clinic.numbers(f"/patients/{BOB.upper()}/studies") == []


def test_who_decided_is_kept(clinic: Clinic) -> None:
    clinic.ask("PUT", f"/patients/{ALICE}/studies/{ZERO}")
    clinic.ask("PUT", f"/patients/{ALICE}/studies/{ZERO}")  # says nothing new
    clinic.ask("DELETE", f"/patients/{ALICE}/studies/{ZERO}")
    with clinic.database._transaction() as connection:
        rows = connection.exec_driver_sql('SELECT "user", action, study FROM decisions').fetchall()
    assert [tuple(row) for row in rows] == [("alice", "assign", ZERO), ("alice", "unassign", ZERO)]


def test_a_decision_stands_where_the_metadata_cannot_be_written(clinic: Clinic) -> None:
    clinic.orthanc.routes[f"/studies/{ZERO}/metadata/{NUMBER}"] = RuntimeError("disk full")
    assert clinic.ask("PUT", f"/patients/{ALICE}/studies/{ZERO}").status == 200
    assert clinic.owner(0) == (ALICE, "assigned")
    assert clinic.later == [ZERO]


def test_metadata_that_are_something_elses_are_left_alone(clinic: Clinic) -> None:
    clinic.orthanc.routes[f"/studies/{ZERO}/metadata/{NUMBER}"] = b"a colleague's remark"
    assert clinic.ask("PUT", f"/patients/{ALICE}/studies/{ZERO}").status == 200
    assert clinic.ask("DELETE", f"/patients/{ALICE}/studies/{ZERO}").status == 200
    assert clinic.metadata(0) == "a colleague's remark"
    assert clinic.later == []


def test_what_was_said_goes_with_the_study_and_stays_with_one_that_came_back(
    clinic: Clinic,
) -> None:
    for number in (0, 3):
        clinic.ask("PUT", f"/patients/{ALICE}/studies/{orthanc_id(number)}")
    clinic.clock.now += 1
    clinic.goes(0)
    del clinic.orthanc.routes[f"/studies/{orthanc_id(3)}/metadata/{NUMBER}"]
    synchroniser = Synchroniser(clinic.mapping)
    for number in (0, 3):  # Orthanc says of both that they are deleted; one was replaced
        synchroniser.enqueue(orthanc_id(number))
    assert synchroniser.work()
    assert clinic.database.assigned_after("", 10) == [orthanc_id(3)]
    assert clinic.metadata(3) == ALICE
    clinic.orthanc.has(ZERO, 0, "H-0")
    assert clinic.owner(0) == (None, None)


@pytest.mark.parametrize("left", [True, False])
def test_what_went_while_nobody_listened_is_forgotten_at_the_start(
    clinic: Clinic, left: bool
) -> None:
    for number in (0, 3):
        clinic.ask("PUT", f"/patients/{ALICE}/studies/{orthanc_id(number)}")
    clinic.clock.now += 1
    for number in (0,) if left else (0, 1, 2, 3):
        clinic.goes(number)
    assert Synchroniser(clinic.mapping).work()
    # An Orthanc without any study is another one than was: nothing is forgotten for it.
    kept = [orthanc_id(3)] if left else [ZERO, orthanc_id(3)]
    assert clinic.database.assigned_after("", 10) == kept


def test_what_is_remembered_is_bounded(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    assert clinic.numbers("/studies", assigned="false") == [0, 3]
    assert len(clinic.mapping._implies) <= 2
