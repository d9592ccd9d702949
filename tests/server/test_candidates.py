"""Candidates in a real Orthanc: ranked for OpenMRS's patient, and for the worklist's while it is
away."""

from pathlib import Path
from typing import Any

import pydicom
import pytest
import requests
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from standin import Fault, Standin, StepFields
from tests.server.conftest import Start
from tests.server.test_loop import TODAY, offered
from tests.server.test_mapping import send, upload
from trial.orthanc import ScratchOrthanc
from trial.waiting import eventually

NAMES = {
    # what a scanner's keyboard made of two patients, and odd ones
    "right": ("NGUYEN^ANH", "19840229", "F", "SCAN-1"),
    "turned": ("Anh^Nguyen Thi", "", "F", "SCAN-2"),
    "twin": ("NGUYEN^HOA", "19840229", "F", "SCAN-3"),
    "stranger": ("MWANGI^PETER", "19700301", "M", "SCAN-4"),
    "numbered": ("", "", "", "100-001-GEJ"),
    "nobody": ("", "", "", ""),
    "long": ("Anh^" + "Nguyễn" * 2000 + "=" + "王" * 999, "", "", "SCAN-5"),
    "odd": ("^^=\x1b\x07^", "", "", "SCAN-6"),
}


def archive(orthanc: ScratchOrthanc, folder: Path) -> dict[str, str]:
    """A study of each; the names by Orthanc ID."""
    return {upload(orthanc, _image(folder, *what)): name for name, what in NAMES.items()}


def _image(folder: Path, name: str, born: str, sex: str, number: str) -> Path:
    dataset = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName, dataset.PatientBirthDate = name, born
    dataset.PatientSex, dataset.PatientID = sex, number
    dataset.StudyDate = TODAY
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(dataset, keyword, generate_uid())
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    dataset.save_as(path)
    return path


@pytest.mark.filterwarnings("ignore:.*Invalid value for VR:UserWarning")
@pytest.mark.filterwarnings("ignore:The PN component length:UserWarning")
def test_a_patients_studies_are_proposed_with_openmrs_up_and_down(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    anh = openmrs.records.add_patient("Ánh", "Nguyễn", "Thị", "1984-02-29", "F")
    unlisted = openmrs.records.add_patient("Hoa", "Nguyễn", "", "1984-02-29", "F")
    openmrs.records.add_request(anh, steps=[StepFields("CT", "CT1", TODAY, "080000")])
    orthanc = start_orthanc({"Timeout": 2, "RefreshInterval": 1})
    offered(orthanc, 1)
    names = archive(orthanc, tmp_path)

    def candidates(uuid: str, **query: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = orthanc.get(
            f"/openmrs/patients/{uuid}/candidates", params=query
        )
        return found

    def proposed(uuid: str) -> list[str]:
        return [names[one["ID"]] for one in candidates(uuid)]

    found = candidates(anh.uuid)
    assert [names[one["ID"]] for one in found][:3] == ["right", "turned", "twin"]
    assert found[0]["Score"] == 88
    assert found[0]["Reasons"] == [
        "the name is the same, but one of them has more words",
        "the birth date is the same",
        "the sex is the same",
        "an open step of the patient is of that day or the one beside it",
    ]
    assert found[0]["PatientName"] == "NGUYEN^ANH"
    assert "numbered" in proposed(anh.uuid)  # only OpenMRS knows her number
    assert not {"stranger", "nobody", "odd"} & set(proposed(anh.uuid))
    assert proposed(unlisted.uuid)[0] == "twin"
    assert len(candidates(anh.uuid, limit=1)) == 1
    assert refused(orthanc, anh.uuid, "limit=101") == 400
    assert refused(orthanc, anh.uuid, "since=1") == 400
    assert refused(orthanc, "8d5c9a4e-1b2c-4d3e-9f00-0123456789ab") == 404

    # What a person decides is no longer a candidate.
    assert send(orthanc, "PUT", f"/openmrs/patients/{anh.uuid}/studies/{found[0]['ID']}").ok
    assert proposed(anh.uuid)[0] == "turned"
    assert send(orthanc, "DELETE", f"/openmrs/patients/{anh.uuid}/studies/{found[0]['ID']}").ok
    assert proposed(anh.uuid)[0] == "right"

    # A sign-in page, a container without OpenMRS, a document as deep as a well.
    for fault in (Fault("login_page"), Fault("status", status=404), Fault("deep"), Fault("drip")):
        openmrs.set_fault(fault, "/patient/")
        assert proposed(anh.uuid)[0] == "right"
        assert refused(orthanc, unlisted.uuid) == 503
    openmrs.clear_faults()
    openmrs.stop()
    eventually(
        lambda: orthanc.get("/openmrs/status")["OpenMRS"]["LastError"],
        "nobody notices that OpenMRS is down",
    )
    assert proposed(anh.uuid)[0] == "right"
    assert "numbered" not in proposed(anh.uuid)
    assert refused(orthanc, unlisted.uuid) == 503
    assert "Traceback" not in orthanc.log
    for private in ("NGUYEN", "Nguyễn", "19840229"):
        assert private not in orthanc.log


def refused(orthanc: ScratchOrthanc, uuid: str, query: str = "") -> int:
    """The status of a refusal; a 503 says when to try again."""
    url = f"{orthanc.url}/openmrs/patients/{uuid}/candidates?{query}"
    response: requests.Response = orthanc.session.get(url, timeout=30)
    assert response.json()["HttpStatus"] == response.status_code
    assert ("Retry-After" in response.headers) is (response.status_code == 503)
    return response.status_code


def test_patients_are_found_in_openmrs_and_in_the_list_while_it_is_away(
    openmrs: Standin, start_orthanc: Start
) -> None:
    patient = openmrs.records.add_patient("Nguyễn", "Thị Mai", "", "1988-04-02", "F")
    openmrs.records.add_request(patient, description="Head", steps=[StepFields("CT")])
    unlisted = openmrs.records.add_patient("Ngugi", "Mwangi", "", "1990-01-01", "M")
    orthanc = start_orthanc({"RefreshInterval": 1})

    def find(words: str) -> dict[str, str]:
        found = orthanc.get("/openmrs/patients", params={"search": words})
        return {one["Patient"]: one["Source"] for one in found}

    offered(orthanc, 1)
    assert find("ng") == {patient.uuid: "openmrs", unlisted.uuid: "openmrs"}
    assert find(unlisted.identifier) == {unlisted.uuid: "openmrs"}
    assert find(unlisted.uuid) == {unlisted.uuid: "openmrs"}
    assert find("f" * 36) == {}
    found = orthanc.get(f"/openmrs/patients/{unlisted.uuid}")
    assert (found["PatientBirthDate"], found["Identifiers"]) == ("19900101", [unlisted.identifier])
    openmrs.stop()
    assert find("nguyen") == {patient.uuid: "worklist"}
