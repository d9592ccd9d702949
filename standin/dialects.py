"""The generations of the Imaging module: what each writes into its list, and its routes.

Decides key names and formats, and names what judges a status POST. A generation is the one
before it with some fields replaced. Must not know sockets, sign-in or faults.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from .answers import REST
from .records import ImagingRequest, Patient, Step
from .updates import Judge, judge_all, judge_first_found, judge_query
from .values import as_is, compact_birth_date, compact_date, compact_time, timestamp_text

EDIT = "Task: Edit Worklist"
RECEIVE = "Task: Receive Orthanc Updates"
IMAGE_SERVICES = frozenset(
    {"View Image Data", "Link Image Studies", "Manager Orthanc Configuration"}
)
"""What the services of v4 ask for beside the routes' own privileges."""

_FILTERS = frozenset({"", "all", "scheduled", "progress", "in progress", "completed", "rejected"})

Element = Callable[["Dialect", ImagingRequest], dict[str, object]]


def full_element(dialect: "Dialect", request: ImagingRequest) -> dict[str, object]:
    """One of the list's objects: all the steps of a request, keys in no order."""
    patient = request.patient
    return shuffled(request.id) | {
        "SpecificCharacterSet": dialect.charset,
        "AccessionNumber": request.accession,
        "PatientName": patient.full_name,
        "PatientID": dialect.patient_id(patient),
        "PatientBirthDate": dialect.birth_date(patient.birthdate),
        "PatientSex": patient.gender,
        **dialect.constants,
        "StudyInstanceUID": request.study_instance_uid,
        "RequestingPhysician": request.physician,
        "RequestedProcedureDescription": request.description,
        "RequestedProcedureID": str(request.id),
        "RequestedProcedurePriority": dialect.priority(request.priority),
        "ScheduledProcedureStepSequence": [_step(dialect, step) for step in request.steps],
    }


def flat_element(_: "Dialect", request: ImagingRequest) -> dict[str, object]:
    """1.1.3 and 1.1.4: the row of the request, without any step."""
    return {
        "id": request.id,
        "status": request.status,
        "mrsPatientUuid": request.patient.uuid,
        "accessionNumber": request.accession,
        "studyInstanceUID": request.study_instance_uid,
        "requestingPhysician": request.physician,
        "requestDescription": request.description,
        "priority": request.priority,
    }


@dataclass(frozen=True)
class Dialect:
    list_path: str
    update_path: str
    judge: Judge | None  # of a status POST; None: there is no such route
    step_status_path: str | None
    step_status_throws: bool  # where the newer ones answer 400 and 404
    list_privileges: frozenset[str]
    update_privileges: frozenset[str]
    calls_back: bool  # asks Orthanc while it answers an update
    assigns_study_uids: bool
    element: Element
    charset: str
    patient_id: Callable[[Patient], str]
    birth_date: Callable[[str | None], str]
    date: Callable[[str | None], str | None]
    time: Callable[[str | None], str | None]
    priority: Callable[[str | None], str | None]
    constants: Mapping[str, str]
    has_filter: bool
    refuses_unknown_filter: bool
    lists_only: str | None  # requests of this status

    def listed(self, request: ImagingRequest, status: str) -> bool:
        """`?status=`, broken as it is: "progress" is stored, "in progress" is looked for."""
        if self.lists_only is not None and request.status != self.lists_only:
            return False
        wanted = status.strip().lower()
        if not self.has_filter or wanted in ("", "all"):
            return True
        return request.status == {"progress": "in progress"}.get(wanted, wanted)

    def refuses_filter(self, status: str) -> bool:
        return self.refuses_unknown_filter and status.strip().lower() not in _FILTERS


def _step(dialect: Dialect, step: Step) -> dict[str, str | None]:
    return {
        "Modality": step.modality,
        "ScheduledStationAETitle": step.aet_title,
        "ScheduledProcedureStepStartDate": dialect.date(step.start_date),
        "ScheduledProcedureStepStartTime": dialect.time(step.start_time),
        "ScheduledPerformingPhysicianName": step.physician,
        "PerformedProcedureStepStatus": step.status,
        "ScheduledProcedureStepDescription": step.description,
        "ScheduledProcedureStepID": str(step.id),
        "ScheduledStationName": step.station_name,
        "ScheduledProcedureStepLocation": step.location,
        "CommentsOnTheScheduledProcedureStep": "no value available",
    }


def shuffled(number: int) -> dict[str, object]:
    """A few keys to be filled later: they come first, so the order differs between elements."""
    keys = ("RequestedProcedureID", "PatientSex", "ScheduledProcedureStepSequence", "PatientID")
    turn = number % len(keys)
    return dict.fromkeys(keys[turn:] + keys[:turn])


_V0 = Dialect(
    list_path=REST + "imaging/worklist",
    update_path=REST + "imaging/updatestatus",
    judge=judge_query,
    step_status_path=None,
    step_status_throws=False,
    list_privileges=frozenset(),
    update_privileges=frozenset(),
    calls_back=False,
    assigns_study_uids=False,
    element=full_element,
    charset="ISO_IR 100",
    patient_id=lambda patient: patient.identifier_uuid,
    birth_date=timestamp_text,
    date=as_is,
    time=as_is,
    priority=as_is,
    constants={"MedicalAlerts": "unknown", "Allergies": "unknown"},
    has_filter=False,
    refuses_unknown_filter=False,
    lists_only=None,
)
# 1.0.1 to 1.1.2: the first step of a request takes it out of the list.
_V0_9 = replace(
    _V0,
    list_path=REST + "worklist/requests",
    update_path=REST + "worklist/updaterequeststatus",
    judge=None,
    constants={},
    lists_only="scheduled",
)
_1_1_4 = replace(_V0_9, element=flat_element, lists_only=None)
_V1 = replace(
    _V0_9,
    judge=judge_query,
    patient_id=lambda patient: patient.uuid,
    has_filter=True,
    lists_only=None,
)
_V1_9 = replace(_V1, judge=judge_first_found("performedProcedureStepID"), calls_back=True)
_1_1_6 = replace(
    _V1_9,
    judge=judge_first_found(),
    step_status_path=REST + "worklist/updateprocedurestepstatus",
    step_status_throws=True,
)
_V2 = replace(
    _1_1_6,
    step_status_throws=False,
    list_privileges=frozenset({EDIT}),
    update_privileges=frozenset({RECEIVE}),
    refuses_unknown_filter=True,
)
_V3 = replace(
    _V2,
    judge=judge_all,
    assigns_study_uids=True,
    charset="ISO_IR 192",
    birth_date=compact_birth_date,
    date=compact_date,
    time=compact_time,
    priority=lambda text: text and text.upper(),
)
_V4 = replace(_V2, update_privileges=frozenset({RECEIVE}) | IMAGE_SERVICES)

DIALECTS: dict[str, Dialect] = {
    "v0": _V0,
    "v0.9": _V0_9,
    "1.1.4": _1_1_4,
    "v1": _V1,
    "v1.9": _V1_9,
    "1.1.6": _1_1_6,
    "v2": _V2,
    "v3": _V3,
    "v4": _V4,
}
