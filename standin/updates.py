"""How each generation of the Imaging module judges a status POST.

Decides answers, scores and which steps an update completes. Must not know sockets, sign-in or
faults, and changes no record: a Verdict says what is to be saved, the server saves it.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .answers import Answer, ServerException, data_error, encode, json_answer, text_answer
from .records import ImagingRequest, Patient, Records, Step
from .values import compact_birth_date, compact_date, timestamp_text

RESULT_COLUMN = 2000  # characters of the comparison that can be stored with the study
UID_COLUMN = 255
STEP_STATUSES = frozenset({"scheduled", "in progress", "completed", "rejected"})


@dataclass(frozen=True)
class Posted:
    query: Mapping[str, str]
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Site:
    """What a judgement may look at beside the POST itself."""

    records: Records
    # PatientID of the images of a study, as Orthanc has it; None: there is no Orthanc to ask.
    # Raises ServerException where the study can't be read.
    image_patient_id: Callable[[str], str | None]
    strict_sql: bool = True  # False: a MySQL that cuts what is too long for its column


@dataclass(frozen=True)
class Verdict:
    """The answer, and the steps to complete before it is given."""

    answer: Answer
    completes: tuple[int, ...] = ()
    study_instance_uid: str | None = None


Judge = Callable[[Site, Posted], Verdict]
Texts = Mapping[str, str | None]


@dataclass(frozen=True)
class Entry:
    """One of seriesList. `instance` and `series` are empty where the body has null."""

    step_id: str | None
    series: Texts
    instance: Texts

    @property
    def number(self) -> int | None:
        return parse_int(self.step_id)


def parse_int(text: str | None) -> int | None:
    """As Java's Integer.parseInt: no blanks, 32 bits."""
    if text is None or not re.fullmatch(r"[+-]?\d+", text):
        return None
    number = int(text)
    return number if -(2**31) <= number < 2**31 else None


@dataclass(frozen=True)
class Payload:
    study: Texts
    entries: tuple[Entry | None, ...]


class BadPayload(Exception):
    def __init__(self, answer: Answer) -> None:
        self.answer = answer


def read_payload(posted: Posted, step_key: str = "scheduledProcedureStepID") -> Payload:
    """As the server's JSON reader does: unknown keys are ignored, numbers are taken as texts."""
    if not posted.content_type.lower().startswith("application/json"):
        said = f"Content type '{posted.content_type}' not supported"
        raise ServerException(said, old_status=415)
    try:
        body = _object(json.loads(posted.body))
        study = _texts(body.get("studyInfo"))
        listed = body.get("seriesList")
        if not isinstance(listed, list | None):
            raise ValueError("seriesList")
        entries = tuple(None if item is None else _entry(item, step_key) for item in listed or ())
    except (ValueError, RecursionError):
        raise ServerException("JSON parse error", "cut", old_status=400) from None
    if body.get("studyInfo") is None or listed is None:
        raise BadPayload(text_answer("Invalid Orthanc update payload", 400))
    return Payload(study, entries)


def _entry(value: object, step_key: str) -> Entry:
    item = _object(value)
    instance = _texts(item.get("instanceInfo"))
    return Entry(_text(item.get(step_key)), _texts(item.get("seriesInfo")), instance)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _texts(value: object) -> Texts:
    known = {} if value is None else _object(value)
    return {key: _text(known[key]) for key in known if key in TEXT_KEYS}


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int | float):
        return json.dumps(value)
    raise ValueError("neither text nor null")


TEXT_KEYS = frozenset(
    {"accessionNumber", "studyInstanceUID", "referringPhysicianName", "studyDescription"}
    | {"seriesID", "modality", "seriesDescription", "seriesInstanceUID", "stationName"}
    | {"parentStudy", "patientBirthDate", "patientID", "patientName"}
    | {"scheduledProcedureStepID", "numberOfSlices", "scheduledPerformingPhysician"}
    | {"performedProcedureStepDescription", "performedProcedureStepStartDate"}
    | {"performedProcedureStepStartTime", "requestedProcedureDescription"}
)


# --- the comparison -------------------------------------------------------------------------


@dataclass(frozen=True)
class Comparison:
    """How the values are written before they are compared. v2 writes three of them as images
    never have them, so 24 of its 100 points can't be had."""

    identity: Callable[[Patient], str]
    birth_date: Callable[[str | None], str]
    start_date: Callable[[str | None], str | None]


V2_COMPARISON = Comparison(lambda patient: str(patient.id), timestamp_text, lambda text: text)
V3_COMPARISON = Comparison(lambda patient: patient.uuid, compact_birth_date, compact_date)


