"""What each generation of the Imaging module writes into its list, and how it judges a status POST.

Decides key names, value formats, answers and which steps an update completes. A generation is
the one before it with some fields replaced. Must not know sockets, sign-in or faults, and
changes no record: a Verdict says what is to be saved, the server saves it.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from .records import ImagingRequest, Patient, Records, Step

JSON = "application/json;charset=UTF-8"
HTML = "text/html;charset=utf-8"
REST = "/openmrs/ws/rest/v1/"
RESULT_COLUMN = 2000  # characters of the comparison that v2 can store with the study
STEP_STATUSES = frozenset({"scheduled", "in progress", "completed", "rejected"})


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def json_answer(value: object, status: int = 200) -> Answer:
    return Answer(status, encode(value))


def text_answer(text: str, status: int = 200) -> Answer:
    """Bare text, not a JSON string, and still announced as JSON: Spring writes a String so."""
    return Answer(status, text.encode())


def error_answer(status: int, message: str) -> Answer:
    return json_answer({"error": {"message": message, "code": "", "detail": ""}}, status)


def page_answer(status: int, title: str = "HTTP Status") -> Answer:
    page = f"<!doctype html><html><head><title>{title} {status}</title></head><body></body></html>"
    return Answer(status, page.encode(), HTML)


def encode(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


# --- values in the list ---------------------------------------------------------------------


class MissingBirthDate(Exception):
    """The module calls a method of the birth date without looking: the whole list fails."""


def as_is(text: str | None) -> str | None:
    return text


def timestamp_text(birthdate: str | None) -> str:
    """A java.sql.Timestamp's text; a birth date that is no date is passed through for tests."""
    if birthdate is None:
        raise MissingBirthDate
    iso = re.fullmatch(r"\d{4}-\d\d-\d\d", birthdate)
    return f"{birthdate} 00:00:00.0" if iso else birthdate


def reformatted(text: str | None, formats: Iterable[str], output: str) -> str | None:
    for known in formats:
        try:
            return datetime.strptime((text or "").strip(), known).strftime(output)
        except ValueError:
            continue
    return None


def compact_birth_date(birthdate: str | None) -> str:
    known = ("%Y-%m-%d", "%Y%m%d", "%Y-%m-%d %H:%M:%S.0")
    return reformatted(birthdate, known, "%Y%m%d") or ""


def compact_date(text: str | None) -> str | None:
    return reformatted(text, ("%Y%m%d%H%M%S", "%Y-%m-%d", "%Y%m%d"), "%Y%m%d") or text


def compact_time(text: str | None) -> str | None:
    return reformatted(text, ("%H%M%S", "%H:%M:%S", "%H:%M"), "%H%M%S") or text


# --- a status POST --------------------------------------------------------------------------


@dataclass(frozen=True)
class Posted:
    query: Mapping[str, str]
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Verdict:
    """The answer, and the steps to complete before it is given."""

    answer: Answer
    completes: tuple[int, ...] = ()
    study_instance_uid: str | None = None


Judge = Callable[[Records, Posted], Verdict]
Texts = Mapping[str, str | None]

STUDY_KEYS = frozenset(
    {"accessionNumber", "studyInstanceUID", "referringPhysicianName", "studyDescription"}
)
SERIES_KEYS = frozenset(
    {"seriesID", "modality", "seriesDescription", "seriesInstanceUID", "stationName"}
    | {"parentStudy"}
)
INSTANCE_KEYS = frozenset(
    {"patientBirthDate", "patientID", "patientName", "scheduledProcedureStepID"}
    | {"studyInstanceUID", "numberOfSlices", "scheduledPerformingPhysician"}
    | {"performedProcedureStepDescription", "performedProcedureStepStartDate"}
    | {"performedProcedureStepStartTime", "requestedProcedureDescription"}
)


