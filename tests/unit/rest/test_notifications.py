"""Notifications, and what a person decides of them."""

import base64
import json

import pytest

from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import RequestAttributes
from orthanc_openmrs.rest.messages import moment
from orthanc_openmrs.rest.router import LARGEST_BODY
from tests.unit.builders import series, study
from tests.unit.rest.application import DELIVERED, FAILED, HELD, NOON, PENDING, REPORT, Application


def test_a_notification_is_shown_with_its_times_and_decisions(app: Application) -> None:
    app.tells(PENDING, DELIVERED, FAILED)
    token = base64.b64encode("zoë:secret".encode()).decode()
    app.send("POST", "/notifications/3/retry", authorization=f"Basic {token}")
    pending, delivered, retried = app.get("/notifications")
    assert pending == {
        "ID": 1,
        "State": "pending",
        "Kind": "completed",
        "Study": "t1",
        "StudyInstanceUID": "1.1",
        "RequestedProcedureID": "7",
        "ScheduledProcedureStepID": "1",
        "Evidence": "",
        "Reason": "",
        "Attempts": 0,
        "NextAttempt": moment(NOON),
        "LastError": "",
        "Created": moment(NOON),
        "Changed": moment(NOON),
        "Delivered": None,
    }
    assert (delivered["Delivered"], delivered["NextAttempt"]) == (moment(NOON), None)
    assert (retried["State"], retried["LastError"]) == ("pending", "HTTP 409: another patient")
    decided = app.get("/notifications/3")["Decisions"]
    assert decided == [{"At": moment(NOON), "User": "zoë", "Action": "retry"}]
    assert app.get("/notifications/1")["Decisions"] == []


def test_a_held_notification_comes_with_its_study_and_the_steps_that_it_may_complete(
    app: Application,
) -> None:
    app.tells(HELD, PENDING, HELD)
    images = series("CT", request_attributes=(RequestAttributes("1"), RequestAttributes("99")))
    app.studies["t1"] = study(images, series("SR"), study="t1", patient_id="HOSPITAL-7")
    comparison = app.get("/notifications/1")["Comparison"]
    assert comparison["Study"]["PatientID"] == "HOSPITAL-7"
    assert comparison["Study"]["ModalitiesInStudy"] == ["CT", "SR"]
    assert comparison["Study"]["ScheduledProcedureStepIDs"] == ["1", "99"]
    assert comparison["Steps"][0] == {
        "ScheduledProcedureStepID": "1",
        "Evidence": ["RequestAttributesSequence"],
    }
    assert app.get("/notifications/2")["Comparison"] is None
    assert app.get("/notifications/3")["Comparison"] is None  # its study is gone


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({}, [1, 2, 3, 4]),
        ({"state": "held"}, [2]),
        ({"state": "discarded"}, []),
        ({"limit": "2"}, [1, 2]),
        ({"limit": "2", "since": "2"}, [2, 3]),
        ({"since": "5"}, []),
        ({"kind": "completed", "state": "failed"}, [3]),
        ({"kind": "in progress"}, []),
        ({"newest": "true"}, [4, 3, 2, 1]),
        ({"newest": "true", "limit": "2", "since": "3"}, [3, 2]),
        ({"newest": "false", "since": "3"}, [3, 4]),
    ],
)
def test_notifications_are_listed(app: Application, query: dict[str, str], ids: list[int]) -> None:
    app.tells(PENDING, HELD, FAILED, DELIVERED)
    assert [one["ID"] for one in app.get("/notifications", **query)] == ids


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "/notifications/1/retry", b"", 200, "pending"),
        ("POST", "/notifications/2/retry", b"", 409, "nothing to retry"),
        ("POST", "/notifications/3/retry", b"", 404, "no notification 3"),
        ("POST", "/notifications/x/retry", b"", 404, "no such notification"),
        ("POST", "/notifications/-1/retry", b"", 404, "no such notification"),
        ("POST", "/notifications/٣/retry", b"", 404, "no such notification"),
        ("POST", f"/notifications/{'9' * 5000}/retry", b"", 404, "no such notification"),
        ("DELETE", "/notifications/1", b"", 200, "discarded"),
        ("DELETE", "/notifications/2", b"", 409, "delivered already"),
        ("DELETE", "/notifications/3", b"", 404, "no notification 3"),
        ("POST", "/studies/s/report", REPORT, 200, "person"),
        ("POST", "/studies/1.2.3/report", REPORT, 200, "person"),
        ("POST", "/studies/s/report", REPORT.replace(b"1", b"99"), 404, "no step 99"),
        ("POST", "/studies/s/report", REPORT.replace(b"1", b"4"), 409, "completed"),
        ("POST", "/studies/nobody/report", REPORT, 404, "no study nobody"),
        ("POST", "/studies/gone/report", REPORT, 404, "no study gone"),
        ("POST", "/studies/s/report", b"", 400, "no JSON"),
        ("POST", "/studies/s/report", b"[" * 50_000, 400, "nested"),
        ("POST", "/studies/s/report", b"\xff", 400, "no JSON"),
        ("POST", "/studies/s/report", b"[]", 400, "object"),
        ("POST", "/studies/s/report", b"{}", 400, "ScheduledProcedureStepID"),
        ("POST", "/studies/s/report", b"[" * 65, 400, "nested"),
        ("POST", "/studies/s/report", b'{"a":' * 65, 400, "nested"),
        ("POST", "/studies/s/report", b'{"ScheduledProcedureStepID": "\\ud800"}', 400, "no JSON"),
        ("POST", "/studies/s/report", b'{"ScheduledProcedureStepID": 1}', 400, "must be"),
        ("POST", "/studies/s/report", b'{"ScheduledProcedureStepID": ""}', 400, "must be"),
        ("POST", "/studies/s/report", REPORT[:-1] + b', "Force": true}', 400, "must be"),
        ("POST", "/studies/s/report", b" " * LARGEST_BODY + REPORT, 413, "longer"),
    ],
)
def test_what_a_person_decides_is_done_or_refused(
    app: Application, method: str, path: str, body: bytes, status: int, words: str
) -> None:
    app.tells(FAILED, DELIVERED)
    response = app.send(method, path, body)
    assert response.status == status, response.body
    assert words in response.body.decode()
    if status != 200:
        assert json.loads(response.body)["HttpStatus"] == status
        assert [n.state for n in app.database.list_notifications()] == [FAILED, DELIVERED]


@pytest.mark.parametrize(
    ("query", "status"),
    [({"state": "lost"}, 400), ({"kind": "x"}, 400), ({"limit": "0"}, 400), ({"x": "1"}, 400)],
)
def test_a_list_of_notifications_refuses_what_it_doesnt_know(
    app: Application, query: dict[str, str], status: int
) -> None:
    assert app.ask("/notifications", **query).status == status


def test_a_report_that_needs_openmrs_says_to_come_back(app: Application) -> None:
    app.away = OpenMRSError("unreachable", "connection failed")
    response = app.send("POST", "/studies/s/report", REPORT.replace(b"1", b"99"))
    assert response.status == 503
    assert response.headers["Retry-After"]
