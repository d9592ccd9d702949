"""OpenMRS's JSON ↔ our values, for all generations of its Imaging module.

Decides: how an element of the worklist is read, how a status update is written, and what
OpenMRS's answer to it means. The names of OpenMRS's fields stand here and nowhere else.
Must not know: HTTP, DICOM rules, the database.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from sys import intern
from typing import Any

from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import (
    Demographics,
    ImagingRequest,
    ProcedureStep,
    Rejected,
    RequestList,
    SeriesSummary,
    StepStatus,
    StudySummary,
)

MAX_TEXT = 1024
"""Longer text is cut when it is read: OpenMRS's columns hold 255 characters."""

MAX_STEPS = 200
"""A request with more steps than this is no imaging request."""

MAX_ELEMENT = 1024 * 1024
"""Characters of an element; a request of MAX_STEPS steps with full columns is shorter. What is
longer is refused before it becomes values, which take many times its memory."""

LEAST_PART = 200
"""Bytes of a request or a step: the names of the keys alone are more. A list that claims to have
more parts than its length allows is none: it would take gigabytes as values."""

FEW_PARTS = 10_000
"""Requests and steps that a list of any length may have."""

_STATUSES = {
    "scheduled": StepStatus.SCHEDULED,
    "in progress": StepStatus.IN_PROGRESS,
    "progress": StepStatus.IN_PROGRESS,  # what the module's "savestep" stores
    "completed": StepStatus.COMPLETED,
    "rejected": StepStatus.REJECTED,
    "": StepStatus.SCHEDULED,
}


# --- the list ------------------------------------------------------------------------------


def read_list(body: bytes) -> RequestList:
    """Read the answer of `GET worklist/requests`.

    A bad element costs that element only. Raises OpenMRSError ("not-a-list") where the body
    as a whole is no JSON array in UTF-8.
    """
    requests: list[ImagingRequest] = []
    rejected: list[Rejected] = []
    problems: list[str] = []
    generation = ""
    steps, most_parts = 0, FEW_PARTS + len(body) // LEAST_PART
    for position, element in enumerate(_elements(body)):
        if position + steps + len(rejected) > most_parts:
            raise OpenMRSError("not-a-list", f"the answer has more than {most_parts} parts")
        if isinstance(element, Rejected):
            rejected.append(Rejected(position, element.reason))
            continue
        try:
            requests.append(read_request(element, problems.append))
        except ValueError as problem:
            problems.append(str(problem))
        else:
            steps += len(requests[-1].steps)
            generation = generation or _generation(element)
        rejected += (Rejected(position, problem) for problem in problems)
        problems.clear()
    return RequestList(tuple(requests), tuple(rejected), generation)


def read_request(element: object, reject: Callable[[str], None]) -> ImagingRequest:
    """Read one element of the list; a bad step of it costs that step, and `reject` is told why.

    Raises ValueError with the reason, free of the element's values.
    """
    if not isinstance(element, dict):
        raise ValueError(f"is {_type_name(element)}, not an object")
    steps = element.get("ScheduledProcedureStepSequence")
    if steps is None:
        steps = []
    if isinstance(steps, dict):
        steps = [steps]
    if not isinstance(steps, list):
        raise ValueError(f"ScheduledProcedureStepSequence is {_type_name(steps)}, not an array")
    if len(steps) > MAX_STEPS:
        raise ValueError(f"has {len(steps)} steps; at most {MAX_STEPS} are read")
    return ImagingRequest(
        requested_procedure_id=_text(element, "RequestedProcedureID"),
        # Neither blank nor letter of it is changed: v3 wants it back exactly.
        accession_number=_verbatim(element, "AccessionNumber"),
        patient_id=_text(element, "PatientID"),
        patient_name=_text(element, "PatientName"),
        patient_birth_date=_text(element, "PatientBirthDate"),
        patient_sex=_text(element, "PatientSex"),
        study_instance_uid=_text(element, "StudyInstanceUID"),
        requesting_physician=_text(element, "RequestingPhysician"),
        description=_text(element, "RequestedProcedureDescription"),
        priority=_text(element, "RequestedProcedurePriority"),
        steps=tuple(_read_steps(steps, reject)),
    )


def _read_steps(steps: list[Any], reject: Callable[[str], None]) -> Iterator[ProcedureStep]:
    for position, step in enumerate(steps):
        try:
            yield _read_step(step)
        except ValueError as problem:
            reject(f"step {position}: {problem}")


def _generation(element: object) -> str:
    """Only v3 names the character set that the text really has."""
    named = element.get("SpecificCharacterSet") if isinstance(element, dict) else None
    return "v3" if named == "ISO_IR 192" else ""


