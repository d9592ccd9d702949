"""A clinic in the middle of its day: orders, studies, and one of everything that needs a person.

Decides what there is to see. All people are invented.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from pydicom.dataset import Dataset

from standin import Standin, StepFields
from standin.faults import Fault
from standin.samples import patients
from trial import scanner
from trial.orthanc import ScratchOrthanc
from trial.waiting import eventually

PATIENTS = 12
WORKLIST = "/worklist/requests"
UPDATE = "/updaterequeststatus"


@dataclass(frozen=True, slots=True)
class Clinic:
    """What became of whom; steps by ScheduledProcedureStepID."""

    delivered: str
    failed: str
    held: str
    held_name: str
    stray_uid: str
    stray_of: str
    """The uuid of the patient whom the study that is nobody's looks like."""


def orders(openmrs: Standin) -> None:
    """Twelve steps for the scanners, and one that can't be offered."""
    for sample in patients(PATIENTS, date.today()):
        sample.add_to(openmrs.records)
    today = date.today().strftime("%Y%m%d")
    patient = openmrs.records.add_patient("Achieng", "Odhiambo", "", "1988-04-02", "F")
    step = StepFields("", "CT1", f"{today}150000", "150000", description="not said with what")
    openmrs.records.add_request(patient, description="Follow-up", steps=[step])


def day(openmrs: Standin, orthanc: ScratchOrthanc, folder: Path) -> Clinic:
    """Sends a study that is delivered, one that OpenMRS refuses, one that is held, and one that
    is nobody's."""
    eventually(
        lambda: orthanc.get("/openmrs/status")["Worklist"]["Offered"] == PATIENTS,
        "the orders aren't offered",
    )
    answers = {
        str(answer.ScheduledProcedureStepSequence[0].ScheduledProcedureStepID): answer
        for answer in scanner.find(orthanc.dicom_port).answers
    }
    send(orthanc, folder, answers["1"])
    until(orthanc, Delivered=1)
    # What OpenMRS says of a step that was rejected since the last look at its list.
    refusal = Fault("says", status=200, text="No series data found in payload")
    openmrs.set_fault(refusal, UPDATE, "POST", times=1)
    send(orthanc, folder, answers["4"])
    until(orthanc, Delivered=1, Failed=1)
    send(
        orthanc,
        folder,
        answers["9"],
        {
            "PatientID": "H-22917",
            "PatientName": "LEFEVRE DURR^HELENE",
            "StudyInstanceUID": "1.2.826.0.1.3680043.8.498.22917",
        },
    )
    until(orthanc, Delivered=1, Failed=1, Held=1)
    stray = answers["6"]
    patient = str(stray.PatientID)
    stray.AccessionNumber = ""
    uid = "1.2.826.0.1.3680043.8.498.4711"
    send(
        orthanc,
        folder,
        stray,
        {"PatientID": "K-0042", "StudyInstanceUID": uid},
        request_attributes=False,
    )
    eventually(
        lambda: len(orthanc.get("/openmrs/studies?assigned=false")) == 2,
        "the stray study isn't there",
    )
    return Clinic("1", "4", "9", str(answers["9"].PatientName), uid, patient)


def send(
    orthanc: ScratchOrthanc,
    folder: Path,
    answer: Dataset,
    changes: Mapping[str, str] | None = None,
    *,
    request_attributes: bool = True,
) -> None:
    """An image of a step, made today, with `changes` by keyword."""
    step = answer.ScheduledProcedureStepSequence[0]
    written: Mapping[str, str] = {
        "StudyDate": date.today().strftime("%Y%m%d"),
        "PerformedProcedureStepStartDate": date.today().strftime("%Y%m%d"),
        "StudyDescription": str(step.ScheduledProcedureStepDescription),
        **(changes or {}),
    }
    image = scanner.acquire(answer, folder, request_attributes=request_attributes, changes=written)
    scanner.store(orthanc.dicom_port, [image])


def until(orthanc: ScratchOrthanc, **states: int) -> None:
    """Wait until so many notifications are in each of these states."""

    def counted() -> bool:
        found = orthanc.get("/openmrs/status")["Notifications"]
        return all(found.get(state) == count for state, count in states.items())

    eventually(counted, f"the notifications aren't {states}")
