"""Which steps of OpenMRS a study in Orthanc completes.

Decides: everything about linking, in this order.

1. What a person said of the study stands, until images come that name something else.
2. Evidence, in the order of `LinkBy` (`evidence.EVIDENCE`): each kind names requests. All that
   speaks must name the same one, else held; what names nothing of the list, though it should, is
   held too.
3. The patient must agree (`evidence.patient_agreement`), else held.
4. Only acquisitions choose steps (`acquisitions`). Each series: the steps that its
   RequestAttributesSequence or its MPPS names; else the one whose id PerformedProcedureStepID
   echoes; else the one that the study was told for before; else the request's only step; else its
   only step of the series' modality, among all its steps: a step that is closed already says
   nothing about its sister.
5. A step that is completed or rejected is left alone, and so is one that this study was told for,
   OpenMRS refused, or a person discarded.

Not enough or contradictory evidence is held for a person, with a reason; no evidence at all
is no notification. Must not know: the network, the database, the clock.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from orthanc_openmrs.completion.acquisitions import (
    is_acquisition,
    is_unspecific,
    may_complete,
)
from orthanc_openmrs.completion.evidence import (
    DEFAULT,
    EVIDENCE,
    Agreement,
    Finding,
    Orders,
    distinct,
    listed,
    named_by,
    patient_agreement,
)
from orthanc_openmrs.mapping.ownership import implied_patient
from orthanc_openmrs.model import (
    ImagingRequest,
    Named,
    NamedBy,
    ProcedureStep,
    SeriesSummary,
    StepIdentity,
    StudySummary,
)
from orthanc_openmrs.worklist.modalities import modality

PERSON = "person"
"""The evidence of what a person said."""

WEAK = "PerformedProcedureStepID"
"""The kind of evidence that a scanner's own counter may imitate: it contradicts nothing."""


class Outcome(StrEnum):
    """What became of a study."""

    LINKED = "linked"
    HELD = "held"
    SETTLED = "settled"  # its steps are completed or rejected, or were told of, or a person decided
    UNLINKED = "unlinked"  # no evidence: not of the worklist
    GONE = "gone"  # deleted from Orthanc before it was looked at


@dataclass(frozen=True, slots=True)
class Link:
    """One step that the study completes, and the series that stands for it."""

    request: ImagingRequest
    step: ProcedureStep
    series: SeriesSummary

    @property
    def identity(self) -> StepIdentity:
        """What names the step for ever."""
        return identity_of(self.request, self.step)


@dataclass(frozen=True, slots=True)
class Decision:
    """The verdict on a study; `reason` is for a person, free of personal data.

    A study that is linked may have a reason too: why others of its series are of no step yet.
    """

    outcome: Outcome
    reason: str = ""
    evidence: str = ""
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """`OpenMRS.LinkBy` and `OpenMRS.HoldPatientMismatch`."""

    link_by: tuple[str, ...] = DEFAULT
    hold_patient_mismatch: bool = True


@dataclass(frozen=True, slots=True)
class History:
    """What was before, of this study.

    `told`: the steps that it, or a study of the same StudyInstanceUID, was told for, or a person
    said it completes, the newest last. `settled`: those of them that are not to be told again
    for the images that are here now, and what OpenMRS refused or a person discarded. `reported`:
    the steps that a person said they complete; `said`: whether a person decided about the study
    as a whole, having seen what `seen` stands for (`tokens`).
    """

    told: tuple[StepIdentity, ...] = ()
    settled: frozenset[StepIdentity] = frozenset()
    reported: tuple[StepIdentity, ...] = ()
    said: bool = False
    seen: frozenset[str] = frozenset()


NO_HISTORY = History()


def identity_of(request: ImagingRequest, step: ProcedureStep) -> StepIdentity:
    """What names a step for ever."""
    return StepIdentity(
        request.requested_procedure_id,
        step.scheduled_procedure_step_id,
        implied_patient(request.patient_id),
        request.accession_number,
    )


def find_step(
    orders: Orders, identity: StepIdentity
) -> tuple[ImagingRequest, ProcedureStep] | None:
    """The step of the list that is this very one."""
    for request, step in orders.by_step.get(identity.scheduled_procedure_step_id, ()):
        if identity_of(request, step) == identity:
            return request, step
    return None


