"""The REST routes as plain functions: what is answered, and what is refused."""

import base64
import json
import re
from datetime import datetime
from io import BytesIO
from typing import Any
from urllib.parse import parse_qsl

import pydicom
import pytest

from orthanc_openmrs import __version__
from orthanc_openmrs.completion.backlog import Backlog, Known
from orthanc_openmrs.completion.decisions import Decisions
from orthanc_openmrs.completion.lists import OrderIndex
from orthanc_openmrs.doctor.findings import Finding, ok, warning
from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.events import Events, StepNews
from orthanc_openmrs.host.studies import OrthancStudies
from orthanc_openmrs.mapping.finder import Finder
from orthanc_openmrs.mapping.mapping import PatientMapping
from orthanc_openmrs.mapping.patients import Patients
from orthanc_openmrs.mapping.viewers import ViewerSettings
from orthanc_openmrs.model import (
    Images,
    NewNotification,
    NotificationState,
    Rejected,
    RequestAttributes,
    RequestList,
    SeriesArrival,
    StepIdentity,
    StepStatus,
)
from orthanc_openmrs.mpps.datasets import EXPLICIT
from orthanc_openmrs.mpps.provider import Provider
from orthanc_openmrs.rest.dicomweb import DicomWebRoutes
from orthanc_openmrs.rest.events import EventRoutes
from orthanc_openmrs.rest.messages import (
    HttpError,
    Request,
    Response,
    answer,
    moment,
    user_of,
)
from orthanc_openmrs.rest.notifications import NotificationRoutes
from orthanc_openmrs.rest.openapi import with_document
from orthanc_openmrs.rest.page import PageRoutes
from orthanc_openmrs.rest.procedures import ProcedureRoutes
from orthanc_openmrs.rest.router import LARGEST_BODY, Route, Router
from orthanc_openmrs.rest.schemas import LARGEST_PAGE
from orthanc_openmrs.rest.status import StatusRoutes
from orthanc_openmrs.rest.studies import StudyRoutes
from orthanc_openmrs.rest.worklist import WorklistRoutes
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.ui import read_files
from orthanc_openmrs.worklist.attributes import KNOWN
from orthanc_openmrs.worklist.matching import Station
from orthanc_openmrs.worklist.refresh import SourceStatus
from orthanc_openmrs.worklist.service import StationRules, Worklist
from orthanc_openmrs.worklist.snapshot import Snapshot
from orthanc_openmrs.worklist.uids import GivenUids
from tests.unit.builders import ALICE, BOB, TODAY, FrozenClock, request, series, step, study
from tests.unit.doubles import Archive
from tests.unit.mpps.datasets import SERIES, encoded, end, start

PENDING, DELIVERED, HELD, FAILED, DISCARDED = NotificationState
START_DATE = "ScheduledProcedureStepStartDate"
NOON = datetime(2025, 7, 3, 12, 0).timestamp()
LISTED = RequestList(
    (
        request("7", step("1"), step("2", modality="MR", scheduled_station_ae_title="MR1")),
        request("8", step("3", scheduled_station_ae_title=""), patient_id=BOB),
        request("9", step("4", status=StepStatus.COMPLETED), step("5", start_date="20250704")),
        request("10", step("1" * 17, start_date="20250705")),
    ),
    (Rejected(4, "is null, not an object"),),
    "v3",
)
SLOW = warning("list", "OpenMRS gives it slowly", "raise OpenMRS.Timeout")


