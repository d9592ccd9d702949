"""Whose a study is: what counts more, what persons may decide, what outlives what."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from orthanc_openmrs.errors import StoreError
from orthanc_openmrs.host.studies import OrthancStudies
from orthanc_openmrs.mapping import mapping as module
from orthanc_openmrs.mapping.finder import Finder
from orthanc_openmrs.mapping.mapping import PatientMapping
from orthanc_openmrs.mapping.ownership import (
    Owner,
    Source,
    implied_patient,
    is_uuid,
    owner_of,
)
from orthanc_openmrs.mapping.patients import Patients
from orthanc_openmrs.mapping.studies import SeriesHead, StudyHead, read_study_head
from orthanc_openmrs.mapping.synchroniser import MOST_WAITING, Synchroniser
from orthanc_openmrs.mapping.viewers import prefix_of, viewer_links, viewer_settings
from orthanc_openmrs.model import Kind, LinkedStep, NewNotification, NotificationState, StepIdentity
from orthanc_openmrs.rest.messages import Request, Response
from orthanc_openmrs.rest.router import LARGEST_BODY, Router
from orthanc_openmrs.rest.studies import StudyRoutes
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.worklist.refresh import SourceStatus
from tests.unit.builders import ALICE, BOB, FrozenClock
from tests.unit.doubles import Archive

NUMBER = 4026
PENDING, DELIVERED, HELD, FAILED, DISCARDED = NotificationState
ASSIGNED, WORKLIST, PATIENT_ID = Source.ASSIGNED, Source.WORKLIST, Source.PATIENT_ID


def orthanc_id(number: int) -> str:
    """The Orthanc ID of a study."""
    return f"{number:08x}-00000000-00000000-00000000-00000000"


# --- what counts more ----------------------------------------------------------------------


def nobody() -> Patients:
    """An OpenMRS without patients."""
    return Patients(
        get_patient=lambda uuid: None,
        find_patients=lambda words, limit: b'{"results": []}',
        snapshot=lambda: None,
        source_status=SourceStatus,
        timeout=1,
    )


def links(*patients: str) -> list[LinkedStep]:
    """Steps 1, 2, … of these patients."""
    return [LinkedStep("s", patient, str(at)) for at, patient in enumerate(patients, 1)]


@pytest.mark.parametrize(
    ("said", "linked", "implied", "expected"),
    [
        (None, (), "", Owner()),
        (None, (), ALICE, Owner(ALICE, PATIENT_ID)),
        (None, (BOB,), ALICE, Owner(BOB, WORKLIST, ("1",))),
        (None, (BOB, ALICE), "", Owner(ALICE, WORKLIST, ("1", "2"))),
        (None, (BOB, ""), "", Owner(BOB, WORKLIST, ("1", "2"))),
        (BOB, (ALICE,), ALICE, Owner(BOB, ASSIGNED, ("1",))),
        (ALICE, (), ALICE, Owner(ALICE, ASSIGNED)),
        ("", (), ALICE, Owner()),
        ("", (ALICE,), ALICE, Owner("", None, ("1",))),
    ],
)
def test_a_decision_counts_more_than_a_step_and_a_step_more_than_the_patient_id(
    said: str | None, linked: tuple[str, ...], implied: str, expected: Owner
) -> None:
    assert owner_of(said, links(*linked), implied) == expected


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (ALICE, True),
        (ALICE.upper(), True),
        ("A" * 36, True),
        ("A" * 38, True),
        ("A" * 39, False),
        ("A" * 35, False),
        ("", False),
        (ALICE[:-1] + "*", False),
        (ALICE[:-1] + "\\", False),
        (ALICE[:-1] + "/", False),
        ("-" + ALICE, False),
        (ALICE + "\n", False),
        ("é" * 36, False),
    ],
)
def test_a_uuid_has_openmrss_form_and_no_wildcard(text: str, good: bool) -> None:
    assert is_uuid(text) is good
    assert implied_patient(f" {text.strip()} ") == (text.strip() if is_uuid(text.strip()) else "")


def test_the_patient_id_that_orthanc_makes_up_for_an_anonymous_study_is_no_patients() -> None:
    document = {"ID": "s", "PatientMainDicomTags": {"PatientID": ALICE}}
    assert read_study_head(document).implied == ALICE
    assert read_study_head(document | {"AnonymizedFrom": "t"}).implied == ""
    assert read_study_head({"ID": "s"}) == StudyHead("s", "")


# --- the database --------------------------------------------------------------------------


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


# --- the routes, over Orthanc's own answers ------------------------------------------------


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


@pytest.fixture
def clinic() -> Clinic:
    """Study 0 is nobody's, 1 is Alice's by its PatientID, 2 Bob's, 3 nobody's."""
    return Clinic("H-0", f" {ALICE.upper()}", BOB, "H-3")


ZERO, ONE, TWO = (orthanc_id(number) for number in range(3))


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


# --- as long as the study ------------------------------------------------------------------


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


class Odd:
    """A mapping that fails."""

    def __init__(self) -> None:
        self.problem: Exception | None = StoreError("the database fails")
        self.done: list[str] = []

    def synchronise(self, study: str) -> None:
        """Look at one."""
        if self.problem:
            raise self.problem
        self.done.append(study)

    def forget_gone(self, stopping: Callable[[], bool]) -> None:
        """Look at all."""
        self.synchronise("all")


def test_what_cannot_be_looked_at_is_looked_at_again() -> None:
    odd = Odd()
    synchroniser = Synchroniser(odd)
    synchroniser.enqueue("s")
    assert not synchroniser.work()
    odd.problem = None
    assert synchroniser.work()
    assert sorted(odd.done) == ["all", "s"]
    assert synchroniser.work()
    assert len(odd.done) == 2
    for number in range(MOST_WAITING + 1):
        synchroniser.enqueue(str(number))
    assert synchroniser.work()
    assert len(odd.done) == 2 + MOST_WAITING + 1
    assert odd.done[-1] == "all"


def test_what_is_remembered_is_bounded(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 2)
    assert clinic.numbers("/studies", assigned="false") == [0, 3]
    assert len(clinic.mapping._implies) <= 2


# --- the viewers ---------------------------------------------------------------------------

ALL = (
    "orthanc-explorer-2",
    "stone-webviewer",
    "ohif",
    "web-viewer",
    "osimis-web-viewer",
    "volview",
    "wsi",
    "dicom-web",
    "python",
)
HEAD = StudyHead("abc", "1.2", series=("x", "y"))
SERIES = (SeriesHead("x", "CT"), SeriesHead("y", "SM"))


def test_each_viewer_is_linked_where_it_is_installed() -> None:
    found = viewer_links(HEAD, SERIES, plugins=ALL, settings=viewer_settings({}), prefix="/pacs")
    assert found == {
        "Explorer": "/pacs/app/explorer.html#study?uuid=abc",
        "Explorer2": "/pacs/ui/app/#/filtered-studies?StudyInstanceUID=1.2&expand=study",
        "Stone": "/pacs/stone-webviewer/index.html?study=1.2",
        "OHIF": "/pacs/ohif/viewer?StudyInstanceUIDs=1.2",
        "WebViewer": "/pacs/web-viewer/app/viewer.html?series=x",
        "OsimisViewer": "/pacs/osimis-viewer/app/index.html?study=abc",
        "VolView": "/pacs/volview/index.html?names=[archive.zip]&urls=[../studies/abc/archive]",
        "WSI": "/pacs/wsi/app/viewer.html?series=y",
        "DICOMweb": "/pacs/dicom-web/",
    }
    for number, plugin in enumerate(ALL[:-1], 1):
        one = viewer_links(HEAD, SERIES, plugins=[plugin], settings=viewer_settings({}))
        assert list(one) == ["Explorer", list(found)[number]]


@pytest.mark.parametrize(
    ("configuration", "name", "link"),
    [
        ({"OrthancExplorerEnabled": False}, "Explorer", None),
        ({"DicomWeb": {"Root": "/wado"}}, "DICOMweb", "/wado/"),
        ({"DicomWeb": {"Root": 7}}, "DICOMweb", "/dicom-web/"),
        ({"DicomWeb": []}, "DICOMweb", "/dicom-web/"),
        ({"OHIF": {"RouterBasename": "o/"}}, "OHIF", "/o/viewer?StudyInstanceUIDs=1.2"),
        (
            {"OHIF": {"DataSource": "dicom-json"}},
            "OHIF",
            "/ohif/viewer?url=../studies/abc/ohif-dicom-json",
        ),
        (
            {"OrthancExplorer2": {"Root": "/oe2/"}},
            "Explorer2",
            "/oe2/app/#/filtered-studies?StudyInstanceUID=1.2&expand=study",
        ),
    ],
)
def test_viewers_are_where_orthancs_configuration_puts_them(
    configuration: dict[str, Any], name: str, link: str | None
) -> None:
    settings = viewer_settings(configuration)
    assert viewer_links(HEAD, SERIES, plugins=ALL, settings=settings).get(name) == link


def test_a_viewer_that_cannot_show_a_study_is_not_linked() -> None:
    empty = viewer_links(StudyHead("abc", "1/2"), (), plugins=ALL, settings=viewer_settings({}))
    assert not {"WebViewer", "WSI"} & set(empty)
    assert empty["Stone"] == "/stone-webviewer/index.html?study=1%2F2"


@pytest.mark.parametrize(
    ("header", "prefix"),
    [
        ("/pacs", "/pacs"),
        ("/a/b.c/d_e-f/", "/a/b.c/d_e-f"),
        ("", ""),
        ("/", ""),
        ("pacs", ""),
        ("//evil.example", ""),
        ("/a//b", ""),
        ("/a/../b", ""),
        ("/.", ""),
        ("/a b", ""),
        ('/"><script>', ""),
        ("/a, /b", ""),
        ("https://evil.example", ""),
        ("/" + "a" * 200, ""),
    ],
)
def test_a_prefix_is_a_plain_path(header: str, prefix: str) -> None:
    assert prefix_of({"x-forwarded-prefix": header}) == prefix