@dataclass(frozen=True)
class Entry:
    """One of seriesList. `instance` and `series` are empty where the body has null."""

    step_id: str | None
    series: Texts
    instance: Texts

    @property
    def number(self) -> int | None:
        """As Java's Integer.parseInt: no blanks, 32 bits."""
        if self.step_id is None or not re.fullmatch(r"[+-]?\d+", self.step_id):
            return None
        number = int(self.step_id)
        return number if -(2**31) <= number < 2**31 else None


@dataclass(frozen=True)
class Payload:
    study: Texts
    entries: tuple[Entry | None, ...]


class BadPayload(Exception):
    def __init__(self, answer: Answer) -> None:
        self.answer = answer


def read_payload(posted: Posted) -> Payload:
    """Strict, as the server's JSON reader is: an unknown key refuses the whole body."""
    if not posted.content_type.lower().startswith("application/json"):
        raise BadPayload(page_answer(415))
    try:
        body = _object(json.loads(posted.body), {"studyInfo", "seriesList"})
        study = _texts(body.get("studyInfo"), STUDY_KEYS)
        listed = body.get("seriesList")
        if not isinstance(listed, list | None):
            raise ValueError("seriesList")
        entries = tuple(None if item is None else _entry(item) for item in listed or ())
    except ValueError:
        raise BadPayload(page_answer(400)) from None
    if body.get("studyInfo") is None or listed is None:
        raise BadPayload(text_answer("Invalid Orthanc update payload", 400))
    return Payload(study, entries)


def _entry(value: object) -> Entry:
    item = _object(value, {"seriesInfo", "instanceInfo", "scheduledProcedureStepID"})
    step_id = item.get("scheduledProcedureStepID")
    if not isinstance(step_id, str | None):
        raise ValueError("scheduledProcedureStepID")
    series = _texts(item.get("seriesInfo"), SERIES_KEYS)
    return Entry(step_id, series, _texts(item.get("instanceInfo"), INSTANCE_KEYS))


def _object(value: object, keys: set[str] | frozenset[str]) -> dict[str, Any]:
    if not isinstance(value, dict) or not keys.issuperset(value):
        raise ValueError("unknown key, or not an object")
    return value


def _texts(value: object, keys: frozenset[str]) -> Texts:
    texts = {} if value is None else _object(value, keys)
    if not all(isinstance(text, str | None) for text in texts.values()):
        raise ValueError("neither text nor null")
    return texts


def compare(
    request: ImagingRequest, payload: Payload, identity: Callable[[Patient], str]
) -> dict[str, Any]:
    """The module's score of an update, 0 to 100, with every difference it found."""
    differences: list[dict[str, str | None]] = []

    def points(step: Step | None, tag: str, ours: str | None, theirs: str | None, n: int) -> int:
        if ours and theirs and _words(ours) == _words(theirs):
            return n
        found = {"tag": tag, "fromOpenmrs": ours, "fromPacs": theirs}
        differences.append({**found, "stepId": str(step.id) if step else None})
        return 0

    study, patient = payload.study, request.patient
    score = points(None, "AccessionNumber", request.accession, study.get("accessionNumber"), 10)
    referring = study.get("referringPhysicianName")
    score += points(None, "RequestingPhysician", request.physician, referring, 10)
    steps = {step.id: step for step in request.steps}
    reported = [(steps[e.number], e) for e in payload.entries if e and e.number in steps]
    earned = 0
    for step, entry in reported:
        series, instance = entry.series, entry.instance
        physician = instance.get("scheduledPerformingPhysician")
        performed = instance.get("performedProcedureStepDescription")
        born = compact_birth_date(patient.birthdate)
        name = f"{patient.given} {patient.family}"
        for tag, ours, theirs, worth in (
            ("PatientName", name, instance.get("patientName"), 15),
            ("PatientID", identity(patient), instance.get("patientID"), 10),
            ("PatientBirthDate", born, instance.get("patientBirthDate"), 15),
            ("Modality", step.modality, series.get("modality"), 10),
            ("ScheduledPerformingPhysician", step.physician, physician, 10),
            ("PerformedProcedureStepDescription", step.description, performed, 10),
            ("StationName", step.station_name, series.get("stationName"), 10),
        ):
            earned += points(step, tag, ours, theirs, worth)
    score += earned // max(len(request.steps), len(reported))
    return {"score": score, "differences": differences}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.replace("^", " ").casefold().split())