# --- what a person saw ---------------------------------------------------------------------


def tokens(study: StudySummary) -> frozenset[str]:
    """What a study says, to be compared with what a person saw of it: no identifier, but a token
    of each."""
    modalities = {
        series.modality.strip().upper() for series in study.series if is_acquisition(series)
    }
    return _tokens(named_by(study)) | {_token("modality", modality) for modality in modalities}


def _tokens(named: Iterable[Named]) -> frozenset[str]:
    return frozenset(_token(kind, value) for kind, value in named)


def _token(kind: str, value: str) -> str:
    return hashlib.sha256(f"{kind} {value}".encode("utf-8", "replace")).hexdigest()[:12]


def _tokens_of(step: StepIdentity) -> frozenset[str]:
    """What a person saw who chose a step."""
    return _tokens(
        (
            Named(NamedBy.SCHEDULED_PROCEDURE_STEP_ID, step.scheduled_procedure_step_id),
            Named(NamedBy.REQUESTED_PROCEDURE_ID, step.requested_procedure_id),
            Named(NamedBy.ACCESSION_NUMBER, step.accession_number),
        )
    )


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
    for name, kind in EVIDENCE.items():
        for request in kind.find(study, orders).requests:
            pointing.setdefault(request, []).append(name)
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
            *(item.scheduled_procedure_step_id for item in series.performed_steps),
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


def link(
    study: StudySummary, orders: Orders, policy: Policy, history: History = NO_HISTORY
) -> Decision:
    """Decide which steps a study completes."""
    if history.said:
        return _as_a_person_said(study, history)
    findings = {kind: EVIDENCE[kind].find(study, orders) for kind in policy.link_by}
    found = _request_of(findings)
    if isinstance(found, Decision):
        return _with_unreadable(found, study)
    request, evidence = found
    agreement = patient_agreement(study.patient_id, request.patient_id)
    if policy.hold_patient_mismatch and agreement is Agreement.OTHER:
        what = "is not" if study.patient_id.strip() else "is empty, so not known to be"
        return _held(
            f"PatientID of the images {what} that of request {request.requested_procedure_id}, "
            f"to which {evidence} points",
            evidence,
        )
    decision = _choose_steps(study, request, evidence, policy, history)
    if (
        decision.links
        and orders.wants_whole_patient_id(request)
        and not has_whole_patient_id(study.patient_id, request.patient_id)
    ):
        return _held(WHOLE_PATIENT_ID, evidence)
    return _with_unreadable(decision, study)


WHOLE_PATIENT_ID = (
    "PatientID of the images isn't the whole uuid of OpenMRS's patient, and this OpenMRS takes no "
    "other: correct it in Orthanc"
)
"""Why v3 would refuse it for certain."""


def has_whole_patient_id(patient_id: str, expected: str) -> bool:
    """Whether the images' PatientID is all of the patient's."""
    return patient_agreement(patient_id, expected) is Agreement.SAME


def _as_a_person_said(study: StudySummary, history: History) -> Decision:
    seen = history.seen.union(*map(_tokens_of, history.reported))
    if tokens(study) <= seen:
        return Decision(Outcome.SETTLED, "a person decided about it", PERSON)
    return _held(
        "a person decided about this study, but images that came since say more than was seen",
        PERSON,
    )


def _request_of(findings: dict[str, Finding]) -> tuple[ImagingRequest, str] | Decision:
    """The one request that all evidence names, and the kind that counts most."""
    speaking = {kind: finding for kind, finding in findings.items() if finding.requests}
    unknown = next((finding.unknown for finding in findings.values() if finding.unknown), "")
    if not speaking:
        if unknown:
            return _held(f"{unknown} of the images is of no request in OpenMRS's list")
        return Decision(Outcome.UNLINKED, "the images name no request of OpenMRS's list")
    evidence = next(iter(speaking))
    candidates = speaking[evidence].requests
    for kind, finding in speaking.items():
        if finding.contradictory and kind != WEAK:
            return _held(f"{kind} points at several requests ({_ids(finding.requests)})", evidence)
        named = {id(request) for request in finding.requests}
        common = tuple(request for request in candidates if id(request) in named)
        if not common and kind != WEAK:
            return _held(
                f"{evidence} and {kind} point at different requests "
                f"({_ids(candidates)} and {_ids(finding.requests)})"
            )
        candidates = common or candidates
    if len(candidates) > 1:
        return _held(f"{evidence} points at several requests ({_ids(candidates)})", evidence)
    if unknown:
        return _held(
            f"{unknown} of the images is of no request in OpenMRS's list, though {evidence} "
            f"points at request {candidates[0].requested_procedure_id}",
            evidence,
        )
    return candidates[0], evidence


