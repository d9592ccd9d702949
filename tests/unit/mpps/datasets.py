"""Datasets as scanners send them: an N-CREATE, an N-SET."""

from typing import Any

from pydicom.dataset import Dataset

from orthanc_openmrs.mpps.datasets import EXPLICIT, serialize

STUDY = "1.2.826.0.1.3680043.2.1125.1"
SERIES = "1.2.826.0.1.3680043.2.1125.1.1"


def item(**values: Any) -> Dataset:
    """A dataset with these attributes."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def scheduled(step_id: str = "14", **values: Any) -> Dataset:
    """An item of ScheduledStepAttributesSequence."""
    usual: dict[str, Any] = {
        "StudyInstanceUID": STUDY,
        "ReferencedStudySequence": [],
        "AccessionNumber": "A-7",
        "RequestedProcedureID": "7",
        "RequestedProcedureDescription": "CT of the head",
        "ScheduledProcedureStepID": step_id,
        "ScheduledProcedureStepDescription": "Head",
        "ScheduledProtocolCodeSequence": [],
    }
    return item(**(usual | values))


def start(*steps: Dataset, **values: Any) -> Dataset:
    """An N-CREATE that lacks nothing."""
    usual: dict[str, Any] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "ScheduledStepAttributesSequence": list(steps or [scheduled()]),
        "PatientName": "Núñez^María",
        "PatientID": "0f8a5c1e-5b1c-4a63-9b2b-0d3f6d2a7c11",
        "PatientBirthDate": "19800102",
        "PatientSex": "F",
        "ReferencedPatientSequence": [],
        "PerformedProcedureStepID": "PPS1",
        "PerformedStationAETitle": "CT1",
        "PerformedStationName": "",
        "PerformedLocation": "",
        "PerformedProcedureStepStartDate": "20261125",
        "PerformedProcedureStepStartTime": "101200",
        "PerformedProcedureStepStatus": "IN PROGRESS",
        "PerformedProcedureStepDescription": "",
        "PerformedProcedureTypeDescription": "",
        "ProcedureCodeSequence": [],
        "PerformedProcedureStepEndDate": "",
        "PerformedProcedureStepEndTime": "",
        "Modality": "CT",
        "StudyID": "",
        "PerformedProtocolCodeSequence": [],
        "PerformedSeriesSequence": [],
    }
    return item(**(usual | values))


def series(*uids: str, series_uid: str = SERIES) -> Dataset:
    """An item of PerformedSeriesSequence with these instances."""
    return item(
        PerformingPhysicianName="",
        ProtocolName="Head",
        OperatorsName="",
        SeriesInstanceUID=series_uid,
        SeriesDescription="",
        RetrieveAETitle="",
        ReferencedImageSequence=[
            item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.2", ReferencedSOPInstanceUID=uid)
            for uid in uids
        ],
        ReferencedNonImageCompositeSOPInstanceSequence=[],
    )


def end(*performed: Dataset, status: str = "COMPLETED", **values: Any) -> Dataset:
    """An N-SET to a final state that lacks nothing."""
    usual: dict[str, Any] = {
        "PerformedProcedureStepStatus": status,
        "PerformedProcedureStepEndDate": "20261125",
        "PerformedProcedureStepEndTime": "102000",
        "PerformedSeriesSequence": list(performed or [series(f"{SERIES}.1", f"{SERIES}.2")]),
    }
    return item(**(usual | values))


def encoded(dataset: Dataset, transfer_syntax: str = EXPLICIT) -> bytes:
    """Its bytes."""
    return serialize(dataset, transfer_syntax)
