"""The Imaging module's list, of all its generations, as our values.

Decides: how an element of the worklist is read, and which bad element costs what. The names of
its fields stand here and nowhere else. Must not know: HTTP, DICOM rules, the database.
"""

import json
import re
from collections.abc import Callable, Iterator
from sys import intern
from typing import Any

from orthanc_openmrs.errors import OpenMRSError
from orthanc_openmrs.model import (
    Answer,
    ImagingRequest,
    ProcedureStep,
    Rejected,
    RequestList,
    StepStatus,
)
from orthanc_openmrs.openmrs.answers import ServerException, read_exception
from orthanc_openmrs.openmrs.generations import TOO_OLD, of_request
from orthanc_openmrs.openmrs.texts import whole_characters

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


def read_list(body: bytes) -> RequestList:
    """Read the answer of `GET worklist/requests`.

    A bad element costs that element only. Raises OpenMRSError where the body as a whole is no JSON
    array in UTF-8 ("not-a-list"), or that of a module that gives no worklist ("module-too-old").
    """
    requests: list[ImagingRequest] = []
    rejected: list[Rejected] = []
    problems: list[str] = []
    generation = ""
    steps, most_parts = 0, FEW_PARTS + len(body) // LEAST_PART
    for position, element in enumerate(elements(body)):
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
            generation = generation or of_request(element if isinstance(element, dict) else {})
        rejected += (Rejected(position, problem) for problem in problems)
        problems.clear()
    if generation == TOO_OLD:
        raise OpenMRSError("module-too-old", "its list has another form, without any step")
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
        # The same words come again and again in a list of thousands: one of each is kept.
        return intern(whole_characters(value[:MAX_TEXT]))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{key} is {_type_name(value)}, not text")


def _type_name(value: object) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "a boolean"}
    return names.get(type(value), "null" if value is None else "a number")


def refusal(answer: Answer) -> OpenMRSError | None:
    """Why an answer of any status is no list; None where it begins as one."""
    failed = read_exception(answer.body)
    if failed is not None:
        return OpenMRSError(failed.problem, f"HTTP {answer.status}, {_in_a_list(failed)}")
    if answer.problem:
        return OpenMRSError(answer.problem, f"HTTP {answer.status}")
    text = answer.body[:100].decode("utf-8-sig", "replace").strip()
    return None if text[:1] == "[" else _no_array(is_empty=not text)


def _no_array(*, is_empty: bool) -> OpenMRSError:
    what = "empty" if is_empty else "not a JSON array"
    return OpenMRSError("not-a-list", f"the answer is {what}")


def _in_a_list(failed: ServerException) -> str:
    guess = next((row for sign, row in _ROWS if sign.search(failed.words)), "")
    return failed.describe() + (f": perhaps {guess}" if guess else "")


_ROWS = (
    # A NullPointerException has no words, or those of a newer Java: 'Cannot invoke "…" because …'
    (re.compile(r"^$|^null$|\bis null$"), "a patient without a birth date"),
    # "Text 'NaNNaN00' could not be parsed at index 0", "For input string: …", "Unparseable date"
    (
        re.compile(r"parse|input string|\bNaN|\bdate", re.I),
        "a step with an impossible date or time",
    ),
)
"""What the row may be that fails a whole list, by the exception's words."""


def elements(body: bytes) -> Iterator[object]:
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
        raise _no_array(is_empty=position == len(text))
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
