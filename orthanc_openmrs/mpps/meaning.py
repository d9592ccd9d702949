"""What performed procedure steps mean here: for the link of a study, for a scheduled step.

Decides: which steps a study's images are of, when a study is linked no sooner, what is held, what
OpenMRS is told of an exam that begins or is broken off. Pure: no clock, no database, no network.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from orthanc_openmrs.model import (
    NO_EXAM,
    DiscontinuationReason,
    Exam,
    Images,
    PerformedProcedure,
    ProcedureRecord,
    ProcedureState,
    RequestAttributes,
    SeriesArrival,
    SeriesSummary,
    StudySummary,
)
from orthanc_openmrs.mpps.procedure import WRONG_WORKLIST_ENTRY

REASONS: Mapping[str, str] = {
    "110500": "doctor cancelled the procedure",
    "110501": "equipment failure",
    "110502": "incorrect procedure ordered",
    "110503": "patient allergic to media or contrast",
    "110504": "patient died",
    "110505": "patient refused to continue",
    "110506": "patient taken for treatment or surgery",
    "110507": "patient did not arrive",
    "110508": "patient pregnant",
    "110509": "change of procedure for correct charging",
    "110510": "duplicate order",
    "110511": "nursing unit cancelled",
    "110512": "incorrect side ordered",
    "110513": "unspecified reason",
    "110514": "incorrect worklist entry selected",
    "110515": "patient's condition prevented continuing",
    "110516": "equipment change",
}
"""Reasons of a discontinued step (PS3.16 CID 9300). A scanner's own words may name the patient."""


def reason_of(discontinuation: DiscontinuationReason | None) -> str:
    """Why a step was broken off, in words free of personal data."""
    if discontinuation is None:
        return "no reason given"
    words = REASONS.get(discontinuation.value) if discontinuation.scheme == "DCM" else None
    return words or "another reason"


# --- whose images ----------------------------------------------------------------------------


def _is_of(series: SeriesSummary, procedure: PerformedProcedure, study_instance_uid: str) -> bool:
    """Whether a step is that of a series: it lists it, the images point at it, they have its
    station and number; else, where it lists no series, whether it names their study."""
    if any(one.series_instance_uid == series.series_instance_uid for one in procedure.series):
        return True
    if procedure.uid in series.performed_step_uids:
        return True
    number = procedure.performed_procedure_step_id
    if (
        number
        and number == series.performed_procedure_step_id
        and procedure.station_name
        and procedure.station_name == series.station_name
    ):
        return True
    return not procedure.series and any(
        one.study_instance_uid == study_instance_uid for one in procedure.references
    )


def of_study(study: StudySummary, records: Iterable[ProcedureRecord]) -> list[ProcedureRecord]:
    """The steps that some of the study's images are of."""
    return [
        record
        for record in records
        if any(
            _is_of(series, record.procedure, study.study_instance_uid) for series in study.series
        )
    ]


def with_performed_steps(study: StudySummary, records: Collection[ProcedureRecord]) -> StudySummary:
    """The study with what its performed steps say of their orders, series by series. One that was
    broken off says nothing."""
    speaking = [
        one.procedure for one in records if one.procedure.state is not ProcedureState.DISCONTINUED
    ]
    if not speaking:
        return study
    return replace(
        study,
        series=tuple(
            replace(
                series,
                performed_steps=tuple(
                    dict.fromkeys(
                        item
                        for procedure in speaking
                        if _is_of(series, procedure, study.study_instance_uid)
                        for item in orders_of(procedure)
                    )
                ),
            )
            for series in study.series
        ),
    )


def orders_of(procedure: PerformedProcedure) -> tuple[RequestAttributes, ...]:
    """What a step says of its orders; nothing where nobody scheduled it."""
    return tuple(
        RequestAttributes(
            one.scheduled_procedure_step_id,
            one.requested_procedure_id,
            one.accession_number,
            one.study_instance_uid,
        )
        for one in procedure.references
        if one.scheduled_procedure_step_id or one.requested_procedure_id or one.accession_number
    )


def as_study(procedure: PerformedProcedure) -> StudySummary:
    """A step as if its images were here: what links them tells its scheduled steps before."""
    uids = [one.study_instance_uid for one in procedure.references if one.study_instance_uid]
    series = SeriesSummary(
        series_instance_uid="",
        modality=procedure.modality,
        station_name=procedure.station_name,
        performed_steps=orders_of(procedure),
    )
    return StudySummary(
        study="",
        study_instance_uid=uids[0] if uids else "",
        patient_id=procedure.patient_id,
        series=(series,),
    )


