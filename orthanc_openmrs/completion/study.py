"""A study in Orthanc → the summary that linking and reporting need.

Decides: which tags are read, and of how many instances. Knows Orthanc's core REST API by its
documents only; `get` fetches one (Orthanc Book, "REST API of Orthanc").
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from orthanc_openmrs.model import RequestAttributes, SeriesSummary, StudySummary

_log = logging.getLogger(__name__)

LOOKED_AT = 5
"""Instances of a series that are opened: the first may be a scout or a screenshot, which doesn't
name its order."""

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
    unreadable = 0
    for series_document in series_documents:
        seen, failed = _look_at(get, series_document.get("Instances", ()))
        unreadable += failed
        first_tags = first_tags or (seen[0] if seen else {})
        series.append(_series(series_document, seen))
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
        unreadable=unreadable,
    )


def _look_at(get: Get, instances: Iterable[str]) -> tuple[list[Mapping[str, Any]], int]:
    """The tags of a few instances, until one names its order; and how many can't be read.

    A file that is damaged or gone from the disk must not keep its study from being told.
    """
    ids = list(instances)
    last = len(ids) - 1
    chosen = [ids[at] for at in (0, last, last // 2, last // 4, last * 3 // 4) if ids]
    seen: list[Mapping[str, Any]] = []
    unreadable = 0
    for instance in list(dict.fromkeys(chosen))[:LOOKED_AT]:
        try:
            tags = get(f"/instances/{instance}/simplified-tags")
        except Exception as problem:  # of the host, whose errors aren't known here
            _log.warning("instance %s can't be read: %s", instance, type(problem).__name__)
            unreadable += 1
            continue
        if not isinstance(tags, dict):
            continue  # deleted meanwhile
        seen.append(tags)
        if tags.get("RequestAttributesSequence"):
            break
    # What names its order stands for the series.
    seen.sort(key=lambda tags: not tags.get("RequestAttributesSequence"))
    return seen, unreadable


def _series(document: Mapping[str, Any], seen: Sequence[Mapping[str, Any]]) -> SeriesSummary:
    main = {**_first_of_each(seen), **document.get("MainDicomTags", {})}
    return SeriesSummary(
        series_instance_uid=_text(main, "SeriesInstanceUID"),
        modality=_text(main, "Modality"),
        sop_class_uid=_text(main, "SOPClassUID"),
        series_description=_text(main, "SeriesDescription"),
        station_name=_text(main, "StationName"),
        instances=len(document.get("Instances", ())),
        accession_numbers=_texts(_text(tags, "AccessionNumber") for tags in seen),
        request_attributes=tuple(
            RequestAttributes(
                _text(item, "ScheduledProcedureStepID"),
                _text(item, "RequestedProcedureID"),
                _text(item, "AccessionNumber"),
                _text(item, "StudyInstanceUID"),
            )
            for item in _items(seen, "RequestAttributesSequence")
        ),
        performed_step_uids=_texts(
            _text(item, "ReferencedSOPInstanceUID")
            for item in _items(seen, "ReferencedPerformedProcedureStepSequence")
        ),
        performed_procedure_step_id=_text(main, "PerformedProcedureStepID"),
        performed_procedure_step_description=_text(main, "PerformedProcedureStepDescription"),
        performed_procedure_step_start_date=_text(main, "PerformedProcedureStepStartDate"),
        performed_procedure_step_start_time=_text(main, "PerformedProcedureStepStartTime"),
        performing_physician_name=_text(main, "PerformingPhysicianName"),
    )


def _first_of_each(seen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Each attribute of the first instance that has a value of it."""
    found: dict[str, Any] = {}
    for tags in seen:
        found |= {key: value for key, value in tags.items() if value and not found.get(key)}
    return found


def _items(seen: Sequence[Mapping[str, Any]], keyword: str) -> Iterator[Mapping[str, Any]]:
    for tags in seen:
        sequence = tags.get(keyword)
        for item in sequence if isinstance(sequence, list) else ():
            if isinstance(item, dict):
                yield item


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))


def _text(tags: Mapping[str, Any], keyword: str) -> str:
    value = tags.get(keyword)
    if not isinstance(value, str):
        return ""
    # Half a surrogate pair, which bad UTF-8 of a scanner leaves, can't be stored or sent.
    return value[:MAX_TEXT].encode("utf-8", "replace").decode().strip(" \0")
