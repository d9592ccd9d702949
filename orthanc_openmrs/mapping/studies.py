"""A study in Orthanc, as far as a list shows it.

Decides: what is read of Orthanc's JSON. No instance is opened: Orthanc's index has all of it.
Must not know: how it is fetched.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orthanc_openmrs.mapping.ownership import implied_patient


@dataclass(frozen=True, slots=True)
class StudyHead:
    """`GET /studies/{id}`. `study` and `series` are Orthanc's IDs; `implied` is the patient that
    its PatientID names."""

    study: str
    study_instance_uid: str
    patient_id: str = ""
    patient_name: str = field(default="", repr=False)
    study_date: str = ""
    study_description: str = ""
    series: tuple[str, ...] = ()
    implied: str = ""


@dataclass(frozen=True, slots=True)
class SeriesHead:
    """One element of `GET /studies/{id}/series`."""

    series: str
    modality: str = ""
    instances: int = 0


def read_study_head(document: Mapping[str, Any]) -> StudyHead:
    """From Orthanc's JSON of a study."""
    main = document.get("MainDicomTags", {})
    patient = document.get("PatientMainDicomTags", {})
    patient_id = _text(patient, "PatientID")
    return StudyHead(
        study=str(document["ID"]),
        study_instance_uid=_text(main, "StudyInstanceUID"),
        patient_id=patient_id,
        patient_name=_text(patient, "PatientName"),
        study_date=_text(main, "StudyDate"),
        study_description=_text(main, "StudyDescription"),
        series=tuple(document.get("Series", ())),
        implied=implied_patient(patient_id, anonymized="AnonymizedFrom" in document),
    )


def read_series_head(document: Mapping[str, Any]) -> SeriesHead:
    """From Orthanc's JSON of a series."""
    return SeriesHead(
        series=str(document["ID"]),
        modality=_text(document.get("MainDicomTags", {}), "Modality"),
        instances=len(document.get("Instances", ())),
    )


def _text(tags: Mapping[str, Any], keyword: str) -> str:
    value = tags.get(keyword)
    if not isinstance(value, str):
        return ""
    # Half a surrogate pair, which bad UTF-8 of a scanner leaves, can't be sent.
    return value.encode("utf-8", "replace").decode().strip(" \0")
