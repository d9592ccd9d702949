"""What images say of an order: the kinds of evidence, and which requests each points at.

Decides: what counts as evidence, kind by kind (`EVIDENCE`), and how far a patient is the same.
Must not know: which kind counts more, which step is completed, the network, the database, the
clock.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain

from orthanc_openmrs.completion.acquisitions import is_acquisition
from orthanc_openmrs.model import (
    ImagingRequest,
    Named,
    NamedBy,
    ProcedureStep,
    RequestAttributes,
    Source,
    StudySummary,
)
from orthanc_openmrs.worklist import values
from orthanc_openmrs.worklist.items import study_instance_uid
from orthanc_openmrs.worklist.uids import GivenUids

LISTED = 10
"""Identifiers that a reason names."""

LONGEST = 16
"""Characters of each: SH and CS have no more."""

MOST_NAMED = 64
"""Identifiers of a study that are kept, to look at it again when a list brings one of them."""


# --- the list, by what images may name -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Orders:
    """The requests of the list by identifier. An identifier may name several.

    `whole_patient_id`: this OpenMRS's Imaging module takes nothing of images whose PatientID isn't
    the whole uuid.
    """

    by_uid: Mapping[str, list[ImagingRequest]]
    by_accession: Mapping[str, list[ImagingRequest]]
    by_request: Mapping[str, list[ImagingRequest]]
    by_step: Mapping[str, list[tuple[ImagingRequest, ProcedureStep]]]
    patients: frozenset[str] = field(repr=False)
    given: GivenUids = field(default=GivenUids(), repr=False)
    whole_patient_id: bool = False

    @classmethod
    def of(
        cls,
        requests: Iterable[ImagingRequest],
        given: GivenUids | None = None,
        *,
        whole_patient_id: bool = False,
    ) -> "Orders":
        """Index a list."""
        given = given or GivenUids()
        by_uid: dict[str, list[ImagingRequest]] = defaultdict(list)
        by_accession: dict[str, list[ImagingRequest]] = defaultdict(list)
        by_request: dict[str, list[ImagingRequest]] = defaultdict(list)
        by_step: dict[str, list[tuple[ImagingRequest, ProcedureStep]]] = defaultdict(list)
        patients = set()
        listed: dict[str, ImagingRequest] = {}
        for request in requests:
            if request.instead:
                continue  # the same exam is another request
            first = listed.setdefault(request.requested_procedure_id, request)
            if first is not request and first == request:
                continue  # listed twice
            before = given.to(request)
            uids = {one.study_instance_uid for one in before}
            for uid in {request.study_instance_uid, study_instance_uid(request)} - {""}:
                # What was given out for one request isn't another's, whatever OpenMRS says.
                if not given.requests_of(uid):
                    uids.add(uid)
            for uid in uids:
                by_uid[uid].append(request)
            for form in accession_forms(
                request.accession_number,
                *(one.accession_number for one in before),
                *(one.accession_number for one in request.predecessors),
            ):
                by_accession[form].append(request)
            earlier = [one.requested_procedure_id for one in request.predecessors]
            for number in (request.requested_procedure_id, *earlier):
                by_request[number].append(request)
            for step in request.steps:
                by_step[step.scheduled_procedure_step_id].append((request, step))
                for number in earlier:
                    by_step[number].append((request, step))  # an order is one step
            patients.add(folded(request.patient_id))
        return cls(
            dict(by_uid),
            dict(by_accession),
            dict(by_request),
            dict(by_step),
            frozenset(patients),
            given,
            whole_patient_id,
        )

    def wants_whole_patient_id(self, request: ImagingRequest) -> bool:
        """Whether nothing of a request is taken for images without the patient's whole uuid."""
        return self.whole_patient_id and request.source is Source.IMAGING

    def of_accession(self, number: str) -> list[ImagingRequest]:
        """The requests of an accession number as it stands in images."""
        found = self.by_accession.get(number.strip())
        return found or self.by_accession.get(values.clean(number), [])


def accession_forms(*numbers: str) -> set[str]:
    """How OpenMRS's accession numbers may stand in images: whole, cleaned, cut."""
    forms = {
        form
        for number in numbers
        for form in (number.strip(), values.clean(number), values.accession_number(number).text)
    }
    return forms - {""}


# --- what decides, when it changes ---------------------------------------------------------


