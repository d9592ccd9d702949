"""Whose a study is, in a real Orthanc: decided, looked up, kept as long as the study is."""

import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from standin import Fault, Standin, StepFields
from tests.server.conftest import Start
from tests.server.test_loop import offered
from trial import scanner
from trial.orthanc import ScratchOrthanc
from trial.waiting import eventually

ALICE = "8d5c9a4e-1b2c-4d3e-9f00-0123456789ab"
BOB = "c0ffee00-5a5a-4b4b-8c8c-ba9876543210"
METADATA = 4026


def image(folder: Path, patient_id: str, *, study: str | None = None) -> Path:
    """A CT image of a study and a series of its own."""
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    dataset.PatientID = patient_id
    dataset.StudyInstanceUID = study or generate_uid()
    dataset.SeriesInstanceUID = generate_uid()
    dataset.SOPInstanceUID = generate_uid()
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    dataset.save_as(path)
    return path


def upload(orthanc: ScratchOrthanc, path: Path) -> str:
    """Orthanc's own upload; the Orthanc ID of the study."""
    response = orthanc.session.post(f"{orthanc.url}/instances", data=path.read_bytes(), timeout=30)
    response.raise_for_status()
    study: str = response.json()["ParentStudy"]
    return study


def send(orthanc: ScratchOrthanc, method: str, path: str, body: Any = None) -> requests.Response:
    """A request that changes something."""
    return orthanc.session.request(method, f"{orthanc.url}{path}", json=body, timeout=30)


def owner(orthanc: ScratchOrthanc, study: str) -> tuple[str | None, str | None]:
    """Whose a study is, and why."""
    found = orthanc.get(f"/openmrs/studies/{study}")
    return found["Patient"], found["Source"]


def metadata(orthanc: ScratchOrthanc, study: str, name: object = METADATA) -> str | None:
    """What other tools see of it."""
    response = orthanc.session.get(f"{orthanc.url}/studies/{study}/metadata/{name}", timeout=30)
    return response.text if response.status_code == 200 else None


def ids(found: list[dict[str, Any]]) -> list[str]:
    """The Orthanc IDs of a list."""
    return [one["ID"] for one in found]


def test_what_openmrs_uploads_is_assigned_by_the_recipe(
    start_orthanc: Start, tmp_path: Path
) -> None:
    orthanc = start_orthanc(UserMetadata={"OpenMRSPatient": METADATA})
    # docs/rest.md, "Uploads": POST to Orthanc itself, then say whose it is.
    study = upload(orthanc, image(tmp_path, "HOSPITAL-7"))
    assert owner(orthanc, study) == (None, None)
    mine = f"/openmrs/patients/{ALICE}/studies"
    assert send(orthanc, "PUT", f"{mine}/{study}").json()["Patient"] == ALICE
    (found,) = orthanc.get(mine, headers={"X-Forwarded-Prefix": "/pacs"})
    assert found["PatientID"] == "HOSPITAL-7"
    assert (found["ModalitiesInStudy"], found["Series"], found["Instances"]) == (["CT"], 1, 1)
    assert found["Viewers"]["Explorer"] == f"/pacs/app/explorer.html#study?uuid={study}"
    assert owner(orthanc, found["StudyInstanceUID"]) == (ALICE, "assigned")
    assert metadata(orthanc, study, "OpenMRSPatient") == ALICE

    # Another patient's, unless it is moved on purpose.
    theirs = f"/openmrs/patients/{BOB}/studies"
    refused = send(orthanc, "PUT", f"{theirs}/{study}")
    assert (refused.status_code, refused.json()["HttpStatus"]) == (409, 409)
    assert send(orthanc, "PUT", f"{theirs}/{study}", {"Force": True}).status_code == 200
    assert (orthanc.get(mine), ids(orthanc.get(theirs))) == ([], [study])
    assert metadata(orthanc, study) == BOB
    assert send(orthanc, "DELETE", f"{mine}/{study}").status_code == 404
    assert send(orthanc, "PUT", f"{mine}/1.2.3").status_code == 404


def test_a_persons_decision_counts_more_than_the_patient_id(
    start_orthanc: Start, tmp_path: Path
) -> None:
    orthanc = start_orthanc()
    study = upload(orthanc, image(tmp_path, f" {ALICE.upper()} "))
    mine = f"/openmrs/patients/{ALICE}/studies"
    (found,) = orthanc.get(mine)
    assert (found["ID"], found["Source"]) == (study, "patient-id")
    assert owner(orthanc, study) == (ALICE.upper(), "patient-id")
    eventually(lambda: metadata(orthanc, study) == ALICE.upper(), "other tools don't see it")

    assert send(orthanc, "DELETE", f"{mine}/{study}").status_code == 200
    assert (owner(orthanc, study), orthanc.get(mine)) == ((None, None), [])
    assert metadata(orthanc, study) is None
    assert ids(orthanc.get("/openmrs/studies?assigned=false")) == [study]
    assert orthanc.get("/openmrs/studies?assigned=true") == []
    orthanc.stop()
    orthanc.start()
    assert owner(orthanc, study) == (None, None)