def judge_query(records: Records, posted: Posted) -> Verdict:
    """v0 and v1: the query string only. Done and unknown look the same."""
    uid = posted.query.get("studyInstanceUID")
    step_id = posted.query.get("performedProcedureStepID")
    if uid is None or step_id is None:
        return Verdict(page_answer(400))
    number = Entry(step_id, {}, {}).number
    if number is None:
        return Verdict(page_answer(500))
    known = records.request_of(number) is not None
    return Verdict(Answer(200), (number,) if known else (), uid)


def judge_first_found(records: Records, posted: Posted) -> Verdict:
    """v2: the first entry with an integer id decides, unless its step is rejected."""
    payload = read_payload(posted)
    for entry in payload.entries:
        if entry is None:
            return Verdict(page_answer(500))
        if entry.number is None:
            continue
        request = records.request_of(entry.number)
        if request is None:
            return Verdict(text_answer("No valid procedure step IDs found in payload"))
        if request.step(entry.number).status == "rejected":
            continue
        # It compares the PatientID, a uuid, with the number of the patient's row: never equal.
        result = json_answer(compare(request, payload, lambda patient: str(patient.id)))
        if len(result.body.decode()) > RESULT_COLUMN:
            return Verdict(page_answer(500))
        return Verdict(result, (entry.number,), payload.study.get("studyInstanceUID"))
    return Verdict(text_answer("No series data found in payload"))


def judge_all(records: Records, posted: Posted) -> Verdict:
    """v3: everything is checked before anything is saved, and all steps listed are completed."""
    payload = read_payload(posted)
    uid = payload.study.get("studyInstanceUID")
    entries = [e for e in payload.entries if e is not None and e.number is not None]
    if not (uid or "").strip() or not entries or len(entries) < len(payload.entries):
        return Verdict(text_answer("Invalid Orthanc update payload", 400))
    numbers = [entry.number for entry in entries if entry.number is not None]
    requests = [records.request_of(number) for number in numbers]
    request = requests[0]
    if request is None or None in requests:
        return Verdict(text_answer("Procedure step not found", 404))
    agreed = payload.study.get("accessionNumber") == request.accession and all(
        entry.instance.get("patientID") == request.patient.uuid
        and entry.instance.get("scheduledProcedureStepID") == entry.step_id
        and entry.instance.get("studyInstanceUID") in (None, uid)
        for entry in entries
    )
    statuses = {step.id: step.status for step in request.steps}
    agreed = agreed and statuses.keys() >= set(numbers)  # all steps are one request's
    open_steps = {number for number in numbers if statuses.get(number) != "rejected"}
    if not agreed or not open_steps:
        return Verdict(text_answer("Update does not match the imaging request", 409))
    result = compare(request, payload, lambda patient: patient.uuid)
    return Verdict(json_answer(result), tuple(sorted(open_steps)), uid)


def judge_step_status(records: Records, query: Mapping[str, str]) -> tuple[Answer, int | None]:
    """updateprocedurestepstatus: the answer, and the step to change, if any."""
    number = Entry(query.get("stepId"), {}, {}).number
    if number is None or number <= 0:
        return text_answer("step ID is missing", 400), None
    if query.get("status", "").strip().lower() not in STEP_STATUSES:
        return text_answer("Invalid procedure step status", 400), None
    if records.request_of(number) is None:
        return text_answer("Procedure step not found", 404), None
    return Answer(200), number


# --- the generations ------------------------------------------------------------------------