class Application:
    """The routes over a list, an OpenMRS and a database that do as they are told."""

    def __init__(self, found: RequestList | None = LISTED) -> None:
        self.clock = FrozenClock(NOON)
        self.source = SourceStatus(last_success=NOON, answering_since=NOON - 60)
        self.counted, self.problem = True, ""
        self.away: OpenMRSError | None = None
        name = {"familyName": "Doe", "givenName": "Jane"}
        self.patients = {BOB: json.dumps({"person": {"preferredName": name}}).encode()}
        self.findings: list[Finding] | None = [ok("Orthanc", "answers"), SLOW]
        self.worklist = Worklist(
            StationRules({"CT1": Station()}, own_steps_only=True),
            max_staleness=100,
            clock=self.clock,
        )
        if found is not None:
            self.worklist.replace(Snapshot.build(found, read_at=NOON, day=TODAY))
        self.studies = {"s": study(study="s", study_instance_uid="1.2.3")}
        self.database = Database("sqlite://", clock=self.clock)
        decisions = Decisions(
            records=self.database,
            read_study=self.studies.get,
            snapshot=lambda: self.worklist.snapshot,
            lists=self,
            orders=OrderIndex(GivenUids),
            list_timeout=1,
            keep_delivered=100,
            on_decision=lambda study: None,
            clock=self.clock,
        )
        self.orthanc = Archive({"/plugins": ["dicom-web"]})
        self.orthanc.has("27f7126f-4f66fb14-03f4081b-f9341db2-53925988", 1, ALICE)
        self.orthanc.has("e0000000-00000000-00000000-00000000-00000000", 2, "SCAN-2")
        studies = OrthancStudies(self.orthanc)
        self.events = Events((StepNews(lambda: self.worklist.snapshot),), clock=self.clock)
        nouns = (
            StatusRoutes(
                worklist=self.worklist,
                source_status=lambda: self.source,
                next_read=lambda: NOON + 10,
                generation=lambda: "v3",
                backlog=self.backlog,
                examine=lambda: self.findings,
            ),
            WorklistRoutes(worklist=self.worklist, read_now=lambda: self.read_now(1)),
            ProcedureRoutes(self.database),
            DicomWebRoutes(
                worklist=self.worklist, provider=Provider(self.database, on_news=lambda: None)
            ),
            NotificationRoutes(
                decisions=decisions,
                finder=Finder(studies, self.database, clock=self.clock),
                look_up_study={"s": "s", "1.2.3": "s", "gone": "gone"}.get,
            ),
            StudyRoutes(
                finder=Finder(studies, self.database, clock=self.clock),
                mapping=PatientMapping(
                    studies=studies,
                    records=self.database,
                    metadata=0,
                    later=lambda study: None,
                    clock=self.clock,
                ),
                patients=Patients(
                    get_patient=self.get_patient,
                    find_patients=self.find_patients,
                    snapshot=lambda: self.worklist.snapshot,
                    source_status=lambda: self.source,
                    timeout=1,
                ),
                notifications=lambda study: self.database.list_notifications(study=study),
                assignments=self.database.assignments_of,
                plugins=studies.plugins,
                viewers=ViewerSettings(),
            ),
            EventRoutes(self.events),
            PageRoutes(read_files()),
        )
        self.router = Router(with_document(row for noun in nouns for row in noun.table()))

    def reports_an_exam(self) -> None:
        """A scanner completes a step, and some of its images are here."""
        provider = Provider(self.database, on_news=lambda: None)
        begun = start()
        del begun.StudyID
        provider.create("1.2.3", encoded(begun), EXPLICIT, "CT1")
        provider.update("1.2.3", encoded(end()), EXPLICIT)
        record = self.database.find_procedure("1.2.3")
        assert record is not None
        arrivals = [SeriesArrival(SERIES, 2, 1)]
        self.database.note_procedure(
            record, seconds=1, images=Images.AWAITED, arrivals=arrivals, study="s"
        )

    def read_now(self, timeout: float) -> Snapshot:
        """A fresh list, or why there is none."""
        if self.away:
            raise self.away
        return Snapshot.build(LISTED, read_at=self.clock.now, day=TODAY)

    def read_after(self, moment: float, timeout: float) -> Snapshot:
        """As read_now, where no list is needed that is newer."""
        return self.read_now(timeout)

    def get_patient(self, uuid: str) -> bytes | None:
        """OpenMRS's answer, or why there is none."""
        if self.away:
            raise self.away
        return self.patients.get(uuid)

    def find_patients(self, words: str, limit: int) -> bytes:
        """OpenMRS's answer, or why there is none: every patient is like the words."""
        if self.away:
            raise self.away
        found = [{"uuid": uuid, **json.loads(body)} for uuid, body in self.patients.items()]
        return json.dumps({"results": found[:limit]}).encode()

    def backlog(self) -> Known:
        """Two of each state, where they were counted."""
        counts = dict.fromkeys(NotificationState, 2)
        return Known(Backlog(counts, None) if self.counted else None, self.problem)

    def ask(self, path: str, method: str = "GET", **query: str) -> Response:
        """The answer to a request."""
        return self.router.respond(Request(method, f"/openmrs{path}", query))

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> Response:
        """The answer to a request that changes something."""
        named = {key.replace("_", "-"): text for key, text in headers.items()}
        return self.router.respond(Request(method, f"/openmrs{path}", {}, named, body))

    def tells(self, *states: NotificationState) -> None:
        """Notifications 1, 2, … of studies t1, t2, … in these states."""
        for at, state in enumerate(states, 1):
            self.database.note_study(f"t{at}")
            (due,) = self.database.due_studies()
            row = NewNotification(
                f"t{at}",
                f"1.{at}",
                HELD if state is HELD else PENDING,
                step=StepIdentity("7", str(at)),
                update="{}",
            )
            self.database.decide_study(due, "linked", "", [row])
            made = self.database.list_notifications()[-1]
            if state is FAILED:
                self.database.failed(made, "HTTP 409: another patient")
            elif state is DELIVERED:
                self.database.delivered(made)

    def get(self, path: str, **query: str) -> Any:
        """The document of an answer that must be there."""
        response = self.ask(path, **query)
        assert response.status == 200, response.body
        assert response.content_type == "application/json"
        return json.loads(response.body)


