"""The link between a study and a step: nobody else's is closed, and nothing is lost."""

import sqlite3
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from standin import Standin, StepFields
from standin.records import Records
from tests.server.conftest import Start
from tests.server.test_completion import (
    add_patients,
    answers,
    ask,
    becomes,
    completed,
    counted,
    notifications,
    orthanc_id,
    posts,
    report,
    send,
    stable,
    start_orthanc,
    steps_told,
)
from trial import scanner
from trial.orthanc import ScratchOrthanc
from trial.waiting import eventually

__all__ = ["start_orthanc"]

OFTEN = {"RefreshInterval": 1, "ReportInProgress": False}


def two_of_a_modality(openmrs: Standin) -> None:
    """A request of two CT steps."""
    patient = openmrs.records.add_patient("Anna", "Svensson")
    openmrs.records.add_request(patient, accession="TWO", steps=[StepFields(), StepFields()])


def list_read(openmrs: Standin, times: int = 2) -> None:
    """Wait until the list was read since."""
    wanted = len(reads(openmrs)) + times
    eventually(lambda: len(reads(openmrs)) >= wanted, "the list isn't read")


def reads(openmrs: Standin) -> list[Any]:
    """The reads of the list so far."""
    return [one for one in openmrs.requests_log if one.method == "GET" and "requests" in one.path]


def states(orthanc: ScratchOrthanc) -> list[tuple[str, str]]:
    """Step and state of every notification."""
    told = orthanc.get("/openmrs/notifications?limit=1000")
    return [(one["ScheduledProcedureStepID"], one["State"]) for one in told]


def delete(orthanc: ScratchOrthanc, answer: Dataset) -> None:
    """The study of an answer goes."""
    ask(orthanc, "DELETE", f"/studies/{orthanc_id(orthanc, answer)}")


def waits(orthanc: ScratchOrthanc, count: int = 1) -> None:
    """Wait until so many notifications are pending, for OpenMRS is away."""
    eventually(
        lambda: orthanc.get("/openmrs/status")["Notifications"]["Pending"] == count,
        "nothing is pending",
    )


# --- nobody else's -------------------------------------------------------------------------


@pytest.mark.parametrize("generation", ["v1", "v2", "v3"])
def test_late_images_of_a_step_that_is_done_never_close_its_sister(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path, generation: str
) -> None:
    openmrs.generation = generation
    two_of_a_modality(openmrs)
    add_patients(openmrs, 1)
    orthanc = start_orthanc(OFTEN)
    found = answers(orthanc, 3)
    send(orthanc, tmp_path, found[1])
    counted(orthanc, Delivered=1)
    list_read(openmrs)

    # More images, which name nothing; a key image; a copy, as a study of its own.
    send(orthanc, tmp_path, found[1], request_attributes=False)
    send(orthanc, tmp_path, found[1], {"Modality": "KO"}, request_attributes=False)
    stable(orthanc, found[1], times=2)
    copy = {"StudyInstanceUID": generate_uid()}
    send(orthanc, tmp_path, found[1], copy, request_attributes=False)
    echo = {"StudyInstanceUID": generate_uid(), "PerformedProcedureStepID": "1"}
    send(orthanc, tmp_path, found[1], echo, request_attributes=False)
    counted(orthanc, Delivered=1, Held=1)
    held = notifications(orthanc)[copy["StudyInstanceUID"]]
    assert "several steps of modality CT (1, 2)" in held["Reason"]
    send(orthanc, tmp_path, found[3])
    counted(orthanc, Delivered=2, Held=1)
    assert steps_told(openmrs) == [1, 3]
    assert openmrs.records.statuses()[2] == "scheduled"

    report(orthanc, orthanc_id(orthanc, _named(copy)), 2)
    completed(openmrs, 2)


def _named(changes: Mapping[str, str]) -> Dataset:
    named = Dataset()
    named.StudyInstanceUID = changes["StudyInstanceUID"]
    return named


