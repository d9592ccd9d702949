"""Who a patient is: OpenMRS, the worklist in its place; and which studies are ranked for them."""

import json
import threading
import time

import pytest

from orthanc_openmrs.errors import NotFound, OpenMRSError
from orthanc_openmrs.host.studies import OrthancStudies
from orthanc_openmrs.mapping import mapping as module
from orthanc_openmrs.mapping.candidates import Patient, patient_of
from orthanc_openmrs.mapping.mapping import PatientMapping
from orthanc_openmrs.mapping.patients import MOST_ASKING, Patients, Person
from orthanc_openmrs.model import Demographics, RequestList, StepStatus
from orthanc_openmrs.store.database import Database
from orthanc_openmrs.worklist.refresh import SourceStatus
from orthanc_openmrs.worklist.snapshot import Snapshot
from tests.unit.builders import ALICE, BOB, TODAY, FrozenClock, request, step
from tests.unit.doubles import Archive

KNOWN = json.dumps(
    {"person": {"preferredName": {"familyName": "Jones", "givenName": "Alicia"}, "gender": "F"}}
).encode()
LISTED = RequestList(
    (
        request("7", step("1"), step("2", status=StepStatus.COMPLETED), step("3", start_date="")),
        request("8", step("4", start_date="20250709"), accession_number="A" * 19),
        request("9", step("5"), patient_id=BOB),
    ),
    (),
    "v3",
)
SNAPSHOT = Snapshot.build(LISTED, read_at=0, day=TODAY)
ORDERS = {
    "accession_numbers": ["ACC-7", "A" * 19, "A" * 16],
    "open_steps": [TODAY, "20250709"],
}
OPENMRS = patient_of(Demographics(("Jones^Alicia",), sex="F"), **ORDERS)
LIST = patient_of(Demographics(("Alice Mary Jones",), "19900101", sex="F"), **ORDERS)
TIMEOUT, PRIVILEGE = OpenMRSError("timeout", "late"), OpenMRSError("privilege", "HTTP 403")
UP = SourceStatus()


def patients(
    document: bytes | OpenMRSError | None,
    status: SourceStatus = UP,
    *,
    listed: bool = True,
) -> Patients:
    """An OpenMRS that answers so, and whose list was read so."""

    def get_patient(uuid: str) -> bytes | None:
        if isinstance(document, OpenMRSError):
            raise document
        return document

    return Patients(
        get_patient=get_patient,
        find_patients=lambda words, limit: get_patient(words) or b"",
        snapshot=lambda: SNAPSHOT if listed else None,
        source_status=lambda: status,
        timeout=5,
    )


AWAY = SourceStatus(last_error="connection failed", error_kind="unreachable")
BROKEN = SourceStatus(last_error="HTTP 500", error_kind="server-error")


@pytest.mark.parametrize(
    ("document", "status", "expected"),
    [
        (KNOWN, SourceStatus(), OPENMRS),
        (KNOWN, BROKEN, OPENMRS),  # the list fails by itself
        (KNOWN, AWAY, LIST),
        (None, SourceStatus(), LIST),
        (TIMEOUT, SourceStatus(), LIST),
        (PRIVILEGE, SourceStatus(), LIST),
        (b"<html>", SourceStatus(), LIST),
        (b"[" * 100_000, SourceStatus(), LIST),
    ],
)
def test_openmrs_says_who_it_is_or_else_the_worklist(
    document: bytes | OpenMRSError | None, status: SourceStatus, expected: Patient
) -> None:
    assert patients(document, status).patient(ALICE.upper()) == expected


def test_where_neither_knows_it_is_said_why() -> None:
    with pytest.raises(NotFound):
        patients(None, listed=False).patient(ALICE)
    for problem in (TIMEOUT, PRIVILEGE):
        with pytest.raises(OpenMRSError) as caught:
            patients(problem, AWAY, listed=False).patient(ALICE)
        assert caught.value.kind == problem.kind


FOUND = json.dumps(
    {
        "results": [
            {
                "uuid": BOB,
                "identifiers": [{"identifier": "100GEJ"}, {"identifier": "x", "voided": True}],
                "person": {
                    "preferredName": {"familyName": "Ōba", "givenName": "Ken"},
                    "birthdate": "1990-02-03T00:00:00.000+0000",
                    "birthdateEstimated": True,
                    "gender": "M",
                },
            },
            {"uuid": ALICE, "voided": True, "person": {}},
            {"uuid": "", "person": {}},
            {"uuid": ALICE, "person": None},
            "nobody",
        ]
    }
).encode()
OBA = Person(BOB, "Ōba^Ken", "19900203", True, "M", ("100GEJ",))


@pytest.mark.parametrize(
    ("document", "status", "words", "found"),
    [
        (FOUND, UP, "oba", [OBA]),
        (FOUND, BROKEN, "oba", [OBA]),
        (FOUND, UP, "jones", [BOB, ALICE]),  # OpenMRS's first
        (b'{"results": []}', UP, "zzz", []),
        (b'{"results": []}', UP, "jones", [ALICE, BOB]),
        # the worklist's, two of one name, while OpenMRS is away or doesn't let us search
        (FOUND, AWAY, "jones", [ALICE, BOB]),
        (FOUND, AWAY, "JONES alice", [ALICE, BOB]),
        (FOUND, AWAY, "nobody", []),
        (TIMEOUT, UP, "jones", [ALICE, BOB]),
        (PRIVILEGE, UP, "jones", [ALICE, BOB]),
        (b"<html>", UP, "jones", [ALICE, BOB]),
        (b"[" * 100_000, UP, "jones", [ALICE, BOB]),
        # a uuid is its patient, or nobody
        (KNOWN, UP, BOB, [BOB]),
        (None, UP, "f" * 36, []),
        (None, UP, ALICE, [ALICE]),
    ],
)
def test_patients_are_found_in_openmrs_or_else_in_the_worklist(
    document: bytes | OpenMRSError | None,
    status: SourceStatus,
    words: str,
    found: list[Person | str],
) -> None:
    told = patients(document, status).search(words, 20)
    whole = any(isinstance(one, Person) for one in found)
    assert [one if whole else one.patient for one in told] == found