@pytest.fixture
def app() -> Application:
    """The routes over the list."""
    return Application()


# --- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "query", "status", "words"),
    [
        ("GET", "/nothing", {}, 404, "no such route"),
        ("GET", "", {}, 404, "no such route"),
        ("GET", "/worklist/99", {}, 404, "no such step"),
        ("GET", "/worklist/99/file", {}, 404, "no such step"),
        ("GET", "/worklist/1/2/3", {}, 404, "no such route"),
        ("GET", f"/worklist/{'1' * 17}/file", {}, 409, "DICOM"),
        ("GET", "/worklist", {"limit": "0"}, 400, "limit"),
        ("GET", "/worklist", {"limit": "-1"}, 400, "limit"),
        ("GET", "/worklist", {"limit": "x"}, 400, "limit"),
        ("GET", "/worklist", {"limit": ""}, 400, "limit"),
        ("GET", "/worklist", {"limit": "1.5"}, 400, "limit"),
        ("GET", "/worklist", {"limit": "٣"}, 400, "limit"),
        ("GET", "/worklist", {"limit": str(LARGEST_PAGE + 1)}, 400, "limit"),
        ("GET", "/worklist", {"limit": "9" * 5000}, 400, "limit"),
        ("GET", "/worklist", {"since": "-1"}, 400, "since"),
        ("GET", "/worklist", {"since": "0" * 12 + "9" * 5000}, 400, "since"),
        ("GET", "/worklist", {"modality": "CT"}, 400, "Modality"),
        ("GET", "/worklist", {"PatientName": "x"}, 400, "unknown"),
        ("GET", "/worklist/1", {"Modality": "CT"}, 400, "aet"),
        ("GET", "/worklist/1", {"aet": "CT1", "Modalty": "CT"}, 400, "keyword"),
    ],
)
def test_a_bad_request_is_refused_in_orthancs_manner(
    app: Application, method: str, path: str, query: dict[str, str], status: int, words: str
) -> None:
    response = app.ask(path, method, **query)
    assert response.status == status
    document = json.loads(response.body)
    assert set(document) == {
        "HttpError",
        "HttpStatus",
        "Code",
        "Message",
        "Details",
        "Method",
        "Uri",
    }
    assert (document["HttpStatus"], document["Method"]) == (status, method)
    assert document["Uri"] == f"/openmrs{path}"
    assert words in document["Message"] + document["Details"]


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/worklist", "GET"),
        ("DELETE", "/worklist/1", "GET"),
        ("PUT", "/status", "GET"),
        ("POST", "/worklist/1/file", "GET"),
        ("PUT", "/worklist/refresh", "POST"),
    ],
)
def test_another_method_is_405_with_the_methods_that_are_allowed(
    app: Application, method: str, path: str, allow: str
) -> None:
    response = app.ask(path, method)
    assert response.status == 405
    assert allow in response.allow.replace(" ", "").split(",")
    assert method not in response.allow