def named_by(study: StudySummary) -> tuple[Named, ...]:
    """The identifiers that a study names, MOST_NAMED at most: a list that brings one of them may
    decide about the study."""
    items = [
        item
        for series in study.series
        for item in (*series.request_attributes, *series.performed_steps)
    ]
    numbers = chain(study.accession_numbers, (item.accession_number for item in items))
    named = chain(
        ((NamedBy.STUDY_INSTANCE_UID, study.study_instance_uid),),
        ((NamedBy.PATIENT_ID, folded(study.patient_id)),),
        (
            (NamedBy.ACCESSION_NUMBER, form)
            for number in numbers
            for form in accession_forms(number)
        ),
        ((NamedBy.SCHEDULED_PROCEDURE_STEP_ID, item.scheduled_procedure_step_id) for item in items),
        (
            (NamedBy.SCHEDULED_PROCEDURE_STEP_ID, series.performed_procedure_step_id)
            for series in study.series
        ),
        ((NamedBy.REQUESTED_PROCEDURE_ID, item.requested_procedure_id) for item in items),
        ((NamedBy.STUDY_INSTANCE_UID, item.study_instance_uid) for item in items),
    )
    found = dict.fromkeys(Named(kind, value[:64]) for kind, value in named if value)
    return tuple(found)[:MOST_NAMED]


def named_of(request: ImagingRequest, given: GivenUids) -> set[Named]:
    """The identifiers by which images may name a request."""
    before = given.to(request)
    uids = {request.study_instance_uid, study_instance_uid(request)}
    uids |= {one.study_instance_uid for one in before}
    numbers = accession_forms(
        request.accession_number,
        *(one.accession_number for one in before),
        *(one.accession_number for one in request.predecessors),
    )
    found = {
        *((NamedBy.STUDY_INSTANCE_UID, uid) for uid in uids),
        *((NamedBy.ACCESSION_NUMBER, number) for number in numbers),
        *(
            (NamedBy.SCHEDULED_PROCEDURE_STEP_ID, step.scheduled_procedure_step_id)
            for step in request.steps
        ),
        *(
            (kind, one.requested_procedure_id)
            for kind in (NamedBy.REQUESTED_PROCEDURE_ID, NamedBy.SCHEDULED_PROCEDURE_STEP_ID)
            for one in request.predecessors
        ),
        (NamedBy.REQUESTED_PROCEDURE_ID, request.requested_procedure_id),
        (NamedBy.PATIENT_ID, folded(request.patient_id)),
    }
    return {Named(kind, value[:64]) for kind, value in found if value}


# --- the patient ---------------------------------------------------------------------------

SHORTEST_CUT = 8
"""Characters of a PatientID that a scanner cut: fewer may begin anybody's."""


class Agreement(StrEnum):
    """How far the PatientID of the images is that of the request's patient."""

    SAME = "same"
    CUT = "cut"  # shortened, or without its hyphens: enough beside other evidence
    OTHER = "other"


def patient_agreement(patient_id: str, expected: str) -> Agreement:
    """Compare without blanks at the ends and without regard to case."""
    found, wanted = folded(patient_id), folded(expected)
    if found and found == wanted:
        return Agreement.SAME
    bare = found.replace("-", "")
    if len(bare) >= SHORTEST_CUT and wanted.replace("-", "").startswith(bare):
        return Agreement.CUT
    return Agreement.OTHER


def folded(text: str) -> str:
    """A PatientID as it is compared."""
    return text.strip().casefold()


# --- the evidence --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Finding:
    """What one kind of evidence says: the requests it names, what it names that nobody knows
    (for a person), and whether what it says can't be of one request."""

    requests: tuple[ImagingRequest, ...] = ()
    unknown: str = ""
    contradictory: bool = False


Finder = Callable[[StudySummary, Orders], Finding]


def _by_study_instance_uid(study: StudySummary, orders: Orders) -> Finding:
    # An unknown UID is no evidence, for every study has one; one that was given out is.
    found = tuple(orders.by_uid.get(study.study_instance_uid, ()))
    given = orders.given.requests_of(study.study_instance_uid)
    if given and not found:
        return Finding(
            unknown=f"StudyInstanceUID, given out for request {listed(given)} as it was,"
        )
    return Finding(found)


def _by_request_attributes(study: StudySummary, orders: Orders) -> Finding:
    return _by_items(
        study, orders, (item for series in study.series for item in series.request_attributes)
    )


def _by_performed_steps(study: StudySummary, orders: Orders) -> Finding:
    return _by_items(
        study, orders, (item for series in study.series for item in series.performed_steps)
    )


