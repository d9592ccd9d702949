"""Which steps of OpenMRS a study in Orthanc completes, by evidence.

Decides: everything about linking, in this order.

1. Evidence, in the order of `LinkBy`: each kind names requests (`_FINDERS`).
2. Evidence of different requests contradicts: held.
3. The patient must agree (`patient_agreement`), else held.
4. Within the request: the steps that RequestAttributesSequence names; for other series the
   only open step of their modality, else of several the one that PerformedProcedureStepID
   echoes.
5. A step that is completed or rejected is left alone.

Not enough or contradictory evidence is held for a person, with a reason; no evidence at all
is no notification. Must not know: the network, the database, the clock.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from orthanc_openmrs.model import (
    ImagingRequest,
    ProcedureStep,
    SeriesSummary,
    StudySummary,
)
from orthanc_openmrs.worklist import values
from orthanc_openmrs.worklist.items import study_instance_uid


class Outcome(StrEnum):
    """What became of a study."""

    LINKED = "linked"
    HELD = "held"
    SETTLED = "settled"  # its steps are completed or rejected already
    UNLINKED = "unlinked"  # no evidence: not of the worklist
    GONE = "gone"  # deleted from Orthanc before it was looked at


LISTED = 10
"""Identifiers that a reason names."""

LONGEST = 16
"""Characters of each: SH and CS have no more."""


@dataclass(frozen=True, slots=True)
class Link:
    """One step that the study completes, and the series that stands for it."""

    step: ProcedureStep
    series: SeriesSummary


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on a study; `reason` is for a person, free of personal data."""

    outcome: Outcome
    reason: str = ""
    evidence: str = ""
    request: ImagingRequest | None = None
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """`OpenMRS.LinkBy` and `OpenMRS.HoldPatientMismatch`."""

    link_by: tuple[str, ...]
    hold_patient_mismatch: bool = True


# --- the list, by what images may name -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Orders:
    """The requests of the list by identifier. An identifier may name several."""

    by_uid: Mapping[str, list[ImagingRequest]]
    by_accession: Mapping[str, list[ImagingRequest]]
    by_step: Mapping[str, list[tuple[ImagingRequest, ProcedureStep]]]
    patients: frozenset[str] = field(repr=False)

    @classmethod
    def of(cls, requests: Iterable[ImagingRequest]) -> "Orders":
        """Index a list."""
        by_uid: dict[str, list[ImagingRequest]] = defaultdict(list)
        by_accession: dict[str, list[ImagingRequest]] = defaultdict(list)
        by_step: dict[str, list[tuple[ImagingRequest, ProcedureStep]]] = defaultdict(list)
        patients = set()
        listed: dict[str, ImagingRequest] = {}
        for request in requests:
            first = listed.setdefault(request.requested_procedure_id, request)
            if first is not request and first == request:
                continue  # listed twice
            for uid in {request.study_instance_uid, study_instance_uid(request)} - {""}:
                by_uid[uid].append(request)
            number = request.accession_number
            cleaned = values.clean(number)
            for form in {number.strip(), cleaned, values.accession_number(number).text} - {""}:
                by_accession[form].append(request)
            for step in request.steps:
                by_step[step.scheduled_procedure_step_id].append((request, step))
            patients.add(_folded(request.patient_id))
        return cls(dict(by_uid), dict(by_accession), dict(by_step), frozenset(patients))


# --- the patient ---------------------------------------------------------------------------

TRUNCATIONS = (16, 20, 32)
"""Characters to which scanners are known to cut a PatientID."""


class Agreement(StrEnum):
    """How far the PatientID of the images is that of the request's patient."""

    SAME = "same"
    CUT = "cut"  # a scanner's truncation: enough beside other evidence
    OTHER = "other"


def patient_agreement(patient_id: str, expected: str) -> Agreement:
    """Compare without blanks at the ends and without regard to case."""
    found, wanted = _folded(patient_id), _folded(expected)
    if found and found == wanted:
        return Agreement.SAME
    if len(found) in TRUNCATIONS and wanted.startswith(found):
        return Agreement.CUT
    return Agreement.OTHER


def _folded(text: str) -> str:
    return text.strip().casefold()


# --- the evidence --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Finding:
    """What one kind of evidence says: the requests it names, ids that nobody knows, and
    whether what it says can't be of one request."""

    requests: tuple[ImagingRequest, ...] = ()
    unknown: str = ""
    contradictory: bool = False


def _by_study_instance_uid(study: StudySummary, orders: Orders) -> _Finding:
    # An unknown UID is no evidence: every study has one.
    return _Finding(tuple(orders.by_uid.get(study.study_instance_uid, ())))