def test_a_route_is_found_by_method_and_whole_path() -> None:
    def handler(request: Request, name: str = "") -> Response:
        if name == "bad":
            raise HttpError(409, "no", "details", Retry_After="5")
        return answer({"name": name})

    router = Router(
        [
            Route("GET", "/a.b/{name}", handler, "", ""),
            Route("PUT", "/a.b/{name}", handler, "", ""),
            Route("GET", "/a.b", handler, "", ""),
        ]
    )
    for method, path, status in (
        ("GET", "/a.b/x", 200),
        ("PUT", "/a.b/x", 200),
        ("GET", "/a.b/x/", 200),
        ("GET", "/a.b", 200),
        ("GET", "/a.b/bad", 409),
        ("DELETE", "/a.b/x", 405),
        ("PUT", "/a.b", 405),
        ("GET", "/aXb/x", 404),
        ("GET", "/a.b/x/y", 404),
        ("GET", "/a.b/x\n/y", 404),
        ("GET", "/", 404),
    ):
        assert router.respond(Request(method, path)).status == status, (method, path)
    assert router.respond(Request("DELETE", "/a.b/x")).allow == "GET,PUT"
    assert router.respond(Request("GET", "/a.b/bad")).headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    "path", ["/worklist", "/worklist/1", "/worklist/1/file", "/worklist?aet=CT1"]
)
def test_before_the_first_list_every_route_of_it_says_to_come_back(path: str) -> None:
    path, _, station = path.partition("?aet=")
    response = Application(None).ask(path, **({"aet": station} if station else {}))
    assert response.status == 503
    assert response.headers["Retry-After"]


def test_an_old_list_is_shown_but_not_as_what_a_station_gets(app: Application) -> None:
    app.clock.now += 101
    assert app.ask("/worklist", aet="CT1").status == 503
    assert len(app.get("/worklist")) == 6
    assert app.get("/status")["Worklist"]["Stale"] is True
    explained = app.get("/worklist/1", aet="CT1")["Explanation"]
    assert [rule["Passes"] for rule in explained] == [False, True, True]


# --- what is answered ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "steps"),
    [
        ({}, ["1", "2", "3", "4", "5", "1" * 17]),
        ({"limit": "2"}, ["1", "2"]),
        ({"limit": "2", "since": "1"}, ["2", "3"]),
        ({"since": "4"}, ["5", "1" * 17]),
        ({"since": "6"}, []),
        ({"since": "1000000000"}, []),
        ({"limit": "0002"}, ["1", "2"]),
        ({"Modality": "MR"}, ["2"]),
        ({"Modality": "mr"}, []),
        ({"PatientID": BOB}, ["3"]),
        ({"PatientID": ALICE, "limit": "1", "since": "1"}, ["2"]),
        ({"ScheduledStationAETitle": "MR1"}, ["2"]),
        ({"ScheduledStationAETitle": ""}, ["3"]),
        ({"ScheduledProcedureStepStartDate": "20250704"}, ["5"]),
        ({"aet": "CT1"}, ["1", "3", "5"]),
        ({"aet": "MR1"}, ["2", "3"]),
        ({"aet": "XX"}, ["3"]),
        ({"aet": "CT1", "PatientID": ALICE}, ["1", "5"]),
        ({"aet": "MR1", "own": "true"}, ["2", "3"]),
        ({"aet": "MR1", "own": "false"}, ["2", "3"]),
        ({"open": "true"}, ["1", "2", "3", "5", "1" * 17]),
        ({"open": "false"}, ["4"]),
        ({"search": BOB[:13]}, ["3"]),
        ({"search": "jones ALICE"}, ["1", "2", "3", "4", "5", "1" * 17]),
        ({"search": "jones nobody"}, []),
        ({"search": "1" * 17}, []),  # no valid id: it has none
    ],
)
def test_the_worklist_is_listed(app: Application, query: dict[str, str], steps: list[str]) -> None:
    ids = [found["ScheduledProcedureStepID"] or "1" * 17 for found in app.get("/worklist", **query)]
    assert ids == steps