def test_no_more_than_a_few_wait_and_none_for_ever() -> None:
    over = threading.Event()

    def hang(uuid: str) -> bytes | None:
        over.wait(10)
        return None

    slow = Patients(
        get_patient=hang,
        find_patients=lambda words, limit: b"",
        snapshot=lambda: None,
        source_status=SourceStatus,
        timeout=0.05,
    )
    for number in range(MOST_ASKING + 1):
        started = time.monotonic()
        with pytest.raises(OpenMRSError) as caught:
            slow.patient(ALICE)
        assert caught.value.kind == "timeout"
        assert ("already" in str(caught.value)) is (number == MOST_ASKING)
        assert time.monotonic() - started < 5
    over.set()


# --- which studies are ranked --------------------------------------------------------------


def orthanc_id(number: int) -> str:
    """The Orthanc ID of a study."""
    return f"{number:08x}-00000000-00000000-00000000-00000000"


class Clinic:
    """An Orthanc with studies, and what persons said of them."""

    def __init__(self, *patient_ids: str) -> None:
        self.orthanc = CountingArchive({})
        for number, patient_id in enumerate(patient_ids):
            self.orthanc.has(
                orthanc_id(number), number, patient_id, PatientName="Jones^Alice", PatientSex="F"
            )
        self.database = Database("sqlite://", clock=FrozenClock(1000.0))
        self.mapping = PatientMapping(
            studies=OrthancStudies(self.orthanc),
            records=self.database,
            metadata=0,
            later=lambda study: None,
            clock=FrozenClock(1000.0),
        )

    def found(self, limit: int = 10) -> list[int]:
        """The studies that are candidates for Alice."""
        candidates = self.mapping.candidates(
            patient_of(Demographics(("Alice Jones",), sex="F")), limit
        )
        for one in candidates:
            assert one.study.head.study == one.ranked.study
            assert one.study.owner.patient == ""
        return sorted(int(one.ranked.study[:8], 16) for one in candidates)


class CountingArchive(Archive):
    """Counts the calls."""

    asked = 0

    def RestApiGet(self, uri: str, /) -> bytes:
        self.asked += 1
        return super().RestApiGet(uri)


def test_only_studies_that_are_nobodys_are_ranked() -> None:
    clinic = Clinic("H-0", ALICE, "H-2", BOB, "H-4")
    assert clinic.found() == [0, 2, 4]
    clinic.mapping.assign(BOB, orthanc_id(2), "", force=False)
    clinic.mapping.unassign(ALICE, orthanc_id(1), "")  # a person says that it is nobody's
    assert clinic.found() == [0, 1, 4]
    clinic.orthanc.ids.remove(orthanc_id(4))
    del clinic.orthanc.routes[f"/studies/{orthanc_id(4)}"]
    assert clinic.found() == [0, 1]


def test_a_study_is_read_once_until_it_changes() -> None:
    count = 230
    clinic = Clinic(*(f"H-{number}" for number in range(count)))
    assert len(clinic.found(limit=3)) == 3
    # A page of ids and the empty one after it, the studies by 50, and of the three found each
    # its head and its series.
    assert clinic.orthanc.asked == 2 + 5 + 6
    before = clinic.orthanc.asked
    assert len(clinic.found(limit=3)) == 3
    assert clinic.orthanc.asked - before == 2 + 6
    clinic.orthanc.routes[f"/studies/{orthanc_id(7)}"]["PatientMainDicomTags"] |= {
        "PatientName": "Mwangi^Peter",
        "PatientSex": "M",
    }
    clinic.mapping.forget(orthanc_id(7))
    clinic.mapping.forget("no Orthanc ID")
    assert 7 not in clinic.found(limit=count)


def test_a_study_that_a_person_called_nobodys_is_read_again_when_it_changes() -> None:
    clinic = Clinic("H-0", "H-1")
    assert clinic.found() == [0, 1]
    clinic.mapping.assign(ALICE, orthanc_id(1), "", force=False)
    clinic.mapping.unassign(ALICE, orthanc_id(1), "")
    assert clinic.found() == [0, 1]
    clinic.orthanc.routes[f"/studies/{orthanc_id(1)}"]["PatientMainDicomTags"] |= {
        "PatientName": "Mwangi^Peter",
        "PatientSex": "M",
    }
    clinic.mapping.forget(orthanc_id(1))
    assert clinic.found() == [0]


def test_what_is_ranked_and_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_RANKED", 3)
    clinic = Clinic(*(f"H-{number}" for number in range(20)))
    assert clinic.found() == [0, 1, 2]
    assert clinic.found() == [0, 1, 2]
    assert len(clinic.mapping._traits) <= 6