def _read_step(step: object) -> ProcedureStep:
    if not isinstance(step, dict):
        raise ValueError(f"is {_type_name(step)}, not an object")
    status = _text(step, "PerformedProcedureStepStatus").lower()
    return ProcedureStep(
        scheduled_procedure_step_id=_text(step, "ScheduledProcedureStepID"),
        status=_STATUSES.get(" ".join(status.split()), StepStatus.OTHER),
        modality=_text(step, "Modality"),
        scheduled_station_ae_title=_text(step, "ScheduledStationAETitle"),
        start_date=_text(step, "ScheduledProcedureStepStartDate"),
        start_time=_text(step, "ScheduledProcedureStepStartTime"),
        scheduled_performing_physician_name=_text(step, "ScheduledPerformingPhysicianName"),
        description=_text(step, "ScheduledProcedureStepDescription"),
        scheduled_station_name=_text(step, "ScheduledStationName"),
        location=_text(step, "ScheduledProcedureStepLocation"),
    )


def _text(source: dict[str, Any], key: str) -> str:
    return intern(_verbatim(source, key).strip())


def _verbatim(source: dict[str, Any], key: str) -> str:
    value = source.get(key)
    if value is None:
        return ""
    if isinstance(value, str):
        # Half a surrogate pair can't be written again: MySQL cuts an emoji like that.
        whole = _SURROGATE.sub("\ufffd", value[:MAX_TEXT])
        # The same words come again and again in a list of thousands: one of each is kept.
        return intern(whole)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{key} is {_type_name(value)}, not text")


_SURROGATE = re.compile(r"[\ud800-\udfff]")


def _type_name(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "a boolean"}
    return names.get(type(value), "null" if value is None else "a number")


def _elements(body: bytes) -> Iterator[object]:
    """The elements of a JSON array, one at a time.

    One at a time, because a callback of Orthanc may want the interpreter meanwhile, and
    because an element that is too deep for the decoder must not take the others with it.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise OpenMRSError(
            "not-a-list", f"the answer is not UTF-8 (byte {problem.start})"
        ) from None
    position = _skip_blanks(text, 0)
    if text[position : position + 1] != "[":
        what = "empty" if position == len(text) else "not a JSON array"
        raise OpenMRSError("not-a-list", f"the answer is {what}")
    decode = _Decoder(text).decode
    position = _skip_blanks(text, position + 1)
    if text[position : position + 1] == "]":
        _nothing_after(text, position + 1)
        return
    while True:
        try:
            element, position = decode(position)
            yield element
        except RecursionError:
            position = _end_of_element(text, position)
            yield Rejected(0, "is nested too deeply")
        except ValueError:
            whole = len(text) - position <= MAX_ELEMENT
            end = position if whole else _end_of_element(text, position)
            if end - position <= MAX_ELEMENT:
                raise OpenMRSError(
                    "not-a-list", f"the answer is not JSON from character {position} on"
                ) from None
            position = end
            yield Rejected(0, f"is longer than {MAX_ELEMENT} characters")
        position = _skip_blanks(text, position)
        mark = text[position : position + 1]
        if mark == "]":
            _nothing_after(text, position + 1)
            return
        if mark != ",":
            raise OpenMRSError("not-a-list", f"the answer breaks off at character {position}")
        position = _skip_blanks(text, position + 1)


class _Decoder:
    """Decodes JSON values of MAX_ELEMENT characters at most, as the text is seen by windows of
    that length."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._decode = json.JSONDecoder(parse_int=_integer).raw_decode
        self._open(0)

    def _open(self, start: int) -> None:
        self._start = start
        self._window = self._text[start : start + MAX_ELEMENT]

    def decode(self, position: int) -> tuple[object, int]:
        """The value at a position and where it ends. Raises ValueError where there is none."""
        try:
            element, end = self._decode(self._window, position - self._start)
            if end < len(self._window):  # a number may go on after the window
                return element, self._start + end
        except ValueError:
            pass
        self._open(position)
        element, end = self._decode(self._window, 0)
        return element, position + end


def _integer(digits: str) -> int:
    """No identifier has more digits, and Python refuses to read thousands of them."""
    return int(digits[:100])


def _skip_blanks(text: str, position: int) -> int:
    while text[position : position + 1] in (" ", "\n", "\r", "\t"):
        position += 1
    return position


def _nothing_after(text: str, position: int) -> None:
    if _skip_blanks(text, position) != len(text):
        raise OpenMRSError("not-a-list", "the answer goes on after the end of its array")