def test_a_step_is_described_by_keywords_and_what_becomes_of_it(app: Application) -> None:
    one = app.get("/worklist/1")
    assert set(one) == {row.keyword for row in KNOWN} | {
        "Status",
        "Offered",
        "Reason",
        "Warnings",
        "Adjusted",
        "Source",
    }
    assert (one["PatientName"], one["Modality"]) == ("Jones^Alice^Mary", "CT")
    assert (one["Status"], one["Offered"], one["Reason"]) == ("scheduled", True, "")
    done = app.get("/worklist/4")
    assert (done["Status"], done["Offered"]) == ("completed", False)
    assert "completed" in done["Reason"]
    assert "every station" in " ".join(app.get("/worklist/3")["Warnings"])


@pytest.mark.parametrize(
    ("step", "query", "fails"),
    [
        ("1", {"aet": "CT1"}, set()),
        ("1", {"aet": "MR1"}, {"ScheduledStationAETitle"}),
        ("4", {"aet": "CT1"}, {"Step"}),
        ("1", {"aet": "CT1", "Modality": "MR"}, {"Modality"}),
        ("1", {"aet": "CT1", "PatientID": BOB, "Modality": "CT"}, {"PatientID"}),
        ("1", {"aet": "CT1", "ScheduledStationAETitle": "CT1"}, set()),
        ("1", {"aet": "CT1", "PregnancyStatus": "0"}, set()),
        ("1", {"aet": "CT1", START_DATE: "20250704-"}, {START_DATE}),
    ],
)
def test_why_a_station_gets_a_step_or_not_is_explained(
    app: Application, step: str, query: dict[str, str], fails: set[str]
) -> None:
    explained = app.get(f"/worklist/{step}", **query)["Explanation"]
    assert {rule["Rule"] for rule in explained if not rule["Passes"]} == fails
    assert all(bool(rule["Reason"]) is not rule["Passes"] for rule in explained)


def test_a_step_is_a_wl_file(app: Application) -> None:
    for number, title in (("1", "CT1"), ("3", "ANY")):
        response = app.ask(f"/worklist/{number}/file")
        assert (response.status, response.content_type) == (200, "application/dicom")
        assert f'filename="{number}.wl"' in response.headers["Content-Disposition"]
        inside = pydicom.dcmread(BytesIO(response.body)).ScheduledProcedureStepSequence[0]
        assert inside.ScheduledStationAETitle == title


STATES = ("Pending", "Delivered", "Held", "Failed", "Discarded")
COUNTS = {"Steps": 6, "Offered": 4, "Skipped": 2}


def test_the_status_tells_how_everything_is(app: Application) -> None:
    app.clock.now += 12.34
    document = app.get("/status")
    assert document == {
        "Version": __version__,
        "OpenMRS": {
            "Reachable": True,
            "Generation": "v3",
            "LastSuccess": moment(NOON),
            "LastError": None,
            "Problem": None,
            "Since": moment(NOON - 60),
            "NextRead": moment(NOON + 10),
        },
        "Worklist": COUNTS
        | {
            "AgeSeconds": 12.3,
            "Stale": False,
            "Revision": app.worklist.revision,
            "Stations": ["CT1"],
        },
        "Notifications": dict.fromkeys(STATES, 2),
    }