# --- the steps of a request ----------------------------------------------------------------

_Steps = dict[ProcedureStep, list[SeriesSummary]]


def _choose_steps(
    study: StudySummary,
    request: ImagingRequest,
    evidence: str,
    policy: Policy,
    history: History,
) -> Decision:
    acquired = [series for series in study.series if is_acquisition(series)]
    if not acquired:
        return _without_images(study, request, evidence, policy, history)
    chosen: _Steps = {}
    silent: list[SeriesSummary] = []
    for series in acquired:
        steps = _steps_named(series, request, policy) or _echoed(series, request, policy)
        for step in steps:
            chosen.setdefault(step, []).append(series)
        if not steps:
            silent.append(series)
    if not chosen and evidence == WEAK:
        return _undecided(
            request,
            f"{evidence} names a step of request {request.requested_procedure_id}, but of "
            "another modality than the images",
            evidence,
        )
    reason = ""
    speaking = {step: list(found) for step, found in chosen.items()}
    # What shows no modality says something only where nothing else does.
    for series in sorted(silent, key=is_unspecific):
        its = [step for step, found in speaking.items() if _goes_with(series, step, found)]
        if not its and not (is_unspecific(series) and chosen):
            only = _only_step(series, request, acquired, history)
            if isinstance(only, str):
                reason = reason or only
            else:
                its = [only]
        for step in its:
            chosen.setdefault(step, []).append(series)
    shown = {
        step: representative(step, found)
        for step, found in chosen.items()
        if any(may_complete(series, _modality(step)) for series in found)
    }
    if shown:
        return _linked(request, shown, reason, evidence, history)
    reason = reason or (
        f"its images are of no modality ({_modalities(acquired)}) that shows that a step of "
        f"request {request.requested_procedure_id} was done"
    )
    return _undecided(request, reason, evidence)


def _without_images(
    study: StudySummary,
    request: ImagingRequest,
    evidence: str,
    policy: Policy,
    history: History,
) -> Decision:
    """What is made of images, or about them, completes nothing by itself."""
    named = [step for series in study.series for step in _steps_named(series, request, policy)]
    told = any(identity_of(request, step) in history.told for step in request.steps)
    if told or (named and not any(step.status.is_open for step in named)):
        return Decision(Outcome.SETTLED, "it is about images that were told of already", evidence)
    return _undecided(
        request,
        f"it has nothing but objects that are no images of an exam ({_modalities(study.series)}), "
        f"which complete no step of request {request.requested_procedure_id} by themselves",
        evidence,
    )


def _linked(
    request: ImagingRequest,
    chosen: Mapping[ProcedureStep, SeriesSummary],
    reason: str,
    evidence: str,
    history: History,
) -> Decision:
    still_open = {step: series for step, series in chosen.items() if step.status.is_open}
    links = tuple(
        Link(request, step, series)
        for step, series in still_open.items()
        if identity_of(request, step) not in history.settled
    )
    if any(step.status.is_open and step not in chosen for step in request.steps):
        remaining = reason
    else:
        remaining = ""  # nothing is left that the other series could be of
    if links:
        return Decision(Outcome.LINKED, remaining, evidence, links)
    if remaining and not history.told:
        return _held(remaining, evidence)
    what = "told of, or decided about," if still_open else "completed or rejected"
    ids = listed(step.scheduled_procedure_step_id for step in chosen)
    return Decision(Outcome.SETTLED, f"its steps are {what} already: {ids}", evidence)


