"""A study in Orthanc → the summary that linking and reporting need.

Decides: which tags are read, and of how many instances. Knows Orthanc's core REST API by its
documents only; `get` fetches one (Orthanc Book, "REST API of Orthanc").
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from orthanc_openmrs.model import RequestAttributes, SeriesSummary, StudySummary

LOOKED_AT = 3
"""Instances of a series that are opened: the first may be a scout without the request's tags."""

MAX_TEXT = 1024
"""Longer text is cut: no attribute that is read is longer in DICOM, and a study may hold
megabytes of it, which would go to the database and to OpenMRS."""

Get = Callable[[str], Any]
"""A route of Orthanc → its JSON, None where the resource doesn't exist."""


def read_study(get: Get, study: str) -> StudySummary | None:
    """Read one study by its Orthanc ID, None where it was deleted meanwhile."""
    document = get(f"/studies/{study}")
    series_documents = get(f"/studies/{study}/series")
    if document is None or series_documents is None:
        return None
    series: list[SeriesSummary] = []
    first_tags: Mapping[str, Any] = {}
    for series_document in series_documents:
        tags = _representative_tags(get, series_document.get("Instances", ()))
        first_tags = first_tags or tags
        series.append(_series(series_document, tags))
    main = document.get("MainDicomTags", {})
    patient = document.get("PatientMainDicomTags", {})
    return StudySummary(
        study=study,
        study_instance_uid=_text(main, "StudyInstanceUID"),
        accession_number=_text(main, "AccessionNumber"),
        patient_id=_text(patient, "PatientID"),
        patient_name=_text(patient, "PatientName"),
        patient_birth_date=_text(patient, "PatientBirthDate"),
        referring_physician_name=_text(main, "ReferringPhysicianName"),
        study_description=_text(main, "StudyDescription"),
        requested_procedure_description=_text(main, "RequestedProcedureDescription")
        or _text(first_tags, "RequestedProcedureDescription"),
        series=tuple(series),
    )


def _representative_tags(get: Get, instances: Iterable[str]) -> Mapping[str, Any]:
    """The tags of the first instance that names its request, else of the first."""
    ids = list(instances)
    middle = [ids[len(ids) // 2]] if len(ids) > 2 else []
    chosen = list(dict.fromkeys(ids[:1] + ids[-1:] + middle))[:LOOKED_AT]
    first: Mapping[str, Any] = {}
    for instance in chosen:
        tags = get(f"/instances/{instance}/simplified-tags")
        if not isinstance(tags, dict):
            continue
        if tags.get("RequestAttributesSequence"):
            return tags
        first = first or tags
    return first


def _series(document: Mapping[str, Any], tags: Mapping[str, Any]) -> SeriesSummary:
    main = {**tags, **document.get("MainDicomTags", {})}
    sequence = tags.get("RequestAttributesSequence")
    items = sequence if isinstance(sequence, list) else []
    return SeriesSummary(
        series_instance_uid=_text(main, "SeriesInstanceUID"),
        modality=_text(main, "Modality"),
        series_description=_text(main, "SeriesDescription"),
        station_name=_text(main, "StationName"),
        instances=len(document.get("Instances", ())),
        request_attributes=tuple(
            RequestAttributes(
                _text(item, "ScheduledProcedureStepID"), _text(item, "RequestedProcedureID")
            )
            for item in items
            if isinstance(item, dict)
        ),
        performed_procedure_step_id=_text(main, "PerformedProcedureStepID"),
        performed_procedure_step_description=_text(main, "PerformedProcedureStepDescription"),
        performed_procedure_step_start_date=_text(main, "PerformedProcedureStepStartDate"),
        performed_procedure_step_start_time=_text(main, "PerformedProcedureStepStartTime"),
        performing_physician_name=_text(main, "PerformingPhysicianName"),
    )


def _text(tags: Mapping[str, Any], keyword: str) -> str:
    value = tags.get(keyword)
    if not isinstance(value, str):
        return ""
    # Half a surrogate pair, which bad UTF-8 of a scanner leaves, can't be stored or sent.
    return value[:MAX_TEXT].encode("utf-8", "replace").decode().strip(" \0")