def _end_of_element(text: str, position: int) -> int:
    """Where the value that starts at `position` ends, by counting brackets."""
    depth = 0
    for found in _MARKS.finditer(text, position):
        mark = text[found.start()]
        if mark in "[{":
            depth += 1
        elif mark in "]}":
            depth -= 1
        if depth <= 0:
            return found.end()
    raise OpenMRSError("not-a-list", "the answer breaks off inside an element")


# A string without an end goes on to the end of the text: each mark is looked at once.
_MARKS = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


# --- the patient ---------------------------------------------------------------------------


def read_person_name(body: bytes) -> str:
    """ "Family^Given^Middle" of core REST's patient, "" where it has no structured name."""
    try:
        name = json.loads(body)["person"]["preferredName"]
        family, given, middle = (
            name.get(key) or "" for key in ("familyName", "givenName", "middleName")
        )
        parts = [str(part).replace("^", " ").strip() for part in (family, given, middle)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return ""
    return _SURROGATE.sub("\ufffd", "^".join(parts).rstrip("^"))


_MOST_OF_A_KIND = 20
"""Names and identifiers of a patient that are read."""


def read_patient(body: bytes) -> Demographics:
    """Core REST's patient. What is missing or no text is left out.

    Raises OpenMRSError where it is no patient at all, as a sign-in page.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    person = document.get("person") if isinstance(document, dict) else None
    if not isinstance(person, dict):
        raise OpenMRSError("not-a-patient", "the answer is no patient of core REST")
    names = _entries(person, "names")
    preferred = person.get("preferredName")
    if isinstance(preferred, dict):
        names = [preferred, *names]
    identifiers = [_written(one, "identifier") for one in _entries(document, "identifiers")]
    return Demographics(
        names=tuple(dict.fromkeys(name for name in map(_structured, names) if name)),
        birth_date=_written(person, "birthdate"),
        birth_date_estimated=person.get("birthdateEstimated") is True,
        sex=_written(person, "gender"),
        identifiers=tuple(text for text in identifiers if text),
    )


def _structured(name: dict[str, Any]) -> str:
    """ "Family^Given^Middle", or the text that is displayed where there are no parts."""
    parts = [_written(name, key) for key in ("familyName", "givenName", "middleName")]
    joined = "^".join(part.replace("^", " ").replace("=", " ") for part in parts).rstrip("^")
    return joined or _written(name, "display")


def _entries(source: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = source.get(key)
    entries = found[:_MOST_OF_A_KIND] if isinstance(found, list) else []
    return [one for one in entries if isinstance(one, dict) and one.get("voided") is not True]


def _written(source: dict[str, Any], key: str) -> str:
    text = source.get(key)
    return _SURROGATE.sub("\ufffd", text).strip() if isinstance(text, str) else ""


# --- the status update ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    """One status POST: v1 reads the query `parameters`, v2 and v3 read the JSON `body`."""

    parameters: dict[str, str]
    body: dict[str, Any]

    def to_json(self) -> str:
        """For the database; contains personal data."""
        return json.dumps({"parameters": self.parameters, "body": self.body}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "StatusUpdate":
        """What `to_json` wrote."""
        document = json.loads(text)
        return cls(document["parameters"], document["body"])


def status_update(
    study: StudySummary,
    request: ImagingRequest,
    steps: Iterable[tuple[str, SeriesSummary]],
) -> StatusUpdate:
    """The one form that suits every generation.

    `steps` are pairs of a ScheduledProcedureStepID and its representative series, the step
    that this POST is for first. The accession number and the patient are OpenMRS's own, for
    v3 compares them exactly; what comes from the images are texts or None.
    """
    pairs = list(steps)
    return StatusUpdate(
        parameters={
            "studyInstanceUID": study.study_instance_uid,
            "performedProcedureStepID": pairs[0][0],
        },
        body={
            "studyInfo": {
                "accessionNumber": request.accession_number,
                "studyInstanceUID": study.study_instance_uid,
                "referringPhysicianName": study.referring_physician_name or None,
                "studyDescription": study.study_description or None,
            },
            "seriesList": [_series_entry(study, request, *pair) for pair in pairs],
        },
    )


def _series_entry(
    study: StudySummary, request: ImagingRequest, step_id: str, series: SeriesSummary
) -> dict[str, Any]:
    return {
        "seriesInfo": {
            "seriesID": series.series_instance_uid,
            "modality": series.modality or None,
            "seriesDescription": series.series_description or None,
            "seriesInstanceUID": series.series_instance_uid,
            "stationName": series.station_name or None,
            "parentStudy": study.study,
        },
        "instanceInfo": {
            "patientBirthDate": study.patient_birth_date or None,
            "patientID": request.patient_id,
            "patientName": study.patient_name or None,
            "scheduledProcedureStepID": step_id,
            "studyInstanceUID": study.study_instance_uid,
            "numberOfSlices": str(series.instances),
            "scheduledPerformingPhysician": series.performing_physician_name or None,
            "performedProcedureStepDescription": series.performed_procedure_step_description
            or None,
            "performedProcedureStepStartDate": series.performed_procedure_step_start_date or None,
            "performedProcedureStepStartTime": series.performed_procedure_step_start_time or None,
            "requestedProcedureDescription": study.requested_procedure_description or None,
        },
        "scheduledProcedureStepID": step_id,
    }


def empty_update() -> dict[str, Any]:
    """The body of a status update of no step."""
    keys = ("accessionNumber", "studyInstanceUID", "referringPhysicianName", "studyDescription")
    return {"studyInfo": dict.fromkeys(keys), "seriesList": []}


def is_signed_in(session: bytes | None) -> bool | None:
    """Whether core REST's session is somebody's; None where that isn't known."""
    try:
        known = json.loads(session or b"").get("authenticated")
    except (ValueError, AttributeError, RecursionError):
        return None
    return known if isinstance(known, bool) else None


# --- the verdict ---------------------------------------------------------------------------


class Verdict(Enum):
    """What OpenMRS's answer to a status POST means for the notification."""

    DELIVERED = "delivered"
    CONFIRM = "confirm"  # done, or the step is unknown: the list tells (v1)
    CONFIRM_UNKNOWN = "confirm-unknown"  # refused, unless the list has the step
    CONFIRM_REFUSED = "confirm-refused"  # refused, unless the list has the step as completed
    REFUSED = "refused"
    RETRY = "retry"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and its reason: the server's own short text, else the status."""

    verdict: Verdict
    reason: str = ""


def judge(status: int, body: bytes) -> Judgement:
    """The verdict on an HTTP answer to a status POST (a connection that failed is RETRY)."""
    text = body.decode("utf-8-sig", "replace").strip()
    is_page = text[:1] == "<"
    if status == 200:
        if not text:
            return Judgement(Verdict.CONFIRM)
        if is_page:
            return Judgement(Verdict.RETRY, "OpenMRS answered with a page: sign-in refused?")
        try:
            document = json.loads(text)
        except (ValueError, RecursionError):
            document = None
        if isinstance(document, dict) and "score" in document:
            return Judgement(Verdict.DELIVERED)
        if text[0] in "[{":
            # The module answers with a score or a sentence: this is of something else, or broken.
            return Judgement(Verdict.RETRY, "HTTP 200: the answer is no verdict")
        # An early v2 says so of a request with other open steps, though it saved this one.
        return Judgement(Verdict.CONFIRM_REFUSED, _server_text(text))
    said = "" if is_page else _server_text(text)
    reason = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    if is_page:
        # A servlet container answers with pages of its own, 404 too, while OpenMRS restarts.
        return Judgement(Verdict.RETRY, reason)
    if status == 404:
        # An unknown step (v3), or a module that isn't loaded yet: the list tells.
        return Judgement(Verdict.CONFIRM_UNKNOWN, reason)
    if status in (400, 409):
        return Judgement(Verdict.REFUSED, reason)
    return Judgement(Verdict.RETRY, reason)


def judge_empty_update(status: int, body: bytes) -> str:
    """What the answer to a status update of no step tells of the account and the address: one of
    the kinds of OpenMRSError, "" where updates are taken."""
    if status == 200:
        return "credentials" if body.strip()[:1] == b"<" else ""
    if status in (400, 409):
        return ""  # the route is there, and may be used: it only finds nothing to do
    kinds = {401: "credentials", 403: "privilege", 404: "not-found", 405: "not-found"}
    return kinds.get(status, "credentials" if 300 <= status < 400 else "server-error")


def judge_step_status(status: int, body: bytes) -> Verdict:
    """The verdict on an HTTP answer to the status of a single step, which the list knows."""
    is_page = body.strip()[:1] == b"<"
    if status == 200 and not is_page:
        return Verdict.DELIVERED
    # A module without the route answers with a page of the servlet container or with JSON.
    return Verdict.REFUSED if status in (400, 404, 405) else Verdict.RETRY


def _server_text(text: str) -> str:
    """The server's own message, short and on one line."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = text
    if isinstance(document, dict):
        error = document.get("error", document.get("message", ""))
        document = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(document or "").split())[:200]
