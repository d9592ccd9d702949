"""The routes over a database and an Orthanc that has studies."""

import json
from typing import Any

from orthanc_openmrs.host.studies import OrthancStudies
from orthanc_openmrs.mapping.finder import Finder
from orthanc_openmrs.mapping.mapping import PatientMapping
from orthanc_openmrs.mapping.ownership import Source
from orthanc_openmrs.mapping.patients import Patients
from orthanc_openmrs.mapping.viewers import viewer_settings
from orthanc_openmrs.model import NotificationState
from orthanc_openmrs.rest.messages import Request, Response
from orthanc_openmrs.rest.router import Router
from orthanc_openmrs.rest.studies import StudyRoutes
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.worklist.refresh import SourceStatus
from tests.unit.builders import FrozenClock
from tests.unit.doubles import Archive

NUMBER = 4026
PENDING, DELIVERED, HELD, FAILED, DISCARDED = NotificationState
ASSIGNED, WORKLIST, PATIENT_ID = Source.ASSIGNED, Source.WORKLIST, Source.PATIENT_ID


def orthanc_id(number: int) -> str:
    """The Orthanc ID of a study."""
    return f"{number:08x}-00000000-00000000-00000000-00000000"


def nobody() -> Patients:
    """An OpenMRS without patients."""
    return Patients(
        get_patient=lambda uuid: None,
        find_patients=lambda words, limit: b'{"results": []}',
        snapshot=lambda: None,
        source_status=SourceStatus,
        timeout=1,
    )


class Clinic:
    """The routes over a database and an Orthanc that has studies."""

    def __init__(self, *patient_ids: str) -> None:
        self.clock = FrozenClock(1000.0)
        self.orthanc = Archive({"/plugins": ["dicom-web", "python"]})
        for number, patient_id in enumerate(patient_ids):
            self.orthanc.has(orthanc_id(number), number, patient_id)
        self.database = Database("sqlite://", clock=self.clock)
        self.later: list[str] = []
        studies = OrthancStudies(self.orthanc)
        self.mapping = PatientMapping(
            studies=studies,
            records=self.database,
            metadata=NUMBER,
            later=self.later.append,
            clock=self.clock,
        )
        self.finder = Finder(studies, self.database, clock=self.clock)
        self.router = Router(
            StudyRoutes(
                finder=self.finder,
                mapping=self.mapping,
                patients=nobody(),
                notifications=lambda study: self.database.list_notifications(study=study),
                assignments=self.database.assignments_of,
                waiting=self.database.waiting_studies,
                plugins=studies.plugins,
                viewers=viewer_settings({}),
            ).table()
        )

    def goes(self, number: int) -> None:
        """A study is deleted."""
        study = orthanc_id(number)
        self.orthanc.ids.remove(study)
        for uri in [uri for uri in self.orthanc.routes if uri.startswith(f"/studies/{study}")]:
            del self.orthanc.routes[uri]

    def ask(
        self, method: str, path: str, body: bytes = b"", query: dict[str, str] | None = None
    ) -> Response:
        """The answer to a request of Orthanc's user alice."""
        headers = {"authorization": "Basic YWxpY2U6eA=="}
        return self.router.respond(Request(method, f"/openmrs{path}", query or {}, headers, body))

    def get(self, path: str, **query: str) -> Any:
        """The document of an answer that must be there."""
        response = self.ask("GET", path, query=query)
        assert response.status == 200, response.body
        return json.loads(response.body)

    def owner(self, number: int) -> tuple[str | None, str | None]:
        """Whose a study is, and why."""
        found = self.get(f"/studies/{orthanc_id(number)}")
        return found["Patient"], found["Source"]

    def metadata(self, number: int) -> str:
        """What other tools see."""
        uri = f"/studies/{orthanc_id(number)}/metadata/{NUMBER}"
        body: bytes = self.orthanc.routes.get(uri, b"")
        return body.decode()

    def numbers(self, path: str, **query: str) -> list[int]:
        """Which studies a list has."""
        return [int(one["ID"][:8], 16) for one in self.get(path, **query)]


ZERO, ONE, TWO = (orthanc_id(number) for number in range(3))