def _by_request_attributes(study: StudySummary, orders: Orders) -> _Finding:
    named: list[tuple[ImagingRequest, ...]] = []  # for each step that is named
    unknown = ""
    for series in study.series:
        for item in series.request_attributes:
            step_id = item.scheduled_procedure_step_id
            if not step_id:
                continue
            found = [
                request
                for request, _ in orders.by_step.get(step_id, ())
                if item.requested_procedure_id in ("", request.requested_procedure_id)
            ]
            if found:
                named.append(_distinct(found))
            else:
                # OpenMRS's ids are numbers; any other text may be a patient's.
                unknown = f"ScheduledProcedureStepID {step_id if _is_id(step_id) else '(no id)'}"
    of_any = _distinct(request for requests in named for request in requests)
    of_all = tuple(request for request in of_any if all(request in some for some in named))
    return _Finding(of_all or of_any, unknown, contradictory=bool(of_any) and not of_all)


def _by_accession_number(study: StudySummary, orders: Orders) -> _Finding:
    number = study.accession_number.strip()
    if not number:
        return _Finding()
    found = orders.by_accession.get(number) or orders.by_accession.get(values.clean(number), [])
    if found or _folded(study.patient_id) not in orders.patients:
        # Images of another hospital have numbers of their own: no evidence of an order here.
        return _Finding(_distinct(found))
    return _Finding(unknown="AccessionNumber")


def _by_performed_procedure_step_id(study: StudySummary, orders: Orders) -> _Finding:
    """The module's own rule. A scanner's counter may say anything, so only for the patient."""
    requests = [
        request
        for series in study.series
        for request, _ in orders.by_step.get(series.performed_procedure_step_id or "\0", ())
        if patient_agreement(study.patient_id, request.patient_id) is Agreement.SAME
    ]
    return _Finding(_distinct(requests))


def _distinct(requests: Iterable[ImagingRequest]) -> tuple[ImagingRequest, ...]:
    # By identity: one accession number may name a whole list, and equality compares every text.
    return tuple({id(request): request for request in requests}.values())


_FINDERS: Mapping[str, Callable[[StudySummary, Orders], _Finding]] = {
    "StudyInstanceUID": _by_study_instance_uid,
    "RequestAttributesSequence": _by_request_attributes,
    "AccessionNumber": _by_accession_number,
    "PerformedProcedureStepID": _by_performed_procedure_step_id,
}


# --- for a person --------------------------------------------------------------------------

MOST_SUGGESTIONS = 10


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An open step that a study may complete, and what points at its request: kinds of evidence,
    or PatientID."""

    step: ProcedureStep
    evidence: tuple[str, ...]


def suggest(study: StudySummary, orders: Orders) -> list[Suggestion]:
    """The open steps that a person would look at first, whatever `LinkBy` says: those that the
    images name, then those of the study's modality, then those that more evidence points at."""
    pointing: dict[ImagingRequest, list[str]] = {}
    for kind, find in _FINDERS.items():
        for request in find(study, orders).requests:
            pointing.setdefault(request, []).append(kind)
    for named in orders.by_step.values():
        for request, _ in named:
            if patient_agreement(study.patient_id, request.patient_id) is Agreement.SAME:
                kinds = pointing.setdefault(request, [])
                kinds.extend(["PatientID"] if "PatientID" not in kinds else [])
    ids = {
        step_id
        for series in study.series
        for step_id in (
            series.performed_procedure_step_id,
            *(item.scheduled_procedure_step_id for item in series.request_attributes),
        )
    }

    def rank(suggestion: Suggestion) -> tuple[bool, bool, int]:
        step = suggestion.step
        return (
            step.scheduled_procedure_step_id not in ids,
            not any(_same_modality(series, step) for series in study.series),
            -len(suggestion.evidence),
        )

    found = [
        Suggestion(step, tuple(kinds))
        for request, kinds in pointing.items()
        for step in request.steps
        if step.status.is_open
    ]
    return sorted(found, key=rank)[:MOST_SUGGESTIONS]


# --- the decision --------------------------------------------------------------------------


def link(study: StudySummary, orders: Orders, policy: Policy) -> Decision:
    """Decide which steps a study completes."""
    findings = {kind: _FINDERS[kind](study, orders) for kind in policy.link_by}
    speaking = {kind: finding for kind, finding in findings.items() if finding.requests}
    unknown = next((finding.unknown for finding in findings.values() if finding.unknown), "")
    if not speaking:
        if unknown:
            return _held(f"{unknown} of the images is of no request in OpenMRS's list")
        return Decision(Outcome.UNLINKED, "the images name no request of OpenMRS's list")

    evidence = next(iter(speaking))
    candidates = speaking[evidence].requests
    for kind, finding in speaking.items():
        if finding.contradictory:
            return _held(f"{kind} points at several requests ({_ids(finding.requests)})", evidence)
        named = {id(request) for request in finding.requests}
        common = tuple(request for request in candidates if id(request) in named)
        if not common and kind != "PerformedProcedureStepID":
            return _held(
                f"{evidence} and {kind} point at different requests "
                f"({_ids(candidates)} and {_ids(finding.requests)})"
            )
        candidates = common or candidates
    if len(candidates) > 1:
        return _held(f"{evidence} points at several requests ({_ids(candidates)})", evidence)
    request = candidates[0]
    if unknown:
        return _held(
            f"{unknown} of the images is of no request in OpenMRS's list, though {evidence} "
            f"points at request {request.requested_procedure_id}",
            evidence,
        )
    if (
        policy.hold_patient_mismatch
        and patient_agreement(study.patient_id, request.patient_id) is Agreement.OTHER
    ):
        what = "is not" if study.patient_id.strip() else "is empty, so not known to be"
        return _held(
            f"PatientID of the images {what} that of request {request.requested_procedure_id}, "
            f"to which {evidence} points",
            evidence,
        )
    return _choose_steps(study, request, evidence, policy)


