"""The attributes of a performed procedure step and their types, as a table (PS3.4 F.7.2-1).

Decides: what is remarked where a scanner leaves out what it must send; nothing is refused for it.
Must not know: what the values mean.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from orthanc_openmrs.mpps.datasets import has, is_empty, items

MOST_REMARKS = 20


@dataclass(frozen=True, slots=True)
class Attribute:
    """`at_create` and `at_end` are the types in an N-CREATE and in the final state ("1", "2",
    "3" for optional), `may_set` whether an N-SET may change it; `inside` is a sequence's items."""

    keyword: str
    at_create: str = "3"
    may_set: bool = False
    at_end: str = "3"
    inside: tuple["Attribute", ...] = ()


def _reference(keyword: str) -> Attribute:
    of_items = tuple(
        Attribute(uid, "1", True, "1")
        for uid in ("ReferencedSOPClassUID", "ReferencedSOPInstanceUID")
    )
    return Attribute(keyword, "2", True, "2", of_items)


ATTRIBUTES: tuple[Attribute, ...] = (
    Attribute("SpecificCharacterSet"),
    # Performed Procedure Step Relationship
    Attribute(
        "ScheduledStepAttributesSequence",
        "1",
        inside=(
            Attribute("StudyInstanceUID", "1"),
            Attribute("ReferencedStudySequence", "2"),
            Attribute("AccessionNumber", "2"),
            Attribute("RequestedProcedureID", "2"),
            Attribute("RequestedProcedureDescription", "2"),
            Attribute("ScheduledProcedureStepID", "2"),
            Attribute("ScheduledProcedureStepDescription", "2"),
            Attribute("ScheduledProtocolCodeSequence", "2"),
        ),
    ),
    Attribute("PatientName", "2"),
    Attribute("PatientID", "2"),
    Attribute("PatientBirthDate", "2"),
    Attribute("PatientSex", "2"),
    Attribute("ReferencedPatientSequence", "2"),
    # Performed Procedure Step Information
    Attribute("PerformedProcedureStepID", "1"),
    Attribute("PerformedStationAETitle", "1"),
    Attribute("PerformedStationName", "2"),
    Attribute("PerformedLocation", "2"),
    Attribute("PerformedProcedureStepStartDate", "1"),
    Attribute("PerformedProcedureStepStartTime", "1"),
    Attribute("PerformedProcedureStepStatus", "1", True, "1"),
    Attribute("PerformedProcedureStepDescription", "2", True),
    Attribute("PerformedProcedureTypeDescription", "2", True),
    Attribute("ProcedureCodeSequence", "2", True),
    Attribute("PerformedProcedureStepEndDate", "2", True, "1"),
    Attribute("PerformedProcedureStepEndTime", "2", True, "1"),
    Attribute("PerformedProcedureStepDiscontinuationReasonCodeSequence", "3", True),
    # Image Acquisition Results
    Attribute("Modality", "1"),
    Attribute("StudyID", "2"),
    Attribute("PerformedProtocolCodeSequence", "2", True),
    Attribute(
        "PerformedSeriesSequence",
        "2",
        True,
        "1",
        inside=(
            Attribute("PerformingPhysicianName", "2", True, "2"),
            Attribute("ProtocolName", "1", True, "1"),
            Attribute("OperatorsName", "2", True, "2"),
            Attribute("SeriesInstanceUID", "1", True, "1"),
            Attribute("SeriesDescription", "2", True, "2"),
            Attribute("RetrieveAETitle", "2", True, "2"),
            _reference("ReferencedImageSequence"),
            _reference("ReferencedNonImageCompositeSOPInstanceSequence"),
        ),
    ),
)

FIXED = frozenset(one.keyword for one in ATTRIBUTES if not one.may_set)
"""What the N-CREATE says for good. An attribute that isn't in the table may be set."""

_MANY = frozenset({"ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence"})
"""Sequences of thousands of items, which aren't gone through for remarks."""


def remarks_at_create(dataset: Dataset) -> tuple[str, ...]:
    """What an N-CREATE lacks."""
    return _first(_remarks(dataset, ATTRIBUTES, at_end=False))


def remarks_at_end(dataset: Dataset) -> tuple[str, ...]:
    """What a completed or discontinued step lacks."""
    return _first(_remarks(dataset, ATTRIBUTES, at_end=True))


def _first(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found))[:MOST_REMARKS]


def _remarks(
    dataset: Dataset, attributes: Iterable[Attribute], *, at_end: bool, place: str = ""
) -> Iterator[str]:
    for attribute in attributes:
        wanted = attribute.at_end if at_end else attribute.at_create
        if wanted == "3":
            continue
        name = place + attribute.keyword
        if not has(dataset, attribute.keyword):
            yield f"{name} is missing (type {wanted})"
        elif wanted == "1" and is_empty(dataset, attribute.keyword):
            yield f"{name} is empty (type 1)"
        elif attribute.inside and attribute.keyword not in _MANY:
            for item in items(dataset, attribute.keyword):
                yield from _remarks(item, attribute.inside, at_end=at_end, place=f"{name}.")