def _by_items(study: StudySummary, orders: Orders, items: Iterable[RequestAttributes]) -> Finding:
    """Each item speaks by whatever it holds; the requests that it names have all of it."""
    named: list[tuple[ImagingRequest, ...]] = []
    unknown = ""
    for item in dict.fromkeys(items):
        said = list(_said_by(item, orders))
        if not said:
            continue
        found = _common([requests for _, requests in said])
        if found:
            named.append(found)
        else:
            lacking = [what for what, requests in said if not requests]
            unknown = lacking[0] if lacking else " and ".join(what for what, _ in said)
    if not named and folded(study.patient_id) not in orders.patients:
        unknown = ""  # images of another hospital have numbers of their own
    return _agreed(named, unknown)


def _agreed(named: list[tuple[ImagingRequest, ...]], unknown: str) -> Finding:
    """All that names anything must be able to name the same request."""
    of_all = _common(named)
    return Finding(
        of_all or distinct(chain.from_iterable(named)),
        unknown,
        contradictory=bool(named) and not of_all,
    )


def _common(named: Sequence[Iterable[ImagingRequest]]) -> tuple[ImagingRequest, ...]:
    """The requests that all of these name. By identity: one accession number may name a whole
    list, and equality compares every text."""
    common = distinct(named[0]) if named else ()
    for some in named[1:]:
        ids = {id(one) for one in some}
        common = tuple(one for one in common if id(one) in ids)
    return common


def _said_by(item: RequestAttributes, orders: Orders) -> Iterator[tuple[str, list[ImagingRequest]]]:
    if item.scheduled_procedure_step_id:
        step_id = item.scheduled_procedure_step_id
        # OpenMRS's ids are numbers; any other text may be a patient's.
        named = f"ScheduledProcedureStepID {step_id if _is_id(step_id) else '(no id)'}"
        yield named, [request for request, _ in orders.by_step.get(step_id, ())]
    if item.requested_procedure_id:
        number = item.requested_procedure_id
        named = f"RequestedProcedureID {number if _is_id(number) else '(no id)'}"
        yield named, orders.by_request.get(number, [])
    if item.accession_number:
        yield "AccessionNumber", orders.of_accession(item.accession_number)
    if item.study_instance_uid and (
        item.study_instance_uid in orders.by_uid
        or orders.given.requests_of(item.study_instance_uid)
    ):
        # Any other UID is a scanner's own.
        yield "StudyInstanceUID", orders.by_uid.get(item.study_instance_uid, [])


def _by_accession_number(study: StudySummary, orders: Orders) -> Finding:
    """Those of all the objects that were looked at: Orthanc's own is that of the first."""
    named: list[tuple[ImagingRequest, ...]] = []
    unknown = ""
    for number in study.accession_numbers:
        found = distinct(orders.of_accession(number))
        if found:
            named.append(found)
        elif folded(study.patient_id) in orders.patients:
            # Images of another hospital have numbers of their own: no evidence of an order here.
            unknown = "AccessionNumber"
    return _agreed(named, unknown)


def _by_performed_procedure_step_id(study: StudySummary, orders: Orders) -> Finding:
    """The module's own rule. A scanner's counter may say anything, so only for the patient."""
    requests = [
        request
        for series in study.series
        if is_acquisition(series)
        for request, _ in orders.by_step.get(series.performed_procedure_step_id or "\0", ())
        if patient_agreement(study.patient_id, request.patient_id) is Agreement.SAME
    ]
    return Finding(distinct(requests))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of evidence. `default`: it counts where `LinkBy` isn't configured."""

    find: Finder
    default: bool = False


EVIDENCE: Mapping[str, Kind] = {
    "StudyInstanceUID": Kind(_by_study_instance_uid, default=True),
    "RequestAttributesSequence": Kind(_by_request_attributes, default=True),
    "AccessionNumber": Kind(_by_accession_number, default=True),
    "PerformedProcedureStepID": Kind(_by_performed_procedure_step_id, default=True),
    "MPPS": Kind(_by_performed_steps, default=True),
}
"""The kinds that `OpenMRS.LinkBy` may name. A new one is off until it is configured, or becomes
part of the default."""

DEFAULT = tuple(name for name, kind in EVIDENCE.items() if kind.default)


# --- for reasons ---------------------------------------------------------------------------


def distinct(requests: Iterable[ImagingRequest]) -> tuple[ImagingRequest, ...]:
    """Each once."""
    return tuple({id(request): request for request in requests}.values())


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST


def listed(texts: Iterable[str]) -> str:
    """A few of them: a study may name thousands of things."""
    every = list(texts)
    more = f" and {len(every) - LISTED} more" if len(every) > LISTED else ""
    return ", ".join(text[:LONGEST] for text in every[:LISTED]) + more
