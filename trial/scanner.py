"""A scanner, played by DCMTK: asks for its worklist, makes an image of an answer, sends it."""

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import generate_uid

TIMEOUT = 60
STEP = "ScheduledProcedureStepSequence[0]."

USUAL_KEYS = (
    "SpecificCharacterSet",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "RequestedProcedureDescription",
    "RequestedProcedureID",
    "RequestedProcedurePriority",
    STEP + "ScheduledStationAETitle",
    STEP + "ScheduledProcedureStepStartDate",
    STEP + "ScheduledProcedureStepStartTime",
    STEP + "Modality",
    STEP + "ScheduledPerformingPhysicianName",
    STEP + "ScheduledProcedureStepDescription",
    STEP + "ScheduledProcedureStepID",
)
"""What a scanner asks for, without restricting anything."""


@dataclass(frozen=True, slots=True)
class Found:
    """The answers to a query, and DCMTK's word for the final status ("Success")."""

    answers: list[Dataset]
    status: str
    output: str


def find(
    port: int,
    keys: Sequence[str] = (),
    *,
    ae_title: str = "CT1",
    usual: bool = True,
    environment: Mapping[str, str] | None = None,
) -> Found:
    """Ask the worklist with DCMTK's findscu. `keys` are as its `-k` takes them; with `usual`
    they are added to the keys that a scanner asks for."""
    asked = [*(USUAL_KEYS if usual else ()), *keys]
    with tempfile.TemporaryDirectory() as folder:
        run = subprocess.run(
            ["findscu", "-v", "-W", "-X", "-od", folder, "-aet", ae_title]
            + [word for key in asked for word in ("-k", key)]
            + ["127.0.0.1", str(port)],
            capture_output=True,
            timeout=TIMEOUT,
            env=dict(environment) if environment else None,
            check=False,
        )
        paths = sorted(Path(folder).glob("rsp*.dcm"))
        answers: list[Dataset] = [pydicom.dcmread(path) for path in paths]
    output = (run.stdout + run.stderr).decode(errors="replace")
    _, _, last = output.rpartition("Received Final Find Response (")
    return Found(answers, last.partition(")")[0], output)


def acquire(
    answer: Dataset,
    folder: Path,
    *,
    request_attributes: bool = True,
    changes: Mapping[str, str] | None = None,
    series: str | None = None,
) -> Path:
    """A CT image of pydicom's test files with what a scanner copies from the worklist.

    `changes` are written over it at last, by keyword; `series` is the SeriesInstanceUID.
    """
    image = pydicom.dcmread(str(get_testdata_file("CT_small.dcm")))
    step = answer.ScheduledProcedureStepSequence[0]
    image.SpecificCharacterSet = "ISO_IR 192"
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
        setattr(image, keyword, answer.get(keyword, ""))
    for keyword in ("StudyInstanceUID", "AccessionNumber", "RequestedProcedureDescription"):
        setattr(image, keyword, answer.get(keyword, ""))
    image.Modality = step.Modality
    image.SeriesInstanceUID = series or generate_uid()
    image.SOPInstanceUID = generate_uid()
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.StudyID = "4711"
    if request_attributes:
        item = Dataset()
        item.ScheduledProcedureStepID = step.ScheduledProcedureStepID
        item.RequestedProcedureID = answer.RequestedProcedureID
        image.RequestAttributesSequence = DicomSequence([item])
    for keyword, value in (changes or {}).items():
        setattr(image, keyword, value)
    path = folder / f"{image.SOPInstanceUID}.dcm"
    image.save_as(path)
    return path


def store(port: int, paths: Sequence[Path], *, ae_title: str = "CT1") -> None:
    """Send images with DCMTK's storescu. Raises CalledProcessError where it fails."""
    subprocess.run(
        ["storescu", "-aet", ae_title, "-aec", "ORTHANC", "127.0.0.1", str(port)]
        + [str(path) for path in paths],
        check=True,
        capture_output=True,
        timeout=TIMEOUT,
    )