# --- when and whether a study is linked --------------------------------------------------------


def exam(
    study: StudySummary,
    records: Iterable[ProcedureRecord],
    *,
    noted_at: float,
    now: float,
    within: float,
) -> Exam:
    """What the performed steps say of the link of a study that was stable at a moment.

    One that its scanner never ends holds nothing up for longer than `within`.
    """
    own = of_study(study, records)
    ruled_out = _ruled_out(own)
    remaining = noted_at + within - now
    if any(one.procedure.state is ProcedureState.IN_PROGRESS for one in own) and remaining > 0:
        return Exam("its exam is in progress", remaining, ruled_out=ruled_out)
    awaited = [one for one in own if one.images is Images.AWAITED]
    until = max((one.ended + within for one in awaited), default=now)
    if until > now:
        return Exam(f"{_counted(awaited)} of its exam have come", until - now, ruled_out=ruled_out)
    lacking = [one for one in own if one.images in (Images.AWAITED, Images.MISSING)]
    if lacking:
        return Exam(hold=f"{_counted(lacking)} of its exam have come", ruled_out=ruled_out)
    if own and all(one.procedure.state is ProcedureState.DISCONTINUED for one in own):
        why = reason_of(own[-1].procedure.discontinuation)
        return Exam(hold=f"the scanner broke its exam off ({why})", ruled_out=ruled_out)
    return Exam(ruled_out=ruled_out) if ruled_out else NO_EXAM


def _counted(records: Sequence[ProcedureRecord]) -> str:
    come = sum(one.come for one in records)
    return f"{come} of {sum(one.expected for one in records)} images"


def _ruled_out(records: Collection[ProcedureRecord]) -> frozenset[str]:
    """Scheduled steps that a scanner says it took by mistake, and that no other step names."""
    wrong = {step for one in records if is_wrong_entry(one.procedure) for step in _steps(one)}
    right = {step for one in records if not is_wrong_entry(one.procedure) for step in _steps(one)}
    return frozenset(wrong - right - {""})


def _steps(record: ProcedureRecord) -> set[str]:
    return {one.scheduled_procedure_step_id for one in record.procedure.references}


def is_wrong_entry(procedure: PerformedProcedure) -> bool:
    """Whether the scanner's user had taken the wrong entry of the worklist."""
    reason = procedure.discontinuation
    return (
        procedure.state is ProcedureState.DISCONTINUED
        and reason is not None
        and (reason.value, reason.scheme) == WRONG_WORKLIST_ENTRY
    )


# --- which images have come --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SeriesInOrthanc:
    """A series as Orthanc has it: the identifiers that make its Orthanc IDs, its instances' IDs."""

    study: str
    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    instances: frozenset[str]


def orthanc_id(*identifiers: str) -> str:
    """Orthanc's ID of an instance, by PatientID, StudyInstanceUID, SeriesInstanceUID and
    SOPInstanceUID (Orthanc Book, "Orthanc identifiers")."""
    digest = hashlib.sha1(
        "|".join(one.strip() for one in identifiers).encode(), usedforsecurity=False
    ).hexdigest()
    return "-".join(digest[at : at + 8] for at in range(0, 40, 8))


def arrivals(
    listed: Mapping[str, frozenset[str]], found: Mapping[str, Sequence[SeriesInOrthanc]]
) -> tuple[tuple[SeriesArrival, ...], frozenset[str]]:
    """How many of the listed instances have come, by series, and the Orthanc IDs of the others in
    the series that are here."""
    counts = []
    missing: set[str] = set()
    for series_uid, uids in listed.items():
        lacking = {uid: set[str]() for uid in uids}
        come: set[str] = set()
        for series in found.get(series_uid, ()):
            for uid in uids:
                name = orthanc_id(series.patient_id, series.study_instance_uid, series_uid, uid)
                if name in series.instances:
                    come.add(uid)
                else:
                    lacking[uid].add(name)
        counts.append(SeriesArrival(series_uid, len(uids), len(come)))
        missing.update(*(names for uid, names in lacking.items() if uid not in come))
    return tuple(counts), frozenset(missing)


def expected_ids(
    procedure: PerformedProcedure, listed: Mapping[str, frozenset[str]]
) -> frozenset[str]:
    """The Orthanc IDs that listed instances will have, where the images say what the step says."""
    studies = {one.study_instance_uid for one in procedure.references if one.study_instance_uid}
    return frozenset(
        orthanc_id(procedure.patient_id, study, series, uid)
        for study in studies
        for series, uids in listed.items()
        for uid in uids
    )