def installed_again(openmrs: Standin) -> None:
    openmrs.records = Records()
    other = openmrs.records.add_patient("Somebody", "Else")
    openmrs.records.add_request(other, steps=[StepFields()])


def installed_again_and_completed(openmrs: Standin) -> None:
    installed_again(openmrs)
    openmrs.records.set_step_status(1, "completed")


def rejected(openmrs: Standin) -> None:
    openmrs.records.set_step_status(1, "rejected")


def of_another_patient(openmrs: Standin) -> None:
    openmrs.records.change_request(1, patient=openmrs.records.add_patient("Berta", "Berg"))


@pytest.mark.parametrize(
    "meanwhile", [installed_again, installed_again_and_completed, rejected, of_another_patient]
)
@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_what_was_pending_is_told_only_of_the_very_step_that_it_is_about(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path, meanwhile: Any, generation: str
) -> None:
    openmrs.generation = generation
    add_patients(openmrs, 1)
    orthanc = start_orthanc(OFTEN)
    found = answers(orthanc, 1)
    openmrs.stop()
    send(orthanc, tmp_path, found[1])
    waits(orthanc)
    meanwhile(openmrs)
    before = openmrs.records.statuses()
    openmrs.start()
    eventually(
        lambda: orthanc.get("/openmrs/status")["Notifications"]["Pending"] == 0, "it is pending"
    )
    list_read(openmrs)
    assert posts(openmrs) == []
    assert openmrs.records.statuses() == before
    if meanwhile is not rejected:
        (held,) = orthanc.get("/openmrs/notifications?state=held")
        assert held["Reason"]


@pytest.mark.parametrize("how", ["deleted", "corrected", "overwritten"])
def test_what_was_pending_for_a_study_that_is_no_more_is_not_told(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path, how: str
) -> None:
    add_patients(openmrs, 2)
    orthanc = start_orthanc(OFTEN, OverwriteInstances=True)
    found = answers(orthanc, 2)
    openmrs.stop()
    image = scanner.acquire(found[1], tmp_path)
    scanner.store(orthanc.dicom_port, [image])
    waits(orthanc)
    study = orthanc_id(orthanc, found[1])
    if how == "deleted":
        delete(orthanc, found[1])
    elif how == "corrected":
        # Orthanc 1.10 changes a PatientID of whole patients only.
        patient = orthanc.get(f"/studies/{study}")["ParentPatient"]
        body = """{"Replace": {"PatientID": "another", "PatientName": "A", "PatientBirthDate": "",
                "PatientSex": "F"}, "Force": true}"""
        ask(orthanc, "POST", f"/patients/{patient}/modify", body)
        ask(orthanc, "DELETE", f"/studies/{study}")
    else:
        # The same instance, which says now that it is of another order.
        wrong = {key: str(getattr(found[2], key)) for key in ("AccessionNumber", "PatientID")}
        wrong["SOPInstanceUID"] = image.stem
        scanner.store(orthanc.dicom_port, [scanner.acquire(found[1], tmp_path, changes=wrong)])
        ask(orthanc, "DELETE", f"/studies/{study}") if study_is_there(orthanc, study) else None
    openmrs.start()
    eventually(
        lambda: orthanc.get("/openmrs/status")["Notifications"]["Pending"] == 0, "it is pending"
    )
    list_read(openmrs)
    assert posts(openmrs) == []
    assert openmrs.records.statuses() == {1: "scheduled", 2: "scheduled"}
    assert ("1", "discarded") in states(orthanc)


def study_is_there(orthanc: ScratchOrthanc, study: str) -> bool:
    """Whether Orthanc has it."""
    return study in orthanc.get("/studies")


# --- nothing lost --------------------------------------------------------------------------