def compare(request: ImagingRequest, payload: Payload, how: Comparison) -> dict[str, Any]:
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
        started = instance.get("performedProcedureStepStartDate")
        name = f"{patient.given} {patient.family}"
        born = how.birth_date(patient.birthdate)
        for tag, ours, theirs, worth in (
            ("PatientID", how.identity(patient), instance.get("patientID"), 8),
            ("PatientBirthDate", born, instance.get("patientBirthDate"), 8),
            ("StartDate", how.start_date(step.start_date), started, 8),
            ("PatientName", name, instance.get("patientName"), 16),
            ("Modality", step.modality, series.get("modality"), 10),
            ("PerformingPhysician", step.physician, physician, 10),
            ("Description", step.description, performed, 10),
            ("StationName", step.station_name, series.get("stationName"), 10),
        ):
            earned += points(step, tag, ours, theirs, worth)
    score += earned // max(len(request.steps), len(reported))
    return {"score": score, "differences": differences}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.replace("^", " ").casefold().split())


# --- the judges -----------------------------------------------------------------------------


def judge_query(site: Site, posted: Posted) -> Verdict:
    """v0 and v1: the query string only. Done and unknown look the same."""
    uid = _required(posted, "studyInstanceUID")
    step_id = _required(posted, "performedProcedureStepID")
    number = parse_int(step_id)
    if number is None:
        raise ServerException(f'For input string: "{step_id}"')
    known = site.records.request_of(number) is not None
    return Verdict(Answer(200), (number,) if known else (), uid)


def _required(posted: Posted, name: str) -> str:
    if name not in posted.query:
        said = f"Required String parameter '{name}' is not present"
        raise ServerException(said, old_status=400)
    return posted.query[name]


def judge_first_found(step_key: str = "scheduledProcedureStepID") -> Judge:
    """v1.9 and v2: the first entry with an integer id decides, unless its step is rejected."""

    def judge(site: Site, posted: Posted) -> Verdict:
        payload = read_payload(posted, step_key)
        for entry in payload.entries:
            if entry is None:
                raise ServerException("seriesList holds null")
            if entry.number is None:
                continue
            request = site.records.request_of(entry.number)
            if request is None:
                return Verdict(text_answer("No valid procedure step IDs found in payload"))
            if request.step(entry.number).status == "rejected":
                continue
            result = compare(request, payload, V2_COMPARISON)
            if site.strict_sql and len(encode(result).decode()) > RESULT_COLUMN:
                raise data_error("Data too long for column 'result'")
            uid = payload.study.get("studyInstanceUID")
            return Verdict(json_answer(result), (entry.number,), uid)
        return Verdict(text_answer("No series data found in payload"))

    return judge


def judge_all(site: Site, posted: Posted) -> Verdict:
    """v3: everything is checked before anything is saved, and all steps listed are completed."""
    payload = read_payload(posted)
    uid = payload.study.get("studyInstanceUID") or ""
    entries = [e for e in payload.entries if e is not None and e.number is not None]
    if not uid.strip() or not entries or len(entries) < len(payload.entries):
        return Verdict(text_answer("Invalid Orthanc update payload", 400))
    numbers = [entry.number for entry in entries if entry.number is not None]
    requests = [site.records.request_of(number) for number in numbers]
    request = requests[0]
    if request is None or None in requests:
        return Verdict(text_answer("Procedure step not found", 404))
    statuses = {step.id: step.status for step in request.steps}
    agreed = payload.study.get("accessionNumber") == request.accession and all(
        entry.instance.get("patientID") == request.patient.uuid
        and entry.instance.get("scheduledProcedureStepID") == entry.step_id
        and entry.instance.get("studyInstanceUID") in (None, uid)
        for entry in entries
    )
    if not agreed or not statuses.keys() >= set(numbers):  # all steps are one request's
        return Verdict(text_answer("Update does not match the imaging request", 409))
    owner = site.records.request_with_study(uid)
    if owner is not None and owner.patient != request.patient:
        said = "The Orthanc study is already linked to another patient"
        return Verdict(text_answer(said, 409))
    in_images = site.image_patient_id(uid)
    if in_images not in (None, request.patient.uuid):
        said = "The Orthanc study does not match the requested patient"
        return Verdict(text_answer(said, 409))
    eligible = {number for number in numbers if statuses[number] != "rejected"}
    if not eligible:
        return Verdict(text_answer("No eligible procedure steps in notification", 409))
    result = compare(request, payload, V3_COMPARISON)
    return Verdict(json_answer(result), tuple(sorted(eligible)), uid)


# --- updateprocedurestepstatus --------------------------------------------------------------


def judge_step_status(
    records: Records, query: Mapping[str, str], *, throws: bool
) -> tuple[Answer, int | None]:
    """The answer, and the step to change, if any. `throws`: 1.1.6 checks nothing by itself."""
    given = query.get("stepId")
    number = parse_int(given)
    if given is not None and number is None:
        raise ServerException(f'For input string: "{given}"', "breaks", old_status=400)
    known = number is not None and records.request_of(number) is not None
    valid = query.get("status", "").strip().lower() in STEP_STATUSES
    if throws and not (known and valid):
        raise ServerException("Invalid procedure step or status")
    if number is None or number <= 0:
        return text_answer("step ID is missing", 400), None
    if not valid:
        return text_answer("Invalid procedure step status", 400), None
    if not known:
        return text_answer("Procedure step not found", 404), None
    return Answer(200), number