def _choose_steps(
    study: StudySummary, request: ImagingRequest, evidence: str, policy: Policy
) -> Decision:
    chosen = _named_steps(study, request) if "RequestAttributesSequence" in policy.link_by else {}
    if chosen:
        # What names no step may be of a modality that no named step has.
        named = {step.modality for step in chosen}
        others = tuple(series for series in study.series if not series.request_attributes)
        more = _steps_by_modality(replace(study, series=others), request)
        if not isinstance(more, str):
            chosen |= {step: one for step, one in more.items() if step.modality not in named}
    if not chosen and evidence == "PerformedProcedureStepID":
        chosen = _echoed_steps(study, request)
        if not chosen:
            return _held(
                f"{evidence} names a step of request {request.requested_procedure_id}, but of "
                "another modality than the images",
                evidence,
            )
    if not chosen:
        found = _steps_by_modality(study, request)
        if isinstance(found, str) and "PerformedProcedureStepID" in policy.link_by:
            found = _echoed_steps(study, request) or found
        if isinstance(found, str):
            return _held(found, evidence)
        chosen = found
    links = tuple(Link(step, series) for step, series in chosen.items() if step.status.is_open)
    if not links:
        return Decision(
            Outcome.SETTLED,
            "its steps are completed or rejected already: "
            + ", ".join(step.scheduled_procedure_step_id for step in chosen),
            evidence,
            request,
        )
    return Decision(Outcome.LINKED, "", evidence, request, links)


_Steps = dict[ProcedureStep, SeriesSummary]


def _named_steps(study: StudySummary, request: ImagingRequest) -> _Steps:
    """The steps of the request that RequestAttributesSequence names, each with its series."""
    steps = {step.scheduled_procedure_step_id: step for step in request.steps}
    chosen: _Steps = {}
    for series in study.series:
        for item in series.request_attributes:
            step = steps.get(item.scheduled_procedure_step_id)
            if step is None:
                continue
            kept = chosen.setdefault(step, series)
            if _same_modality(series, step) and not _same_modality(kept, step):
                chosen[step] = series
    return chosen


def _echoed_steps(study: StudySummary, request: ImagingRequest) -> _Steps:
    """The steps whose id the scanner echoes as PerformedProcedureStepID. Where the modality is
    another one, the number is the scanner's own."""
    steps = {step.scheduled_procedure_step_id: step for step in request.steps}
    chosen: _Steps = {}
    for series in study.series:
        step = steps.get(series.performed_procedure_step_id)
        if step is not None and _same_modality(series, step):
            chosen.setdefault(step, series)
    return chosen


def _steps_by_modality(study: StudySummary, request: ImagingRequest) -> _Steps | str:
    """The only open step of each series' modality, or why there is none."""
    chosen: _Steps = {}
    for series in study.series:
        of_modality = [step for step in request.steps if _same_modality(series, step)]
        still_open = [step for step in of_modality if step.status.is_open]
        if len(still_open) > 1:
            ids = _listed(step.scheduled_procedure_step_id for step in still_open)
            return (
                f"request {request.requested_procedure_id} has several open steps of modality "
                f"{series.modality} ({ids}), and the images don't say which"
            )
        for step in still_open or of_modality:
            chosen.setdefault(step, series)
    if not chosen:
        modalities = _listed(sorted({series.modality for series in study.series}))
        return (
            f"request {request.requested_procedure_id} has no step of the study's modality "
            f"({modalities or 'none'})"
        )
    return chosen


def _same_modality(series: SeriesSummary, step: ProcedureStep) -> bool:
    return series.modality.strip().upper() == values.code_string(step.modality).text != ""


def _held(reason: str, evidence: str = "") -> Decision:
    return Decision(Outcome.HELD, reason, evidence)


def _ids(requests: Iterable[ImagingRequest]) -> str:
    return _listed(request.requested_procedure_id for request in requests)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST


def _listed(texts: Iterable[str]) -> str:
    """A few of them: a study may name thousands of things."""
    every = list(texts)
    more = f" and {len(every) - LISTED} more" if len(every) > LISTED else ""
    return ", ".join(text[:LONGEST] for text in every[:LISTED]) + more