@pytest.mark.parametrize("discarded", [False, True])
def test_a_repeated_exam_is_told_again(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path, discarded: bool
) -> None:
    add_patients(openmrs, 1)
    orthanc = start_orthanc(OFTEN)
    found = answers(orthanc, 1)
    send(orthanc, tmp_path, found[1], {"PatientID": "x"} if discarded else None)
    if discarded:
        counted(orthanc, Held=1)
        (held,) = orthanc.get("/openmrs/notifications")
        ask(orthanc, "DELETE", f"/openmrs/notifications/{held['ID']}")
        counted(orthanc, Discarded=1)
    else:
        completed(openmrs, 1)
        list_read(openmrs)
        openmrs.records.set_step_status(1, "scheduled")
    delete(orthanc, found[1])
    list_read(openmrs)
    send(orthanc, tmp_path, found[1])
    completed(openmrs, 1)
    assert steps_told(openmrs) == [1] * (1 if discarded else 2)


def test_a_step_that_is_set_back_without_a_new_study_is_shown_with_both_ways_on(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 2)
    orthanc = start_orthanc(OFTEN)
    found = answers(orthanc, 2)
    scanner.store(orthanc.dicom_port, [scanner.acquire(found[step], tmp_path) for step in (1, 2)])
    counted(orthanc, Delivered=2)
    list_read(openmrs)
    for step in (1, 2):
        openmrs.records.set_step_status(step, "scheduled")
    counted(orthanc, Held=2)
    shown = {one["ScheduledProcedureStepID"]: one for one in orthanc.get("/openmrs/notifications")}
    assert all("open in OpenMRS again" in one["Reason"] for one in shown.values())
    ask(orthanc, "POST", f"/openmrs/notifications/{shown['1']['ID']}/retry")
    ask(orthanc, "DELETE", f"/openmrs/notifications/{shown['2']['ID']}")
    counted(orthanc, Delivered=1, Discarded=1)
    list_read(openmrs)
    counted(orthanc, Delivered=1, Discarded=1)
    assert openmrs.records.statuses() == {1: "completed", 2: "scheduled"}
    report(orthanc, orthanc_id(orthanc, found[2]), 2)
    completed(openmrs, 2)


def test_an_order_that_comes_after_the_images_and_a_list_that_was_empty_lose_nothing(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 1)
    orthanc = start_orthanc(OFTEN)
    found = answers(orthanc, 1)
    patient = openmrs.records.requests()[0].patient
    emergency = {
        "StudyInstanceUID": generate_uid(),
        "AccessionNumber": "EMERGENCY",
        "PatientID": patient.uuid,
    }
    full, openmrs.records = openmrs.records, Records()
    list_read(openmrs)
    send(orthanc, tmp_path, found[1])
    send(orthanc, tmp_path, found[1], emergency, request_attributes=False)
    for answer in (found[1], _named(emergency)):
        stable(orthanc, answer, times=1)
    list_read(openmrs)
    assert posts(openmrs) == []

    openmrs.records = full
    completed(openmrs, 1)
    assert len(posts(openmrs)) == 1
    openmrs.records.add_request(patient, accession="EMERGENCY", steps=[StepFields()])
    completed(openmrs, 2)
    counted(orthanc, Delivered=2, Discarded=len(states(orthanc)) - 2)