@dataclass(frozen=True)
class Dialect:
    list_path: str
    update_path: str
    step_status_path: str | None
    needs_privileges: bool  # and calls Orthanc back while it answers an update
    assigns_study_uids: bool
    charset: str
    patient_id: Callable[[Patient], str]
    birth_date: Callable[[str | None], str]
    date: Callable[[str | None], str | None]
    time: Callable[[str | None], str | None]
    priority: Callable[[str | None], str | None]
    constants: Mapping[str, str]
    has_filter: bool
    judge: Judge

    def element(self, request: ImagingRequest) -> dict[str, object]:
        """One of the list's objects: all the steps of a request, keys in no order."""
        patient = request.patient
        return shuffled(request.id) | {
            "SpecificCharacterSet": self.charset,
            "AccessionNumber": request.accession,
            "PatientName": patient.full_name,
            "PatientID": self.patient_id(patient),
            "PatientBirthDate": self.birth_date(patient.birthdate),
            "PatientSex": patient.gender,
            **self.constants,
            "StudyInstanceUID": request.study_instance_uid,
            "RequestingPhysician": request.physician,
            "RequestedProcedureDescription": request.description,
            "RequestedProcedureID": str(request.id),
            "RequestedProcedurePriority": self.priority(request.priority),
            "ScheduledProcedureStepSequence": [self._step(step) for step in request.steps],
        }

    def _step(self, step: Step) -> dict[str, str | None]:
        return {
            "Modality": step.modality,
            "ScheduledStationAETitle": step.aet_title,
            "ScheduledProcedureStepStartDate": self.date(step.start_date),
            "ScheduledProcedureStepStartTime": self.time(step.start_time),
            "ScheduledPerformingPhysicianName": step.physician,
            "PerformedProcedureStepStatus": step.status,
            "ScheduledProcedureStepDescription": step.description,
            "ScheduledProcedureStepID": str(step.id),
            "ScheduledStationName": step.station_name,
            "ScheduledProcedureStepLocation": step.location,
            "CommentsOnTheScheduledProcedureStep": "no value available",
        }

    def listed(self, request: ImagingRequest, status: str) -> bool:
        """`?status=`, broken as it is: "progress" is stored, "in progress" is looked for."""
        wanted = status.strip().lower()
        if not self.has_filter or wanted in ("", "all"):
            return True
        return request.status == {"progress": "in progress"}.get(wanted, wanted)


def shuffled(number: int) -> dict[str, object]:
    """A few keys to be filled later: they come first, so the order differs between elements."""
    keys = ("RequestedProcedureID", "PatientSex", "ScheduledProcedureStepSequence", "PatientID")
    turn = number % len(keys)
    return dict.fromkeys(keys[turn:] + keys[:turn])


V0 = Dialect(
    list_path=REST + "imaging/worklist",
    update_path=REST + "imaging/updatestatus",
    step_status_path=None,
    needs_privileges=False,
    assigns_study_uids=False,
    charset="ISO_IR 100",
    patient_id=lambda patient: patient.identifier_uuid,
    birth_date=timestamp_text,
    date=as_is,
    time=as_is,
    priority=as_is,
    constants={"MedicalAlerts": "unknown", "Allergies": "unknown"},
    has_filter=False,
    judge=judge_query,
)
V1 = replace(
    V0,
    list_path=REST + "worklist/requests",
    update_path=REST + "worklist/updaterequeststatus",
    patient_id=lambda patient: patient.uuid,
    constants={},
    has_filter=True,
)
V2 = replace(
    V1,
    step_status_path=REST + "worklist/updateprocedurestepstatus",
    needs_privileges=True,
    judge=judge_first_found,
)
V3 = replace(
    V2,
    assigns_study_uids=True,
    charset="ISO_IR 192",
    birth_date=compact_birth_date,
    date=compact_date,
    time=compact_time,
    priority=lambda text: text and text.upper(),
    judge=judge_all,
)
DIALECTS: dict[str, Dialect] = {"v0": V0, "v1": V1, "v2": V2, "v3": V3}