def test_the_status_is_told_when_nothing_works() -> None:
    app = Application(None)
    app.source = SourceStatus(last_error="HTTP 401", error_kind="credentials", failing_since=NOON)
    app.problem = "the database fails: disk I/O error"
    document = app.get("/status")
    assert document["Notifications"] == {**dict.fromkeys(STATES, 2), "Error": app.problem}
    app.counted = False
    document = app.get("/status")
    assert document["Notifications"] == {"Error": app.problem}
    assert document["OpenMRS"]["Reachable"] is False
    assert document["OpenMRS"]["LastSuccess"] is None
    assert "ImagingWorklistUsername" in document["OpenMRS"]["LastError"]
    assert document["OpenMRS"]["Problem"] == "credentials"
    assert document["OpenMRS"]["Since"] == moment(NOON)
    assert document["Worklist"] == {
        "Steps": 0,
        "Offered": 0,
        "Skipped": 0,
        "AgeSeconds": None,
        "Stale": True,
        "Revision": "",
        "Stations": ["CT1"],
    }
    app.problem = ""
    assert "not counted yet" in app.get("/status")["Notifications"]["Error"]


def test_the_list_is_read_when_somebody_asks(app: Application) -> None:
    response = app.ask("/worklist/refresh", "POST")
    assert (response.status, json.loads(response.body)) == (200, COUNTS)
    app.away = OpenMRSError("timeout", "no answer within 10 s")
    response = app.ask("/worklist/refresh", "POST")
    assert response.status == 503
    assert response.headers["Retry-After"]
    assert "in time" in json.loads(response.body)["Message"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, None), (1, "19700101T000001Z"), (1751544000.9, "20250703T120000Z")]
)
def test_a_moment_is_told_in_orthancs_form_and_utc(seconds: float, text: str | None) -> None:
    assert moment(seconds) == text


# --- notifications and a person's decisions ------------------------------------------------


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


REPORT = b'{"ScheduledProcedureStepID": "1"}'


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


@pytest.mark.parametrize("route", Application().router.routes, ids=lambda one: one.summary)
def test_every_route_refuses_an_argument_that_it_doesnt_have(route: Route) -> None:
    app = Application()
    names = {"step": "1", "id": "1", "study": "s", "uuid": ALICE, "file": "page.js", "uid": "1.2"}
    path = route.path.format(**names)
    response = app.router.respond(Request(route.method, path, {"Nonsense": "1"}, {}, REPORT))
    assert response.status == 400, response.body


@pytest.mark.parametrize(
    ("uuid", "query", "away", "status", "found"),
    [
        (BOB, {}, False, 200, 1),
        (BOB, {"limit": "1"}, False, 200, 1),
        (ALICE, {}, False, 200, 0),  # OpenMRS doesn't know her, the worklist does
        (ALICE, {}, True, 200, 0),
        (ALICE[::-1], {}, False, 404, 0),
        (ALICE[::-1], {}, True, 503, 0),
        ("x", {}, False, 400, 0),
        (BOB, {"limit": "0"}, False, 400, 0),
        (BOB, {"limit": "101"}, False, 400, 0),
    ],
)
def test_candidates_are_ranked_for_a_patient_that_somebody_knows(
    app: Application, uuid: str, query: dict[str, str], away: bool, status: int, found: int
) -> None:
    if away:
        app.away = OpenMRSError("unreachable", "connection failed")
    response = app.ask(f"/patients/{uuid}/candidates", **query)
    assert response.status == status
    assert ("Retry-After" in response.headers) is (status == 503)
    if status == 200:
        assert len(json.loads(response.body)) == found


def test_a_report_that_needs_openmrs_says_to_come_back(app: Application) -> None:
    app.away = OpenMRSError("unreachable", "connection failed")
    response = app.send("POST", "/studies/s/report", REPORT.replace(b"1", b"99"))
    assert response.status == 503
    assert response.headers["Retry-After"]


# --- pages and caches ------------------------------------------------------------------------