def test_a_uid_that_a_scanner_has_stays_its_orders_whatever_the_clerk_types_later(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    patient = openmrs.records.add_patient("Anna", "Svensson")
    openmrs.records.add_request(patient, accession="", steps=[StepFields()])
    orthanc = start_orthanc(OFTEN)
    found = answers(orthanc, 1)
    openmrs.records.change_request(1, accession="typed later")
    eventually(
        lambda: str(answers(orthanc)[1].AccessionNumber) == "typed later", "the list isn't read"
    )
    again = answers(orthanc)[1]
    assert again.StudyInstanceUID == found[1].StudyInstanceUID
    orthanc.stop()
    orthanc.start()
    send(orthanc, tmp_path, found[1], {"AccessionNumber": ""}, request_attributes=False)
    completed(openmrs, 1)


def test_a_study_that_is_sent_again_while_the_database_is_locked_is_told(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 2)
    orthanc = start_orthanc(OFTEN)
    found = answers(orthanc, 2)
    send(orthanc, tmp_path, found[1])
    completed(openmrs, 1)
    list_read(openmrs)
    openmrs.records.set_step_status(1, "scheduled")

    (file,) = tmp_path.rglob("openmrs.db")
    over = threading.Event()
    other = sqlite3.connect(file, timeout=30, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        delete(orthanc, found[1])
        scanner.store(
            orthanc.dicom_port, [scanner.acquire(found[step], tmp_path) for step in (1, 2)]
        )
        for step in (1, 2):
            stable(orthanc, found[step], times=1)
        over.wait(7)  # longer than the plugin waits for a writer
    finally:
        other.execute("ROLLBACK")
        other.close()
    for step in (1, 2):
        completed(openmrs, step, seconds=60)
    assert sorted(steps_told(openmrs)) == [1, 1, 2]


def test_two_studies_of_one_uid_are_two_decisions(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    two_of_a_modality(openmrs)
    orthanc = start_orthanc(OFTEN)
    found = answers(orthanc, 2)
    for patient_id in ("first", "second"):
        send(orthanc, tmp_path, found[1], {"PatientID": patient_id})
    counted(orthanc, Held=2)
    held = {one["Study"]: one for one in orthanc.get("/openmrs/notifications")}
    assert len(held) == 2
    first, second = held
    assert report(orthanc, first, 1)["Study"] == first
    completed(openmrs, 1)
    (left,) = orthanc.get("/openmrs/notifications?state=held")
    assert left["Study"] == second
    compared = orthanc.get(f"/openmrs/notifications/{left['ID']}")["Comparison"]
    assert compared["Study"]["PatientID"] in ("first", "second")
    assert report(orthanc, second, 2)["Study"] == second
    completed(openmrs, 2)
    send(orthanc, tmp_path, found[1], {"PatientID": "first"})
    stable(orthanc, found[1], times=2)
    list_read(openmrs)
    assert sorted(steps_told(openmrs)) == [1, 2]


def test_one_study_completes_steps_of_two_requests_when_a_person_says_so(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    patient = openmrs.records.add_patient("Anna", "Svensson")
    for accession in ("CHEST", "ABDOMEN"):
        openmrs.records.add_request(patient, accession=accession, steps=[StepFields()])
    orthanc = start_orthanc(OFTEN)
    found = answers(orthanc, 2)
    both = [scanner.acquire(found[1], tmp_path)]
    both.append(
        scanner.acquire(found[2], tmp_path, changes={"StudyInstanceUID": found[1].StudyInstanceUID})
    )
    scanner.store(orthanc.dicom_port, both)
    counted(orthanc, Held=1)
    study = orthanc_id(orthanc, found[1])
    body = '{"ScheduledProcedureStepIDs": ["1", "2"]}'
    ask(orthanc, "POST", f"/openmrs/studies/{study}/report", body)
    for step in (1, 2):
        completed(openmrs, step)
    counted(orthanc, Delivered=2, Discarded=1)
    send(orthanc, tmp_path, found[1])
    stable(orthanc, found[1], times=2)
    list_read(openmrs)
    counted(orthanc, Delivered=2, Discarded=1)


def test_one_unreadable_file_stops_no_study(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 1)
    orthanc = start_orthanc({"ReportInProgress": False}, StableAge=4)
    found = answers(orthanc, 1)
    series = generate_uid()
    images = [scanner.acquire(found[1], tmp_path, series=series) for _ in range(3)]
    before = set((tmp_path / "orthanc").rglob("*"))
    scanner.store(orthanc.dicom_port, images[:1])
    kept = [
        path for path in set((tmp_path / "orthanc").rglob("*")) - before if len(path.name) == 36
    ]
    for path in kept:
        path.write_bytes(b"damaged")
    scanner.store(orthanc.dicom_port, images[1:])
    completed(openmrs, 1)
    becomes(openmrs, 1, "completed")
