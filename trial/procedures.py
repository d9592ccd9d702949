"""A scanner that reports its exams (MPPS), played by pynetdicom: start, end, what is it now."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid
from pynetdicom import AE
from pynetdicom.association import Association

MPPS = UID("1.2.840.10008.3.1.2.3.3")
MPPS_RETRIEVE = UID("1.2.840.10008.3.1.2.3.4")
VERIFICATION = UID("1.2.840.10008.1.1")
TIMEOUT = 30


class Reports:
    """The MPPS side of a scanner. Each report has an association of its own, as a scanner's."""

    def __init__(self, port: int, *, ae_title: str = "CT1", called: str = "ORTHANC") -> None:
        self._port, self._ae_title, self._called = port, ae_title, called

    @contextmanager
    def associated(self, **values: Any) -> Iterator[Association]:
        """An association; AssertionError where it is refused."""
        entity = AE(ae_title=self._ae_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = TIMEOUT
        for syntax in (MPPS, MPPS_RETRIEVE, VERIFICATION):
            entity.add_requested_context(syntax)
        association = entity.associate("127.0.0.1", self._port, ae_title=self._called, **values)
        assert association.is_established, "the association is refused"
        try:
            yield association
        finally:
            association.release()

    def start(self, *answers: Dataset, uid: str | None = None, **changes: Any) -> str:
        """N-CREATE of the steps of these worklist answers; the UID of the performed step.
        AssertionError where it isn't taken."""
        made = uid or str(generate_uid())
        with self.associated() as association:
            status, _ = association.send_n_create(started(*answers, **changes), MPPS, UID(made))
        assert status.Status == 0, f"{status.Status:04X}"
        return made

    def end(
        self, uid: str, images: Sequence[Path] = (), *, status: str = "COMPLETED", **changes: Any
    ) -> None:
        """N-SET to a final state, with these images. AssertionError where it isn't taken."""
        found = self.set(uid, ended(images, status=status, **changes))
        assert found == 0, f"{found:04X}"

    def set(self, uid: str, changes: Dataset) -> int:
        """N-SET; its status."""
        with self.associated() as association:
            status, _ = association.send_n_set(changes, MPPS, UID(uid))
        return int(status.Status)

    def get(self, uid: str) -> tuple[int, Dataset | None]:
        """N-GET; its status and the step."""
        with self.associated() as association:
            status, found = association.send_n_get([], MPPS, UID(uid), meta_uid=MPPS_RETRIEVE)
        return int(status.Status), found


def started(*answers: Dataset, **changes: Any) -> Dataset:
    """What a scanner sends when it begins the steps of these worklist answers."""
    now = datetime.now().astimezone()
    first = answers[0] if answers else Dataset()
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ScheduledStepAttributesSequence = [_scheduled(answer) for answer in answers]
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"):
        setattr(dataset, keyword, first.get(keyword, ""))
    dataset.ReferencedPatientSequence = []
    dataset.PerformedProcedureStepID = "4711"
    dataset.PerformedStationAETitle = "CT1"
    dataset.PerformedStationName = "CTROOM"
    dataset.PerformedLocation = ""
    dataset.PerformedProcedureStepStartDate = f"{now:%Y%m%d}"
    dataset.PerformedProcedureStepStartTime = f"{now:%H%M%S}"
    dataset.PerformedProcedureStepStatus = "IN PROGRESS"
    dataset.PerformedProcedureStepDescription = ""
    dataset.PerformedProcedureTypeDescription = ""
    dataset.ProcedureCodeSequence = []
    dataset.PerformedProcedureStepEndDate = ""
    dataset.PerformedProcedureStepEndTime = ""
    steps = first.get("ScheduledProcedureStepSequence")
    dataset.Modality = steps[0].Modality if steps else "CT"
    dataset.StudyID = ""
    dataset.PerformedProtocolCodeSequence = []
    dataset.PerformedSeriesSequence = []
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def _scheduled(answer: Dataset) -> Dataset:
    step = answer.ScheduledProcedureStepSequence[0]
    item = Dataset()
    item.StudyInstanceUID = answer.StudyInstanceUID
    item.ReferencedStudySequence = []
    for keyword in ("AccessionNumber", "RequestedProcedureID", "RequestedProcedureDescription"):
        setattr(item, keyword, answer.get(keyword, ""))
    item.ScheduledProcedureStepID = step.ScheduledProcedureStepID
    item.ScheduledProcedureStepDescription = step.get("ScheduledProcedureStepDescription", "")
    item.ScheduledProtocolCodeSequence = []
    return item


def ended(images: Sequence[Path] = (), *, status: str = "COMPLETED", **changes: Any) -> Dataset:
    """What a scanner sends when it has made these images."""
    now = datetime.now().astimezone()
    dataset = Dataset()
    dataset.PerformedProcedureStepStatus = status
    dataset.PerformedProcedureStepEndDate = f"{now:%Y%m%d}"
    dataset.PerformedProcedureStepEndTime = f"{now:%H%M%S}"
    series: dict[str, Dataset] = {}
    for path in images:
        image = pydicom.dcmread(path, stop_before_pixels=True)
        item = series.setdefault(image.SeriesInstanceUID, _series(image))
        reference = Dataset()
        reference.ReferencedSOPClassUID = image.SOPClassUID
        reference.ReferencedSOPInstanceUID = image.SOPInstanceUID
        item.ReferencedImageSequence.append(reference)
    dataset.PerformedSeriesSequence = list(series.values())
    for keyword, value in changes.items():
        setattr(dataset, keyword, value)
    return dataset


def _series(image: Dataset) -> Dataset:
    item = Dataset()
    item.PerformingPhysicianName = ""
    item.ProtocolName = "Head"
    item.OperatorsName = ""
    item.SeriesInstanceUID = image.SeriesInstanceUID
    item.SeriesDescription = ""
    item.RetrieveAETitle = ""
    item.ReferencedImageSequence = []
    item.ReferencedNonImageCompositeSOPInstanceSequence = []
    return item
