"""The routes over a list, an OpenMRS and a database that do as they are told."""

import json
from datetime import datetime
from typing import Any

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
    RequestList,
    SeriesArrival,
    StepIdentity,
    StepStatus,
)
from orthanc_openmrs.mpps.datasets import EXPLICIT
from orthanc_openmrs.mpps.provider import Provider
from orthanc_openmrs.rest.callers import CallerRoutes
from orthanc_openmrs.rest.dicomweb import DicomWebRoutes
from orthanc_openmrs.rest.events import EventRoutes
from orthanc_openmrs.rest.messages import Request, Response
from orthanc_openmrs.rest.notifications import NotificationRoutes
from orthanc_openmrs.rest.openapi import with_document
from orthanc_openmrs.rest.page import PageRoutes
from orthanc_openmrs.rest.procedures import ProcedureRoutes
from orthanc_openmrs.rest.router import Router
from orthanc_openmrs.rest.status import StatusRoutes
from orthanc_openmrs.rest.studies import StudyRoutes
from orthanc_openmrs.rest.worklist import WorklistRoutes
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.ui import read_files
from orthanc_openmrs.worklist.callers import CallingAEs
from orthanc_openmrs.worklist.matching import Station
from orthanc_openmrs.worklist.refresh import SourceStatus
from orthanc_openmrs.worklist.service import StationRules, Worklist
from orthanc_openmrs.worklist.snapshot import Snapshot
from orthanc_openmrs.worklist.uids import GivenUids
from tests.unit.builders import ALICE, BOB, TODAY, FrozenClock, request, step, study
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
REPORT = b'{"ScheduledProcedureStepID": "1"}'
COUNTS = {"Steps": 6, "Offered": 4, "Skipped": 2}


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
        self.callers = CallingAEs(self.clock)
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
                waiting=self.database.waiting_studies,
                plugins=studies.plugins,
                viewers=ViewerSettings(),
            ),
            EventRoutes(self.events),
            CallerRoutes(self.callers),
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

    def read_after(self, moment: float, timeout: float, of: str = "") -> Snapshot:
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