@pytest.mark.parametrize("overwrite", [True, False])
def test_the_mapping_goes_with_its_study_and_survives_a_second_upload(
    start_orthanc: Start, tmp_path: Path, overwrite: bool
) -> None:
    orthanc = start_orthanc(OverwriteInstances=overwrite)
    path = image(tmp_path, "HOSPITAL-7")
    study = upload(orthanc, path)
    assert send(orthanc, "PUT", f"/openmrs/patients/{ALICE}/studies/{study}").ok
    # With OverwriteInstances, Orthanc deletes a study of one image, and makes it anew.
    assert upload(orthanc, path) == study
    eventually(lambda: metadata(orthanc, study) == ALICE, "the metadata doesn't come back")
    assert owner(orthanc, study) == (ALICE, "assigned")

    assert send(orthanc, "DELETE", f"/studies/{study}").ok
    eventually(lambda: _forgotten(orthanc), "what was said of the study is kept")
    assert orthanc.session.get(f"{orthanc.url}/openmrs/studies/{study}").status_code == 404
    assert upload(orthanc, path) == study
    assert owner(orthanc, study) == (None, None)


def _forgotten(orthanc: ScratchOrthanc) -> bool:
    with closing(sqlite3.connect(orthanc.folder / "index" / "openmrs.db")) as connection:
        return list(connection.execute("SELECT * FROM assignments")) == []


def test_a_study_that_a_step_links_is_its_patients(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    patient = openmrs.records.add_patient("Anna", "Svensson")
    openmrs.records.add_request(patient, steps=[StepFields(modality="CT")])
    orthanc = start_orthanc({"HoldPatientMismatch": False})
    offered(orthanc, 1)
    answer = scanner.find(orthanc.dicom_port).answers[0]
    path = scanner.acquire(answer, tmp_path, changes={"PatientID": "CUT-BY-SCANNER"})
    scanner.store(orthanc.dicom_port, [path])

    def linked() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = orthanc.get(f"/openmrs/patients/{patient.uuid}/studies")
        return found

    (found,) = eventually(linked, "the study isn't the patient's")
    assert (found["Source"], found["Steps"]) == ("worklist", ["1"])
    eventually(lambda: metadata(orthanc, found["ID"]) == patient.uuid, "no metadata")
    eventually(
        lambda: (
            [
                one["State"]
                for one in orthanc.get(f"/openmrs/studies/{found['ID']}")["Notifications"]
            ]
            == ["delivered"]
        ),
        "the study doesn't show what was told of it",
    )


def test_orthanc_and_our_routes_answer_while_openmrs_takes_its_time(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    patient = openmrs.records.add_patient("Anna", "Svensson")
    openmrs.records.add_request(patient, steps=[StepFields(modality="CT")])
    orthanc = start_orthanc({"ReportInProgress": False, "Timeout": 30})
    offered(orthanc, 1)
    answer = scanner.find(orthanc.dicom_port).answers[0]
    openmrs.set_fault(Fault("hang"), method="POST")
    scanner.store(orthanc.dicom_port, [scanner.acquire(answer, tmp_path)])
    eventually(
        lambda: any(entry.method == "POST" for entry in openmrs.requests_log), "nothing is posted"
    )
    openmrs.set_fault(Fault("hang"))
    refresh = threading.Thread(
        target=send, args=(orthanc, "POST", "/openmrs/worklist/refresh"), daemon=True
    )
    refresh.start()
    (study,) = orthanc.get("/studies")

    def quick(path: str) -> float:
        started = time.monotonic()
        with requests.Session() as session:
            session.trust_env = False
            session.get(f"{orthanc.url}{path}", timeout=30).raise_for_status()
        return time.monotonic() - started

    # What OpenMRS calls back during a POST of ours, and our own routes beside it.
    paths = ["/changes", f"/studies/{study}", "/system", "/openmrs/studies", "/openmrs/status"]
    with ThreadPoolExecutor(len(paths)) as people:
        slowest = max(people.map(quick, paths * 10))
    assert slowest < 1
    assert refresh.is_alive()
    assert openmrs.records.statuses()[1] == "scheduled"
    openmrs.clear_faults()
    eventually(lambda: openmrs.records.statuses()[1] == "completed", "step 1 stays open")
    refresh.join(30)


def test_studies_are_found_by_words_days_and_modality_as_soon_as_they_come(
    start_orthanc: Start, tmp_path: Path
) -> None:
    orthanc = start_orthanc()

    def find(**query: str) -> list[str]:
        response = orthanc.session.get(f"{orthanc.url}/openmrs/studies", params=query, timeout=30)
        response.raise_for_status()
        assert response.headers["X-Total-Count"] == str(len(response.json()))
        return [one["ID"] for one in response.json()]

    def dated(name: str, day: str) -> str:
        path = image(tmp_path, f"F-{day}")
        dataset = pydicom.dcmread(path)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.PatientName, dataset.StudyDate = name, day
        dataset.save_as(path)
        return upload(orthanc, path)

    older, newer = dated("Смирнов^Алексей", "20250701"), dated("Nguyễn^Thị", "20250703")
    eventually(lambda: len(find(search="F-2025")) == 2, "a study isn't found")
    assert find(search="smirnov") == [older]
    assert find(search="nguyen") == [newer]
    assert find(search="F-2025", newest="true") == [newer, older]
    assert find(search="F-2025", date="20250702-") == [newer]
    assert find(search="F-2025", modality="CT", newest="true") == [newer, older]
    assert find(search="F-2025", modality="MR") == []
    orthanc.session.delete(f"{orthanc.url}/studies/{newer}", timeout=30).raise_for_status()
    eventually(lambda: find(search="F-2025") == [older], "a deleted study is found")
