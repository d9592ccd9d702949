"""A study in Orthanc, as far as a list shows it.

Decides: what is read of Orthanc's JSON. No instance is opened: Orthanc's index has all of it.
Must not know: how it is fetched.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orthanc_openmrs.mapping.ownership import implied_patient

_ORTHANC_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{8}){4}")

_UID = re.compile(r"[0-9A-Za-z._-]{1,64}")
"""A UID as bad as Orthanc keeps it, without what Orthanc's searches take for a wildcard or a
list."""


def is_orthanc_id(text: str) -> bool:
    """Whether it has the form of Orthanc's own IDs."""
    return _ORTHANC_ID.fullmatch(text) is not None


def may_be_uid(text: str) -> bool:
    """Whether a study in Orthanc may have this StudyInstanceUID."""
    return _UID.fullmatch(text) is not None


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
    patient_birth_date: str = field(default="", repr=False)
    patient_sex: str = field(default="", repr=False)
    other_patient_ids: str = field(default="", repr=False)
    accession_number: str = ""
    study_time: str = ""


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
        patient_birth_date=_text(patient, "PatientBirthDate"),
        patient_sex=_text(patient, "PatientSex"),
        other_patient_ids=_text(patient, "OtherPatientIDs"),
        accession_number=_text(main, "AccessionNumber"),
        study_time=_text(main, "StudyTime"),
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
