"""The main promise: a request is on the scanner, its images complete it in OpenMRS."""

from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from standin import WITH_WORKLIST, Standin, StepFields
from standin.samples import patients
from tests.server.conftest import Start
from trial import scanner
from trial.orthanc import ScratchOrthanc
from trial.waiting import eventually

TODAY = date.today().strftime("%Y%m%d")


def step_ids(found: scanner.Found) -> list[str]:
    """The answered steps."""
    return [
        str(answer.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID)
        for answer in found.answers
    ]


def offered(orthanc: ScratchOrthanc, count: int) -> None:
    """Wait until the worklist offers `count` steps."""
    eventually(
        lambda: orthanc.get("/openmrs/status")["Worklist"]["Offered"] == count,
        f"the worklist doesn't offer {count} steps",
    )


def test_three_queries_of_the_modules_readme_give_the_right_answers(
    openmrs: Standin, start_orthanc: Start
) -> None:
    head = openmrs.records.add_patient("Thị Ánh", "Nguyễn")
    other = openmrs.records.add_patient("Sokha", "ចាន់")
    openmrs.records.add_request(head, description="xxx", steps=[StepFields(modality="CT")])
    openmrs.records.add_request(other, description="yyy", steps=[StepFields(modality="MR")])
    openmrs.records.add_request(
        other,
        description="zzz",
        steps=[StepFields(modality="CT", status="completed"), StepFields(modality="CT")],
    )
    orthanc = start_orthanc()
    offered(orthanc, 3)

    for keys, expected in (
        ([scanner.STEP + "Modality=CT"], ["1", "4"]),
        ([f"PatientID={other.uuid}"], ["2", "4"]),
        ([scanner.STEP + "RequestedProcedureDescription=xxx"], ["1"]),
        ([], ["1", "2", "4"]),
    ):
        found = scanner.find(orthanc.dicom_port, keys)
        assert found.status == "Success"
        assert step_ids(found) == expected, keys

    # As the README writes them: nothing but the one key.
    bare = scanner.find(orthanc.dicom_port, [scanner.STEP + "Modality=CT"], usual=False)
    assert [list(answer.keys()) for answer in bare.answers] == [[0x00080005, 0x00400100]] * 2


def test_every_answer_is_valid_dicom_with_the_name_intact(
    openmrs: Standin, start_orthanc: Start
) -> None:
    samples = list(patients(12, date.today()))
    for sample in samples:
        sample.add_to(openmrs.records)
    orthanc = start_orthanc()
    offered(orthanc, len(samples))

    found = scanner.find(orthanc.dicom_port)
    assert len(found.answers) == len(samples)
    names = {
        " ".join(part for part in (sample.given, sample.middle, sample.family) if part)
        for sample in samples
    }
    for answer in found.answers:
        step = answer.ScheduledProcedureStepSequence[0]
        name = answer.PatientName
        assert (
            " ".join(filter(None, (name.given_name, name.middle_name, name.family_name))) in names
        )
        assert answer.SpecificCharacterSet == "ISO_IR 192"
        assert answer.StudyInstanceUID.is_valid
        assert len(step.ScheduledProcedureStepStartDate) == 8
        assert len(step.ScheduledProcedureStepStartTime) == 6
        assert step.ScheduledStationAETitle
        assert step.Modality
        assert len(answer.AccessionNumber) <= 16
    assert len({answer.StudyInstanceUID for answer in found.answers}) == len(samples)


@pytest.mark.parametrize("generation", WITH_WORKLIST)
def test_images_complete_their_step_in_every_generation_without_configuration(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path, generation: str
) -> None:
    openmrs.generation = generation
    patient = openmrs.records.add_patient("Thị Ánh", "Nguyễn")
    openmrs.records.add_request(patient, steps=[StepFields(modality="CT")])
    other = openmrs.records.add_patient("Ivan", "Петров")
    openmrs.records.add_request(other, steps=[StepFields(modality="CT")])
    orthanc = start_orthanc()
    # While it answers a status update, v1.9 and later ones call this Orthanc back.
    openmrs.orthanc_url = orthanc.url
    offered(orthanc, 2)

    answer = scanner.find(orthanc.dicom_port).answers[0]
    scanner.store(orthanc.dicom_port, [scanner.acquire(answer, tmp_path)])

    eventually(lambda: openmrs.records.statuses()[1] == "completed", "step 1 is not completed")
    eventually(
        lambda: orthanc.get("/openmrs/status")["Notifications"]["Delivered"] == 1,
        "the notification is not delivered",
    )
    assert openmrs.records.statuses()[2] == "scheduled"
    posts = [entry.path for entry in openmrs.requests_log if entry.method == "POST"]
    told = [path for path in posts if path == urlsplit(openmrs.update_url).path]
    assert len(told) == 1
    assert len(posts) <= 2  # and that the step is in progress, in its own route
    assert all(back.status == 200 for back in openmrs.callbacks)
    assert bool(openmrs.callbacks) == openmrs.dialect.calls_back
    offered(orthanc, 1)


def test_notification_is_delivered_when_openmrs_comes_back(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    patient = openmrs.records.add_patient("Anna", "Svensson")
    openmrs.records.add_request(patient, steps=[StepFields(modality="CT")])
    orthanc = start_orthanc({"RefreshInterval": 1})
    offered(orthanc, 1)
    answer = scanner.find(orthanc.dicom_port).answers[0]

    openmrs.stop()
    scanner.store(orthanc.dicom_port, [scanner.acquire(answer, tmp_path)])
    eventually(
        lambda: orthanc.get("/openmrs/status")["Notifications"]["Pending"] == 1,
        "the notification is not kept",
    )
    orthanc.kill()
    orthanc.start()
    assert scanner.find(orthanc.dicom_port).status == "Success"
    openmrs.start()

    eventually(lambda: openmrs.records.statuses()[1] == "completed", "step 1 is not completed", 30)