def _undecided(request: ImagingRequest, reason: str, evidence: str) -> Decision:
    """Held, unless the request waits for nothing any more."""
    if any(step.status.is_open for step in request.steps):
        return _held(reason, evidence)
    return Decision(
        Outcome.SETTLED,
        f"all steps of request {request.requested_procedure_id} are completed or rejected already",
        evidence,
    )


def representative(step: ProcedureStep, found: Sequence[SeriesSummary]) -> SeriesSummary:
    """The series that stands for a step: of its own modality, where there is one."""
    return next((series for series in found if _same_modality(series, step)), found[0])


def _steps_named(
    series: SeriesSummary, request: ImagingRequest, policy: Policy
) -> list[ProcedureStep]:
    """The steps of the request that the series names."""
    steps = {step.scheduled_procedure_step_id: step for step in request.steps}
    found: dict[ProcedureStep, None] = {}
    for kind, items in (
        ("RequestAttributesSequence", series.request_attributes),
        ("MPPS", series.performed_steps),
    ):
        if kind in policy.link_by:
            for item in items:
                step = steps.get(item.scheduled_procedure_step_id)
                if step is not None:
                    found[step] = None
    return list(found)


def _echoed(series: SeriesSummary, request: ImagingRequest, policy: Policy) -> list[ProcedureStep]:
    """The step whose id the scanner echoes as PerformedProcedureStepID. Where the modality is
    another one, the number is the scanner's own."""
    if WEAK not in policy.link_by:
        return []
    return [
        step
        for step in request.steps
        if step.scheduled_procedure_step_id == series.performed_procedure_step_id
        and _same_modality(series, step)
    ]


def _goes_with(
    series: SeriesSummary, step: ProcedureStep, speaking: Sequence[SeriesSummary]
) -> bool:
    """Whether a series that names nothing is of the same modality as a step that was named, or
    as the series that name it: a scanner says it in its images and not in its screenshots."""
    modality = series.modality.strip().upper()
    return _same_modality(series, step) or any(
        one.modality.strip().upper() == modality for one in speaking
    )


def _only_step(
    series: SeriesSummary,
    request: ImagingRequest,
    acquired: Sequence[SeriesSummary],
    history: History,
) -> ProcedureStep | str:
    """The step of a series that names none, or why it isn't known."""
    before = [step for step in request.steps if identity_of(request, step) in history.told]
    for step in before:
        if _same_modality(series, step):
            return step
        if not any(_same_modality(one, step) for one in acquired):
            # It was done in another modality than ordered: in one that no step has, if any.
            strange = [
                one for one in acquired if not any(_same_modality(one, of) for of in request.steps)
            ]
            if not strange or series in strange:
                return step
    if len(request.steps) == 1:
        return request.steps[0]
    of_modality = [step for step in request.steps if _same_modality(series, step)]
    if len(of_modality) == 1:
        return of_modality[0]
    if of_modality:
        ids = listed(step.scheduled_procedure_step_id for step in of_modality)
        return (
            f"request {request.requested_procedure_id} has several steps of modality "
            f"{series.modality[:16]} ({ids}), and the images don't say which"
        )
    return (
        f"request {request.requested_procedure_id} has several steps, and none of the study's "
        f"modality ({_modalities(acquired) or 'none'})"
    )


def _same_modality(series: SeriesSummary, step: ProcedureStep) -> bool:
    return series.modality.strip().upper() == _modality(step) != ""


def _modality(step: ProcedureStep) -> str:
    return modality(step.modality).text


def _modalities(series: Iterable[SeriesSummary]) -> str:
    return listed(sorted({one.modality for one in series}))


def _with_unreadable(decision: Decision, study: StudySummary) -> Decision:
    """What couldn't be read may have said more: a person is to know, unless all is told."""
    if not study.unreadable or decision.outcome in (Outcome.LINKED, Outcome.SETTLED):
        return decision
    return _held(
        f"{decision.reason}; Orthanc can't read {study.unreadable} of its objects that were asked "
        "for",
        decision.evidence,
    )


def _held(reason: str, evidence: str = "") -> Decision:
    return Decision(Outcome.HELD, reason, evidence)


def _ids(requests: Iterable[ImagingRequest]) -> str:
    return listed(request.requested_procedure_id for request in distinct(requests))
