"""What scanners report of an exam (MPPS) reaches OpenMRS: its start, its end, its breaking off."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from standin import Standin, StepFields
from tests.server.conftest import Start
from tests.server.test_completion import (
    GENERATIONS,
    STEP_STATUS,
    add_patients,
    answers,
    becomes,
    completed,
    posts,
    steps_told,
)
from tests.server.test_loop import offered
from trial import scanner
from trial.orthanc import ScratchOrthanc
from trial.ports import free_port
from trial.procedures import Reports, ended, started
from trial.waiting import eventually

SOON = 1.0
"""Seconds in which OpenMRS is to know that an exam is done; StableAge is a minute here."""


class Room:
    """A scanner that reports its exams to an Orthanc where studies are stable after a minute."""

    def __init__(
        self,
        start_orthanc: Start,
        folder: Path,
        *,
        stable_age: int = 60,
        mpps: dict[str, Any] | None = None,
    ) -> None:
        port = free_port()
        section = {"MPPS": {"Port": port, **(mpps or {})}}
        self.orthanc: ScratchOrthanc = start_orthanc(section, StableAge=stable_age)
        self.reports = Reports(port)
        self.folder = folder

    def images(self, answer: Dataset, count: int = 3, **changes: Any) -> list[Path]:
        """A series of an exam; as an old scanner makes it, without RequestAttributesSequence."""
        series = str(generate_uid())
        return [
            scanner.acquire(
                answer, self.folder, request_attributes=False, changes=changes, series=series
            )
            for _ in range(count)
        ]

    def send(self, images: Sequence[Path]) -> None:
        scanner.store(self.orthanc.dicom_port, images)


@pytest.fixture
def room(openmrs: Standin, start_orthanc: Start, tmp_path: Path) -> Room:
    add_patients(openmrs, 2)
    return Room(start_orthanc, tmp_path)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_an_exam_from_its_start_to_its_last_image(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path, generation: str
) -> None:
    openmrs.generation = generation
    add_patients(openmrs, 1)
    room = Room(start_orthanc, tmp_path)
    answer = answers(room.orthanc, 1)[1]
    uid = room.reports.start(answer)
    if generation != "v1":  # which has no such status
        becomes(openmrs, 1, "in progress", 5)
    images = room.images(answer)
    room.send(images[:2])
    room.reports.end(uid, images)
    assert openmrs.records.statuses()[1] != "completed"
    room.send(images[2:])
    completed(openmrs, 1, SOON)
    assert steps_told(openmrs) == [1]


def test_images_first_then_the_end(room: Room, openmrs: Standin) -> None:
    answer = answers(room.orthanc, 2)[2]
    uid = room.reports.start(answer)
    images = room.images(answer)
    room.send(images)
    room.reports.end(uid, images)
    completed(openmrs, 2, SOON)


def test_an_exam_that_was_broken_off_is_scheduled_again(room: Room, openmrs: Standin) -> None:
    answer = answers(room.orthanc, 2)[1]
    uid = room.reports.start(answer)
    becomes(openmrs, 1, "in progress")
    room.reports.end(uid, status="DISCONTINUED")
    becomes(openmrs, 1, "scheduled")
    assert 1 in answers(room.orthanc), "the step stays on the worklist"


def test_one_that_another_exam_goes_on_with_is_not(room: Room, openmrs: Standin) -> None:
    answer = answers(room.orthanc, 2)[1]
    first = room.reports.start(answer)
    becomes(openmrs, 1, "in progress")
    second = room.reports.start(answer)
    room.reports.end(first, status="DISCONTINUED")
    images = room.images(answer)
    room.send(images)
    room.reports.end(second, images)
    completed(openmrs, 1, SOON)
    assert len(posts(openmrs, STEP_STATUS)) == 1


def test_nobody_ordered_it_and_it_is_kept(room: Room, openmrs: Standin) -> None:
    uid = room.reports.start()
    room.reports.end(uid, status="DISCONTINUED")
    assert posts(openmrs, STEP_STATUS) == []


def test_an_exam_by_dicomweb(room: Room, openmrs: Standin) -> None:
    """The worklist, the start and the end, over HTTP alone."""
    offered(room.orthanc, 2)
    root, session = f"{room.orthanc.url}/openmrs/dicom-web", room.orthanc.session
    query = {"ScheduledProcedureStepSequence.ScheduledProcedureStepID": "2"}
    found = session.get(f"{root}/modality-scheduled-procedure-steps", params=query, timeout=10)
    (answer,) = (Dataset.from_json(one) for one in found.json())
    step = f"{root}/modality-performed-procedure-steps/{generate_uid()}"

    def post(url: str, dataset: Dataset) -> int:
        return session.post(url, json=[dataset.to_json_dict()], timeout=10).status_code

    assert post(step, started(answer)) == 201
    becomes(openmrs, 2, "in progress")
    images = room.images(answer)
    room.send(images)
    assert post(f"{step}?update", ended(images)) == 200
    completed(openmrs, 2, SOON)
    assert post(f"{step}?update", ended(images)) == 409
    assert session.get(step, timeout=10).json()[0]["00400252"]["Value"] == ["COMPLETED"]
    (told,) = room.orthanc.get("/openmrs/procedures")
    assert (told["Images"], told["Expected"], told["Come"]) == ("come", 3, 3)


def held(room: Room) -> list[str]:
    """Why studies wait for a person."""
    found = room.orthanc.get("/openmrs/notifications", params={"state": "held"})
    return [one["Reason"] for one in found]


def test_nothing_is_told_while_the_scanner_is_not_done(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    """Orthanc says that a study is stable long before the exam has ended."""
    add_patients(openmrs, 1)
    room = Room(start_orthanc, tmp_path, stable_age=1)
    answer = answers(room.orthanc, 1)[1]
    uid = room.reports.start(answer)
    images = room.images(answer)
    room.send(images[:2])
    metrics = f"{room.orthanc.url}/tools/metrics-prometheus"
    eventually(
        lambda: "studies_waiting 1" in room.orthanc.session.get(metrics, timeout=10).text,
        "the study doesn't wait",
    )
    assert posts(openmrs) == []
    room.reports.end(uid, images)
    room.send(images[2:])
    completed(openmrs, 1, 5)
    assert steps_told(openmrs) == [1]


def test_images_that_never_come_are_a_persons_matter(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    add_patients(openmrs, 1)
    room = Room(start_orthanc, tmp_path, stable_age=1, mpps={"ImagesWithin": 0.05})
    answer = answers(room.orthanc, 1)[1]
    uid = room.reports.start(answer)
    images = room.images(answer)
    room.send(images[:2])
    room.reports.end(uid, images)
    eventually(lambda: held(room) == ["2 of 3 images of its exam have come"], "nobody is asked", 30)
    told = room.orthanc.get(f"/openmrs/procedures/{uid}")
    assert (told["Images"], told["Come"], told["Expected"]) == ("missing", 2, 3)
    assert posts(openmrs) == []
    room.send(images[2:])
    completed(openmrs, 1, 10)
    assert held(room) == []


REASON = Dataset()
REASON.CodeValue, REASON.CodingSchemeDesignator = "110514", "DCM"
REASON.CodeMeaning = "Incorrect worklist entry selected"


def test_images_of_an_exam_that_was_broken_off_complete_nothing(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    """The wrong entry of the worklist: its images are held, and are never linked to it."""
    add_patients(openmrs, 1)
    room = Room(start_orthanc, tmp_path, stable_age=1)
    answer = answers(room.orthanc, 1)[1]
    uid = room.reports.start(answer)
    room.send(room.images(answer))
    room.reports.end(
        uid,
        status="DISCONTINUED",
        PerformedProcedureStepDiscontinuationReasonCodeSequence=[REASON],
    )
    why = "the scanner broke its exam off (incorrect worklist entry selected)"
    eventually(lambda: held(room) == [why], "nobody is asked", 30)
    becomes(openmrs, 1, "scheduled")
    assert posts(openmrs) == []


def test_images_that_say_nothing_are_linked_by_their_step(room: Room, openmrs: Standin) -> None:
    """A StudyInstanceUID of the scanner's own, no AccessionNumber: only the MPPS names the order,
    and the images point at it."""
    answer = answers(room.orthanc, 2)[2]
    uid = room.reports.start(answer)
    reference = Dataset()
    reference.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.3"
    reference.ReferencedSOPInstanceUID = uid
    own = str(generate_uid())
    images = room.images(
        answer,
        StudyInstanceUID=own,
        AccessionNumber="",
        ReferencedPerformedProcedureStepSequence=[reference],
    )
    room.send(images)
    room.reports.end(uid, images)
    completed(openmrs, 2, SOON)
    assert steps_told(openmrs) == [2]


def test_a_group_of_steps_is_completed_together(
    openmrs: Standin, start_orthanc: Start, tmp_path: Path
) -> None:
    """One exam for both CT steps of a request, which its images alone couldn't tell apart."""
    patient = openmrs.records.add_patient("Ann", "Onymous")
    openmrs.records.add_request(patient, steps=[StepFields(), StepFields()])
    room = Room(start_orthanc, tmp_path)
    both = answers(room.orthanc, 2)
    uid = room.reports.start(both[1], both[2])
    images = room.images(both[1])
    room.send(images)
    room.reports.end(uid, images)
    completed(openmrs, 1, SOON)
    completed(openmrs, 2, SOON)
