"""What an N-CREATE, N-SET and N-GET make of a performed procedure step (PS3.4 F.7.2, F.8.2).

Decides: its states and their transitions, the statuses of the standard, what an N-SET may change,
what is refused and what is kept with a remark. Pure: no clock, no database, no network.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from pydicom.dataset import Dataset

from orthanc_openmrs.model import (
    DiscontinuationReason,
    KeptProcedure,
    PerformedProcedure,
    PerformedSeries,
    ProcedureState,
    ScheduledReference,
)
from orthanc_openmrs.mpps.attributes import FIXED, remarks_at_create, remarks_at_end
from orthanc_openmrs.mpps.datasets import (
    CHARACTER_SET,
    Unreadable,
    element,
    has,
    items,
    parse,
    rewritten,
    serialize,
    tag_of,
    tags,
    text,
)

SOP_CLASS = "1.2.840.10008.3.1.2.3.3"
RETRIEVE_SOP_CLASS = "1.2.840.10008.3.1.2.3.4"

INVALID_ATTRIBUTE_VALUE = 0x0106
PROCESSING_FAILURE = 0x0110
DUPLICATE_SOP_INSTANCE = 0x0111
NO_SUCH_SOP_INSTANCE = 0x0112
INVALID_OBJECT_INSTANCE = 0x0117
"""Statuses (PS3.7 annex C)."""

MAY_NO_LONGER_BE_UPDATED = 0xA710
"""The Error ID of an N-SET of a step that has ended (PS3.4 F.7.2.2.2)."""

WRONG_WORKLIST_ENTRY = ("110514", "DCM")
"""The reason of a discontinued step: incorrect worklist entry selected (PS3.16 CID 9300)."""

TRANSITIONS: Mapping[ProcedureState | None, frozenset[ProcedureState]] = {
    None: frozenset({ProcedureState.IN_PROGRESS}),
    ProcedureState.IN_PROGRESS: frozenset(ProcedureState),
    ProcedureState.COMPLETED: frozenset(),
    ProcedureState.DISCONTINUED: frozenset(),
}
"""From no step (N-CREATE) and from each state (N-SET) to which (PS3.4 F.7.1.3)."""


class Refused(Exception):
    """The standard's status for what can't be done."""

    def __init__(self, status: int, words: str, error_id: int | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.error_id = error_id


def create(uid: str, content: bytes, transfer_syntax: str) -> KeptProcedure:
    """The step that an N-CREATE makes. Raises Refused."""
    dataset = _readable(content, transfer_syntax)
    state = _state_of(dataset, required=True)
    if state not in TRANSITIONS[None]:
        raise Refused(INVALID_ATTRIBUTE_VALUE, "PerformedProcedureStepStatus isn't IN PROGRESS")
    return KeptProcedure(
        summarize(uid, dataset), content, transfer_syntax, remarks_at_create(dataset)
    )


def update(kept: KeptProcedure, content: bytes, transfer_syntax: str) -> KeptProcedure:
    """The step after an N-SET. Raises Refused."""
    before = kept.procedure.state
    if not TRANSITIONS[before]:
        raise Refused(
            PROCESSING_FAILURE,
            "Performed Procedure Step Object may no longer be updated",
            MAY_NO_LONGER_BE_UPDATED,
        )
    changes = _readable(content, transfer_syntax)
    after = _state_of(changes, required=False) or before
    dataset = _readable(kept.content, kept.transfer_syntax)
    remarks = list(kept.remarks)
    remarks += (
        f"{keyword} can't be changed by an N-SET"
        for keyword in sorted(FIXED - {"SpecificCharacterSet"})
        if not keyword.endswith("Sequence")
        and has(changes, keyword)
        and text(changes, keyword) != text(dataset, keyword)
    )
    own, of_create = (text(one, "SpecificCharacterSet") for one in (changes, dataset))
    if own and own != of_create:
        remarks.append("SpecificCharacterSet of an N-SET isn't that of the N-CREATE")
        if not of_create:  # what it wrote is ASCII
            dataset[CHARACTER_SET] = changes[CHARACTER_SET]
            dataset = _readable(_written(dataset, kept.transfer_syntax), kept.transfer_syntax)
        else:
            changes = rewritten(changes, transfer_syntax, of_create.split("\\"))
    if transfer_syntax != kept.transfer_syntax:
        changes = rewritten(changes, kept.transfer_syntax)
    fixed = {tag_of(keyword) for keyword in FIXED}
    for tag in tags(changes):
        if tag not in fixed and (value := element(changes, tag)) is not None:
            dataset[tag] = value
    # Written before anything else is read of it: pydicom writes anew what it has read.
    merged = _written(dataset, kept.transfer_syntax)
    whole = _readable(merged, kept.transfer_syntax)
    if after is not ProcedureState.IN_PROGRESS:
        remarks += remarks_at_end(whole)
    return replace(
        kept,
        procedure=summarize(kept.procedure.uid, whole),
        content=merged,
        remarks=tuple(dict.fromkeys(remarks)),
    )


def retrieve(kept: KeptProcedure, attributes: Iterable[int], transfer_syntax: str) -> bytes:
    """The bytes that an N-GET answers: the attributes asked for, all where none is."""
    wanted = frozenset(attributes)
    if not wanted and transfer_syntax == kept.transfer_syntax:
        return kept.content
    dataset = _readable(kept.content, kept.transfer_syntax)
    if wanted:
        for tag in tags(dataset):
            if int(tag) not in wanted and tag != CHARACTER_SET:
                del dataset[tag]
    if transfer_syntax != kept.transfer_syntax:
        dataset = rewritten(dataset, transfer_syntax)
    return _written(dataset, transfer_syntax)


def _readable(content: bytes, transfer_syntax: str) -> Dataset:
    try:
        return parse(content, transfer_syntax)
    except Unreadable as problem:
        raise Refused(PROCESSING_FAILURE, f"the dataset can't be read ({problem})") from None


def _written(dataset: Dataset, transfer_syntax: str) -> bytes:
    try:
        return serialize(dataset, transfer_syntax)
    except Unreadable as problem:
        raise Refused(PROCESSING_FAILURE, f"the dataset can't be written ({problem})") from None


def _state_of(dataset: Dataset, *, required: bool) -> ProcedureState | None:
    word = " ".join(text(dataset, "PerformedProcedureStepStatus").upper().split())
    if not word and not required:
        return None
    try:
        return ProcedureState(word)
    except ValueError:
        raise Refused(
            INVALID_ATTRIBUTE_VALUE,
            "PerformedProcedureStepStatus is none of the standard"
            if word
            else "PerformedProcedureStepStatus is missing",
        ) from None


# --- what is read of it --------------------------------------------------------------------

MOST_SERIES = 1000
MOST_REFERENCES = 100


def summarize(uid: str, dataset: Dataset) -> PerformedProcedure:
    """What linking, the page and the routes need of a step."""
    return PerformedProcedure(
        uid=uid,
        state=_state_of(dataset, required=True) or ProcedureState.IN_PROGRESS,
        references=tuple(
            ScheduledReference(
                study_instance_uid=text(item, "StudyInstanceUID"),
                accession_number=text(item, "AccessionNumber"),
                requested_procedure_id=text(item, "RequestedProcedureID"),
                scheduled_procedure_step_id=text(item, "ScheduledProcedureStepID"),
            )
            for item in items(dataset, "ScheduledStepAttributesSequence")[:MOST_REFERENCES]
        ),
        patient_id=text(dataset, "PatientID"),
        station_ae_title=text(dataset, "PerformedStationAETitle"),
        station_name=text(dataset, "PerformedStationName"),
        performed_procedure_step_id=text(dataset, "PerformedProcedureStepID"),
        description=text(dataset, "PerformedProcedureStepDescription"),
        modality=text(dataset, "Modality"),
        start=_moment(dataset, "Start"),
        end=_moment(dataset, "End"),
        discontinuation=_reason(dataset),
        series=tuple(
            PerformedSeries(text(item, "SeriesInstanceUID"), sum(1 for _ in _references(item)))
            for item in items(dataset, "PerformedSeriesSequence")[:MOST_SERIES]
        ),
    )


def _moment(dataset: Dataset, which: str) -> str:
    date = text(dataset, f"PerformedProcedureStep{which}Date")
    return date + text(dataset, f"PerformedProcedureStep{which}Time")[:6] if date else ""


def _reason(dataset: Dataset) -> DiscontinuationReason | None:
    for item in items(dataset, "PerformedProcedureStepDiscontinuationReasonCodeSequence"):
        return DiscontinuationReason(
            text(item, "CodeValue"), text(item, "CodingSchemeDesignator"), text(item, "CodeMeaning")
        )
    return None


_REFERENCING = (
    "ReferencedImageSequence",
    "ReferencedNonImageCompositeSOPInstanceSequence",
)


def _references(series: Dataset) -> Iterator[Dataset]:
    for keyword in _REFERENCING:
        yield from items(series, keyword)


def listed_instances(content: bytes, transfer_syntax: str) -> dict[str, frozenset[str]]:
    """The SOPInstanceUIDs that a step lists, by SeriesInstanceUID."""
    dataset = _readable(content, transfer_syntax)
    found: dict[str, frozenset[str]] = {}
    for series in items(dataset, "PerformedSeriesSequence")[:MOST_SERIES]:
        uids = {text(item, "ReferencedSOPInstanceUID") for item in _references(series)} - {""}
        series_uid = text(series, "SeriesInstanceUID")
        found[series_uid] = found.get(series_uid, frozenset()) | uids
    return found