def test_a_list_says_how_long_it_is_and_leads_through_all_of_it(app: Application) -> None:
    whole = json.loads(app.ask("/worklist").body)
    for begin in ({}, {"after": ""}):
        query: dict[str, str] | None = {"limit": "2", "open": "true", **begin}
        told: list[str] = []
        while query is not None:
            response = app.ask("/worklist", **query)
            assert response.headers["X-Total-Count"] == str(len(whole) - 1)
            told += [one["ScheduledProcedureStepID"] for one in json.loads(response.body)]
            found = re.fullmatch(r'<\?(.*)>; rel="next"', response.headers.get("Link", ""))
            query = dict(parse_qsl(found[1], keep_blank_values=True)) if found else None
        ids = [one["ScheduledProcedureStepID"] for one in whole if one["Status"] != "completed"]
        assert sorted(told) == sorted(ids)
        assert begin == {} or told == sorted(told)


@pytest.mark.parametrize("path", ["/status", "/worklist"])
def test_who_has_it_already_gets_304_until_something_changes(app: Application, path: str) -> None:
    def ask(etag: str) -> Response:
        headers = {"if-none-match": etag}
        return app.router.respond(Request("GET", f"/openmrs{path}", {}, headers))

    etag = app.ask(path).headers["ETag"]
    app.clock.now += 5  # the list is older, and that's all
    for known in (etag, f'"x", W/{etag}', "*"):
        again = ask(known)
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", etag)
    assert ask('"x"').status == ask("").status == 200
    app.worklist.replace(Snapshot.build(RequestList(), read_at=app.clock.now, day=TODAY))
    assert ask(etag).status == 200
    assert ask(etag).headers["ETag"] != etag


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/worklist", "no-store"),
        ("/worklist/1", "no-store"),
        ("/worklist/1/file", "no-store"),
        ("/worklist/nothing", "no-store"),
        ("/notifications", "no-store"),
        ("/studies", "no-store"),
        ("/status", "no-cache"),
        ("/ui", "no-cache"),
    ],
)
def test_what_may_have_patients_data_is_kept_by_no_cache(
    app: Application, path: str, kept: str
) -> None:
    assert app.ask(path).headers["Cache-Control"] == kept


def test_head_is_get_without_its_body(app: Application) -> None:
    whole, head = app.ask("/worklist"), app.ask("/worklist", "HEAD")
    assert (head.status, head.headers, head.body) == (200, whole.headers, b"")
    assert app.ask("/worklist/nothing", "HEAD").status == 404
    assert app.ask("/notifications/1/retry", "HEAD").status == 405


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/nothing", {}, "unknown-route"),
        ("/worklist/nothing", {}, "not-found"),
        ("/worklist", {"limit": "0"}, "bad-request"),
        (f"/worklist/{'1' * 17}/file", {}, "conflict"),
        (f"/patients/{BOB.replace('c', 'd')}/candidates", {}, "openmrs-timeout"),
        ("/status", {"full": ""}, "busy"),
    ],
)
def test_an_error_has_a_code_that_programs_can_rely_on(
    app: Application, path: str, query: dict[str, str], code: str
) -> None:
    app.away, app.findings = OpenMRSError("timeout", "no answer within 10 s"), None
    assert json.loads(app.ask(path, **query).body)["Code"] == code


def test_no_list_is_a_code_of_its_own() -> None:
    assert json.loads(Application(None).ask("/worklist").body)["Code"] == "no-worklist"


@pytest.mark.parametrize(
    ("authorization", "user"),
    [
        ("", ""),
        ("Basic " + base64.b64encode("zoë:a:b".encode()).decode(), "zoë"),
        ("basic " + base64.b64encode(b"bob:").decode(), "bob"),
        ("Basic " + base64.b64encode(b"\xff:x").decode(), "\ufffd"),
        ("Basic " + base64.b64encode(b"u" * 500 + b":x").decode(), "u" * 100),
        ("Basic !", ""),
        ("Basic ចាន់", ""),
        ("Bearer abc", ""),
    ],
)
def test_who_decides_is_orthancs_user(authorization: str, user: str) -> None:
    assert user_of(Request("POST", "/", headers={"authorization": authorization})) == user
